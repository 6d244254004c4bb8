"""Close resources of an event loop, whether or not their owner still exists."""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable

from lunos_core.errors import LunosConfigError


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the running event loop.

    Raises:
        LunosConfigError: it isn't asyncio's, but for example trio's. Connections, waits and both
            frameworks need asyncio.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise LunosConfigError(
            "no asyncio event loop runs here: the async methods work in asyncio's loops only, not "
            "in trio's; there, call the sync ones in a thread (trio.to_thread.run_sync)"
        ) from None


def _loop_or_none() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


_GRACE = 0.1  # a loop that ends within this time closes by itself, without a second close


class LoopCleanup:
    """Closes something when its event loop closes, or when its owner is gone.

    `asyncio.run` closes open asynchronous generators, so one is kept open here. This module holds
    it until then: if it died with its owner, a task would close it that `asyncio.run` cancels
    before it starts, and the sockets would stay open.

    Args:
        close: the function to await; calling it twice is harmless.
        owner: the object to which it belongs.
    """

    def __init__(self, close: Callable[[], Awaitable[None]], owner: object) -> None:
        self._close = close
        self._ends = False
        self._until_loop_ends = self._close_at_end()
        with contextlib.suppress(StopIteration):  # runs to its `yield`; nothing is awaited
            self._until_loop_ends.asend(None).send(None)
        self._closing: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        for ended in [other for other in list(_open) if other.is_closed()]:
            # it was closed without its generators: nothing can be awaited there
            for closer in _open.pop(ended, ()):
                closer.let_go()
        _open.setdefault(loop, set()).add(self)
        self._finalizer = weakref.finalize(owner, _owner_is_gone, self, loop, os.getpid())
        self._finalizer.atexit = False

    async def close(self) -> None:
        """Close now."""
        await self._close()
        await self._until_loop_ends.aclose()

    async def _close_at_end(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            # If nobody closes a loop, its generators are garbage collected, at exit at the latest.
            # Nothing can be awaited then: trying to would print "Exception ignored".
            self._ends = True
            loop = _loop_or_none()
            if loop is not None:
                await self._close()
                _forget(self, loop)

    def let_go(self) -> None:
        """Forget this loop: the owner outlives many loops, and would keep a client for each."""
        self._finalizer.detach()

    def begin_closing(self) -> None:
        """Close in a task of the running loop, unless the loop's end is already doing so."""
        if not self._ends:
            self._closing = asyncio.ensure_future(self.close())


# Not weak keys: open resources refer to their loop anyway. No lock: only its own loop changes a
# set, and the dictionary changes in single steps, even in a finalizer that runs anywhere.
_open: dict[asyncio.AbstractEventLoop, set[LoopCleanup]] = {}
_of_the_parent: list[object] = []


def _forget(closer: LoopCleanup, loop: asyncio.AbstractEventLoop) -> None:
    closer.let_go()
    closers = _open.get(loop, set())
    closers.discard(closer)
    if not closers:
        _open.pop(loop, None)


def _owner_is_gone(closer: LoopCleanup, loop: asyncio.AbstractEventLoop, pid: int) -> None:
    if os.getpid() != pid:
        return
    if loop.is_closed():
        _open.pop(loop, None)  # nothing can be awaited there any more
        return
    with contextlib.suppress(RuntimeError):  # it has closed meanwhile
        loop.call_soon_threadsafe(loop.call_later, _GRACE, closer.begin_closing)


def _after_fork() -> None:
    """Keep the parent's loops alive, but unused: finalizing them would wake the parent's."""
    if _open:
        _of_the_parent.append(dict(_open))
        _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
