"""Limits, failures and metrics of a call: the exact numbers and texts."""

from __future__ import annotations

import gzip
import re
import sys
from collections.abc import Generator
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from lunos_core import (
    CallRecord,
    Config,
    LunosConfigError,
    LunosConnectionError,
    LunosError,
    LunosResponseError,
    LunosServerError,
    LunosTimeoutError,
    Usage,
    chat_request,
    chat_stream_request,
)
from lunos_core.errors import ErrorResponse
from lunos_core.transport import call, telemetry
from lunos_core.transport.deadline import Deadline
from lunos_core.transport.httpx_errors import translate_error, unusable
from lunos_core.transport.httpx_messages import (
    build_request,
    headers_of,
    is_stale,
    note_reads,
    pieces,
)
from lunos_core.transport.stream_call import (
    is_streamed,
    refuses_stream_options,
    without_stream_options,
)
from lunos_core.wire.scrub import add_facts
from tests.core.wire_samples import HELLO, Wire, delta, reply, stored, stream

if TYPE_CHECKING:
    from tests.conftest import Both


def test_the_time_of_a_call_ends_at_its_limit_and_not_after() -> None:
    now = [100.0]
    deadline = Deadline(10, 1000, clock=lambda: now[0])
    assert deadline.limited
    now[0] = 109.5
    assert [deadline.allows(delay) for delay in (0, 0.25, 0.5)] == [True, True, False]
    deadline.check(1)
    assert (deadline.left(None), deadline.left(0.25), deadline.left(3)) == (0.5, 0.25, 0.5)
    assert deadline.cap(3) == 0.5
    now[0] = 110.0
    assert (deadline.allows(0), deadline.cap(None)) == (False, 0.001)
    text = r"^the call took longer than total_timeout=10 seconds allows$"
    with pytest.raises(LunosTimeoutError, match=text):
        deadline.check(1)
    with pytest.raises(LunosTimeoutError, match=text):
        deadline.left(3)


def test_without_a_limit_the_timeouts_are_httpxs() -> None:
    deadline = Deadline(None, 1000)
    assert not deadline.limited
    assert deadline.allows(1e9)
    assert [(deadline.cap(given), deadline.left(given)) for given in (3, None)] == [
        (3, 3),
        (None, None),
    ]
    assert str(deadline.timed_out("ReadTimeout")) == (
        "no answer in time (ReadTimeout): raise timeout= to wait longer"
    )


def test_an_open_stream_brings_an_event_in_time() -> None:
    now = [100.0]
    deadline = Deadline(None, 1000, clock=lambda: now[0])
    deadline.stream(None)
    assert deadline.limited
    assert deadline.cap(7) == 7
    deadline.stream(3)
    now[0] = 102.0
    deadline.check(5)  # a comment: no event
    assert deadline.left(7) == 1
    deadline.event(last=False)
    assert deadline.left(7) == 3
    now[0] = 105.0
    text = (
        "^the open stream brought no event for 3 seconds: raise timeout= or stream_idle_timeout= "
        "to wait longer$"
    )
    with pytest.raises(LunosTimeoutError, match=text):
        deadline.left(7)
    with pytest.raises(LunosTimeoutError, match=text):
        deadline.check(5)
    deadline.event(last=False)
    deadline.event(last=True)
    assert deadline.cap(7) == 0.25
    deadline.attempt()
    assert deadline.cap(7) == 7
    deadline.event(last=False)
    assert deadline.cap(7) == 7  # no stream is open


def test_an_answer_may_have_its_limit_of_bytes_and_no_more() -> None:
    deadline = Deadline(None, 10)
    deadline.check(4)
    deadline.check(6)
    with pytest.raises(LunosResponseError) as refused:
        deadline.check(1)
    assert refused.value.message == (
        "the answer is larger than 10 bytes: raise max_response_bytes= to take it"
    )
    deadline.attempt()
    deadline.check(10)


