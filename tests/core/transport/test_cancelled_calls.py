"""A cancelled call leaves no connection open, however and whenever it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from lunos_core import AsyncClient, Config, chat_request, chat_stream_request
from tests.core.raw_server import STALL, RawServer, chunk, head, sse_head
from tests.core.wire_samples import HELLO, delta, lines

pytest.importorskip("langchain_core")
pytest.importorskip("llama_index.core")

Ask = Callable[[], Awaitable[Any]]

STALLED = {
    "before the head": [STALL],
    "in the head": [b"HTTP/1.1 200 O", STALL],
    "in the body": [head(content_type="application/json", content_length="99") + b"{", STALL],
    "in the stream": [sse_head() + chunk(lines([delta("Hi")])), STALL],
}


def calls(url: str, transport: str) -> dict[str, Ask]:
    from langchain_lunos import ChatLunos, LunosEmbeddings
    from llama_index_lunos import Lunos

    settings: dict[str, Any] = {"api_key": "k", "transport": transport}
    core = AsyncClient(Config(base_url=url, **settings))
    chat = ChatLunos(model="m", base_url=url, **settings)
    embeddings = LunosEmbeddings(model="m", base_url=url, **settings)
    llm = Lunos("m", base_url=url, **settings)

    async def core_stream() -> None:
        async for _ in await core.stream(chat_stream_request(HELLO, model="m")):
            pass

    async def chain_stream() -> None:
        async for _ in (chat | (lambda message: message)).astream("Hi"):
            pass

    async def llm_stream() -> None:
        async for _ in await llm.astream_complete("Hi"):
            pass

    return {
        "AsyncClient.send": lambda: core.send(chat_request(HELLO, model="m")),
        "AsyncClient.stream": core_stream,
        "ChatLunos.ainvoke": lambda: chat.ainvoke("Hi"),
        "chain.astream": chain_stream,
        "aembed_query": lambda: embeddings.aembed_query("Hi"),
        "Lunos.acomplete": lambda: llm.acomplete("Hi"),
        "Lunos.astream_complete": llm_stream,
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


def cancelled_after(steps: int) -> Callable[[Ask], Awaitable[None]]:
    """Cancel, twice, after some steps of the loop: while it connects, sends or begins to wait."""

    async def cancelled_early(ask: Ask) -> None:
        task = asyncio.ensure_future(ask())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    return cancelled_early


HOW: list[Callable[[Ask], Awaitable[None]]] = [
    move_on_after,
    timeout,
    wait_for,
    cancelled_thrice,
]


async def none_stays_open(server: RawServer) -> bool:
    """Wait for it; the limit is generous, as the machine may be busy."""
    for _ in range(500):
        if not server.open_connections():
            return True
        await asyncio.sleep(0.02)
    return False


@pytest.mark.parametrize("transport", ["httpx", "aiohttp"])
@pytest.mark.parametrize("stalled", STALLED)
@pytest.mark.parametrize("cancel", HOW)
async def test_a_cancelled_call_leaves_no_connection_open(
    cancel: Callable[[Ask], Awaitable[None]], stalled: str, transport: str
) -> None:
    with RawServer(STALLED[stalled]) as server:
        asked = calls(server.url, transport)
        await asyncio.gather(*(cancel(ask) for ask in [*asked.values()] * 2))
        assert server.connections
        assert await none_stays_open(server)


@pytest.mark.parametrize("transport", ["httpx", "aiohttp"])
async def test_a_call_cancelled_at_any_step_of_its_start_leaves_no_connection_open(
    transport: str,
) -> None:
    with RawServer([STALL]) as server:
        asked = calls(server.url, transport)
        for steps in range(40):
            for name in ("AsyncClient.send", "AsyncClient.stream"):
                await cancelled_after(steps)(asked[name])
        assert await none_stays_open(server)


@pytest.mark.parametrize("transport", ["httpx", "aiohttp"])
async def test_a_streaming_response_whose_client_hangs_up_leaves_no_connection_open(
    transport: str,
) -> None:
    responses = pytest.importorskip("starlette.responses")
    from langchain_lunos import ChatLunos

    with RawServer(STALLED["in the stream"]) as server:
        chat = ChatLunos(model="m", api_key="k", base_url=server.url, transport=transport)

        async def texts() -> Any:
            async for piece in chat.astream("Hi"):
                yield piece.text

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
