"""What is tried again, how often, after how long; and the fallback model."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lunos_core import (
    LunosAuthenticationError,
    LunosBadRequestError,
    LunosError,
    LunosPaymentError,
    LunosRateLimitError,
    LunosServerError,
    chat_request,
    chat_stream_request,
    embedding_request,
)
from lunos_core.transport.retry import is_retried_status, retry_delay
from lunos_core.wire.error_bodies import retry_after_seconds
from tests.core.wire_samples import HELLO, Wire, delta, reply, stored, stream

if TYPE_CHECKING:
    from tests.conftest import Both

SEND = chat_request(HELLO, model="m")
STREAM = chat_stream_request(HELLO, model="m")
GOOD_STREAM = stream([delta("Hello there", "stop"), "[DONE]"])
NOW = datetime(2025, 1, 1, 12, 0, tzinfo=UTC)


def good(request: Any) -> Any:
    return GOOD_STREAM if isinstance(request, type(STREAM)) else reply(stored("chat"))


def no(status: int, **headers: str) -> Any:
    return reply({"error": {"message": "No"}}, status, **{"retry_after_ms": "1", **headers})


async def run(both: Both, wire: Wire, request: Any, **settings: Any) -> Any:
    client = both.client(wire, **settings)
    if isinstance(request, type(STREAM)):
        return (await both.chunks(client, request))[-1].last
    return await both(client.send(request))


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
@pytest.mark.parametrize("request_", [SEND, STREAM])
async def test_a_passing_failure_is_tried_again(both: Both, request_: Any, status: int) -> None:
    wire = Wire(no(status), no(status), good(request_))
    answer = await run(both, wire, request_)
    assert (answer.text, answer.attempts) == ("Hello there", 3)
    assert len({request.content for request in wire.requests}) == 1


@pytest.mark.parametrize("status", [300, 301, 400, 401, 402, 403, 404, 413, 422])
@pytest.mark.parametrize("request_", [SEND, STREAM])
async def test_a_lasting_failure_is_not_retried(both: Both, request_: Any, status: int) -> None:
    wire = Wire(no(status), good(request_))
    with pytest.raises(LunosError) as caught:
        await run(both, wire, request_)
    assert (len(wire.requests), caught.value.attempts) == (1, 1)


@pytest.mark.parametrize("request_", [SEND, STREAM])
async def test_an_answer_elsewhere_is_not_read_here(both: Both, request_: Any) -> None:
    wire = Wire(lambda: httpx.Response(300, content=good(request_)().read()))
    with pytest.raises(LunosError) as caught:
        await run(both, wire, request_)
    assert caught.value.status == 300


@pytest.mark.parametrize("status", [201, 206, 299])
@pytest.mark.parametrize("request_", [SEND, STREAM])
async def test_every_status_of_success_is_an_answer(both: Both, request_: Any, status: int) -> None:
    kind = {"content-type": "text/event-stream"} if request_ is STREAM else {}
    body = good(request_)().read()
    wire = Wire(lambda: httpx.Response(status, headers=kind, content=body))
    assert (await run(both, wire, request_)).text == "Hello there"


@pytest.mark.parametrize("retries", [0, 1, 3])
@pytest.mark.parametrize("request_", [SEND, STREAM])
async def test_max_retries_counts_retries(both: Both, request_: Any, retries: int) -> None:
    wire = Wire(no(500))
    with pytest.raises(LunosServerError) as caught:
        await run(both, wire, request_, max_retries=retries)
    assert (len(wire.requests), caught.value.attempts) == (retries + 1,) * 2


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after": format_datetime(NOW + timedelta(seconds=30), usegmt=True)}, 30.0),
        ({"retry-after": format_datetime(NOW - timedelta(days=1), usegmt=True)}, 0.0),
        ({"retry-after": "Wed, 01 Jan 2025 12:00:09 -0000"}, 9.0),
        ({"retry-after": "999999999"}, 999999999.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_each_of_its_forms(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after_seconds(headers, now=NOW) == seconds


@given(st.text(max_size=40) | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+.*"))
def test_no_retry_after_is_so_odd_that_reading_it_fails(text: str) -> None:
    seconds = retry_after_seconds({"retry-after": text, "retry-after-ms": text}, now=NOW)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize(
    ("attempt", "asked", "jitter", "delay"),
    [
        (1, None, 1.0, 0.5),
        (2, None, 1.0, 1.0),
        (3, None, 1.0, 2.0),
        (5, None, 1.0, 8.0),
        (9999, None, 1.0, 8.0),
        (3, None, 0.25, 0.5),
        (1, None, 0.0, 0.0),
        (1, 0.0, 1.0, 0.0),
        (4, 3.0, 0.1, 3.0),
        (1, 60.0, 1.0, 60.0),
        (1, 3600.0, 1.0, 0.5),  # an absurd wish is not believed
    ],
)
def test_the_wait_doubles_and_the_servers_wish_goes_before(
    attempt: int, asked: float | None, jitter: float, delay: float
) -> None:
    assert retry_delay(attempt=attempt, retry_after=asked, jitter=jitter) == delay


def test_every_status_is_either_tried_again_or_not() -> None:
    tried = {status for status in range(200, 600) if is_retried_status(status)}
    assert tried == {408, 409, 425, 429, *range(500, 600)}


@pytest.mark.parametrize(
    ("headers", "waited"),
    [
        ({"retry_after": "3"}, 3.0),
        ({"retry_after_ms": "1500"}, 1.5),
        ({"retry_after": "86400"}, 0.25),
        ({"retry_after": "Wed, 01 Jan 2020 00:00:00 GMT"}, 0.0),
        ({}, 0.25),
    ],
)
async def test_the_client_waits_as_long_as_was_decided(
    both: Both, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], waited: float
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("lunos_core.transport.call.random.random", lambda: 0.5)
    # the names in that one module: the gateway's thread sleeps too
    names = SimpleNamespace(sleep=sleep, get_running_loop=asyncio.get_running_loop)
    monkeypatch.setattr("lunos_core.transport.client.asyncio", names)
    monkeypatch.setattr("lunos_core.transport.client.time", SimpleNamespace(sleep=waits.append))
    failing = reply({"error": {"message": "No"}}, 429, **headers)
    for request in (SEND, STREAM):
        await run(both, Wire(failing, good(request)), request)
    assert waits == [waited] * 2


async def test_the_servers_wish_is_in_the_error(both: Both) -> None:
    with pytest.raises(LunosRateLimitError) as caught:
        await run(both, Wire(no(429, retry_after_ms="86400000")), SEND, max_retries=0)
    assert caught.value.retry_after == 86400.0


# --- fallback_model ------------------------------------------------------------------------------

FALL = {"model": "m", "fallback_model": "other", "app_id": "app"}


@pytest.mark.parametrize("make", [chat_request, chat_stream_request])
@pytest.mark.parametrize("status", [400, 403, 404, 422, 500])
async def test_the_fallback_model_is_asked_when_the_first_fails_for_good(
    both: Both, make: Any, status: int
) -> None:
    request = make(HELLO, **FALL, temperature=1)
    wire = Wire(no(status), good(request))
    answer = await run(both, wire, request, max_retries=0)
    first, second = wire.bodies
    assert first["fallback_model"] == "other"
    del first["fallback_model"]
    assert second == {**first, "model": "other"}
    assert [request.headers["x-app-id"] for request in wire.requests] == ["app", "app"]
    assert (answer.text, answer.fallback, answer.attempts) == ("Hello there", True, 2)


@pytest.mark.parametrize("make", [chat_request, chat_stream_request])
async def test_the_fallback_model_comes_after_all_retries_and_is_asked_once(
    both: Both, make: Any
) -> None:
    wire = Wire(no(500))
    with pytest.raises(LunosServerError) as caught:
        await run(both, wire, make(HELLO, **FALL), max_retries=2)
    assert [body["model"] for body in wire.bodies] == ["m", "m", "m", "other"]
    assert (caught.value.model, caught.value.attempts) == ("other", 4)
    assert "fallback_model" in caught.value.__notes__[0]
    assert "model m" in caught.value.__notes__[0]


@pytest.mark.parametrize("make", [chat_request, chat_stream_request])
@pytest.mark.parametrize(
    ("status", "kind"), [(401, LunosAuthenticationError), (402, LunosPaymentError)]
)
async def test_the_fallback_model_is_not_asked_where_the_account_is_the_trouble(
    both: Both, make: Any, status: int, kind: type[LunosError]
) -> None:
    wire = Wire(no(status))
    with pytest.raises(kind):
        await run(both, wire, make(HELLO, **FALL))
    assert len(wire.requests) == 1


async def test_the_fallback_model_has_no_retries_of_its_own(both: Both) -> None:
    wire = Wire(no(400), no(500))
    with pytest.raises(LunosServerError):
        await run(both, wire, chat_request(HELLO, **FALL), max_retries=2)
    assert [body["model"] for body in wire.bodies] == ["m", "other"]


async def test_the_fallback_model_is_not_asked_when_no_server_answers(both: Both) -> None:
    wire = Wire(httpx.ConnectError("refused"))
    with pytest.raises(LunosError):
        await run(both, wire, chat_request(HELLO, **FALL), max_retries=0)
    assert len(wire.requests) == 1


async def test_the_fallback_model_is_not_asked_after_the_first_event(both: Both) -> None:
    error = {"error": {"code": 500, "message": "No"}}
    wire = Wire(stream([delta("Hello"), error]), GOOD_STREAM)
    with pytest.raises(LunosServerError):
        await run(both, wire, chat_stream_request(HELLO, **FALL))
    assert len(wire.requests) == 1


async def test_the_fallback_model_is_asked_when_a_stream_holds_nothing(both: Both) -> None:
    wire = Wire(stream([": keep-alive"]), GOOD_STREAM)
    answer = await run(both, wire, chat_stream_request(HELLO, **FALL))
    assert (answer.fallback, [body["model"] for body in wire.bodies]) == (True, ["m", "other"])


def test_a_fallback_model_is_checked_before_anything_is_sent() -> None:
    for make, content in ((chat_request, HELLO), (embedding_request, "a")):
        with pytest.raises(TypeError, match="fallback_model"):
            make(content, model="m", fallback_model=5)
        with pytest.raises(ValueError, match="fallback_model"):
            make(content, model="m", fallback_model="")


async def test_without_a_fallback_model_a_failure_is_final(both: Both) -> None:
    wire = Wire(no(400), good(SEND))
    with pytest.raises(LunosBadRequestError):
        await run(both, wire, SEND)
    assert len(wire.requests) == 1


@pytest.mark.parametrize("request_", [SEND, STREAM])
async def test_an_observer_hears_of_each_retry_and_may_delay_it(
    both: Both, request_: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[type[LunosError], float]] = []

    class Pace:
        def __call__(self, call: Any) -> None: ...

        def attempt_failed(self, error: LunosError, delay: float) -> float:
            heard.append((type(error), delay))
            return 0.05 if len(heard) == 1 else 0.0

    class Broken(Pace):
        def attempt_failed(self, error: LunosError, delay: float) -> float:
            raise RuntimeError("the disk is full")

    waited: list[float] = []
    monkeypatch.setattr(
        "lunos_core.transport.call._log.info", lambda _, *facts: waited.append(facts[1])
    )
    wire = Wire(no(429), no(503), good(request_))
    answer = await run(both, wire, request_, observers=[Broken(), Pace()])
    assert answer.text == "Hello there"
    assert heard == [(LunosRateLimitError, 0.001), (LunosServerError, 0.001)]
    assert waited == [0.05, 0.001]  # the longer of both