CONNECTION = "the connection failed ({}): {}"
TRUST = (
    "; if you trust who signed the certificate, set SSL_CERT_FILE to that authority's file, or "
    "pass an http_client with verify=… of its own"
)
RENEW = "; the server must renew its certificate, unless this machine's clock is wrong"
OTHER = "; is base_url right? The certificate is another host's"
UNREACHED = "; is base_url right, and is its server running?"
VERIFY = "CERTIFICATE_VERIFY_FAILED"


@pytest.mark.parametrize(
    ("failure", "kind", "text", "retried"),
    [
        *(
            (kind(""), LunosConnectionError, CONNECTION.format(kind.__name__, "no reason given"), 1)
            for kind in (httpx.ReadError, httpx.WriteError)
        ),
        (
            httpx.ConnectError(""),
            LunosConnectionError,
            CONNECTION.format("ConnectError", "no reason given") + UNREACHED,
            1,
        ),
        (
            httpx.RemoteProtocolError("cut"),
            LunosConnectionError,
            CONNECTION.format("RemoteProtocolError", "cut"),
            1,
        ),
        (
            httpx.UnsupportedProtocol("ftp"),
            LunosConnectionError,
            CONNECTION.format("UnsupportedProtocol", "ftp"),
            0,
        ),
        *(
            (
                kind("late"),
                LunosTimeoutError,
                f"no answer in time ({kind.__name__}): raise timeout= to wait longer",
                retried,
            )
            for kind, retried in (
                (httpx.ConnectTimeout, 1),
                (httpx.PoolTimeout, 1),
                (httpx.ReadTimeout, 2),
                (httpx.WriteTimeout, 2),
            )
        ),
        (
            httpx.DecodingError("bad gzip"),
            LunosResponseError,
            "the answer could not be read (DecodingError): bad gzip",
            0,
        ),
        (
            httpx.StreamConsumed(),
            LunosResponseError,
            f"the answer could not be read (StreamConsumed): {httpx.StreamConsumed()}",
            0,
        ),
        *(
            (
                httpx.ConnectError(reason),
                LunosConnectionError,
                CONNECTION.format("ConnectError", reason + (remedy or UNREACHED)),
                0 if remedy else 1,
            )
            for reason, remedy in (
                (f"{VERIFY}: self-signed", TRUST),
                (f"{VERIFY}: certificate has expired", RENEW),
                (f"{VERIFY}: certificate is not yet valid", RENEW),
                (f"{VERIFY}: Hostname mismatch", OTHER),
                (f"{VERIFY}: certificate is not valid for 'x'", OTHER),
                ("hostname mismatch", OTHER),
                ("the offer has expired", ""),
                ("no route to 10.0.0.1:407", ""),
                ("port 4071", ""),
            )
        ),
    ],
)
def test_a_failure_of_httpx_is_this_packages_error(
    failure: Exception, kind: type[Exception], text: str, retried: int
) -> None:
    """`retried` is 1 for always, 2 where the user wants timeouts retried, 0 for never."""
    for wanted in (False, True):
        call: Any = SimpleNamespace(deadline=Deadline(None, 1), retry_on_timeout=wanted)
        error, again = translate_error(failure, call)
        assert (type(error), error.message, error.__cause__) == (kind, text, failure)
        assert again == (retried == 1 or (retried == 2 and wanted))


def test_a_proxy_that_asks_for_a_password_is_not_retried() -> None:
    call: Any = SimpleNamespace(deadline=Deadline(None, 1), retry_on_timeout=True)
    error, again = translate_error(httpx.ProxyError("407 Proxy Authentication Required"), call)
    assert (error.message.count("; "), again) == (1, False)


@pytest.mark.parametrize("wanted", [False, True])
def test_an_error_of_ours_stays_and_a_timeout_is_retried_as_the_user_wants(wanted: bool) -> None:
    call: Any = SimpleNamespace(retry_on_timeout=wanted)
    for error, again in ((LunosTimeoutError("late"), wanted), (LunosServerError("no"), False)):
        assert translate_error(error, call) == (error, again)


