"""An event loop whose clock shows what was waited for, not how busy the machine is."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    def __init__(self, waited: Callable[[float], None]) -> None:
        super().__init__()
        self._waited = waited

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(timeout)
        if timeout and not events:
            self._waited(timeout)
        return events


class TimerLoop(asyncio.SelectorEventLoop):
    """A loop in which time passes only while it waits for a timer, in vain for anything else.

    "Within a second" then means that no timer of a second or more is in the way: a machine that is
    busy for ten seconds takes no time at all.
    """

    def __init__(self) -> None:
        self._clock = 0.0
        self._own = _Selector(self._wait)
        super().__init__(self._own)

    def time(self) -> float:
        return self._clock

    def sockets(self) -> int:
        """How many sockets the loop waits for, its own among them."""
        return len(self._own.get_map())

    def _wait(self, seconds: float) -> None:
        self._clock += seconds


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a `TimerLoop`, as `asyncio.run` would."""
    with asyncio.Runner(loop_factory=TimerLoop) as runner:
        return runner.run(main)
