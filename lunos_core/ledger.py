"""What each call used and cost, per app id, model and endpoint.

Observers hang on one hook in the clients, never in the adapters: whatever goes through Lunos is
counted, in either framework, streamed or not.
"""

from __future__ import annotations

import copy
import math
import os
import threading
import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple, Self

from lunos_core.errors import LunosBudgetError, LunosError
from lunos_core.usage import Usage


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
        if isinstance(ledger, UsageLedger):
            ledger.check_budget(app_id=app_id, model=model)


@dataclass(slots=True)
class History:
    """How an application's cost and tokens grew: (Unix time, cost so far, tokens so far)."""

    points: list[tuple[float, float, int]] = field(default_factory=list)

    def add(self, now: float, cost: float, tokens: int) -> None:
        """One more call."""
        points = self.points
        if points:
            _, cost_before, tokens_before = points[-1]
            cost += cost_before
            tokens += tokens_before
        points.append((now, cost, tokens))
        if len(points) > _MOST_POINTS:
            self._thin()

    def add_history(self, other: History) -> None:
        """The calls of both, in the order of their times."""
        steps = sorted([*self._steps(), *other._steps()])
        self.points = []
        for now, cost, tokens in steps:
            self.add(now, cost, tokens)

    def _steps(self) -> list[tuple[float, float, int]]:
        before = [(0.0, 0.0, 0), *self.points]
        return [
            (now, cost - last_cost, tokens - last_tokens)
            for (now, cost, tokens), (_, last_cost, last_tokens) in zip(
                self.points, before, strict=False
            )
        ]

    def _thin(self) -> None:
        # sums so far: what is left out changes no later point
        self.points = [*self.points[:-1:2], self.points[-1]]