@pytest.mark.parametrize(
    ("closed", "reason", "text"),
    [
        (
            True,
            "Event loop is closed",
            "the HTTP client is closed: a client of your own must stay open as long as it is used",
        ),
        (
            False,
            "Event loop is closed",
            "the HTTP client belongs to another event loop (Event loop is closed): an "
            "httpx.AsyncClient of your own serves one loop; leave it out to use several",
        ),
        (False, "something else", None),
    ],
)
def test_a_client_that_cannot_be_used_is_explained(
    closed: bool, reason: str, text: str | None
) -> None:
    failure, http = RuntimeError(reason), httpx.Client()
    if closed:
        http.close()
    error = unusable(http, failure)
    if text is None:
        assert error is failure
    else:
        assert (type(error), str(error)) == (LunosConfigError, text)


def test_an_error_has_the_facts_of_its_call_and_keeps_its_own() -> None:
    def facts_of(error: LunosServerError, status: int | None) -> LunosServerError:
        add_facts(
            error,
            method="POST",
            url="http://x/v1/y?key=secret",
            sent={"accept": "a", "authorization": "Bearer secret", "x-app-id": "app", "x-b": "b"},
            status=status,
            received={"x-request-id": "r-1", "date": "today"},
            secret="secret",
        )
        return error

    plain = facts_of(LunosServerError("the secret is out"), 500)
    assert plain.request is not None
    assert (plain.request.method, plain.request.url) == ("POST", "http://x/v1/y")
    assert {k: re.sub(r"\*+", "*", v) for k, v in plain.request.headers.items()} == {
        "accept": "a",
        "authorization": "*",
        "x-app-id": "app",
        "x-b": "*",
    }
    assert (plain.status, plain.request_id) == (500, "r-1")
    assert plain.headers == {"x-request-id": "r-1", "date": "today"}
    assert "secret" not in str(plain)
    own = LunosServerError("no", status=503, request_id="r-0")
    own.response = ErrorResponse(503, {"own": "1"}, "text")
    facts_of(own, 500)
    assert (own.status, own.request_id, own.headers, own.response.text) == (
        *(503, "r-0"),
        {"own": "1"},
        "text",
    )
    assert facts_of(LunosServerError("no"), None).response is None


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (LunosServerError("stream_options is unknown", status=400), True),
        (LunosServerError("no", status=422, param="stream_options"), True),
        (LunosServerError("no", status=400, code="bad_include_usage"), True),
        (
            LunosServerError("no", status=400, response=ErrorResponse(400, {}, "include_usage")),
            True,
        ),
        (LunosServerError("no", status=400), False),
        (LunosServerError("stream_options", status=401), False),
        (LunosServerError("stream_options", status=500), False),
        (LunosServerError("stream_options"), False),
    ],
)
def test_a_refusal_of_stream_options_is_recognised(error: LunosServerError, refused: bool) -> None:
    assert refuses_stream_options(error) is refused


@pytest.mark.parametrize(
    ("body", "left"),
    [
        (b'{"a":1,"stream_options":{}}', b'{"a":1}'),
        (b'{"a":"stream_options"}', None),
        (b'["stream_options"]', None),
        (b'{"a":1}', None),
    ],
)
def test_a_request_is_repeated_without_them(body: bytes, left: bytes | None) -> None:
    request = replace(chat_stream_request(HELLO, model="m"), body=body)
    again = without_stream_options(request)
    assert (None if again is None else again.body) == left


class _Meter:
    """A meter provider, meter and histogram that notes what it is asked."""

    def __init__(self) -> None:
        self.made: list[Any] = []
        self.recorded: list[Any] = []

    def get_meter(self, name: str) -> _Meter:
        self.made.append(name)
        return self

    def create_histogram(self, name: str, *facts: Any, **more: Any) -> Any:
        self.made.append((name, *facts, more.get("explicit_bucket_boundaries_advisory")))
        return SimpleNamespace(
            record=lambda value, attributes: self.recorded.append(
                (name.rpartition(".")[2], value, attributes.get("gen_ai.token.type"))
            )
        )


