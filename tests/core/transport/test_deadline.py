"""Deadlines, idle streams, answers without end: what a call may cost in time and memory."""

from __future__ import annotations

import json
import pickle
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from lunos_core import (
    AsyncLunos,
    Config,
    Lunos,
    LunosConfigError,
    LunosError,
    LunosResponseError,
    LunosServerError,
    LunosTimeoutError,
    chat_request,
    chat_stream_request,
)
from lunos_core.transport.deadline import LAST_WORD, Deadline
from tests.core.raw_server import STALL, RawServer, chunk, http, sse_head
from tests.core.wire_samples import HELLO, Wire, delta, lines, reply, stored

if TYPE_CHECKING:
    from tests.conftest import Both

CHAT = json.dumps(stored("chat")).encode()
SEND = chat_request(HELLO, model="m")
STREAM = chat_stream_request(HELLO, model="m")
HELLO_EVENT = chunk(lines([delta("Hello")]))
COMMENT = chunk(b": keep-alive\n\n")
WHOLE = lines([delta("Hello", "stop"), "[DONE]"])


async def ask(both: Both, server: RawServer, request: Any, **settings: Any) -> Any:
    client = both.client(base_url=server.url, **settings)
    if request is STREAM:
        return (await both.chunks(client, STREAM))[-1].last
    return await both(client.send(request))


async def fails(both: Both, server: RawServer, request: Any, **settings: Any) -> LunosError:
    with pytest.raises(LunosError) as caught:
        await ask(both, server, request, **settings)
    return caught.value


class Slowly:
    """Steps for the raw server, with a pause before each."""

    def __init__(self, step: bytes, times: int, pause: float) -> None:
        self._step, self._times, self._pause = step, times, pause

    def __iter__(self) -> Any:
        for _ in range(self._times):
            time.sleep(self._pause)
            yield self._step


def slowly(start: bytes, step: bytes, *, times: int = 200, pause: float = 0.02) -> Any:
    class Steps(list[Any]):
        def __iter__(self) -> Any:
            yield start
            yield from Slowly(step, times, pause)

    return Steps()


async def test_comments_alone_do_not_keep_a_stream_alive(both: Both) -> None:
    with RawServer(slowly(sse_head() + HELLO_EVENT, COMMENT)) as server:
        error = await fails(both, server, STREAM, stream_idle_timeout=0.15)
        assert type(error) is LunosTimeoutError
        assert "stream_idle_timeout" in error.message
        assert error.partial.text == "Hello"
        assert (error.attempts, len(server.requests)) == (1, 1)
        assert server.all_closed()


async def test_the_idle_timeout_is_the_read_timeout_unless_it_is_given(both: Both) -> None:
    for timeout in (0.15, httpx.Timeout(5, read=0.15)):
        with RawServer(slowly(sse_head(), COMMENT)) as server:
            error = await fails(both, server, STREAM, timeout=timeout)
            assert type(error) is LunosTimeoutError
    with RawServer(slowly(sse_head(), COMMENT, times=4), sse_head() + chunk(WHOLE)) as server:
        request = chat_stream_request(HELLO, model="m", timeout=0.05)
        client = both.client(base_url=server.url)
        with pytest.raises(LunosTimeoutError):
            await both.chunks(client, request)


async def test_a_silent_stream_ends_with_the_idle_timeout_and_not_with_the_longer_read_timeout(
    both: Both,
) -> None:
    with RawServer([sse_head() + HELLO_EVENT, STALL]) as server:
        error = await fails(both, server, STREAM, timeout=600, stream_idle_timeout=0.1)
        assert "stream_idle_timeout" in error.message
        assert error.partial.text == "Hello"


async def test_a_slow_reader_is_not_a_slow_server(both: Both) -> None:
    wanted, sent = threading.Event(), threading.Event()

    class Steps(list[Any]):
        def __iter__(self) -> Any:
            yield sse_head() + HELLO_EVENT
            wanted.wait(60)
            yield COMMENT
            yield chunk(WHOLE) + chunk(b"")
            sent.set()

    with RawServer(Steps()) as server:
        client = both.client(base_url=server.url, stream_idle_timeout=0.05)
        stream = await both(client.stream(STREAM))
        shown = []
        async for piece in both.each(stream):
            wanted.set()
            assert sent.wait(60)  # the server is never slow
            time.sleep(0.1)  # noqa: ASYNC251 - the reader is slow, not the loop's other tasks
            shown.append(piece.text)
        assert "".join(shown) == "HelloHello"


