"""Streams that go wrong: errors inside them, nonsense, and ends that come too early."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from lunos_core import (
    LunosAPIError,
    LunosConnectionError,
    LunosError,
    LunosRateLimitError,
    LunosResponseError,
    LunosServerError,
    LunosStreamInterruptedError,
    UsageLedger,
    chat_request,
    chat_stream_request,
)
from tests.core.wire_samples import HELLO, Wire, delta, lines, raw, reply, stream, stream_of

if TYPE_CHECKING:
    from tests.conftest import Both

REQUEST = chat_stream_request(HELLO, model="m", app_id="app")


async def broken(both: Both, wire: Wire, **settings: Any) -> tuple[list[str], LunosError]:
    """The texts that were shown before the error, and the error."""
    shown: list[str] = []

    async def read() -> None:
        async for chunk in both.each(await both(both.client(wire, **settings).stream(REQUEST))):
            shown.append(chunk.text)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(LunosError) as caught:
        await read()
    return shown, caught.value


@pytest.mark.parametrize("size", [1, 50, 1 << 20])
async def test_what_came_before_an_error_event_is_shown_however_the_bytes_were_cut(
    both: Both, size: int
) -> None:
    error = {"error": {"code": 502, "message": "The provider failed", "type": "api_error"}}
    wire = Wire(stream([delta("Hello"), delta(" there"), error], size=size, x_request_id="req-1"))
    shown, raised = await broken(both, wire)
    assert shown == ["Hello", " there"]
    assert type(raised) is LunosServerError
    assert (raised.message, raised.status, raised.code) == ("The provider failed", 502, "502")
    assert (raised.request_id, raised.app_id, raised.model) == ("req-1", "app", "m")
    assert raised.partial.text == "Hello there"
    assert len(wire.requests) == 1


async def test_an_error_event_may_carry_choices(both: Both) -> None:
    event = delta("", "error", error={"code": "rate_limit_exceeded", "message": "Slow down"})
    shown, raised = await broken(both, Wire(stream([delta("Hello"), event, "[DONE]"])))
    assert shown == ["Hello"]
    assert type(raised) is LunosRateLimitError
    assert (raised.message, raised.status) == ("Slow down", 429)


@pytest.mark.parametrize("explained", [True, False])
async def test_finish_reason_error_is_an_error(both: Both, explained: bool) -> None:
    event = delta(None, "error")
    if explained:
        event["choices"][0]["error"] = {"code": 503, "message": "Overloaded"}
    _, raised = await broken(both, Wire(stream([delta("Hello"), event, "[DONE]"])))
    assert isinstance(raised, LunosServerError)
    assert ("Overloaded" in raised.message) == explained
    assert raised.partial.text == "Hello"


async def test_an_error_in_place_of_a_stream_is_tried_again(both: Both) -> None:
    failing = reply({"error": {"code": 429, "message": "Slow down"}}, retry_after="0")
    wire = Wire(failing, stream([delta("Hello", "stop"), "[DONE]"]))
    wire_answers = await both.chunks(both.client(wire, max_retries=1), REQUEST)
    assert wire_answers[-1].last.attempts == 2


@pytest.mark.parametrize(
    "event",
    ["nonsense", '{"choices": [', '"text"', "[1]", '{"choices": "no"}', "{'a': 1}", "NaN"],
)
async def test_an_event_that_makes_no_sense_is_shown_in_the_error(both: Both, event: str) -> None:
    shown, raised = await broken(both, Wire(stream([delta("Hello"), event, "[DONE]"])))
    assert shown == ["Hello"]
    assert type(raised) is LunosResponseError
    assert event in raised.message
    assert (raised.status, raised.partial.text) == (200, "Hello")


@pytest.mark.parametrize("events", [[delta("Hello")], [delta("Hello"), ": still here"]])
async def test_a_stream_that_just_stops_is_interrupted(both: Both, events: list[Any]) -> None:
    shown, raised = await broken(both, Wire(stream(events, x_request_id="req-1")))
    assert shown == ["Hello"]
    assert type(raised) is LunosStreamInterruptedError
    assert (raised.status, raised.request_id) == (200, "req-1")
    assert raised.partial.text == "Hello"
    assert raised.partial.choices[0].finish_reason is None


async def test_a_stream_cut_inside_any_event_is_interrupted_and_not_nonsense(both: Both) -> None:
    body = lines([delta("Hello"), delta(" there")])
    first = len(lines([delta("Hello")]))
    for i in range(first, len(body) - 2, 5):
        shown, raised = await broken(both, Wire(stream_of(body[:i])))
        assert shown == ["Hello"]
        assert type(raised) is LunosStreamInterruptedError, f"cut at {i}: {raised}"
        assert raised.partial.text == "Hello"


async def test_a_whole_answer_survives_a_cut_inside_what_follows(both: Both) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    body = lines([delta("Hello", "stop"), {"choices": [], "usage": usage}])
    chunks = await both.chunks(both.client(Wire(stream_of(body[:-9]))), REQUEST)
    assert chunks[-1].last.text == "Hello"
    assert chunks[-1].usage is None


@pytest.mark.parametrize("body", [b"", b"\n\n", b": ping\n\n", b"not a stream", b"data:\n\n"])
async def test_a_stream_without_events_is_interrupted_before_it_began(
    both: Both, body: bytes
) -> None:
    _, raised = await broken(both, Wire(stream_of(body)))
    assert type(raised) is LunosStreamInterruptedError
    assert "before the answer began" in raised.message
    assert raised.partial is None


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html><h1>Welcome</h1></html>", "text/html"),
        (b"", "application/json"),
        (b"[]", "application/json"),
        (b'{"choices": 7}', "application/json"),
        (b"garbage", "application/json"),
    ],
)
async def test_a_successful_answer_other_than_a_stream_is_a_typed_error(
    both: Both, body: bytes, kind: str
) -> None:
    _, raised = await broken(both, Wire(raw(body, content_type=kind, x_request_id="req-1")))
    assert isinstance(raised, LunosResponseError)
    assert (raised.status, raised.request_id) == (200, "req-1")


async def test_an_error_status_in_answer_to_a_stream_is_read_as_usual(both: Both) -> None:
    wire = Wire(reply({"error": {"message": "Nope", "param": "model"}}, 400))
    with pytest.raises(LunosAPIError) as caught:
        await both(both.client(wire).stream(REQUEST))  # raised by the opening, not the iteration
    assert (caught.value.message, caught.value.param) == ("Nope", "model")


async def test_the_error_of_a_whole_answer_has_a_completion_as_its_partial(both: Both) -> None:
    answer = {"choices": [{"message": {"content": "Half"}, "finish_reason": "error"}]}
    for explained in ({}, {"error": {"code": 503, "message": "Overloaded"}}):
        answer["choices"][0] |= explained
        with pytest.raises(LunosServerError) as caught:
            await both(
                both.client(Wire(reply(answer)), max_retries=0).send(chat_request(HELLO, model="m"))
            )
        assert caught.value.partial.text == "Half"
        assert ("Overloaded" in caught.value.message) == bool(explained)


async def test_an_error_as_the_very_first_event_is_tried_again_and_then_falls_back(
    both: Both,
) -> None:
    error = {"error": {"code": 429, "message": "Slow down"}}
    good = stream([delta("Hello", "stop"), "[DONE]"])
    again = Wire(stream([error]), good)
    chunks = await both.chunks(both.client(again, max_retries=1), REQUEST)
    assert (chunks[-1].last.text, chunks[-1].last.attempts) == ("Hello", 2)
    assert [chunk.text for chunk in chunks if chunk.text] == ["Hello"]
    request = chat_stream_request(HELLO, model="m", fallback_model="other")
    other = Wire(stream([error]), good)
    chunks = await both.chunks(both.client(other, max_retries=0), request)
    assert chunks[-1].last.fallback
    assert [chunk.text for chunk in chunks if chunk.text] == ["Hello"]
    assert [body["model"] for body in other.bodies] == ["m", "other"]


async def test_a_connection_lost_in_the_middle_is_a_stream_interrupted(both: Both) -> None:
    def cut() -> httpx.Response:
        class Cut(httpx.SyncByteStream, httpx.AsyncByteStream):
            def __iter__(self) -> Iterator[bytes]:
                yield lines([delta("Hello")])
                raise httpx.RemoteProtocolError("peer closed connection")

            async def __aiter__(self) -> AsyncIterator[bytes]:
                for part in self:
                    yield part

        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Cut())

    wire = Wire(cut)
    shown, raised = await broken(both, wire, max_retries=2)
    assert shown == ["Hello"]
    assert type(raised) is LunosStreamInterruptedError
    assert isinstance(raised, LunosConnectionError)
    assert isinstance(raised.__cause__, httpx.RemoteProtocolError)
    assert raised.partial.text == "Hello"
    assert len(wire.requests) == 1


async def test_events_under_a_wrong_content_type_are_read_all_the_same(both: Both) -> None:
    body = lines([delta("Hello"), delta(" there", "stop"), "[DONE]"])
    wire = Wire(raw(body, content_type="application/json"))
    chunks = await both.chunks(both.client(wire), REQUEST)
    assert chunks[-1].last.text == "Hello there"


@pytest.mark.parametrize("content_type", ["text/event-stream", "application/json"])
async def test_a_stream_with_a_byte_order_mark_and_numbers_that_json_lacks_is_read(
    both: Both, content_type: str
) -> None:
    first = '{"choices": [{"delta": {"content": "Hello"}, "logprobs": {"x": -Infinity}}]}'
    last = '{"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"cost": NaN}}'
    body = b"\xef\xbb\xbf" + lines([first, last, "[DONE]"])
    client = both.client(Wire(raw(body, content_type=content_type)))
    chunks = await both.chunks(client, REQUEST)
    assert "".join(chunk.text for chunk in chunks) == "Hello"
    assert chunks[-1].last.choices[0].finish_reason == "stop"


async def test_a_broken_event_that_nobody_waited_for_is_no_error(both: Both) -> None:
    """The stream is closed while it lies behind the first piece, in the same bytes."""
    wire = Wire(stream_of(lines([delta("Hi"), "{broken", delta(" you")])))
    with UsageLedger() as ledger:
        opened = await both(both.client(wire).stream(REQUEST))
        pieces = both.each(opened)
        assert (await anext(pieces)).text == "Hi"
        await both(opened.close())
    assert [(row["calls"], row["errors"]) for row in ledger.rows()] == [(1, 0)]
