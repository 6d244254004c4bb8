"""What calls cost: an estimate before they are sent, and the money spent in budgets' windows."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from sqlite3 import Connection
from typing import Any, NamedTuple

from lunos_core.accounting.budgets import Budget, LunosCostWarning, RateLimit, Scope
from lunos_core.accounting.observers import CallRecord, CallStart
from lunos_core.accounting.pricing import rates_of, usd
from lunos_core.accounting.questions import spent_of
from lunos_core.accounting.reservations import Key
from lunos_core.accounting.schema import (
    UNKNOWN_APP,
    cost_of,
    last_id_of,
    picodollars,
    tags_of,
    user_of,
)
from lunos_core.accounting.store import UsageStore
from lunos_core.accounting.totals import amount_of
from lunos_core.errors import LunosBudgetError, LunosConfigError

_CHARACTERS_PER_TOKEN = 4
# an answer's length, if neither the request nor the catalog has one
_TYPICAL_TOKENS = 1000
# how many of a model's last calls predict the cost of the next one
_SAMPLE = 20
_LOOKED_AT = 10_000

warned_models: set[str] = set()
"""Models about whose unknown cost this process has warned."""

Facts = dict[str, Any]
"""The facts by which budgets cover a call: its app, user and tags."""


class Pending(NamedTuple):
    """The unwritten calls of a moment: their facts and picodollars; and what was noted by then."""

    calls: list[tuple[Facts, int]]
    noted: dict[Key, int]


class Estimator:
    """Estimates the cost of calls, and learns from their actual cost.

    Args:
        on_unknown_cost: "warn", "refuse" or "ignore".
    """

    def __init__(self, on_unknown_cost: str) -> None:
        self._on_unknown_cost = on_unknown_cost
        self._learned: dict[str, int] = {}
        self._unknown: set[str] = set()

    def tokens(self, start: CallStart) -> int:
        """Estimate the tokens of prompt and answer."""
        answer = min(start.max_tokens or _TYPICAL_TOKENS, _TYPICAL_TOKENS)
        return start.input_bytes // _CHARACTERS_PER_TOKEN + answer

    def cost(self, start: CallStart, connection: Connection | None) -> tuple[int, bool]:
        """Return the estimated cost in picodollars, and whether it is more than a guess.

        Args:
            start: the call.
            connection: to the store with earlier calls, or `None`.

        Raises:
            LunosBudgetError: the cost is unknown, and unknown costs are refused.
        """
        model = start.model or ""
        cost = self._learned.get(model)
        if cost is not None and start.max_tokens is None:
            return cost, True
        ceiling = _ceiling(start)
        if cost is None and connection is not None:
            cost = self._look_up(connection, model)
        if cost is not None:
            if ceiling is not None and start.max_tokens is not None:
                cost = min(cost, ceiling)
            return cost, True
        if ceiling is not None:
            return ceiling, start.max_tokens is not None
        if self._on_unknown_cost == "refuse":
            raise LunosBudgetError(
                f"what {model} costs is unknown, and on_unknown_cost is 'refuse': nothing was "
                "sent; give the client a catalog that prices it, or take 'warn'",
                model=start.model,
                app_id=start.app_id,
            )
        return 0, model in self._unknown

    def learn(self, call: CallRecord) -> int | None:
        """Learn the cost of a finished call, and return it, or `None` if it is unknown."""
        model = call.model or ""
        cost = cost_of(call.usage)
        if cost is not None:
            before = self._learned.get(model, cost)
            self._learned[model] = before + (cost - before) // 4
            self._unknown.discard(model)
        elif call.error is None:
            self._unknown.add(model)
        return cost

    def tell_unknown(self, call: CallRecord) -> None:
        """Warn, once per model and process, that a call's cost is unknown."""
        is_known = call.error is not None or (
            call.usage is not None and call.usage.cost is not None
        )
        model = call.model or ""
        if is_known or self._on_unknown_cost != "warn" or model in warned_models:
            return
        warned_models.add(model)
        warnings.warn(
            f"a budget is set, but what {model} costs is unknown: neither the gateway nor the "
            "catalog says, and its calls do not count (on_unknown_cost='ignore' to be quiet)",
            LunosCostWarning,
            stacklevel=2,
        )

    def _look_up(self, connection: Connection, model: str) -> int | None:
        (mean,) = connection.execute(
            "SELECT AVG(cost) FROM (SELECT cost FROM calls WHERE id > ? AND model = ? "
            "AND cost IS NOT NULL AND status = 'ok' ORDER BY id DESC LIMIT ?)",
            (last_id_of(connection) - _LOOKED_AT, model, _SAMPLE),
        ).fetchone()
        if mean is None:
            return None
        self._learned[model] = int(mean)
        return int(mean)


def _ceiling(start: CallStart) -> int | None:
    """Return the highest cost of a call by its price, or `None` if that is unknown."""
    known = None if start.prices is None else start.prices(start.model or "")
    rates = rates_of(known)
    if rates[:2] == (None, None):
        return None
    most = start.max_tokens or getattr(known, "max_output_tokens", None) or _TYPICAL_TOKENS
    prompt = start.input_bytes // _CHARACTERS_PER_TOKEN
    cost = max(rates.input or 0, rates.cache_write or 0) * prompt
    cost += max(rates.output or 0, rates.reasoning or 0) * most
    return picodollars(amount_of(usd(cost)))


