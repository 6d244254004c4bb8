"""The faults of docs/faults.md, each as what a real socket does; the tests here run every row."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import trustme

from tests.core.raw_server import CLOSE, RESET, STALL, RawServer, chunk, head, http, sse_head
from tests.core.wire_samples import delta, lines, stored

Steps = Any

CHAT = json.dumps(stored("chat")).encode()  # says "Hello there"
EVENT = chunk(lines([delta("Hello")]))
SSE = "text/event-stream"
HTML = b"<html><h1>Bad gateway</h1></html>"
NOW = {"retry_after_ms": "1"}
YES, NO, CHOSEN = "yes", "no", "as `retry_on_timeout` says"


@dataclass(frozen=True)
class Fault:
    """One row.

    Attributes:
        name: as the page has it.
        error: the class of the error; `None` where the answer is read all the same.
        retried: whether the request is retried.
        whole: what the server plays for a call with one answer; `None` for none such.
        streamed: the same for a stream.
        streamed_error: where a stream fails with another class.
        partial: whether a stream's error holds what had come.
        status: of the error.
        settings: of the client.
        place: what to speak to: a raw server, or something worse.
    """

    name: str
    error: str | None
    retried: str
    whole: Steps = None
    streamed: Steps = None
    streamed_error: str | None = None
    partial: bool = False
    status: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    place: str = "server"

    def error_of(self, streamed: bool) -> str | None:
        return (streamed and self.streamed_error) or self.error

    @property
    def requests(self) -> int:
        """Made with `max_retries=1`."""
        return 2 if self.retried == YES else 1


class _Comments(list[Any]):
    """A stream of comments that never ends by itself."""

    def __iter__(self) -> Iterator[Any]:
        yield sse_head() + EVENT
        for _ in range(100):
            time.sleep(0.02)
            yield chunk(b": keep-alive\n\n")


def both(steps: Steps) -> dict[str, Steps]:
    return {"whole": steps, "streamed": steps}


def events(*all_of_them: Any, end: Any = None) -> Steps:
    return [sse_head() + chunk(lines(list(all_of_them))), chunk(b"") if end is None else end]


def _status(code: int, error: str, body: bytes = HTML, kind: str = "text/html") -> Fault:
    steps = http(code, body, kind, **NOW)
    return Fault(f"status {code}", error, YES, **both(steps), status=code)


def _wait(name: str, **headers: str) -> Fault:
    body = b'{"error":{"message":"Slow down"}}'
    steps = http(429, body, **headers)
    return Fault(f"429, {name}", "LunosRateLimitError", YES, **both(steps), status=429)


def _plain(name: str, body: bytes, error: str = "LunosResponseError", **more: Any) -> Fault:
    return Fault(name, error, NO, **both(http(body=body)), **more)


DEEP = b'{"choices":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
OVERLOADED = {"error": {"message": "Later", "code": "overloaded_error"}}
REFUSED = {"error": {"message": "No", "code": "invalid_request_error"}}
GZ = {"content_encoding": "gzip"}
MB = 1024 * 1024
COMMENT = b":" + b" " * MB + b"\n"
WHOLE = lines([delta("Hello there", "stop"), "[DONE]"])
INTERRUPTED = "LunosStreamInterruptedError"

FAULTS = [
    Fault("connection refused", "LunosConnectionError", YES, place="refused", **both([])),
    Fault("host name unknown", "LunosConnectionError", YES, place="unknown", **both([])),
    Fault("TLS failure", "LunosConnectionError", YES, place="no tls", **both([])),
    Fault("untrusted certificate", "LunosConnectionError", NO, place="untrusted", **both([])),
    Fault(
        "connect timeout",
        "LunosTimeoutError",
        YES,
        place="mute tls",
        settings={"timeout": 0.2},
        **both([STALL]),
    ),
    Fault("closed before the response", "LunosConnectionError", YES, **both([CLOSE])),
    Fault("reset before the response", "LunosConnectionError", YES, **both([RESET])),
    Fault(
        "closed in the response headers", "LunosConnectionError", YES, **both([head()[:9], CLOSE])
    ),
    Fault(
        "not HTTP at all", "LunosConnectionError", YES, **both([b"SSH-2.0-OpenSSH_9.6\r\n", CLOSE])
    ),
    Fault(
        "closed in the response body",
        "LunosConnectionError",
        YES,
        whole=[head(content_length="1000") + CHAT[:20], CLOSE],
        status=200,
    ),
    Fault(
        "read timeout",
        "LunosTimeoutError",
        CHOSEN,
        settings={"timeout": httpx.Timeout(30, read=0.2)},
        **both([STALL]),
    ),
    Fault(
        "total timeout",
        "LunosTimeoutError",
        NO,
        settings={"total_timeout": 0.2, "retry_on_timeout": True},
        **both([STALL]),
    ),
    _status(408, "LunosServerError"),
    _status(409, "LunosConflictError"),
    _status(425, "LunosServerError"),
    *[_status(code, "LunosServerError") for code in (500, 501, 502, 503, 504)],
    _wait("`Retry-After` in seconds", retry_after="0"),
    _wait("`Retry-After` as a fraction", retry_after="0.001"),
    _wait("`Retry-After` as a date", retry_after="Wed, 01 Jan 2020 00:00:00 GMT"),
    _wait("`retry-after-ms`", retry_after_ms="1"),
    _wait("`Retry-After` beyond a minute", retry_after="86400"),
    _wait("absurd `Retry-After`", retry_after="-1e400 parsecs", retry_after_ms="NaN"),
    _plain("200 with a final error", json.dumps(REFUSED).encode(), "LunosBadRequestError"),
    Fault(
        "200 with a temporary error",
        "LunosServerError",
        YES,
        **both(http(body=json.dumps(OVERLOADED).encode())),
    ),
    Fault("200 with HTML", "LunosResponseError", NO, **both(http(200, HTML, "text/html"))),
    _plain("empty body", b"", streamed_error=INTERRUPTED),
    Fault(
        "truncated JSON",
        "LunosResponseError",
        NO,
        whole=http(body=CHAT[:-20]),
        streamed=events('{"choices":[{"in'),
    ),
    _plain("JSON nested 10,000 deep", DEEP),
    Fault(
        "invalid UTF-8",
        None,  # what cannot be read becomes U+FFFD: the rest of the answer was paid for
        NO,
        whole=http(body=CHAT.replace(b"gen-1", b"\xff\xfe")),
        streamed=[sse_head() + chunk(WHOLE.replace(b"gen-1", b"\xff\xfe")), chunk(b"")],
    ),
    Fault(
        "wrong content type",
        None,
        NO,
        whole=http(200, CHAT, "text/plain"),
        streamed=http(200, WHOLE, "text/plain"),
    ),
    Fault(
        "gzip",
        None,
        NO,
        whole=http(body=gzip.compress(CHAT), **GZ),
        streamed=http(200, gzip.compress(WHOLE), SSE, **GZ),
    ),
    Fault(
        "broken gzip",
        "LunosResponseError",
        NO,
        whole=http(body=b"no gzip at all", **GZ),
        streamed=http(200, b"no gzip at all", SSE, **GZ),
        status=200,
    ),
    Fault(
        "a 100 MB response",
        None,
        NO,
        whole=[head(content_length=str(len(CHAT) + 100 * MB)), *[b" " * MB] * 100, CHAT],
        streamed=[sse_head(), *[chunk(COMMENT)] * 100, chunk(WHOLE), chunk(b"")],
    ),
    Fault(
        "gzip that unpacks to 100 MB, with `max_response_bytes` at 1 MB",
        "LunosResponseError",
        NO,
        whole=http(body=gzip.compress(b" " * 100 * MB + CHAT), **GZ),
        streamed=http(200, gzip.compress(COMMENT * 100 + WHOLE), SSE, **GZ),
        settings={"max_response_bytes": MB},
        status=200,
    ),
    Fault(
        "larger than `max_response_bytes`",
        "LunosResponseError",
        NO,
        whole=http(body=b" " * 5000 + CHAT),
        streamed=events(*[delta("Hello")] * 100),
        settings={"max_response_bytes": 4000},
        status=200,
    ),
    Fault(
        "redirect to another host",
        "LunosAPIError",
        NO,
        status=302,
        **both(http(302, location="http://nowhere.invalid/v1/chat/completions")),
    ),
    Fault(
        "error event before the first",
        "LunosServerError",
        YES,
        streamed=events(OVERLOADED),
    ),
    Fault(
        "error event in the stream",
        "LunosServerError",
        NO,
        streamed=events(delta("Hello"), OVERLOADED),
        partial=True,
    ),
    Fault("stream cut", INTERRUPTED, NO, streamed=[sse_head() + EVENT, CLOSE], partial=True),
    Fault("stream that just stops", INTERRUPTED, NO, streamed=events(delta("Hello")), partial=True),
    Fault(
        "stream that stalls",
        "LunosTimeoutError",
        NO,
        streamed=[sse_head() + EVENT, STALL],
        settings={"stream_idle_timeout": 0.2, "retry_on_timeout": True},
        partial=True,
    ),
    Fault(
        "comments only",
        "LunosTimeoutError",
        NO,
        streamed=_Comments(),
        settings={"stream_idle_timeout": 0.2, "retry_on_timeout": True},
        partial=True,
    ),
]


def _vectors(*vectors: Any) -> bytes:
    data = [{"index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    return http(body=json.dumps({"data": data, "model": "m"}).encode())


TEXTS = ["one", "two", "three", "four"]
GOOD = [0.1, 0.2]
VECTOR_FAULTS = [
    Fault(name, "LunosResponseError", NO, whole=steps, status=200)
    for name, steps in (
        ("NaN in a vector", _vectors(GOOD, [0.1, float("nan")], GOOD, GOOD)),
        ("3 vectors for 4 texts", _vectors(GOOD, GOOD, GOOD)),
        ("vectors of different lengths", _vectors(GOOD, GOOD, [0.1], GOOD)),
    )
]
VECTOR_FAULTS.append(
    Fault(
        "vectors of 4 numbers where `dimensions=3` was requested",
        "LunosResponseError",
        NO,
        whole=_vectors(*[GOOD * 2] * 4),
        status=200,
        settings={"dimensions": 3},
    )
)

# in the page as a row; run by a test of its own, since it needs an HTTP client of the user's
POOL_TIMEOUT = Fault("pool timeout (an `http_client` of your own)", "LunosTimeoutError", YES)

CASES = [
    (fault, streamed)
    for fault in FAULTS
    for streamed in (False, True)
    if (fault.streamed if streamed else fault.whole) is not None
]
IDS = [f"{fault.name}, {'streamed' if streamed else 'whole'}" for fault, streamed in CASES]


class _SpeaksFirst(RawServer):
    """Says something that is no TLS, whatever it is asked."""

    def _serve(self, connection: socket.socket, number: int) -> None:
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        super()._serve(connection, number)


class _Untrusted(RawServer):
    """Shows a certificate of an authority that nobody knows."""

    def __init__(self, *answers: Any) -> None:
        super().__init__(*answers)
        self.refused = 0
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(self._tls)

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            with self._tls.wrap_socket(connection.dup(), server_side=True) as wrapped:
                wrapped.recv(1)  # in TLS 1.3 the refusal comes after the server's handshake
        except OSError:
            self.refused += 1
        super()._serve(connection, number)


@contextmanager
def place_of(fault: Fault, *, streamed: bool) -> Iterator[tuple[str, RawServer | None]]:
    """The base URL to speak to, and the server behind it."""
    if fault.place == "refused":
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        yield f"http://127.0.0.1:{port}", None
    elif fault.place == "unknown":
        yield "https://nowhere.invalid", None
    elif fault.place == "untrusted":
        with _Untrusted([CLOSE]) as server:
            yield server.url.replace("http:", "https:"), None
        assert server.all_closed()
        assert server.refused == 1  # a second attempt would not make it trusted
    elif fault.place == "no tls":
        with _SpeaksFirst([CLOSE]) as server:
            yield server.url.replace("http:", "https:"), None
    else:
        with RawServer(fault.streamed if streamed else fault.whole) as server:
            if fault.place == "mute tls":
                yield server.url.replace("http:", "https:"), None
            else:
                yield server.url, server


def check(fault: Fault, error: Any, server: RawServer | None, *, streamed: bool, core: Any) -> None:
    """What holds of the error in every layer; `core` is the module of its class."""
    name = fault.error_of(streamed)
    assert type(error) is getattr(core, str(name))
    assert error.attempts == fault.requests
    assert server is None or len(server.requests) == fault.requests
    assert server is None or server.all_closed() or fault.status
    assert error.model == "m"
    if fault.status is not None:
        assert error.status == fault.status
    if streamed and fault.partial:
        assert error.partial is not None
    else:
        assert streamed or error.partial is None