def test_each_histogram_has_the_conventions_name_unit_and_buckets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    meter = _Meter()
    api = SimpleNamespace(get_meter_provider=lambda: meter)
    monkeypatch.setitem(sys.modules, "opentelemetry.metrics", api)
    request = chat_request(HELLO, model="m")
    (observe,) = telemetry.metric_observers(request, Config(api_key="k"))
    seconds = tuple(round(0.01 * 2**power, 2) for power in range(14))
    operation = "gen_ai.client.operation."
    assert meter.made == [
        "lunos_core",
        (operation + "duration", "s", "GenAI operation duration.", seconds),
        (
            "gen_ai.client.token.usage",
            "{token}",
            "Number of input and output tokens used.",
            tuple(4**power for power in range(14)),
        ),
        (operation + "time_to_first_chunk", "s", "Time to receive the first chunk.", seconds),
        (
            operation + "time_per_output_chunk",
            "s",
            "Time per output chunk after the first.",
            seconds,
        ),
    ]
    call = CallRecord(None, "m", "/embeddings", 1, 0.5, None, Usage(9, 0, 9), None)
    observe(call)
    expected: list[Any] = [("duration", 0.5, None), ("usage", 9, "input")]
    assert meter.recorded == expected
    observe(call._replace(endpoint="/chat/completions", first_token_seconds=0.1))
    observe(call._replace(usage=Usage(0, 2, 2), chunk_seconds=(0.2, 0.3)))
    observe(call._replace(usage=None))
    assert meter.recorded[2:] == [
        *(("duration", 0.5, None), ("time_to_first_chunk", 0.1, None)),
        *(("usage", 9, "input"), ("usage", 0, "output"), ("duration", 0.5, None)),
        *(("time_per_output_chunk", 0.2, None), ("time_per_output_chunk", 0.3, None)),
        *(("usage", 0, "input"), ("usage", 2, "output"), ("duration", 0.5, None)),
    ]
    assert telemetry.metric_observers(request, Config(api_key="k", tracing=False)) == ()
    assert len(meter.made) == 5, "made once"


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [("POST", b"ab", "2"), ("POST", b"", "0"), ("GET", b"", None), ("DELETE", b"", "0")],
)
def test_a_request_has_the_length_of_its_body(method: str, body: bytes, length: str | None) -> None:
    sent = SimpleNamespace(method=method, body=body)
    call: Any = SimpleNamespace(
        timeout=3.0,
        deadline=Deadline(None, 1),
        request=sent,
        url="http://x:8/v1/y",
        headers={"accept": "a"},
    )
    place: Any = SimpleNamespace(http=httpx.Client(), headers={"connection": "keep-alive"})
    request = build_request(place, call)
    assert request.headers.get("content-length") == length
    assert [request.headers[name] for name in ("host", "connection", "accept")] == [
        *("x:8", "keep-alive", "a"),
    ]
    seconds: Any = {"connect": 3.0, "read": 3.0, "write": 3.0, "pool": None}
    assert request.extensions == {"timeout": seconds}
    call.deadline = Deadline(2, 1, clock=lambda: 0.0)
    call.timeout = httpx.Timeout(connect=1.0, read=5.0, write=None, pool=None)
    place.headers = None  # a client of the user's
    request = build_request(place, call, print)
    seconds = {"connect": 1.0, "read": 2.0, "write": 2.0, "pool": 2.0}
    assert request.extensions == {"timeout": seconds, "trace": print}


class _Wire:
    """httpcore's async connection as far as its reads and writes are noted."""

    def read(self) -> str:
        return "read"

    def write(self) -> str:
        return "written"


