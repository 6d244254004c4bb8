"""A cancelled call leaves no connection open, however and whenever it is cancelled."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import httpx
import pytest
import trustme

from lunos_core import AsyncClient, Config, chat_request, chat_stream_request
from tests.core.raw_server import STALL, Got, RawServer, Step, chunk, head, sse_head
from tests.core.timer_loop import TimerLoop, run
from tests.core.wire_samples import HELLO, delta, lines
from tests.safety.answering_server import answer_to

pytest.importorskip("langchain_core")
pytest.importorskip("llama_index.core")

SEND, STREAM = chat_request(HELLO, model="m"), chat_stream_request(HELLO, model="m")
Ask = Callable[[], Awaitable[Any]]
Cancel = Callable[[Ask], Awaitable[None]]

STALLED: dict[str, list[Step]] = {
    "before the head": [STALL],
    "in the head": [b"HTTP/1.1 200 O", STALL],
    "in the body": [head(content_type="application/json", content_length="99") + b"{", STALL],
    "in the stream": [sse_head() + chunk(lines([delta("Hi")])), STALL],
    "at the end of the stream": [sse_head() + chunk(lines([delta("Hi"), "[DONE]"])), STALL],
}


class Stalls(RawServer):
    """Stalls, until it is told to answer."""

    stalling = True

    def __init__(self, steps: list[Step]) -> None:
        super().__init__(b"")
        self._steps = steps

    def _answer(self, got: Got) -> list[Step]:
        return self._steps if self.stalling else [answer_to(got)]


class StallsInTheHandshake(RawServer):
    """Answers a TLS client's first message in part: nothing of it, or half."""

    def __init__(self, share: float) -> None:
        super().__init__([STALL])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
        self._context, self._share = context, share

    @property
    def url(self) -> str:
        return super().url.replace("http:", "https:")

    def _serve(self, connection: socket.socket, number: int) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self._context.wrap_bio(incoming, outgoing, server_side=True)
        incoming.write(connection.recv(65536))
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        answer = outgoing.read()
        connection.sendall(answer[: int(len(answer) * self._share)])
        super()._serve(connection, number)


@contextmanager
def full_listener() -> Iterator[str]:
    """Yield the address of a listener that takes no connection: its queue is full."""
    with socket.socket() as listener, socket.socket() as first:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        first.connect(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def calls(url: str, transport: str) -> dict[str, Ask]:
    from llama_index.core.llms import ChatMessage

    from langchain_lunos import ChatLunos, LunosEmbeddings, LunosLLM
    from llama_index_lunos import Lunos, LunosEmbedding

    settings: dict[str, Any] = {"api_key": "k", "transport": transport, "base_url": url}
    core = AsyncClient(Config(**settings))
    chat = ChatLunos(model="m", **settings)
    text = LunosLLM(model="m", **settings)
    embeddings = LunosEmbeddings(model="m", chunk_size=1, **settings)
    llm = Lunos("m", **settings)
    embedding = LunosEmbedding("m", **settings)

    async def read(opened: Callable[[], Any]) -> None:
        stream = opened()
        async for _ in await stream if hasattr(stream, "__await__") else stream:
            pass

    return {
        "AsyncClient.send": lambda: core.send(chat_request(HELLO, model="m")),
        "AsyncClient.stream": lambda: read(
            lambda: core.stream(chat_stream_request(HELLO, model="m"))
        ),
        "ChatLunos.ainvoke": lambda: chat.ainvoke("Hi"),
        "ChatLunos.abatch": lambda: chat.abatch(["Hi", "Ho"]),
        "chain.astream": lambda: read(lambda: (chat | (lambda message: message)).astream("Hi")),
        "LunosLLM.ainvoke": lambda: text.ainvoke("Hi"),
        "aembed_query": lambda: embeddings.aembed_query("1"),
        "aembed_documents": lambda: embeddings.aembed_documents(["1", "2", "3"]),
        "Lunos.acomplete": lambda: llm.acomplete("Hi"),
        "Lunos.astream_complete": lambda: read(lambda: llm.astream_complete("Hi")),
        "Lunos.achat": lambda: llm.achat([ChatMessage("Hi")]),
        "Lunos.astream_chat": lambda: read(lambda: llm.astream_chat([ChatMessage("Hi")])),
        "aget_text_embedding": lambda: embedding.aget_text_embedding("1"),
    }


async def move_on_after(ask: Ask) -> None:
    with anyio.move_on_after(0.1):
        await ask()


async def timeout(ask: Ask) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await ask()


async def wait_for(ask: Ask) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ask(), 0.1)


async def cancelled_thrice(ask: Ask) -> None:
    task = asyncio.ensure_future(ask())
    await asyncio.sleep(0.1)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task


HOW: list[Cancel] = [move_on_after, timeout, wait_for, cancelled_thrice]
every_cancel = pytest.mark.parametrize("cancel", HOW)
both_transports = pytest.mark.parametrize("transport", ["httpx", "aiohttp"])


async def none_stays_open(server: RawServer) -> bool:
    """Whether all connections close within a second of the event loop's clock."""
    loop = asyncio.get_running_loop()
    end = loop.time() + 1
    while server.open_connections() and loop.time() < end:  # noqa: ASYNC110 - a thread closes
        await asyncio.sleep(0.01)
    return server.all_closed()  # blocks: what isn't closed by now stays open meanwhile


async def cancel_all(cancel: Cancel, asked: dict[str, Ask]) -> None:
    await asyncio.gather(*(cancel(ask) for ask in [*asked.values()] * 2))


