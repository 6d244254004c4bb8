"""Requests and responses in httpx's form."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx

from lunos_core.config import Timeout
from lunos_core.transport.call import SendCall
from lunos_core.transport.deadline import Deadline
from lunos_core.transport.pool import Place
from lunos_core.transport.stream_call import StreamCall


def build_request(
    place: Place[httpx.Client] | Place[httpx.AsyncClient],
    call: SendCall[Any] | StreamCall[Any],
    trace: Callable[[str, dict[str, Any]], Any] | None = None,
) -> httpx.Request:
    """Build the httpx request for a call's next attempt.

    The user's own client builds its requests itself, to which it adds its settings. Ours only add
    headers, and not letting httpx merge the rest saves 50 µs in each call.

    Args:
        place: its client sends the request.
        call: the call.
        trace: httpcore's extension of that name, which is called at each step.
    """
    extensions: dict[str, Any] = {"timeout": _timeout(call.timeout, call.deadline)}
    if trace is not None:
        extensions["trace"] = trace
    method, body = call.request.method, call.request.body
    url, host = _address(call.url)
    if place.headers is None:
        return place.http.build_request(
            method, url, content=body, headers=call.headers, extensions=extensions
        )
    length = {"content-length": str(len(body))} if body or method != "GET" else {}
    headers = {"host": host, **length, **place.headers, **call.headers}
    # a `stream` is used unchanged: httpx adds no headers for it
    return httpx.Request(
        method, url, headers=headers, stream=httpx.ByteStream(body), extensions=extensions
    )


@functools.lru_cache(64)  # 12 µs in each call; a process has few of them
def _address(url: str) -> tuple[httpx.URL, str]:
    parsed = httpx.URL(url)
    return parsed, parsed.netloc.decode("ascii")


def _timeout(timeout: Timeout, deadline: Deadline) -> dict[str, float | None]:
    seconds: dict[str, float | None]
    if isinstance(timeout, int | float):
        # waiting for a free connection doesn't mean trouble at the server
        seconds = {"connect": timeout, "read": timeout, "write": timeout, "pool": None}
    else:
        parts: Any = timeout  # typed by a protocol, so that no signature needs httpx
        seconds = httpx.Timeout(parts).as_dict()
    if not deadline.limited:
        return seconds
    return {phase: deadline.cap(limit) for phase, limit in seconds.items()}


def pieces(response: httpx.Response) -> Iterator[bytes]:
    """Return `response.iter_bytes()` without its 2 µs of decoding for plain bodies."""
    stream = response.stream
    if _is_plain(response) and isinstance(stream, httpx.SyncByteStream):
        return iter(stream)
    return response.iter_bytes()


def apieces(response: httpx.Response) -> AsyncIterator[bytes]:
    """Return `response.aiter_bytes()` in the same way."""
    stream = response.stream
    if _is_plain(response) and isinstance(stream, httpx.AsyncByteStream):
        return aiter(stream)
    return response.aiter_bytes()


def headers_of(response: httpx.Response) -> dict[str, str]:
    """Return the headers, with names in lower case."""
    return dict(response.headers.items())  # not dict(headers), which looks up each name


def _is_plain(response: httpx.Response) -> bool:
    # a user's hook may have read or closed it
    untouched = not (response.is_stream_consumed or response.is_closed)
    return untouched and "content-encoding" not in response.headers


def is_stale(response: httpx.Response, watch: Callable[[Any], None]) -> bool:
    """Return whether nothing was read for an answer since its request was written.

    If a server sends more than one answer to a request, the rest stays in the connection's parser,
    which takes it for the answer to the next request, perhaps another user's. (aiohttp closes such
    a connection itself.) The first answer on a connection is never stale.

    Args:
        response: its body hasn't been read yet.
        watch: starts to note the reads and writes of a connection in its `was_read`.
    """
    connection = response.extensions.get("network_stream")
    attributes = getattr(connection, "__dict__", None)
    if attributes is None or response.extensions.get("http_version") not in _HTTP_1:
        return False
    if "was_read" in attributes:
        return not attributes["was_read"]
    if hasattr(type(connection), "read") and hasattr(type(connection), "write"):
        watch(connection)
    return False


_HTTP_1 = (b"HTTP/1.0", b"HTTP/1.1")  # HTTP/2 answers have ids


def stale(response: httpx.Response) -> httpx.RemoteProtocolError:
    """Return the error for a stale answer."""
    text = "an answer came before the request was sent: the server had answered the last one twice"
    return httpx.RemoteProtocolError(text, request=response.request)


def note_reads(connection: Any) -> None:
    """Note the reads and writes of an async connection: see `is_stale`."""
    read, write = connection.read, connection.write

    def noted_read(*args: Any, **kwargs: Any) -> Any:
        connection.was_read = True
        return read(*args, **kwargs)

    def noted_write(*args: Any, **kwargs: Any) -> Any:
        connection.was_read = False
        return write(*args, **kwargs)

    connection.was_read = True
    connection.read, connection.write = noted_read, noted_write
