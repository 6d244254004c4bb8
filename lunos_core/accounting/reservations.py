"""Reservations for calls before they are sent, one by one or in lumps, and the verdicts on them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from sqlite3 import Connection
from typing import Any

from lunos_core.accounting.budgets import Budget, RateLimit, Scope
from lunos_core.accounting.observers import CallRecord
from lunos_core.accounting.schema import REFUSED
from lunos_core.accounting.store import UsageStore

Key = tuple[Budget, Scope, float]
"""A budget, the calls that count together, and the start of the window."""

Kind = tuple[Any, ...]
"""What calls that share a lump have in common: model, total_timeout, app, user and tags."""

MOST_ROOM = 2**62
POLL = 0.02
_SECONDS = 2.0
_CALLS = 50
_MOST = 1000


@dataclass(slots=True, weakref_slot=True, eq=False)
class Reservation:
    """Money and tokens reserved for one call, and its observer; released if it leaves no record.

    Attributes:
        certain: whether `cost` is more than a guess.
        id: the id of its row in the store, or of the lump that pays for it.
        part: its part of a lump, in picodollars.
        keys: the windows of the budgets that cover it.
        count: called with the finished call and this reservation.
    """

    store: UsageStore
    facts: dict[str, Any]
    cost: int
    tokens: int
    certain: bool
    id: str = ""
    part: int | None = None
    settled: bool = False
    keys: tuple[Key, ...] = ()
    count: Callable[[CallRecord, Reservation], None] | None = None

    def __call__(self, call: CallRecord) -> None:
        """Settle it: the money is spent, or free again, when the call is written."""
        self.settled = True
        if self.count is not None:
            self.count(call, self)

    def abandon(self) -> None:
        """Release it if the call leaves no record, as a cancelled one."""
        if self.id and not self.settled:
            self.settled = True
            self.store.end_reservation(self.id, self.part)

    __del__ = abandon


@dataclass(slots=True)
class Verdict:
    """The decision of budgets and limits about a call.

    Attributes:
        wait: seconds to wait before the next try.
        exceeded: each budget that refuses: spent, possible further cost, the window's end, its key.
        limit: the limit that was reached.
        warn: budgets whose `on_warn` must be called, each with the money spent.
        room: the picodollars left after the call, by the strictest budget.
    """

    wait: float | None = None
    exceeded: list[tuple[Budget, Decimal, Decimal, float | None, Key]] = field(default_factory=list)
    limit: RateLimit | None = None
    warn: list[tuple[Budget, float]] = field(default_factory=list)
    room: int = MOST_ROOM

    @property
    def fits(self) -> bool:
        """Whether the call may start."""
        return self.wait is None and not self.exceeded and self.limit is None


def seconds_to_room(
    connection: Connection, now: float, limit: RateLimit, scope: Scope, tokens: int
) -> float | None:
    """Return the seconds until a limit may have room for a call, or `None` if it has room."""
    calls, used, oldest = connection.execute(
        "SELECT COUNT(*), COALESCE(SUM(input_tokens + output_tokens), 0), MIN(at) FROM calls "
        f"WHERE at > ? AND at < ? AND status != '{REFUSED}'{scope.condition}",
        # rows of the far future are from before the clock was set back: they would block all calls
        (now - limit.seconds, now + limit.seconds, *scope.values),
    ).fetchone()
    more, held = connection.execute(
        "SELECT COUNT(*), COALESCE(SUM(tokens), 0) FROM reservations "
        f"WHERE expires > ?{scope.condition}",
        (now, *scope.values),
    ).fetchone()
    calls, used = calls + more, used + held
    is_full = limit.requests is not None and calls >= limit.requests
    # a call that is larger than the whole limit is sent alone
    if limit.tokens is not None and calls and used + tokens > limit.tokens:
        is_full = True
    if not is_full:
        return None
    wait = POLL if oldest is None else oldest + limit.seconds - now
    return min(max(wait, POLL), 1.0)


def refusal_text(budget: Budget, spent: Decimal, estimate: Decimal, end: float | None) -> str:
    """Return why a budget refuses a call, and until when."""
    until = "" if end is None else f", until {datetime.fromtimestamp(end, UTC):%Y-%m-%dT%H:%MZ}"
    if spent >= budget.limit:
        text = f"the budget of {budget} is spent ({spent:f} USD so far{until})"
    else:
        text = (
            f"the budget of {budget} has no room for this call ({spent:f} USD so far, and "
            f"{estimate:f} USD may follow from it and calls under way{until})"
        )
    return f"{text}: nothing was sent; raise the budget, or begin a new ledger"


@dataclass(slots=True)
class Lump:
    """Money reserved in one row for the next calls of one kind if a budget is far from spent.

    Those calls then need no transaction. It is at most a fiftieth of the rest of the budget. After
    two seconds nothing more is drawn from it, and the rest is released; what was drawn stays
    reserved until those calls are written.
    """

    left: int
    expires: float
    id: str = ""
    keys: tuple[Key, ...] = ()


def lump_of(room: int, cost: int, now: float) -> Lump | None:
    """Return a lump for the next calls, or `None` near the end of a budget.

    Args:
        room: the rest of the budget in picodollars.
        cost: the cost of one call.
        now: the time of the store's clock.
    """
    most = cost * _CALLS
    return Lump(min(room // _CALLS, most), now + _SECONDS) if room > most else None


class Lumps:
    """The lumps of one ledger, by kind. The store's writer ends old ones."""

    def __init__(self, store: UsageStore) -> None:
        self._store = store
        # re-entrant, as in the ledger
        self._lock = threading.RLock()
        self.by_kind: dict[Kind, Lump] = {}

    def draw(self, kind: Kind, cost: int) -> Lump | None:
        """Return the lump that pays for a call, or `None` if there is none with enough money."""
        with self._lock:
            lump = self.by_kind.get(kind)
            if lump is None:
                return None
            if cost <= lump.left and self._store.clock() < lump.expires:
                lump.left -= cost
                return lump
            self._end(kind)
            return None

    def keep(self, kind: Kind, lump: Lump) -> None:
        """Keep a lump that is in the store now, and end the one that it replaces."""
        with self._lock:
            if kind in self.by_kind:
                self._end(kind)
            if len(self.by_kind) >= _MOST:
                self.end_old(None)
            self.by_kind[kind] = lump
        self._store.watch(self)

    @property
    def holds(self) -> bool:
        """Whether there are lumps, which expire."""
        return bool(self.by_kind)

    def end_old(self, now: float | None) -> None:
        """End the lumps that have expired; `None` ends all."""
        if not self.by_kind:
            return
        with self._lock:
            for kind, lump in list(self.by_kind.items()):
                if now is None or now >= lump.expires:
                    self._end(kind)

    def _end(self, kind: Kind) -> None:
        """Release the money that wasn't drawn; the lock must be held."""
        lump = self.by_kind.pop(kind)
        self._store.end_reservation(lump.id, lump.left)
