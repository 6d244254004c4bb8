"""How long a call may still wait, and how much it may still read: decisions on one clock."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from lunos_core.errors import LunosResponseError, LunosTimeoutError

# After `[DONE]` the answer is whole, but the bytes that end the HTTP message may still be on their
# way: to read them keeps the connection for the next call. A server that never sends them costs
# this long and a new connection; to hang up at once would cost most calls a handshake.
LAST_WORD = 0.25

_HELD = "lunos_core.read"  # where an answer keeps its connection's patient read

_SHORTEST = 0.001  # 0 means "do not block" to a socket


class Patience:
    """The limits of one call, held against the clock.

    Args:
        total: seconds for the whole call; `None` for no end.
        most_bytes: of one answer, decompressed.
        clock: gives seconds.
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
        self._limited = total is not None
        self.at_hand = 0
        """Ends of events that are read from the connection and not handed on yet, at least.

        Not bytes: what HTTP puts around them is of any length. Nobody may wait for a read while
        chunks could be shown.
        """

    @property
    def limited(self) -> bool:
        """Whether the timeouts of single reads are not enough."""
        return self._limited

    @property
    def over(self) -> bool:
        """Whether the whole call's time is up."""
        return self._clock() >= self._end

    def allows(self, delay: float) -> bool:
        """Whether there is time for another request after `delay` seconds."""
        return self._clock() + delay < self._end

    def attempt(self) -> None:
        """A request begins: what was read of the last answer is gone, and no stream is open."""
        self._bytes = 0
        self.at_hand = 0
        self._idle = None
        self._idle_end = math.inf

    def arrived(self, data: bytes) -> None:
        """These bytes were read from the connection, which had none left."""
        # not those that HTTP's frame around a chunk makes by accident
        self.at_hand = data.count(b"\n\n") - data.count(b"\r\n\n")

    def consumed(self, piece: bytes) -> None:
        """This piece of them was handed on; an empty one is their end."""
        if self.at_hand > 0:
            self.at_hand -= piece.count(b"\n\n") if piece else self.at_hand

    def stream(self, idle: float | None) -> None:
        """A stream is open; from now on an event must come every `idle` seconds."""
        self._idle = idle
        self._limited = True
        if idle is not None:
            self._idle_end = self._clock() + idle

    def last_event(self) -> None:
        """`[DONE]` came."""
        self._idle_end = self._clock() + LAST_WORD

    def cap(self, given: float | None) -> float | None:
        """`given`, a timeout of httpx', or what is left where that is less."""
        end = min(self._end, self._idle_end)
        if end == math.inf:
            return given
        left = max(end - self._clock(), _SHORTEST)
        return left if given is None else min(given, left)

    def check(self, received: int, *, event: bool = False) -> None:
        """Bytes came: look at their number, and at the clock.

        Comments and single bytes reset the timeouts of reads, not ours.

        Args:
            received: how many bytes.
            event: whether an event was among them, and its reader is done with it.

        Raises:
            LunosResponseError: more than one answer may hold.
            LunosTimeoutError: it is too late.
        """
        self._bytes += received
        if self._bytes > self._most_bytes:
            raise LunosResponseError(
                f"the answer is larger than {self._most_bytes} bytes: "
                "raise max_response_bytes= to take it"
            )
        if self._limited:
            now = self._clock()
            if event and self._idle is not None:
                self._idle_end = now + self._idle
            if now >= self._end or now >= self._idle_end:
                raise self.timed_out("no event")

    def timed_out(self, what: str) -> LunosTimeoutError:
        """The error for a wait that was too long, in the name of the limit that ended it."""
        now = self._clock()
        if now >= self._end:
            return LunosTimeoutError(
                f"the call took longer than total_timeout={self._total:g} seconds allows"
            )
        if now >= self._idle_end:
            return LunosTimeoutError(
                f"the open stream brought no event for {self._idle:g} seconds: raise timeout= or "
                "stream_idle_timeout= to wait longer"
            )
        return LunosTimeoutError(f"no answer in time ({what}): raise timeout= to wait longer")


def hold_reads(response: Any, patience: Patience, *, ahead: bool = False) -> bool:
    """Let no read of the answer's body outlast `patience`.

    httpx fixes one timeout for all the reads of an answer when it begins; the time that is left
    grows shorter with each of them. So the connection's own `read`, which httpx hands out as the
    extension "network_stream", is given the shorter timeout.

    Args:
        response: an open `httpx.Response`; one without a connection (a mock, a cassette, aiohttp,
            HTTP/2, where calls share it) is left alone.
        patience: of the call.
        ahead: whether to note what arrives, so that it can be read at once: a transport of the
            user's own may hand on something else than what it reads.

    Returns:
        Whether it could be done; else async reads can be held by `in_time`, and sync ones by what
        `Patience.check` sees when bytes come.
    """
    connection = response.extensions.get("network_stream")
    if not response.http_version.startswith("HTTP/1"):
        return False
    # a transport of the user's own may hand out another kind of object
    if not (hasattr(type(connection), "read") and hasattr(connection, "__dict__")):
        return False
    # the class's, not the last call's that was set below
    read = type(connection).read.__get__(connection)
    # what is compressed is of another length than what comes out
    counted = ahead and "content-encoding" not in response.headers

    def patient(max_bytes: int, timeout: float | None = None) -> Any:
        # closed: the connection has gone on to another call, which waits as long as it likes
        data = read(max_bytes, timeout if response.is_closed else patience.cap(timeout))
        if counted:
            patience.arrived(data)
        return data

    async def apatient(
        max_bytes: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own signature
    ) -> Any:
        data = await read(max_bytes, timeout if response.is_closed else patience.cap(timeout))
        if counted:
            patience.arrived(data)
        return data

    # by the answer: a `read` that someone has decorated does not show what it is
    held = apatient if hasattr(response.stream, "__aiter__") else patient
    connection.read = response.extensions[_HELD] = held
    return True


async def in_time(pieces: AsyncIterator[bytes], patience: Patience) -> AsyncIterator[bytes]:
    """The pieces, each waited for no longer than `patience` allows.

    Raises:
        LunosTimeoutError: it is too late.
    """
    while True:
        limit = asyncio.timeout(patience.cap(None))
        try:
            async with limit:
                piece = await anext(pieces, None)
        except TimeoutError:
            if limit.expired():
                raise patience.timed_out("no event") from None
            raise
        if piece is None:
            return
        yield piece


def let_go(response: Any) -> None:
    """Undo `hold_reads`, so that a connection kept alive does not keep the call in memory."""
    connection = response.extensions.get("network_stream")
    own = getattr(connection, "__dict__", {})
    # its own: the connection may have gone on to another call already
    if own.get("read") is not None and own["read"] is response.extensions.get(_HELD):
        del own["read"]