async def test_an_answer_that_drips_ends_with_the_deadline(both: Both) -> None:
    whole = http(body=CHAT)
    start, rest = whole[:-20], b" "
    with RawServer(slowly(start, rest)) as server:
        error = await fails(both, server, SEND, total_timeout=0.15)
        assert type(error) is LunosTimeoutError
        # the answer's own bytes may come to their end before: then it is read or refused
        assert "total_timeout=0.15" in error.message


async def test_a_stream_that_goes_on_and_on_ends_with_the_deadline(both: Both) -> None:
    with RawServer(slowly(sse_head(), HELLO_EVENT)) as server:
        error = await fails(both, server, STREAM, total_timeout=1.0)
        assert "total_timeout" in error.message
        assert error.partial.text.startswith("HelloHello")


@pytest.mark.parametrize("request_", [SEND, STREAM])
async def test_a_silent_server_is_abandoned_at_the_deadline(both: Both, request_: Any) -> None:
    with RawServer([STALL]) as server:
        settings = {"total_timeout": 0.15, "max_retries": 5, "retry_on_timeout": True}
        error = await fails(both, server, request_, **settings)
        assert type(error) is LunosTimeoutError
        assert "total_timeout" in error.message
        server.wait_for_request()
        assert len(server.requests) == 1


@pytest.mark.parametrize("request_", [SEND, STREAM])
async def test_a_wait_beyond_the_deadline_is_not_begun(both: Both, request_: Any) -> None:
    with RawServer(http(503, b"{}", retry_after="30")) as server:
        error = await fails(both, server, request_, total_timeout=5)
        assert type(error) is LunosServerError
        assert (error.status, error.retry_after, len(server.requests)) == (503, 30.0, 1)
        assert "total_timeout=5" in error.__notes__[0]


