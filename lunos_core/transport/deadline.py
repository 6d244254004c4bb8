"""How long a call may still wait, and how much it may still read.

httpx uses one timeout for each read of an answer, so a server that sends a byte now and then can
hold a call forever. Here each read and write of a sync connection gets the remaining time. The
async client doesn't need this: its event loop bounds the whole attempt.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from lunos_core.errors import LunosResponseError, LunosTimeoutError

# After `[DONE]` the answer is whole, but the end of the HTTP message may not have arrived yet:
# reading it keeps the connection for the next call. A server that never sends it costs this time
# and a new connection; hanging up at once would cost most calls a handshake.
LAST_WORD = 0.25

_PIECE = 16 * 1024  # bytes of an upload between two checks of the clock
_SHORTEST = 0.001  # 0 means "do not block" to a socket


class Deadline:
    """The time and size limits of one call.

    Args:
        total: seconds for the whole call; `None` for no limit.
        most_bytes: the most bytes of one answer, decompressed.
        clock: returns seconds.

    Attributes:
        limited: whether timeouts of single reads aren't enough to enforce the limits.
    """

    def __init__(
        self,
        total: float | None,
        most_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._total = total
        self._end = math.inf if total is None else clock() + total
        self._most_bytes = most_bytes
        self._bytes = 0
        self._idle: float | None = None
        self._idle_end = math.inf
        self.limited = total is not None

    def allows(self, delay: float) -> bool:
        """Return whether there is time for another request after `delay` seconds."""
        return self._clock() + delay < self._end

    def attempt(self) -> None:
        """Start an attempt: nothing has been read, and no stream is open."""
        self._bytes = 0
        self._idle = None
        self._idle_end = math.inf

    def stream(self, idle: float | None) -> None:
        """Note that a stream is open: from now on an event must arrive every `idle` seconds."""
        self._idle = idle
        self.limited = True
        self.event(last=False)

    def event(self, *, last: bool) -> None:
        """Start the clock for the next event: one was consumed, and the consumer wants more.

        Args:
            last: whether it was `[DONE]`.
        """
        seconds = LAST_WORD if last else self._idle
        if seconds is not None:
            self._idle_end = self._clock() + seconds

    def cap(self, given: float | None) -> float | None:
        """Return `given`, an httpx timeout, or the remaining seconds, whichever is less."""
        end = min(self._end, self._idle_end)
        if end == math.inf:
            return given
        left = max(end - self._clock(), _SHORTEST)
        return left if given is None else min(given, left)

    def left(self, given: float | None) -> float | None:
        """Return the timeout of the next read or write: `cap`, unless it is too late.

        Raises:
            LunosTimeoutError: it is too late; a flood of bytes would never let a read time out.
        """
        left = min(self._end, self._idle_end) - self._clock()
        if left <= 0:
            raise self.timed_out("no event")
        return given if left == math.inf or (given is not None and given < left) else left

    def check(self, received: int) -> None:
        """Check the limits after `received` bytes have arrived and been consumed.

        Comments and single bytes reset httpx's timeouts, but not these.

        Raises:
            LunosResponseError: the answer is too large.
            LunosTimeoutError: it is too late.
        """
        self._bytes += received
        if self._bytes > self._most_bytes:
            raise LunosResponseError(
                f"the answer is larger than {self._most_bytes} bytes: "
                "raise max_response_bytes= to take it"
            )
        if self.limited:
            now = self._clock()
            if now >= self._end or now >= self._idle_end:
                raise self.timed_out("no event")

    def timed_out(self, what: str) -> LunosTimeoutError:
        """Return a timeout error that names the limit that was reached."""
        now = self._clock()
        if now >= self._end:
            return LunosTimeoutError(
                f"the call took longer than total_timeout={self._total:g} seconds allows"
            )
        if now >= self._idle_end and self._idle is not None:
            return LunosTimeoutError(
                f"the open stream brought no event for {self._idle:g} seconds: raise timeout= or "
                "stream_idle_timeout= to wait longer"
            )
        return LunosTimeoutError(f"no answer in time ({what}): raise timeout= to wait longer")


class _Active(threading.local):
    """The deadline of the call for which this thread reads or writes."""

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
        # for each piece: the consumer may make other calls in between. `within` would take three
        # times as long, which is noticeable in every chunk of a stream
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
    """Watch each new connection; a function for httpcore's extension "trace"."""
    if event.endswith((".connect_tcp.complete", ".connect_unix_socket.complete", "tls.complete")):
        watch(info["return_value"])


def watch(connection: Any) -> None:
    """Bound the reads and writes of a connection, httpcore's `NetworkStream`, and note them.

    The change lasts as long as the connection, which looks up the deadline at each step. `was_read`
    tells `is_stale` which of the two came last. A connection that can't be changed, such as that of
    a user's own transport, is left alone.
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
