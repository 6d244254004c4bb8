"""A ledger's sums of calls for each app id, model and endpoint."""

from __future__ import annotations

import contextlib
import copy
import functools
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from lunos_core.accounting.observers import CallRecord
from lunos_core.accounting.pricing import EXACT
from lunos_core.accounting.usage import MOST_COST, MOST_TOKENS, Usage

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
_AT_ONCE = 64
_NOTHING = Usage()


@dataclass(slots=True)
class History:
    """How an application's cost and tokens grew: (Unix time, cost so far, tokens so far)."""

    points: list[tuple[float, float, int]] = field(default_factory=list)

    def add(self, now: float, cost: float, tokens: int) -> None:
        """Add one call."""
        points = self.points
        if points:
            _, cost_before, tokens_before = points[-1]
            cost += cost_before
            tokens += tokens_before
        points.append((now, cost, tokens))
        if len(points) > _MOST_POINTS:
            self._thin()

    def add_history(self, other: History) -> None:
        """Add the calls of another history, in the order of their times."""
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
        # points are running sums, so leaving some out changes no later one
        self.points = [*self.points[:-1:2], self.points[-1]]


def amount_of(cost: object) -> Decimal | None:
    """Return a cost as an exact amount, or `None` if no call can cost that."""
    if type(cost) is float:
        return _amount_of_float(cost)
    if isinstance(cost, bool) or not isinstance(cost, int | float | Decimal):
        return None
    if isinstance(cost, Decimal) and not cost.is_finite():  # comparing it may raise
        return None
    if not 0 <= cost <= MOST_COST:
        return None
    return cost if isinstance(cost, Decimal) else Decimal(repr(cost))


@functools.lru_cache(maxsize=128)  # a call's cost is read several times
def _amount_of_float(cost: float) -> Decimal | None:
    # a float's shortest text is the intended number
    return Decimal(repr(cost)) if 0 <= cost <= MOST_COST else None


def tokens_of(count: object) -> int:
    """Return a count of tokens, or 0 if no call can have that many."""
    return count if type(count) is int and 0 <= count <= MOST_TOKENS else 0


class Sum:
    """An exact sum of amounts of money, or `None` if none was added."""

    __slots__ = ("total",)

    def __init__(self) -> None:
        self.total: Decimal | None = None

    def add(self, amount: Decimal | None) -> None:
        """Add an amount, if it is known."""
        if amount is not None:
            self.total = amount if self.total is None else EXACT.add(self.total, amount)

    def value(self) -> float | None:
        """Return the sum in USD as the nearest float."""
        return None if self.total is None else float(self.total)


@dataclass(slots=True)
class Row:
    """The sums of one application, model and endpoint."""

    history: History
    calls: int = 0
    errors: int = 0
    retries: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost: Sum = field(default_factory=Sum)
    seconds: float = 0.0
    streams: int = 0
    waited: float = 0.0

    def add(self, call: CallRecord, now: float | None = None) -> None:
        """Count one call, which ended at a Unix time."""
        usage = call.usage or _NOTHING
        cost = amount_of(usage.cost)
        self.calls += 1
        if call.error is not None:
            self.errors += 1
        if call.attempts > 1:
            self.retries += call.attempts - 1
        sent, got = tokens_of(usage.input_tokens), tokens_of(usage.output_tokens)
        self.input_tokens += sent
        self.output_tokens += got
        self.cached_tokens += tokens_of(usage.cached_tokens)
        self.reasoning_tokens += tokens_of(usage.reasoning_tokens)
        self.cost.add(cost)
        self.seconds += call.seconds
        if call.first_token_seconds is not None:
            self.streams += 1
            self.waited += call.first_token_seconds
        self.history.add(time.time() if now is None else now, float(cost or 0), sent + got)

    def add_row(self, other: Row) -> None:
        """Add the calls of another row, whose history is added separately."""
        for name in (*COUNTED, "seconds", "streams", "waited"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.cost.add(other.cost.total)

    def to_dict(self) -> dict[str, Any]:
        """Return the sums in the form that a ledger shows."""
        return {
            **{name: getattr(self, name) for name in COUNTED},
            "cost": self.cost.value(),
            "seconds": self.seconds,
            "first_token_seconds": self.waited / self.streams if self.streams else None,
        }


class Totals:
    """The rows of a ledger and the histories of its app ids."""

    # told of each call that is counted, with the windows of the budgets that cover it
    heard: Callable[[CallRecord, Any], None] | None = None

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, str], Row] = {}
        self._histories: dict[str, History] = {}
        self._waiting: deque[tuple[float, CallRecord, Any]] = deque()
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """Start with a new lock, which no thread of the parent holds."""
        # re-entrant, as in the ledger
        self._lock = threading.RLock()

    def add(self, call: CallRecord, keys: Any = ()) -> None:
        """Add a call; it is counted when somebody asks, or together with others."""
        self._waiting.append((time.time(), call, keys))
        # alone, each takes three times as long; an error keeps alive all that its frames hold
        if call.error is not None or len(self._waiting) >= _AT_ONCE:
            self.count()

    def count(self) -> None:
        """Count the calls that wait for it."""
        with self._lock, contextlib.suppress(IndexError):
            while True:
                now, call, keys = self._waiting.popleft()
                # "Unknown" is the server's own name for it
                key = (call.app_id or "Unknown", call.model or "", call.endpoint)
                (self._rows.get(key) or self._row(key)).add(call, now)
                if self.heard is not None:
                    self.heard(call, keys)

    def _row(self, key: tuple[str, str, str]) -> Row:
        history = self._histories.setdefault(key[0], History())
        return self._rows.setdefault(key, Row(history))

    def merge(self, other: Totals) -> None:
        """Add the rows and histories of others, which no longer change."""
        self.count()
        with self._lock:
            for key, row in other._rows.items():
                self._row(key).add_row(row)
            for app_id, history in other._histories.items():
                self._histories[app_id].add_history(history)

    def spent(self) -> Decimal | None:
        """Return the exact sum of the known costs in USD, or `None` if none is known."""
        self.count()
        spent = Sum()
        for row in list(self._rows.values()):
            spent.add(row.cost.total)
        return spent.total

    def rows(self) -> list[dict[str, Any]]:
        """Return one dict for each app id, model and endpoint, in the order of first calls."""
        self.count()
        with self._lock:
            return [
                {**dict(zip(KEYS, key, strict=True)), **row.to_dict()}
                for key, row in list(self._rows.items())
            ]

    def histories(self) -> dict[str, list[tuple[float, float, int]]]:
        """Return the points of each app id."""
        self.count()
        with self._lock:
            return {app_id: list(item.points) for app_id, item in list(self._histories.items())}

    def __getstate__(self) -> dict[str, Any]:
        """Return the current state without the lock; other threads may continue to count."""
        self.count()
        with self._lock:  # a re-entrant call would change them
            parts = {"_rows": dict(self._rows), "_histories": dict(self._histories)}
            return copy.deepcopy(parts)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _waiting=deque())
        self.reset_after_fork()
