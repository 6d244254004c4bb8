"""Limits of time and size by a clock of the test's own, and what is read as a stream."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import httpx
import pytest

from lunos_core import (
    AsyncClient,
    Client,
    Config,
    LunosResponseError,
    LunosServerError,
    LunosTimeoutError,
    chat_request,
    chat_stream_request,
)
from lunos_core.errors import ErrorResponse
from lunos_core.transport.deadline import LAST_WORD, Deadline, watch, within
from lunos_core.transport.stream_call import is_streamed
from lunos_core.wire.scrub import add_facts
from tests.core.wire_samples import HELLO, Wire, delta, lines, raw, reply, stored

if TYPE_CHECKING:
    from tests.conftest import Both

SEND, STREAM = chat_request(HELLO, model="m"), chat_stream_request(HELLO, model="m")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_call_may_last_until_its_time_is_up_and_not_a_moment_longer() -> None:
    clock = Clock()
    deadline = Deadline(10.0, 100, clock)
    assert (deadline.limited, deadline.allows(0)) == (True, True)
    assert [deadline.allows(delay) for delay in (0, 9.9, 10)] == [True, True, False]
    assert [deadline.cap(given) for given in (None, 3.0, 30.0)] == [10.0, 3.0, 10.0]
    clock.now = 109.9
    deadline.check(0)
    clock.now = 110.0
    assert (deadline.allows(0), deadline.cap(None)) == (False, 0.001)
    with pytest.raises(LunosTimeoutError, match="longer than total_timeout=10 seconds"):
        deadline.check(0)


def test_without_limits_a_call_waits_as_long_as_the_server_asks() -> None:
    clock = Clock()
    deadline = Deadline(None, 100, clock)
    clock.now = 1e12
    deadline.check(1)
    assert (deadline.limited, deadline.allows(1e9)) == (False, True)
    assert [deadline.cap(given) for given in (None, 3.0)] == [None, 3.0]
    assert "no answer in time (ReadTimeout): raise timeout=" in str(
        deadline.timed_out("ReadTimeout")
    )


def test_an_answer_may_have_so_many_bytes_in_each_attempt() -> None:
    deadline = Deadline(None, 10, Clock())
    for _ in range(2):
        deadline.attempt()
        deadline.check(4)
        deadline.check(6)
        with pytest.raises(LunosResponseError, match="larger than 10 bytes"):
            deadline.check(1)


def test_an_open_stream_must_bring_an_event_in_time_and_comments_are_none() -> None:
    clock = Clock()
    deadline = Deadline(None, 100, clock)
    deadline.stream(5.0)
    assert (deadline.limited, deadline.cap(None), deadline.cap(2.0)) == (True, 5.0, 2.0)
    clock.now = 104.0
    deadline.check(1)  # a comment
    assert deadline.cap(None) == 1.0
    deadline.event(last=False)
    assert deadline.cap(None) == 5.0
    deadline.event(last=True)
    assert deadline.cap(None) == LAST_WORD
    clock.now += LAST_WORD
    with pytest.raises(LunosTimeoutError, match="no event for 5 seconds"):
        deadline.check(0)
    deadline.attempt()
    deadline.check(0)
    deadline.stream(None)
    assert deadline.cap(None) is None
    deadline.event(last=True)
    clock.now += LAST_WORD
    assert "no answer in time" in str(deadline.timed_out("no event"))


# --- uploads and reads of a sync call ------------------------------------------------------------


class Connection:
    """What httpcore opens, with notes of what it was told to do."""

    def __init__(self) -> None:
        self.written: list[tuple[int, float | None]] = []
        self.waited: list[float | None] = []

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self.waited.append(timeout)
        return b"a" * max_bytes

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.written.append((len(buffer), timeout))


def test_a_long_upload_looks_at_the_clock_between_its_pieces() -> None:
    connection, clock = Connection(), Clock()
    for _ in range(2):  # watched once, however often it is seen
        watch(connection)
    connection.write(b"b" * 40_000, 7.0)
    with within(Deadline(None, 100, clock)):
        connection.write(b"b" * 40_000, 7.0)
    with within(Deadline(5.0, 100, clock)):
        connection.write(b"b" * 40_000, 7.0)
        assert connection.read(3, 7.0) == b"aaa"
        clock.now += 5
        with pytest.raises(LunosTimeoutError):
            connection.write(b"b", 7.0)
        with pytest.raises(LunosTimeoutError):
            connection.read(3, 7.0)
    assert connection.written == [
        *[(40_000, 7.0)] * 2,
        *((16_384, 5.0), (16_384, 5.0), (7232, 5.0)),
    ]
    connection.read(3, 7.0)
    assert connection.waited == [5.0, 7.0]
    watch(object())  # what can't be changed is left alone


# --- what is a stream ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "is_one"),
    [
        *((200, "text/event-stream", True), (201, "", True), (299, "text/plain", True)),
        *((300, "", False), (199, "", False), (500, "text/event-stream", False)),
        *((200, "application/json", False), (200, "text/html; charset=utf-8", False)),
    ],
)
def test_a_success_is_read_as_a_stream_unless_it_is_marked_otherwise(
    status: int, kind: str, is_one: bool
) -> None:
    assert is_streamed(status, {"content-type": kind} if kind else {}) is is_one


async def test_an_error_event_under_a_wrong_content_type_is_raised_behind_what_came(
    both: Both,
) -> None:
    error = {"error": {"code": 503, "message": "Overloaded"}}
    for events, shown in (([error], []), ([delta("Hello"), error], ["Hello"])):
        wire = Wire(raw(lines(events), content_type="application/json"))
        came: list[str] = []

        async def read(wire: Wire = wire, came: list[str] = came) -> None:
            client = both.client(wire, max_retries=0)
            async for chunk in both.each(await both(client.stream(STREAM))):
                came.append(chunk.text)  # noqa: PERF401 - what came before the error counts

        with pytest.raises(LunosServerError, match="Overloaded"):
            await read()
        assert came == shown


async def test_an_answer_that_a_hook_of_the_users_has_read_is_read_all_the_same(both: Both) -> None:
    async def later(response: httpx.Response) -> None:
        await response.aread()

    hook = later if both.is_async else httpx.Response.read
    http = both.http_client(Wire(reply(stored("chat"))))
    http.event_hooks = {"response": [hook]}
    kind = AsyncClient if both.is_async else Client
    answer = await both(kind(Config(api_key="k"), http_client=http).send(SEND))
    assert answer.text == "Hello there"


async def test_a_slow_consumer_lets_a_megabyte_be_read_ahead_and_no_more() -> None:
    sent = 0
    piece = lines([delta("x" * 2**16)])

    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            nonlocal sent
            for _ in range(100):
                sent += 1
                yield piece
            yield lines([delta("", "stop"), "[DONE]"])

    def answer(request: httpx.Request) -> httpx.Response:
        head = {"content-type": "text/event-stream"}
        return httpx.Response(200, headers=head, stream=Endless())

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        opened = await AsyncClient(Config(api_key="k"), http_client=http).stream(STREAM)
        for _ in range(200):
            await asyncio.sleep(0)
        assert sent == math.ceil(2**20 / len(piece))
        assert len([chunk async for chunk in opened]) == 102
        assert sent == 100


def test_an_error_keeps_the_headers_that_it_knows_and_gets_the_answers_else() -> None:
    for own, shown in (({"a": "1"}, {"a": "1"}), ({}, {"b": "2", "x-request-id": "r"})):
        error = LunosServerError("No", status=500)
        if own:
            error.response = ErrorResponse(500, own)
        add_facts(
            error, method="POST", url="https://h/a?key=1", sent={"Own": "secret", "accept": "a"},
            status=503, received={"b": "2", "x-request-id": "r"}, secret=None,
        )  # fmt: skip
        assert error.response is not None
        assert (dict(error.headers), error.request_id, error.status) == (shown, "r", 500)
        assert error.request is not None
        assert "secret" not in repr(error.request)
        assert (error.request.method, error.request.url) == ("POST", "https://h/a")