def facts_of(store: UsageStore, call: CallRecord | CallStart) -> Facts:
    """Return the facts by which budgets cover a call."""
    return {
        "app": call.app_id or UNKNOWN_APP,
        "user": user_of(call.tags, call.user),
        "tags": tags_of(call.tags, call.metadata, store.tag_keys),
    }


def covering(
    budgets: Iterable[Budget], facts: Facts, now: float, but: Collection[Budget] = ()
) -> Iterator[tuple[Budget, Scope, float | None, Key]]:
    """Yield each budget that covers a call, with its scope, its window's end and its key."""
    for budget in budgets:
        scope = budget.scope(facts)
        if scope is not None and budget not in but:
            begin, end = budget.window(now)
            yield budget, scope, end, (budget, scope, begin)


class Spending:
    """Adds up the calls of windows, reading each row of the store once."""

    def __init__(self, store: UsageStore, drain: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self.drain = drain  # notes the finished calls that wait for it
        # for each window: the last row added up, the sum, and the noted part of it
        self._sums: dict[Key, tuple[int, int, int]] = {}
        # for windows without sums: the last row that was read
        self._seen: dict[tuple[Budget, float], int] = {}
        # for each window: the cost of this process's calls
        self._noted: dict[Key, int] = {}
        self._lock = threading.RLock()

    def add_up(self, budgets: Iterable[Budget]) -> None:
        """Add up the costs of old rows, so that no call has to wait for it."""
        now = self._store.clock()
        with (
            contextlib.suppress(LunosConfigError),  # then the first call does it
            self._store.database.reading() as connection,
        ):
            last_id = last_id_of(connection)
            for budget in budgets:
                begin, _ = budget.window(now)
                self._seen[budget, begin] = last_id
                for facts, amount in spent_of(connection, budget, now):
                    scope = budget.scope(facts)
                    if scope is not None:
                        self._sums[budget, scope, begin] = (last_id, amount, 0)

    def go_on_from(self, before: Spending) -> None:
        """Copy the sums of the parent process, which has the same store, in a forked child."""
        sums = before._sums.copy()
        self._sums = {key: (row, amount, 0) for key, (row, amount, _) in sums.items()}
        self._seen = before._seen.copy()

    def known(self, key: Key) -> int:
        """Return the picodollars of a window that this process knows, without reading the store."""
        self.drain()
        _, total, included = self._sums.get(key, (0, 0, 0))
        return total + self._noted.get(key, 0) - included

    def note(self, call: CallRecord, keys: Iterable[Key]) -> None:
        """Add a finished call to the windows that cover it."""
        with self._lock:
            for key in keys:
                self._noted[key] = self._noted.get(key, 0) + (cost_of(call.usage) or 0)

    def exact(self, key: Key, *, wait: float = 0.25) -> int:
        """Return the picodollars of a window, including unwritten calls of this process.

        Raises:
            LunosConfigError: the store can't be read.
        """
        self._store.flush(wait=wait)
        pending = self.pending()
        total = self._store.database.transact(
            lambda connection: self.total(connection, key, pending), wait=wait, reads_first=True
        )
        return total + self.unwritten(key, pending)

    def total(self, connection: Connection, key: Key, pending: Pending) -> int:
        """Add up the rows of a window that are new, and return the sum in picodollars."""
        budget, scope, begin = key
        last_id = last_id_of(connection)
        seen, total, _ = self._sums.get(key) or (self._seen.get((budget, begin), 0), 0, 0)
        if seen < last_id:
            # a window that has just begun has few rows, which the index by time finds
            row = "id" if seen or not begin else "+id"
            # in two parts, as in questions: the sum may be too large for SQLite's integers
            high, low = connection.execute(
                "SELECT COALESCE(SUM(cost / 1000000), 0), COALESCE(SUM(cost % 1000000), 0) "
                f"FROM calls WHERE {row} > ? AND {row} <= ? AND at >= ?{scope.condition}",
                (seen, last_id, begin, *scope.values),
            ).fetchone()
            total += high * 1_000_000 + low
            if key not in self._sums:
                # windows that have ended don't count any more
                ended = [k for k in self._sums if k[0] is budget and k[2] != begin]
                for old in ended:
                    self._sums.pop(old, None)
                    self._noted.pop(old, None)
            included = pending.noted.get(key, 0) - self.unwritten(key, pending)
            self._sums[key] = (last_id, total, included)
        return total

    def pending(self) -> Pending:
        """Return the finished calls of this process that haven't been written yet."""
        self.drain()
        noted = self._noted.copy()  # first: better twice than never
        calls = [
            (facts_of(self._store, call), cost_of(call.usage) or 0) for call in self._store.pending
        ]
        return Pending([item for item in calls if item[1]], noted)

    @staticmethod
    def unwritten(key: Key, pending: Pending) -> int:
        """Return the cost of the unwritten calls that a window covers."""
        budget, scope, _ = key
        return sum(cost for facts, cost in pending.calls if budget.scope(facts) == scope)

    def forget_old_rows(self, limits: Iterable[RateLimit]) -> None:
        """Add up and delete the rows of a store in memory.

        Raises:
            LunosConfigError: the store can't be written.
        """

        def add_up(connection: Connection) -> None:
            pending = self.pending()
            for key in list(self._sums):
                self.total(connection, key, pending)

        self._store.database.transact(add_up)
        longest = max((limit.seconds for limit in limits), default=0.0)
        self._store.prune(self._store.clock() - longest)