def test_an_answer_that_was_read_before_its_request_was_written_is_stale() -> None:
    def stale(connection: Any, version: Any = b"HTTP/1.1") -> bool:
        extensions = {"network_stream": connection, "http_version": version}
        return is_stale(httpx.Response(200, extensions=extensions), note_reads)

    wire: Any = _Wire()
    assert not stale(wire, b"HTTP/2")
    assert "was_read" not in vars(wire)
    assert not stale(wire), "the first answer of a connection"
    assert wire.was_read
    assert not stale(wire)
    assert (wire.write(), wire.was_read) == ("written", False)
    assert stale(wire)
    assert stale(wire, b"HTTP/1.0")
    assert (wire.read(), wire.was_read) == ("read", True)
    assert not stale(wire)
    assert not stale(object())
    assert not stale(None)
    odd: Any = SimpleNamespace()
    assert not stale(odd)
    assert not vars(odd)


def test_a_body_is_read_as_it_is_where_nothing_packs_it() -> None:
    plain = httpx.Response(200, content=b"abc")
    assert b"".join(pieces(plain)) == b"abc"
    packed = httpx.Response(
        200, headers={"content-encoding": "gzip"}, content=gzip.compress(b"abc")
    )
    assert b"".join(pieces(packed)) == b"abc"
    read_by_a_hook = httpx.Response(200, content=iter([b"a", b"bc"]))
    read_by_a_hook.read()
    assert b"".join(pieces(read_by_a_hook)) == b"abc"
    assert headers_of(httpx.Response(200, headers={"A-B": "c"})) == {"a-b": "c"}


def test_an_answer_is_streamed_unless_it_failed_or_is_marked_as_whole() -> None:
    told = {
        (status, kind): is_streamed(status, {} if kind is None else {"content-type": kind})
        for status in (199, 200, 299, 300)
        for kind in ("text/event-stream", None, "application/json", "text/html; charset=x")
    }
    assert {key for key, streamed in told.items() if streamed} == {
        *((200, "text/event-stream"), (200, None), (299, "text/event-stream"), (299, None))
    }


@pytest.mark.parametrize(("took", "requests"), [(5.0, 1), (4.5, 2)])
async def test_a_fallback_model_is_not_asked_when_the_time_of_the_call_is_over(
    both: Both, monkeypatch: pytest.MonkeyPatch, took: float, requests: int
) -> None:
    now = 100.0

    def answer() -> httpx.Response:
        nonlocal now
        now += took
        return httpx.Response(500, json={"error": {"message": "no"}})

    monkeypatch.setattr(call, "Deadline", partial(Deadline, clock=lambda: now))
    wire = Wire(answer, answer)
    client = both.client(wire, total_timeout=5.0, max_retries=0)
    with pytest.raises(LunosError):
        await both(client.send(chat_request(HELLO, model="m", fallback_model="other")))
    assert len(wire.requests) == requests


@pytest.mark.parametrize("request_", [chat_request, chat_stream_request])
async def test_the_time_of_a_call_begins_when_budgets_and_limits_have_allowed_it(
    both: Both, monkeypatch: pytest.MonkeyPatch, request_: Any
) -> None:
    now = 100.0

    class Waits:
        """A limit that has room after ten seconds."""

        def __call__(self, record: CallRecord) -> None:
            assert record.error is None

        def open_call(self, start: Any) -> Generator[float, None, Any]:
            nonlocal now
            now += 10.0
            yield 0.0
            return self

    monkeypatch.setattr(call, "Deadline", partial(Deadline, clock=lambda: now))
    events = stream([delta("Hi", "stop"), "[DONE]"])
    wire = Wire(events if request_ is chat_stream_request else reply(stored("chat")))
    client = both.client(wire, total_timeout=5.0, max_retries=0, observers=[Waits()])
    request = request_(HELLO, model="m")
    if request_ is chat_stream_request:
        assert (await both.chunks(client, request))[-1].last.text == "Hi"
    else:
        assert (await both(client.send(request))).text == "Hello there"
    assert len(wire.requests) == 1
