"""Faults of the connection and of HTTP: status lines, headers, lengths, chunks, hanging up."""

from __future__ import annotations

from collections.abc import Iterable

from tests.chaos.answers import HALF, Answer, chunked, chunks, head, sized
from tests.chaos.faults import ANSWER, EITHER, ERROR, Play, fault, rows
from tests.core.raw_server import CLOSE, RESET, STALL, Step

Steps = Iterable[Step | float]


def _headers(*lines: bytes | str) -> Play:
    """A right answer with more header lines."""

    def play(answer: Answer) -> Steps:
        length = f"content-length: {len(answer.body)}"
        return [head("200 OK", f"content-type: {answer.kind}", length, *lines) + answer.body]

    return play


def _status(line: str, version: str = "HTTP/1.1") -> Play:
    """A right answer under another status line."""

    def play(answer: Answer) -> Steps:
        length = f"content-length: {len(answer.body)}"
        kind = f"content-type: {answer.kind}"
        return [head(line, kind, length, version=version) + answer.body]

    return play


def _before(data: bytes) -> Play:
    return lambda answer: [data + sized(answer)]


def _in_chunks(body: bytes) -> Play:
    """A body that is wrong in its chunks."""
    return lambda answer: [
        head("200 OK", f"content-type: {answer.kind}", "transfer-encoding: chunked") + body,
        CLOSE,
    ]


HINT = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"

rows(
    {
        "no-reason": _status("200 "),
        "odd-reason": _status("200 gr\xfc\xdfe"),
        "http-1.0": lambda answer: [*_status("200 OK", "HTTP/1.0")(answer), CLOSE],
        "continue-first": _before(b"HTTP/1.1 100 Continue\r\n\r\n"),
        "hints-first": _before(HINT * 3),
        "latin-1-header": _headers("x-name: gr\xfc\xdfe"),
        "cookies": _headers(*[f"set-cookie: a{i}={i}" for i in range(50)]),
        "chunk-extensions": lambda answer: [chunked(answer).replace(b"40\r\n", b"40;a=b\r\n")],
        "trailers": lambda answer: [chunked(answer)[:-2] + b"x-trailer: a\r\n\r\n"],
        "zeros-before-sizes": lambda answer: [
            chunked(answer).replace(b"\r\n40\r\n", b"\r\n0040\r\n")
        ],
        "tiny-chunks": lambda answer: [chunked(answer, size=1)],
        "huge-chunk": lambda answer: [chunked(answer, size=2**20)],
        "close-header": lambda answer: [sized(answer, None, "connection: close"), CLOSE],
    },
    ANSWER,
)
rows(
    {
        "not-http": lambda answer: [b"SSH-2.0-OpenSSH_9.6\r\n", CLOSE],
        "garbage-first": _before(b"\x00\x01\x02garbage\r\n"),
        "status-99": _status("99 Low"),
        "status-1000": _status("1000 High"),
        "status-word": _status("OK 200"),
        "switching": lambda answer: [head("101 Switching Protocols", "upgrade: other"), CLOSE],
        "no-content": lambda answer: [head("204 No Content")],
        "not-modified": lambda answer: [head("304 Not Modified")],
        "redirect": lambda answer: [head("302 Found", "location: /other", "content-length: 0")],
        "redirect-to-itself": lambda answer: [
            head("307 Again", "location: ?", "content-length: 0")
        ],
        "redirect-nowhere": lambda answer: [head("308 Moved", "content-length: 0")],
        "unnumbered-length": lambda answer: [
            head("200 OK", "content-length: ten") + answer.body,
            CLOSE,
        ],
        "negative-length": lambda answer: [
            head("200 OK", "content-length: -5") + answer.body,
            CLOSE,
        ],
        "two-lengths": lambda answer: [
            head("200 OK", "content-length: 5", "content-length: 7") + answer.body,
            CLOSE,
        ],
        "length-zero": lambda answer: [sized(answer, b"")],
        "chunk-size-word": _in_chunks(b"zz\r\n{}\r\n"),
        "chunk-size-negative": _in_chunks(b"-4\r\n{}\r\n"),
        "chunk-size-huge": _in_chunks(b"f" * 17 + b"\r\n{}\r\n"),
        "chunk-longer-than-said": _in_chunks(b"2\r\n{}{}{}\r\n0\r\n\r\n"),
        "chunk-cut": _in_chunks(b"ff\r\n{"),
        "closed-at-once": lambda answer: [CLOSE],
        "reset-at-once": lambda answer: [RESET],
        "closed-in-the-status-line": lambda answer: [b"HTTP/1.1 20", CLOSE],
        "closed-in-the-headers": lambda answer: [sized(answer)[:40], CLOSE],
        "reset-in-the-headers": lambda answer: [sized(answer)[:40], RESET],
        "closed-in-the-body": lambda answer: [_half(answer), CLOSE],
        "reset-in-the-body": lambda answer: [_half(answer), 0.02, RESET],
        "half-closed-in-the-body": lambda answer: [_half(answer), HALF],
    },
    ERROR,
)
rows(
    {
        "length-twice": lambda answer: _headers(f"content-length: {len(answer.body)}")(answer),
        "no-space-after-status": lambda answer: [_status("200")(answer)[0]],
        "http-2-line": _status("200 OK", "HTTP/2.0"),
        "lower-case-version": _status("200 OK", "http/1.1"),
        "empty-line-first": _before(b"\r\n"),
        "long-reason": _status("200 " + "O" * 100_000),
        "many-hints": _before(HINT * 2000),
        "partial-content": _status("206 Partial Content"),
        "reset-content": _status("205 Reset Content"),
        "header-without-colon": _headers("x-broken"),
        "header-with-space": _headers("x broken: a"),
        "header-without-name": _headers(": a"),
        "folded-header": _headers("x-long: a", " b"),
        "nul-in-header": _headers(b"x-nul: a\0b"),
        "control-in-header": _headers(b"x-control: a\x07b"),
        "long-header": _headers("x-long: " + "a" * 200_000),
        "many-headers": _headers(*[f"x-{i}: a" for i in range(10_000)]),
        "length-and-chunks": lambda answer: [chunked(answer, None, "content-length: 9")],
        "two-codings": lambda answer: [chunked(answer, None, "transfer-encoding: chunked")],
        "unknown-coding": _headers("transfer-encoding: other"),
        "bare-line-feeds": lambda answer: [
            sized(answer).partition(b"\r\n\r\n")[0].replace(b"\r\n", b"\n") + b"\n\n" + answer.body
        ],
        "bare-carriage-return": _headers(b"x-cr: a\rb"),
        "no-content-type": lambda answer: [
            head("200 OK", f"content-length: {len(answer.body)}") + answer.body
        ],
        "other-content-type": lambda answer: [
            head("200 OK", "content-type: text/html", f"content-length: {len(answer.body)}")
            + answer.body
        ],
        "no-length-and-reset": lambda answer: [_open_ended(answer), 0.02, RESET],
        "long-chunk-size": lambda answer: [
            _chunks_begin(answer) + b"0" * 100_000 + b"2\r\n{}\r\n0\r\n\r\n",
            CLOSE,
        ],
        "chunk-without-line-end": lambda answer: [
            _chunks_begin(answer) + chunks(answer.body).replace(b"\r\n40", b"40"),
            CLOSE,
        ],
    },
    EITHER,
)
rows(
    {
        "answer-and-more": lambda answer: [sized(answer) + b"HTTP/1.1 200 OK\r\n\r\nmore"],
        "answer-twice": lambda answer: [sized(answer) + sized(answer)],
    },
    EITHER,
    spills=True,
)
rows(
    {
        "length-too-short": lambda answer: [
            head(
                "200 OK", f"content-type: {answer.kind}", f"content-length: {len(answer.body) // 2}"
            )
            + answer.body,
            CLOSE,
        ],
    },
    ERROR,
    spills=True,
)
rows(
    {
        "length-too-long": lambda answer: [_too_long(answer), CLOSE],
        "no-last-chunk": lambda answer: [chunked(answer)[:-5], CLOSE],
        "no-last-line-end": lambda answer: [chunked(answer)[:-2], CLOSE],
    },
    ERROR,
    ANSWER,
)
rows(
    {
        "no-length": lambda answer: [_open_ended(answer), CLOSE],
        "http-1.0-without-length": lambda answer: [_open_ended(answer, "HTTP/1.0"), CLOSE],
        "no-length-half-closed": lambda answer: [_open_ended(answer), HALF],
    },
    ANSWER,
)