@both_transports
@pytest.mark.parametrize("stalled", STALLED)
@every_cancel
def test_a_cancelled_call_leaves_no_connection_open(
    cancel: Cancel, stalled: str, transport: str
) -> None:
    async def main() -> None:
        asked = calls(server.url, transport)
        await cancel_all(cancel, asked)
        assert server.connections
        assert await none_stays_open(server)
        server.stalling = False
        await asyncio.gather(*(ask() for ask in asked.values()))  # the pools are of use

    with Stalls(STALLED[stalled]) as server:
        run(main())


def test_a_call_whose_caller_has_left_complains_to_nobody() -> None:
    """Neither that it was cancelled, nor of what it raised after that."""

    async def main(reaction: type[Exception] | None, request: Any) -> list[Any]:
        complaints: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, facts: complaints.append(facts))
        sending = asyncio.Event()

        async def never(request: httpx.Request) -> httpx.Response:
            sending.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if reaction is not None:
                    raise reaction("lost") from None
                raise
            raise AssertionError

        async with httpx.AsyncClient(transport=httpx.MockTransport(never)) as http:
            client = AsyncClient(Config(api_key="k", base_url="https://x.test"), http_client=http)
            call = client.stream(request) if request is STREAM else client.send(request)
            task = asyncio.ensure_future(call)
            await sending.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        del task, call
        for _ in range(3):
            await asyncio.sleep(0)
            gc.collect()
        return complaints

    for reaction in (None, httpx.ReadError, RuntimeError):
        for request in (SEND, STREAM):
            assert run(main(reaction, request)) == []


def test_a_call_that_was_read_to_its_end_leaves_no_timer() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        answer = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}
        events = lines([delta("Hi", "stop"), "[DONE]"])
        timers: list[Any] = []
        later = loop.call_later

        def call_later(*arguments: Any, **options: Any) -> Any:
            timers.append(arguments)
            return later(*arguments, **options)

        def wire(request: httpx.Request) -> httpx.Response:
            if b'"stream":true' in request.content:
                return httpx.Response(
                    200, headers={"content-type": "text/event-stream"}, content=events
                )
            return httpx.Response(200, json=answer)

        loop.call_later = call_later  # type: ignore[method-assign]  # of this loop alone
        async with httpx.AsyncClient(transport=httpx.MockTransport(wire)) as http:
            config = Config(api_key="k", base_url="https://x.test")
            client = AsyncClient(config, http_client=http)
            assert (await client.send(SEND)).text == "Hi"
            assert [chunk async for chunk in await client.stream(STREAM)]
        assert timers == []

    run(main())


@both_transports
@pytest.mark.parametrize("share", [0, 0.5], ids=["unanswered", "half answered"])
@every_cancel
def test_a_call_cancelled_in_a_tls_handshake_leaves_no_connection_open(
    cancel: Cancel, share: float, transport: str
) -> None:
    async def main() -> None:
        await cancel_all(cancel, calls(server.url, transport))
        assert server.connections
        assert await none_stays_open(server)

    with StallsInTheHandshake(share) as server:
        run(main())


@both_transports
@every_cancel
def test_a_call_cancelled_while_it_connects_leaves_no_socket_behind(
    cancel: Cancel, transport: str, recwarn: pytest.WarningsRecorder
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, TimerLoop)
        before = loop.sockets()
        await cancel_all(cancel, calls(url, transport))
        await asyncio.sleep(0.1)
        for _ in range(90):  # what is being closed may take its time
            if loop.sockets() == before:
                break
            await asyncio.sleep(0.01)
        assert loop.sockets() == before

    with full_listener() as url:
        run(main())
    assert not [warning for warning in recwarn if warning.category is ResourceWarning]


def cancelled_after(steps: int) -> Cancel:
    """Cancel, twice, after some steps of the loop: while it connects, sends, reads or closes."""

    async def cancelled_early(ask: Ask) -> None:
        task = asyncio.ensure_future(ask())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])  # cancelled, or finished before
        assert task.cancelled() or not task.exception()

    return cancelled_early


@both_transports
@pytest.mark.parametrize("stalling", [True, False], ids=["stalling", "answering"])
def test_a_call_cancelled_at_any_step_leaves_no_connection_open(
    stalling: bool, transport: str
) -> None:
    async def main() -> None:
        asked = calls(server.url, transport)
        for steps in range(60):
            for name in ("AsyncClient.send", "AsyncClient.stream"):
                await cancelled_after(steps)(asked[name])
        server.stalling = False
        for name in ("AsyncClient.send", "AsyncClient.stream"):
            await asyncio.gather(*(asked[name]() for _ in range(9)))

    with Stalls([STALL]) as server:
        server.stalling = stalling
        run(main())
        assert server.all_closed()


@both_transports
@pytest.mark.parametrize("framework", ["LangChain", "LlamaIndex"])
def test_a_streaming_response_whose_client_hangs_up_leaves_no_connection_open(
    framework: str, transport: str
) -> None:
    responses = pytest.importorskip("starlette.responses")
    from langchain_lunos import ChatLunos
    from llama_index_lunos import Lunos

    async def main() -> None:
        settings: dict[str, Any] = {"api_key": "k", "base_url": server.url, "transport": transport}
        chat, llm = ChatLunos(model="m", **settings), Lunos("m", **settings)

        async def texts() -> Any:
            if framework == "LangChain":
                async for piece in chat.astream("Hi"):
                    yield piece.text
            else:
                async for response in await llm.astream_complete("Hi"):
                    yield response.delta

        sent = asyncio.Event()

        async def receive() -> dict[str, str]:
            await sent.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message.get("body"):
                sent.set()

        scope = {"type": "http", "asgi": {"spec_version": "2.0"}}
        await responses.StreamingResponse(texts())(scope, receive, send)
        assert server.connections == 1
        assert await none_stays_open(server)

    with RawServer(STALLED["in the stream"]) as server:
        run(main())
