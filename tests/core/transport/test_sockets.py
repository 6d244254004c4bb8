"""Connections that fail, over a real socket: refused, dropped, cut, stalled, broken."""

from __future__ import annotations

import gzip
import json
import socket
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from lunos_core import (
    LunosAPIError,
    LunosConnectionError,
    LunosError,
    LunosResponseError,
    LunosStreamInterruptedError,
    LunosTimeoutError,
    chat_request,
    chat_stream_request,
)
from tests.core.raw_server import CLOSE, RESET, STALL, RawServer, chunk, head, http, sse_head
from tests.core.wire_samples import HELLO, delta, lines, stored

if TYPE_CHECKING:
    from tests.conftest import Both

CHAT = json.dumps(stored("chat")).encode()
SEND = chat_request(HELLO, model="m")
STREAM = chat_stream_request(HELLO, model="m")
HELLO_EVENT = lines([delta("Hello")])
WHOLE = lines([delta("Hello"), delta(" there", "stop"), "[DONE]"])
WHOLE_STREAM = sse_head() + chunk(WHOLE) + chunk(b"")


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures without an answer carry no Retry-After; how long they wait is tested by itself."""
    monkeypatch.setattr("lunos_core.transport.call.random.random", lambda: 0.0)


async def fails(both: Both, server: RawServer, request: Any, **settings: Any) -> LunosError:
    client = both.client(base_url=server.url, **settings)
    with pytest.raises(LunosError) as caught:
        await (both.chunks(client, STREAM) if request is STREAM else both(client.send(request)))
    return caught.value


@pytest.mark.parametrize("request_", [SEND, STREAM])
async def test_a_refused_connection_is_tried_again_and_said(both: Both, request_: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    client = both.client(base_url=url, max_retries=2)
    with pytest.raises(LunosConnectionError, match="ConnectError") as caught:
        await (both.chunks(client, STREAM) if request_ is STREAM else both(client.send(SEND)))
    assert (caught.value.attempts, caught.value.status) == (3, None)
    assert isinstance(caught.value.__cause__, httpx.ConnectError)


@pytest.mark.parametrize("how", [CLOSE, RESET])
@pytest.mark.parametrize("request_", [SEND, STREAM])
async def test_a_connection_dropped_before_the_answer_is_tried_again(
    both: Both, request_: Any, how: str
) -> None:
    good = WHOLE_STREAM if request_ is STREAM else http(body=CHAT)
    with RawServer([how], [head()[:9], how], [good]) as server:
        client = both.client(base_url=server.url, max_retries=2)
        if request_ is STREAM:
            answer = (await both.chunks(client, STREAM))[-1].last
        else:
            answer = await both(client.send(SEND))
        assert (answer.text, answer.attempts) == ("Hello there", 3)
        assert len({got.body for got in server.requests}) == 1


async def test_a_truncated_body_is_retried_and_then_raised_with_its_status(
    both: Both,
) -> None:
    cut = head(content_length="1000", x_request_id="req-1") + CHAT[:20]
    with RawServer([cut, CLOSE]) as server:
        error = await fails(both, server, SEND, max_retries=1)
        assert type(error) is LunosConnectionError
        assert (error.status, error.request_id, error.attempts) == (200, "req-1", 2)


@pytest.mark.parametrize("how", [CLOSE, RESET])
async def test_a_stream_dropped_after_its_first_event_is_not_tried_again(
    both: Both, how: str
) -> None:
    with RawServer([sse_head(x_request_id="req-1"), chunk(HELLO_EVENT), how]) as server:
        shown: list[str] = []
        stream = await both(both.client(base_url=server.url).stream(STREAM))

        async def read() -> None:
            async for piece in both.each(stream):
                shown.append(piece.text)  # noqa: PERF401 - what came before the error counts

        with pytest.raises(LunosStreamInterruptedError) as caught:
            await read()
        if how == CLOSE:  # a reset may overtake the bytes that were sent before it
            assert shown == ["Hello"]
            assert caught.value.partial.text == "Hello"
            assert (caught.value.status, caught.value.request_id) == (200, "req-1")
            assert len(server.requests) == 1


async def test_a_stream_dropped_before_its_first_event_is_tried_again(both: Both) -> None:
    begun = sse_head() + chunk(b": keep-alive\n\n")
    with RawServer([begun, CLOSE], [WHOLE_STREAM]) as server:
        chunks = await both.chunks(both.client(base_url=server.url), STREAM)
        assert (chunks[-1].last.text, chunks[-1].last.attempts) == ("Hello there", 2)


@pytest.mark.parametrize("ending", [[chunk(b"")], [CLOSE]])
async def test_a_stream_that_just_stops_is_interrupted(both: Both, ending: list[Any]) -> None:
    start = head(content_type="text/event-stream") + HELLO_EVENT
    if ending != [CLOSE]:
        start = sse_head() + chunk(HELLO_EVENT)
    with RawServer([start, *ending]) as server:
        error = await fails(both, server, STREAM)
        assert type(error) is LunosStreamInterruptedError
        assert error.partial.text == "Hello"
        assert len(server.requests) == 1


@pytest.mark.parametrize("after", [CLOSE, STALL])
async def test_an_answer_that_is_whole_survives_what_happens_to_its_connection(
    both: Both, after: str
) -> None:
    whole = sse_head() + chunk(lines([delta("Hello"), delta(None, "stop")]) + b"data: {")
    with RawServer([whole, after]) as server:
        client = both.client(base_url=server.url, timeout=1.0)
        chunks = await both.chunks(client, STREAM)
        assert chunks[-1].last.text == "Hello"


async def test_a_stream_that_stalls_times_out_with_what_had_come(both: Both) -> None:
    with RawServer([sse_head() + chunk(HELLO_EVENT), STALL]) as server:
        error = await fails(both, server, STREAM, timeout=1.0)
        assert type(error) is LunosTimeoutError
        assert error.partial.text == "Hello"
        assert "timeout=" in error.message
        assert len(server.requests) == 1


@pytest.mark.parametrize("request_", [SEND, STREAM])
async def test_an_answer_that_does_not_come_in_time_is_not_asked_for_again(
    both: Both, request_: Any
) -> None:
    with RawServer([STALL]) as server:
        error = await fails(both, server, request_, timeout=httpx.Timeout(30, read=0.15))
        assert type(error) is LunosTimeoutError
        server.wait_for_request()
        assert (error.attempts, len(server.requests)) == (1, 1)


async def test_a_stream_that_comes_byte_by_byte_is_the_same_stream(both: Both) -> None:
    text = "ç€😀\u2028"
    body = lines([delta(text), ": c", delta(None, "stop"), "[DONE]"]).replace(b"\n", b"\r\n")
    pieces = b"".join(chunk(bytes([byte])) for byte in body)
    steps = [sse_head(), *(bytes([byte]) for byte in pieces), chunk(b"")]
    with RawServer(steps) as server:
        chunks = await both.chunks(both.client(base_url=server.url), STREAM)
        assert chunks[-1].last.text == text


async def test_compressed_answers_are_read(both: Both) -> None:
    gz = {"content_encoding": "gzip"}
    stream = head(content_type="text/event-stream", content_encoding="gzip")
    with RawServer(http(body=gzip.compress(CHAT), **gz)) as server:
        assert (await both(both.client(base_url=server.url).send(SEND))).text == "Hello there"
    with RawServer([stream + gzip.compress(WHOLE), CLOSE]) as server:
        chunks = await both.chunks(both.client(base_url=server.url), STREAM)
        assert chunks[-1].last.text == "Hello there"


@pytest.mark.parametrize("request_", [SEND, STREAM])
async def test_a_broken_compression_is_a_typed_error_with_status_and_request_id(
    both: Both, request_: Any
) -> None:
    kind = "text/event-stream" if request_ is STREAM else "application/json"
    broken = http(body=b"no gzip at all", kind=kind, content_encoding="gzip", x_request_id="req-1")
    with RawServer(broken) as server:
        error = await fails(both, server, request_)
        assert type(error) is LunosResponseError
        assert (error.status, error.request_id, error.attempts) == (200, "req-1", 1)


@pytest.mark.parametrize("request_", [SEND, STREAM])
async def test_a_redirect_is_not_followed_and_the_key_goes_nowhere(
    both: Both, request_: Any
) -> None:
    with RawServer(http(body=CHAT)) as other:
        for status in (301, 302, 307, 308):
            with RawServer(http(status, location=f"{other.url}/v1/chat/completions")) as server:
                error = await fails(both, server, request_)
                assert isinstance(error, LunosAPIError)
                assert (error.status, len(server.requests)) == (status, 1)
        assert other.connections == 0


@pytest.mark.parametrize("request_", [SEND, STREAM])
async def test_bytes_that_are_no_http_are_a_connection_error(both: Both, request_: Any) -> None:
    with RawServer([b"SSH-2.0-OpenSSH_9.6\r\n", CLOSE]) as server:
        error = await fails(both, server, request_, max_retries=0)
        assert type(error) is LunosConnectionError
        assert "RemoteProtocolError" in error.message