@fault(ERROR, ANSWER, stalls=True)
def length_too_long_and_stall(answer: Answer) -> Steps:
    return [_too_long(answer), STALL]


@fault(ERROR, stalls=True)
def stall_at_once(answer: Answer) -> Steps:
    return [STALL]


@fault(ERROR, stalls=True)
def stall_in_the_headers(answer: Answer) -> Steps:
    return [sized(answer)[:40], STALL]


@fault(ERROR, stalls=True)
def stall_in_the_body(answer: Answer) -> Steps:
    return [_half(answer), STALL]


@fault(ERROR, stalls=True)
def endless_hints(answer: Answer) -> Steps:
    for _ in range(1000):
        yield HINT * 20
        yield 0.01


@fault(ERROR, stalls=True)
def dripped_headers(answer: Answer) -> Steps:
    yield b"HTTP/1.1 200 OK\r\nx-slow: "
    for _ in range(200):
        yield b"a"
        yield 0.05


@fault(ERROR, stalls=True)
def dripped_body(answer: Answer) -> Steps:
    yield head("200 OK", f"content-type: {answer.kind}", "content-length: 9999")
    for _ in range(200):
        yield b" "
        yield 0.05


def _half(answer: Answer) -> bytes:
    whole = sized(answer)
    return whole[: len(whole) - len(answer.body) // 2]


def _too_long(answer: Answer) -> bytes:
    length = f"content-length: {len(answer.body) + 50}"
    return head("200 OK", f"content-type: {answer.kind}", length) + answer.body


def _open_ended(answer: Answer, version: str = "HTTP/1.1") -> bytes:
    return head("200 OK", f"content-type: {answer.kind}", version=version) + answer.body


def _chunks_begin(answer: Answer) -> bytes:
    return head("200 OK", f"content-type: {answer.kind}", "transfer-encoding: chunked")
