"""Who hears of each call when it is over: one hook in the clients, never in the adapters."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import NamedTuple

from lunos_core.accounting.usage import Usage
from lunos_core.errors import LunosError


class CallRecord(NamedTuple):
    """One call, when it is over: answered, failed, or closed early.

    Attributes:
        app_id: the app id that it carried, or `None`.
        model: the model that was asked; `None` where none was (the catalog).
        endpoint: the path, such as "/chat/completions".
        attempts: requests made.
        seconds: from the call's start to its end.
        first_token_seconds: to the first event of a stream; `None` where there was none.
        usage: what the server said; `None` where it said nothing (a stream closed early).
        error: why it failed, or `None`.
    """

    app_id: str | None
    model: str | None
    endpoint: str
    attempts: int
    seconds: float
    first_token_seconds: float | None
    usage: Usage | None
    error: LunosError | None


Observer = Callable[[CallRecord], None]


_active: ContextVar[tuple[Observer, ...]] = ContextVar("lunos_ledgers", default=())


_everywhere: tuple[Observer, ...] = ()


_changing = threading.Lock()


def active_observers() -> tuple[Observer, ...]:
    """The ledgers that are open around the caller, and those of the whole process."""
    return (*_everywhere, *_active.get())


def gathered(own: Iterable[Observer]) -> tuple[Observer, ...]:
    """A client's observers and the active ones, each once: nothing is counted twice."""
    several = (*own, *_everywhere, *_active.get())
    return several if len(several) < 2 else tuple(dict.fromkeys(several))


def ask_before(observers: Iterable[Observer], *, app_id: str | None, model: str | None) -> None:
    """Let the ledgers among the observers refuse a call that is about to begin.

    Raises:
        LunosBudgetError: the budget of one of them is spent.
    """
    for observer in observers:
        ledger = getattr(observer, "__self__", None)
        check = getattr(ledger, "check_budget", None)
        if check is not None:
            check(app_id=app_id, model=model)


def begin_here(observer: Observer) -> None:
    """Let an observer hear of the calls of this context, and of tasks that begin in it."""
    _active.set((*_active.get(), observer))


def end_here(observer: Observer) -> None:
    """End what `begin_here` began."""
    # the last one of ours, not a token: a generator may be closed in another context
    found = list(_active.get())
    if observer in found:
        del found[len(found) - 1 - found[::-1].index(observer)]
    _active.set(tuple(found))


def begin_everywhere(observer: Observer) -> None:
    """Let an observer hear of the calls of the whole process, in any thread."""
    global _everywhere
    with _changing:
        _everywhere = tuple(dict.fromkeys((*_everywhere, observer)))


def end_everywhere(observer: Observer) -> None:
    """End what `begin_everywhere` began."""
    global _everywhere
    with _changing:
        _everywhere = tuple(item for item in _everywhere if item != observer)
