"""Recognise an answer that had come before its request was sent.

A server that sends more than one answer to a request leaves the rest in the connection's parser,
which takes it for the answer to the next request: perhaps another user's. (aiohttp closes such a
connection by itself.)
"""

from __future__ import annotations

from typing import Any

import httpx


def is_stale(response: httpx.Response) -> bool:
    """Whether nothing was read for an answer since its request was written.

    The first answer on a connection never is. From then on its reads and writes are noted.
    """
    connection = response.extensions.get("network_stream")
    attributes = getattr(connection, "__dict__", None)
    if attributes is None or response.extensions.get("http_version") not in _HTTP_1:
        return False
    if "was_read" in attributes:
        return not attributes["was_read"]
    if hasattr(type(connection), "read") and hasattr(type(connection), "write"):
        _note_reads(connection)
    return False


_HTTP_1 = (b"HTTP/1.0", b"HTTP/1.1")  # HTTP/2 numbers its answers


def stale(response: httpx.Response) -> httpx.RemoteProtocolError:
    """Return the error for such an answer."""
    text = "an answer came before the request was sent: the server had answered the last one twice"
    return httpx.RemoteProtocolError(text, request=response.request)


def _note_reads(connection: Any) -> None:
    read, write = connection.read, connection.write

    def noted_read(*args: Any, **kwargs: Any) -> Any:
        connection.was_read = True
        return read(*args, **kwargs)

    def noted_write(*args: Any, **kwargs: Any) -> Any:
        connection.was_read = False
        return write(*args, **kwargs)

    connection.was_read = True
    connection.read, connection.write = noted_read, noted_write
