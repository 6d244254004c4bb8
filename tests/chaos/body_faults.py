"""Faults of what HTTP carries: encodings, charsets, JSON, events, errors."""

from __future__ import annotations

import base64
import gzip
import zlib
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

import zstandard

from tests.chaos.answers import Answer, chunked, head, sized, sse, to_bytes
from tests.chaos.faults import ANSWER, EITHER, ERROR, Play, fault, rows
from tests.core.raw_server import CLOSE, RESET, STALL, Step

Steps = Iterable[Step | float]
MB = 1024 * 1024


def _encoded(name: str, encode: Callable[[bytes], bytes]) -> Play:
    header = f"content-encoding: {name}"
    return lambda answer: [sized(answer, encode(answer.body), header)]


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def _bomb(pack: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda body: pack(b":" + b" " * (32 * MB) + b"\n" + body)


zstd = zstandard.ZstdCompressor().compress
rows(
    {
        "gzip": _encoded("gzip", gzip.compress),
        "x-gzip-upper": _encoded("GZIP", gzip.compress),
        "deflate": _encoded("deflate", zlib.compress),
        "zstd": _encoded("zstd", zstd),
        "gzip-twice": _encoded("gzip, gzip", lambda body: gzip.compress(gzip.compress(body))),
        "identity": _encoded("identity", bytes),
        "gzip-in-chunks": lambda answer: [
            chunked(answer, gzip.compress(answer.body), "content-encoding: gzip", size=7)
        ],
    },
    ANSWER,
)
rows(
    {
        "gzip-broken": _encoded("gzip", lambda body: b"no gzip at all"),
        "gzip-broken-inside": _encoded("gzip", lambda body: _spoil(gzip.compress(body * 20))),
        "deflate-broken": _encoded("deflate", lambda body: b"\x78\x9cno deflate at all"),
        "zstd-broken": _encoded("zstd", lambda body: b"no zstd at all"),
        "br-broken": _encoded("br", lambda body: b"no brotli at all"),
        "gzip-cut": _encoded("gzip", lambda body: _half(gzip.compress(body))),
        "gzip-bomb": _encoded("gzip", _bomb(gzip.compress)),
        "zstd-bomb": _encoded("zstd", _bomb(zstd)),
        "deflate-bomb": _encoded("deflate", _bomb(zlib.compress)),
        "gzip-bomb-twice": _encoded("gzip, gzip", _bomb(lambda b: gzip.compress(gzip.compress(b)))),
    },
    ERROR,
)
rows(
    {
        # httpx wants to see two bytes of it at once
        "raw-deflate": _encoded("deflate", _raw_deflate),
        "gzip-without-its-end": _encoded("gzip", lambda body: gzip.compress(body)[:-8]),
        "gzip-wrong-sum": _encoded("gzip", lambda body: gzip.compress(body)[:-8] + b"\0" * 8),
        "gzip-and-more": _encoded("gzip", lambda body: gzip.compress(body) + b"more"),
        "gzip-of-nothing-said": lambda answer: [sized(answer, gzip.compress(answer.body))],
        "unknown-encoding": _encoded("other", bytes),
        "gzip-said-of-plain": _encoded("gzip", bytes),
        "many-encodings": _encoded(", ".join(["gzip"] * 200), gzip.compress),
    },
    EITHER,
)


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _spoil(data: bytes) -> bytes:
    middle = len(data) // 2
    return (
        data[:middle]
        + bytes(byte ^ 0xFF for byte in data[middle : middle + 8])
        + data[middle + 8 :]
    )


def _as(encode: Callable[[bytes], bytes], charset: str = "") -> Play:
    """A right answer in other bytes."""

    def play(answer: Answer) -> Steps:
        body = encode(answer.body)
        kind = f"content-type: {answer.kind}{charset}"
        return [head("200 OK", kind, f"content-length: {len(body)}") + body]

    return play


def _recoded(charset: str) -> Callable[[bytes], bytes]:
    return lambda body: body.decode().encode(charset)


rows(
    {
        "bom": _as(lambda body: b"\xef\xbb\xbf" + body),
        "wrong-charset": _as(bytes, "; charset=latin-1"),
        "unknown-charset": _as(bytes, "; charset=klingon"),
        "invalid-utf-8-in-an-id": _as(lambda body: body.replace(b"gen-1", b"gen\xff\xfe")),
        "half-a-character-in-an-id": _as(lambda body: body.replace(b"gen-1", b"\\ud83d")),
        "nan-in-usage": _as(lambda body: body.replace(b'tokens": 9', b'tokens": NaN')),
        "huge-numbers-in-usage": _as(
            lambda body: body.replace(b'tokens": 9', b'tokens": ' + b"9" * 400)
        ),
        "infinite-usage": _as(lambda body: body.replace(b'tokens": 9', b'tokens": 1e999')),
        "usage-as-text": _as(lambda body: body.replace(b'tokens": 9', b'tokens": "nine"')),
        "escaped-slashes": _as(lambda body: body.replace(b"gen-1", b"gen\\/1")),
        "unknown-fields": _as(lambda body: body.replace(b'"model"', b'"new": {"a": [1]}, "model"')),
        "a-megabyte-in-an-id": _as(lambda body: body.replace(b'gen-1"', b"x" * MB + b'"', 1)),
        "escaped-text": _as(
            lambda body: (
                body.decode()
                .encode("ascii", "backslashreplace")
                .replace(b"\\xfc", b"\\u00fc")
                .replace(b"\\xdf", b"\\u00df")
                .replace(b"\\U0001f680", b"\\ud83d\\ude80")
            )
        ),
    },
    ANSWER,
)
rows({"utf-16": _as(_recoded("utf-16")), "utf-32": _as(_recoded("utf-32"))}, ANSWER, EITHER)


def _body(make: Callable[[bytes], bytes]) -> Play:
    return lambda answer: [sized(answer, make(to_bytes(answer.value)))]


rows(
    {
        "json-nothing": _body(lambda body: b""),
        "json-null": _body(lambda body: b"null"),
        "json-list": _body(lambda body: b"[]"),
        "json-text": _body(lambda body: b'"Hello"'),
        "json-empty": _body(lambda body: b"{}"),
        "json-cut": _body(lambda body: body[:-9]),
        "json-single-quotes": _body(lambda body: body.replace(b'"', b"'")),
        "json-deep": _body(lambda body: b'{"choices":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        "json-nul": _body(lambda body: body.replace(b":", b"\0:", 1)),
        "choices-null": _body(lambda body: b'{"choices": null, "data": null}'),
        "choices-text": _body(lambda body: b'{"choices": "a", "data": "a"}'),
        "choices-of-nothing": _body(lambda body: b'{"choices": [null], "data": [null]}'),
        "error-object": _body(lambda body: b'{"error": {"message": "No", "code": 402}}'),
        "error-text": _body(lambda body: b'{"error": "No"}'),
        "error-list": _body(lambda body: b'{"error": [{"message": "No"}]}'),
        "html": lambda answer: [sized(answer, b"<html>Bad gateway</html>")],
    },
    ERROR,
)
rows(
    {
        "json-and-more": _body(lambda body: body + b"more"),
        "json-twice": _body(lambda body: body + b"\n" + body),
        "json-after-nuls": _body(lambda body: b"\0\0\0" + body),
        "json-same-name-twice": _body(lambda body: b'{"id": "a", ' + body[1:]),
    },
    EITHER,
)
rows({"json-after-a-megabyte": _body(lambda body: b" " * MB + body)}, ANSWER, EITHER)


def spellings(key: str) -> dict[str, str]:
    """How servers write a key that they repeat."""
    quoted = base64.b64encode(f"Bearer {key}".encode()).decode()
    return {
        "key-plain": key,
        "key-escaped": "".join(f"\\u{ord(letter):04x}" for letter in key),
        "key-in-percent": "".join(f"%{ord(letter):02X}" for letter in key),
        "key-quoted": quote(f"Bearer {key}"),
        "key-in-base64": quoted,
        "key-in-html": "".join(f"&#{ord(letter)};" for letter in key),
        "key-reversed-slashes": key.replace("-", "\\u002d"),
    }


def _repeats(name: str, status: str) -> Play:
    def play(answer: Answer) -> Steps:
        said = spellings(answer.key)[name]
        body = (
            b'{"error": {"message": "Wrong key '
            + said.encode()
            + b'", "code": "'
            + (said.encode() + b'"}}')
        )
        header = f"x-request-id: {said}" if "\\" not in said else "x-request-id: a"
        return [sized(answer, body, header, f"www-authenticate: {answer.key}", status=status)]

    return play


rows({name: _repeats(name, "401 No") for name in spellings("")}, ERROR)
rows({f"{name}-in-200": _repeats(name, "200 OK") for name in spellings("")}, ERROR)
rows({f"{name}-in-500": _repeats(name, "500 No") for name in spellings("")}, ERROR)


def _refused(status: str, *headers: str) -> Play:
    body = b'{"error": {"message": "No", "code": "no"}}'
    return lambda answer: [sized(answer, body, *headers, status=status)]


rows(
    {
        **{
            f"status-{code}": _refused(f"{code} No") for code in (400, 402, 403, 404, 409, 413, 422)
        },
        **{f"status-{code}": _refused(f"{code} No") for code in (500, 502, 503, 529, 599)},
        "retry-after-infinite": _refused("429 Wait", "retry-after: 1e400"),
        "retry-after-negative": _refused("429 Wait", "retry-after: -5"),
        "retry-after-year-9999": _refused("429 Wait", "retry-after: Fri, 31 Dec 9999 23:59:59 GMT"),
        "retry-after-words": _refused("503 Wait", "retry-after: soon", "retry-after-ms: NaN"),
        "retry-after-twice": _refused("429 Wait", "retry-after: 1", "retry-after: 2"),
        "error-without-body": lambda answer: [head("500 No", "content-length: 0")],
        "error-in-latin-1": lambda answer: [
            sized(answer, "gr\xfc\xdfe".encode("latin-1"), status="500 No")
        ],
        "error-cut": lambda answer: [
            head("500 No", "content-length: 99") + b'{"error": {"mess',
            CLOSE,
        ],
        "error-of-a-bomb": lambda answer: [
            sized(
                answer, gzip.compress(b" " * (32 * MB)), "content-encoding: gzip", status="500 No"
            )
        ],
    },
    ERROR,
)


def _events(make: Callable[[list[Any]], list[Any]], *after: Step | float) -> Play:
    """A stream of other events; what isn't a stream is answered rightly."""
    return lambda answer: (
        [chunked(answer, sse(make(answer.events)))[: -5 if after else None], *after]
        if answer.streamed
        else [sized(answer)]
    )


def _stream(make: Callable[[bytes], bytes], *after: Step | float) -> Play:
    """A stream in other bytes."""
    return lambda answer: (
        [chunked(answer, make(answer.body))[: -5 if after else None], *after]
        if answer.streamed
        else [sized(answer)]
    )


DONE = "[DONE]"
BROKEN = '{"choices": [{"ind'
REFUSED = {"error": {"message": "Overloaded", "code": "server_error"}}
rows(
    {
        "sse-crlf": _stream(lambda body: body.replace(b"\n", b"\r\n")),
        "sse-cr": _stream(lambda body: body.replace(b"\n", b"\r")),
        "sse-no-space": _stream(lambda body: body.replace(b"data: ", b"data:")),
        "sse-comments": _stream(lambda body: body.replace(b"data:", b": keep-alive\n\ndata:")),
        "sse-fields": _stream(
            lambda body: body.replace(b"data:", b"event: a\nid: 1\nretry: 5\ndata:")
        ),
        "sse-empty-events": _stream(lambda body: body.replace(b"data:", b"data:\n\ndata:")),
        "sse-several-lines": _stream(
            lambda body: body.replace(b', "choices"', b',\ndata: "choices"')
        ),
        "sse-long-comment": _stream(lambda body: b":" + b" " * MB + b"\n\n" + body),
        "sse-done-twice": _events(lambda events: [*events, DONE, DONE]),
        "sse-text-after-done": _events(lambda events: [*events, DONE, events[1]]),
        "sse-broken-after-done": _events(lambda events: [*events, DONE, BROKEN]),
        "sse-usage-after-done": _events(lambda events: [*events[:-1], DONE, events[-1]]),
        "sse-done-without-its-line": _stream(lambda body: body[:-1]),
        "sse-no-choices-between": _events(
            lambda events: [x for e in events for x in (e, {"choices": []})] + [DONE]
        ),
        "sse-stall-after-done": _stream(bytes, 0.4, CLOSE),
        "sse-reset-after-done": _stream(bytes, 0.02, RESET),
    },
    ANSWER,
)
rows(
    {
        "sse-no-done": _events(lambda events: events),
        "sse-nulls-between": _events(
            lambda events: [x for e in events for x in (e, "null")] + [DONE]
        ),
        "sse-nuls": _stream(lambda body: body.replace(b"\n\n", b"\n\0\n\n")),
        "sse-whole-answer": lambda answer: [
            head(
                "200 OK",
                "content-type: application/json",
                f"content-length: {len(to_bytes(answer.value))}",
            )
            + to_bytes(answer.value)
        ],
    },
    ANSWER,
    EITHER,
)
rows(
    {
        "sse-broken": _events(lambda events: [*events[:3], BROKEN, *events[3:], DONE]),
        "sse-error": _events(lambda events: [*events[:3], REFUSED]),
        "sse-error-first": _events(lambda events: [REFUSED, *events]),
        "sse-error-event": _stream(lambda body: body[:400] + b"\n\nevent: error\ndata: {}\n\n"),
        "sse-cut": _events(lambda events: events[:3]),
        "sse-cut-and-closed": _events(lambda events: events[:3], CLOSE),
        "sse-cut-and-reset": _events(lambda events: events[:3], 0.02, RESET),
        "sse-cut-in-an-event": _stream(lambda body: body[: len(body) // 2], CLOSE),
        "sse-only-comments": _stream(lambda body: b": keep-alive\n\n" * 5),
        "sse-html": _stream(lambda body: b"<html>Bad gateway</html>\n\n"),
    },
    ANSWER,
    ERROR,
)


@fault(ANSWER, ERROR, stalls=True)
def sse_stall(answer: Answer) -> Steps:
    return _events(lambda events: events[:3], STALL)(answer)


@fault(ANSWER, ERROR, stalls=True)
def sse_endless_comments(answer: Answer) -> Steps:
    yield from _events(lambda events: events[:3], 0.01)(answer)
    while answer.streamed:
        yield b"e\r\n: keep-alive\n\n\r\n"
        yield 0.02


@fault(EITHER, ANSWER)
def events_for_a_whole_answer(answer: Answer) -> Steps:
    if answer.streamed:
        return [sized(answer)]
    message = answer.value.get("choices", [{}])[0].get("message", {})
    choice = {"index": 0, "delta": message, "finish_reason": "stop"}
    return [chunked(answer, sse([{"choices": [choice]}, DONE]))]
