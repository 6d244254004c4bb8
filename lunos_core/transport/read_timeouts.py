"""Stop sync reads and writes when the call's time is up.

httpx fixes one timeout for all the reads of an answer, so a server that sends a byte now and then
holds a call for ever. Here each read and write of a connection is given the time that is left.
The async client needs none of this: its event loop bounds the whole attempt.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from lunos_core.transport.deadline import Deadline

_PIECE = 16 * 1024  # bytes of an upload between two looks at the clock


class _Active(threading.local):
    """The deadline of the call that this thread reads or writes for."""

    deadline: Deadline | None = None


_active = _Active()


class within:  # noqa: N801 - used like a function
    """Bound the reads and writes of a `with` block by a deadline."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def __enter__(self) -> None:
        self._outer = _active.deadline
        _active.deadline = self._deadline

    def __exit__(self, *_: object) -> None:
        _active.deadline = self._outer


def bounded(pieces: Iterator[bytes], deadline: Deadline) -> Iterator[bytes]:
    """Yield the pieces of a body, reading and consuming each within the deadline."""
    active = _active
    while True:
        # around each: the consumer may make other calls in between; `within` costs three times as
        # much, which shows in each chunk of a stream
        outer, active.deadline = active.deadline, deadline
        try:
            piece = next(pieces, None)
        finally:
            active.deadline = outer
        if piece is None:
            return
        yield piece
        deadline.check(len(piece))


def watch_new_connection(event: str, info: dict[str, Any]) -> None:
    """Watch each connection that is opened: httpcore's extension "trace"."""
    if event.endswith((".connect_tcp.complete", ".connect_unix_socket.complete", "tls.complete")):
        watch(info["return_value"])


def watch(connection: Any) -> None:
    """Bound the reads and writes of a connection, httpcore's `NetworkStream`, and note them.

    What is set there lasts as long as the connection: it looks for the deadline at each step.
    `was_read` tells `is_stale` which of the two came last. A connection that can't be changed, such
    as that of a user's own transport, is left alone.
    """
    attributes = getattr(connection, "__dict__", None)
    if attributes is None or "was_read" in attributes or not hasattr(type(connection), "read"):
        return
    plain_read, plain_write = connection.read, connection.write

    def read(max_bytes: int, timeout: float | None = None) -> bytes:
        connection.was_read = True
        deadline = _active.deadline
        left = timeout if deadline is None else deadline.left(timeout)
        return plain_read(max_bytes, left)  # type: ignore[no-any-return]  # httpcore's

    def write(buffer: bytes, timeout: float | None = None) -> None:
        connection.was_read = False
        deadline = _active.deadline
        if deadline is None or not deadline.limited:
            plain_write(buffer, timeout)
            return
        for start in range(0, len(buffer), _PIECE):
            plain_write(buffer[start : start + _PIECE], deadline.left(timeout))

    connection.was_read = True
    connection.read, connection.write = read, write
