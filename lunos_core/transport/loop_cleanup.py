"""Close what belongs to an event loop, whether or not its owner still exists."""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable

from lunos_core.errors import LunosConfigError


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop that this code runs in.

    Raises:
        LunosConfigError: none of asyncio's, such as trio's. Connections, waits and both frameworks
            are asyncio's here.
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


_GRACE = 0.1  # a loop that ends within it closes by itself; two closings at once would meet


class LoopCleanup:
    """Closes something when its event loop closes, or when its owner is gone.

    `asyncio.run` closes the asynchronous generators that are open, so one is kept open here. It is
    held by this module until then: one that died with its owner would be closed by a task that
    `asyncio.run` cancels before it starts, and the sockets would stay open.

    Args:
        close: what to await; a second time does no harm.
        owner: what it belongs to.
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
            # closed without its generators: nothing can be awaited there
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
            # A loop that nobody closes leaves its generators to the collector, at exit at the
            # latest. Nothing can be awaited there: trying to would print "Exception ignored".
            self._ends = True
            loop = _loop_or_none()
            if loop is not None:
                await self._close()
                _forget(self, loop)

    def let_go(self) -> None:
        """Forget this loop: its owner outlives many loops, and would keep a client for each."""
        self._finalizer.detach()

    def begin_closing(self) -> None:
        """Close in a task of the running loop, unless the end of the loop is already doing so."""
        if not self._ends:
            self._closing = asyncio.ensure_future(self.close())


# Not weakly by loop: what is open holds on to its loop anyway. Without a lock: a set is touched by
# its own loop alone, and the dictionary by single steps, also from a finalizer that runs anywhere.
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
    with contextlib.suppress(RuntimeError):  # it closed in between
        loop.call_soon_threadsafe(loop.call_later, _GRACE, closer.begin_closing)


def _after_fork() -> None:
    """Leave the parent's loops alone, but alive: finalizing them would wake the parent's."""
    if _open:
        _of_the_parent.append(dict(_open))
        _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