class _Sum:
    """A sum of amounts of money, or `None` where none was added; to fifteen digits, exact."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[float] = []

    def add(self, amount: float) -> None:
        # summed up when someone asks, or there are many
        parts = self._parts
        parts.append(amount)
        if len(parts) > _MOST_PARTS:
            whole = math.fsum(parts)
            self._parts = [whole, math.fsum([*parts, -whole])]  # with what was rounded off

    def add_sum(self, other: _Sum) -> None:
        for amount in other._parts:
            self.add(amount)

    def value(self) -> float | None:
        if not self._parts:
            return None
        try:
            # fsum rounds once; fifteen digits of a float are those that were meant
            return float(f"{math.fsum(self._parts):.15g}")
        except OverflowError:
            return math.inf


@dataclass(slots=True)
class _Row:
    history: History
    calls: int = 0
    errors: int = 0
    retries: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost: _Sum = field(default_factory=_Sum)
    seconds: float = 0.0
    streams: int = 0
    waited: float = 0.0

    def add(self, call: CallRecord) -> None:
        used = call.usage or _NOTHING
        cost = used.cost
        self.calls += 1
        if call.error is not None:
            self.errors += 1
        if call.attempts > 1:
            self.retries += call.attempts - 1
        self.input_tokens += used.input_tokens
        self.output_tokens += used.output_tokens
        if used.cached_tokens:
            self.cached_tokens += used.cached_tokens
        if used.reasoning_tokens:
            self.reasoning_tokens += used.reasoning_tokens
        if cost is not None:
            self.cost.add(cost)
        self.seconds += call.seconds
        if call.first_token_seconds is not None:
            self.streams += 1
            self.waited += call.first_token_seconds
        self.history.add(time.time(), cost or 0.0, used.input_tokens + used.output_tokens)

    def add_row(self, other: _Row) -> None:
        for name in (*COUNTED, "seconds", "streams", "waited"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.cost.add_sum(other.cost)

    def to_dict(self) -> dict[str, Any]:
        shown = {name: getattr(self, name) for name in COUNTED}
        return {
            **shown,
            "cost": self.cost.value(),
            "seconds": self.seconds,
            "first_token_seconds": self.waited / self.streams if self.streams else None,
        }


class UsageLedger:
    """Counts calls: tokens, cost, retries, errors and time, per app id, model and endpoint.

    In a `with` block it counts the calls made inside, and in the tasks that begin there. A thread
    counts where it runs in a copy of the block's context: `asyncio.to_thread` and both frameworks'
    executors see to that, a bare `threading.Thread` does not. `start()` counts everywhere in the
    process, until `stop()`. A client takes one as `observers=[ledger.record]`. However many of the
    three it is, a call is counted once.

    What is not asked of a model, such as the catalog, is not counted.

    Args:
        budget: USD. Once the calls counted here have cost as much, the next is refused with a
            `LunosBudgetError` before anything is sent. Calls whose cost is unknown do not count;
            calls that are under way together may go beyond it.

    Example:
        >>> from lunos_core import UsageLedger
        >>> with UsageLedger() as ledger:
        ...     pass  # chain.invoke(…), index.as_query_engine().query(…)
        >>> ledger.rows()
        []
    """

    def __init__(self, *, budget: float | Decimal | str | None = None) -> None:
        self.budget = None if budget is None else Decimal(str(budget))
        if self.budget is not None and not self.budget >= 0:
            raise ValueError(f"budget must be 0 or more, not {budget!r}")
        # re-entrant: a garbage collection in here may close a forgotten stream, which is counted
        self._lock = threading.RLock()
        self._rows: dict[tuple[str, str, str], _Row] = {}
        self._history: dict[str, History] = {}
        self._spent = _Sum()

    def __enter__(self) -> Self:
        """Begin to count."""
        _active.set((*_active.get(), self.record))
        return self

    def __exit__(self, *_: object) -> None:
        """Stop counting; the rows stay."""
        # the last one of ours, not a token: a generator may be closed in another context
        found = list(_active.get())
        if self.record in found:
            del found[len(found) - 1 - found[::-1].index(self.record)]
        _active.set(tuple(found))

    def start(self) -> Self:
        """Count the calls of the whole process from now on, in any thread."""
        global _everywhere
        with _changing:
            _everywhere = tuple(dict.fromkeys((*_everywhere, self.record)))
        return self

    def stop(self) -> None:
        """End what `start` began."""
        global _everywhere
        with _changing:
            _everywhere = tuple(one for one in _everywhere if one != self.record)

    def record(self, call: CallRecord) -> None:
        """Count one call: the clients' hook."""
        if call.model is None:
            return
        key = (call.app_id or "Unknown", call.model, call.endpoint)  # the server's own word for it
        used = call.usage
        with self._lock:
            (self._rows.get(key) or self._row(key)).add(call)
            if used is not None and used.cost is not None:
                self._spent.add(used.cost)

    def _row(self, key: tuple[str, str, str]) -> _Row:
        history = self._history.setdefault(key[0], History())
        return self._rows.setdefault(key, _Row(history))

    @property
    def cost(self) -> float | None:
        """USD so far; `None` where no call's cost is known."""
        with self._lock:
            return self._spent.value()

    def check_budget(self, *, app_id: str | None = None, model: str | None = None) -> None:
        """Refuse the next call once the budget is spent: the clients ask before they send.

        Raises:
            LunosBudgetError: it is spent.
        """
        if self.budget is None or model is None:
            return
        spent = Decimal(repr(self.cost or 0.0))
        if spent >= self.budget:
            raise LunosBudgetError(
                f"the budget of {self.budget:f} USD is spent ({spent:f} USD so far): nothing was "
                "sent; raise ledger.budget, or begin a new ledger",
                model=model,
                app_id=app_id,
            )

    def merge(self, other: UsageLedger) -> None:
        """Add what another ledger has counted: of a worker process, say, as ledgers can be pickled.

        The budget stays this one's; what the other has spent counts towards it.

        Example:
            >>> import pickle
            >>> from lunos_core import UsageLedger
            >>> ledger, of_a_worker = UsageLedger(), UsageLedger()
            >>> ledger.merge(pickle.loads(pickle.dumps(of_a_worker)))
        """
        # a copy first: two ledgers that merge each other must not wait for each other's lock
        counted = other.__getstate__()
        with self._lock:
            for key, row in counted["_rows"].items():
                self._row(key).add_row(row)
            for app_id, history in counted["_history"].items():
                self._history[app_id].add_history(history)
            self._spent.add_sum(counted["_spent"])

    def __getstate__(self) -> dict[str, Any]:
        """All but the lock, as it is now: another thread may go on counting."""
        with self._lock:
            state = {name: one for name, one in vars(self).items() if name != "_lock"}
            for name in ("_rows", "_history"):
                state[name] = dict(state[name])  # one that a re-entrant record does not change
            return copy.deepcopy(state)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """With a lock of its own."""
        vars(self).update(state, _lock=threading.RLock())

    def rows(self) -> list[dict[str, Any]]:
        """One dict for each app id, model and endpoint, in the order of their first calls.

        `cost` is USD, the sum of what is known, and `None` where nothing is; `seconds` is the sum
        over the calls; `first_token_seconds` is the mean over the streams, `None` without any.
        """
        with self._lock:
            return [
                {**dict(zip(KEYS, key, strict=True)), **row.to_dict()}
                for key, row in list(self._rows.items())
            ]

    def history(self) -> dict[str, list[tuple[float, float, int]]]:
        """By app id: (Unix time, USD so far, tokens so far) after each call; thinned when long."""
        with self._lock:
            return {app_id: list(one.points) for app_id, one in list(self._history.items())}

    def table(self) -> str:
        """The rows as text to print: by rich where it is installed, else plain columns."""
        from lunos_core._ledger_views import to_table

        return to_table(self.rows())

    def to_frame(self) -> Any:
        """The rows as a pandas `DataFrame`.

        Raises:
            ImportError: pandas is not installed.
        """
        from lunos_core._ledger_views import to_frame

        return to_frame(self.rows())

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the rows as CSV, with a header; what is unknown is empty."""
        from lunos_core._ledger_views import write_csv

        write_csv(path, self.rows())

    def write_json(self, path: str | os.PathLike[str]) -> None:
        """Write `{"rows": […], "history": {app id: […]}}`: `lunos usage FILE` shows it."""
        from lunos_core._ledger_views import write_json

        write_json(path, self.rows(), self.history())

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Cost and tokens of each application over time, as a matplotlib `Figure`.

        Args:
            path: where to save the picture, too.

        Raises:
            ImportError: matplotlib is not installed.
        """
        from lunos_core._ledger_views import plot

        return plot(self.history(), path)


KEYS = ("app_id", "model", "endpoint")
COUNTED = (
    "calls",
    "errors",
    "retries",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "reasoning_tokens",
)
COLUMNS = (*KEYS, *COUNTED, "cost", "seconds", "first_token_seconds")
_MOST_POINTS = 4000
_MOST_PARTS = 100


_NOTHING = Usage()