@pytest.mark.parametrize("request_", [SEND, STREAM])
async def test_a_read_timeout_is_tried_again_only_where_the_user_wants_it(
    both: Both, request_: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lunos_core.transport.call.random.random", lambda: 0.0)
    good = http(body=CHAT) if request_ is SEND else sse_head() + chunk(WHOLE) + chunk(b"")
    with RawServer([STALL], [good]) as server:
        answer = await ask(both, server, request_, timeout=1.0, retry_on_timeout=True)
        assert (answer.attempts, len(server.requests)) == (2, 2)
    with RawServer([STALL]) as server:
        # the time to connect is another one: a connect that took too long is tried again
        error = await fails(both, server, request_, timeout=httpx.Timeout(30, read=0.1))
        server.wait_for_request()
        assert (error.attempts, len(server.requests)) == (1, 1)


async def test_an_idle_stream_is_tried_again_only_before_its_first_event(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lunos_core.transport.call.random.random", lambda: 0.0)
    settings: Any = {"stream_idle_timeout": 0.15, "retry_on_timeout": True}
    good = [sse_head() + chunk(WHOLE) + chunk(b"")]
    with RawServer([sse_head(), STALL], good) as server:
        assert (await ask(both, server, STREAM, **settings)).attempts == 2
    with RawServer([sse_head() + HELLO_EVENT, STALL], good) as server:
        error = await fails(both, server, STREAM, **settings)
        assert (error.partial.text, len(server.requests)) == ("Hello", 1)


async def test_a_server_that_does_not_hang_up_after_done_holds_nobody(both: Both) -> None:
    with RawServer([sse_head(), chunk(WHOLE), STALL]) as server:
        assert (await ask(both, server, STREAM, timeout=600)).text == "Hello"
        assert server.all_closed()


async def test_what_follows_done_without_end_is_not_waited_for(both: Both) -> None:
    with RawServer(slowly(sse_head() + chunk(WHOLE), COMMENT, times=40)) as server:
        assert (await ask(both, server, STREAM, timeout=600)).text == "Hello"
        assert server.all_closed()


@pytest.mark.parametrize("request_", [SEND, STREAM])
async def test_an_answer_beyond_its_bound_is_not_held_in_memory(both: Both, request_: Any) -> None:
    piece = lines([delta("x" * 1000)])
    body = [sse_head(), *[chunk(piece)] * 100, chunk(b"")]
    if request_ is SEND:
        body = [http(body=b" " * 100_000 + CHAT)]
    with RawServer(body) as server:
        error = await fails(both, server, request_, max_response_bytes=50_000)
        assert type(error) is LunosResponseError
        assert "max_response_bytes" in error.message
        assert len(server.requests) == 1


@pytest.mark.parametrize("is_error", [False, True])
async def test_the_bound_counts_what_a_compressed_answer_unpacks_to(
    both: Both, is_error: bool
) -> None:
    import gzip

    body = gzip.compress(b" " * 10_000_000)
    bomb = http(500 if is_error else 200, body, content_encoding="gzip")
    with RawServer(bomb) as server:
        error = await fails(both, server, SEND, max_response_bytes=1_000_000, max_retries=0)
        assert "max_response_bytes" in error.message


@pytest.mark.slow
@pytest.mark.parametrize("request_", [SEND, STREAM])
async def test_a_hundred_megabytes_are_an_answer_like_any_other(both: Both, request_: Any) -> None:
    text = "x" * 100_000_000
    value = stored("chat")
    value["choices"][0]["message"]["content"] = text
    body = http(body=json.dumps(value).encode())
    if request_ is STREAM:
        event = b'data: {"choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":"stop"}]}'
        body = sse_head() + chunk(event.replace(b"%s", text.encode()) + b"\n\n") + chunk(b"")
    with RawServer(body) as server:
        answer = await ask(both, server, request_)
        assert len(answer.text) == len(text)


@pytest.mark.parametrize("request_", [SEND, STREAM])
async def test_json_nested_ten_thousand_deep_is_a_typed_error(both: Both, request_: Any) -> None:
    deep = b'{"choices":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    body = http(body=deep)
    if request_ is STREAM:
        body = sse_head() + chunk(b"data: " + deep + b"\n\n") + chunk(b"")
    with RawServer(body) as server:
        assert type(await fails(both, server, request_)) is LunosResponseError
    with RawServer(http(400, deep)) as server:
        assert (await fails(both, server, request_)).status == 400


async def test_one_connection_serves_calls_with_and_without_limits(both: Both) -> None:
    """What limited one call's reads does not limit the next one's on the same connection."""
    good = sse_head() + chunk(WHOLE) + chunk(b"")
    with RawServer([good], slowly(http(body=CHAT)[:-1], b"}", times=1, pause=0.4)) as server:
        client = both.client(base_url=server.url, stream_idle_timeout=0.1)
        await both.chunks(client, STREAM)
        assert (await both(client.send(SEND))).text == "Hello there"
        assert server.connections == 1


def test_the_limits_share_one_clock() -> None:
    now = [100.0]
    deadline = Deadline(10, 1000, clock=lambda: now[0])
    assert (deadline.cap(60), deadline.cap(None), deadline.cap(1)) == (10, 10, 1)
    assert deadline.allows(9.9)
    assert not deadline.allows(10)
    deadline.stream(3)
    assert deadline.cap(60) == 3
    now[0] += 2
    assert deadline.cap(60) == 1
    deadline.event(last=False)
    assert deadline.cap(60) == 3
    deadline.event(last=True)
    assert deadline.cap(60) == LAST_WORD
    deadline.attempt()
    assert deadline.cap(60) == 8
    now[0] += 50
    assert not deadline.allows(0)
    assert 0 < deadline.cap(60) < 0.01  # type: ignore[operator]
    assert not deadline.allows(0)
    assert Deadline(None, 1000).cap(None) is None


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *[
            (name, value)
            for name in ("total_timeout", "stream_idle_timeout")
            for value in (0, -1, True, "5", float("nan"), float("inf"))
        ],
        ("retry_on_timeout", "yes"),
        *[("max_response_bytes", value) for value in (0, -1, True, 1.5, "5")],
    ],
)
def test_a_limit_that_cannot_work_is_refused_by_name(name: str, wrong: Any) -> None:
    with pytest.raises(LunosConfigError, match=name):
        Config(**{name: wrong})


async def test_the_limits_are_arguments_of_the_plain_client(both: Both) -> None:
    limits: Any = {
        "total_timeout": 30,
        "stream_idle_timeout": 5,
        "retry_on_timeout": True,
        "max_response_bytes": 1000,
    }
    for kind in (Lunos, AsyncLunos):
        config = pickle.loads(pickle.dumps(kind("k", **limits).client)).config
        assert {name: getattr(config, name) for name in limits} == limits
    wire = Wire(reply(stored("chat")))
    client = both.client(wire, total_timeout=30, timeout=httpx.Timeout(60, connect=5))
    await both(client.send(SEND))
    sent = wire.sent.extensions["timeout"]
    assert sent["connect"] == 5
    assert 29 < sent["read"] <= 30


async def test_a_transport_with_a_connection_of_another_kind_is_left_alone(both: Both) -> None:
    class Bare:
        __slots__ = ()

    def answer(request: httpx.Request) -> httpx.Response:
        extensions = {"network_stream": Bare(), "http_version": b"HTTP/1.1"}
        body = {"choices": [{"message": {"content": "Hello"}}]}
        return httpx.Response(200, json=body, extensions=extensions)

    client = both.client(answer, total_timeout=5)
    assert (await both(client.send(chat_request(HELLO, model="m")))).text == "Hello"
