"""Reservations for calls before they are sent, and the verdicts of budgets and limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from sqlite3 import Connection
from typing import Any

from lunos_core.accounting.budgets import Budget, RateLimit, Scope
from lunos_core.accounting.schema import REFUSED
from lunos_core.accounting.store import UsageStore

Key = tuple[Budget, Scope, float]
"""A budget, the calls that count together, and the start of the window."""

MOST_ROOM = 2**62
POLL = 0.02


@dataclass(slots=True, weakref_slot=True, eq=False)
class Reservation:
    """Money and tokens reserved for one call; released if the call leaves no record.

    Attributes:
        certain: whether `cost` is more than a guess.
        id: the id of its row in the store, or of the lump that pays for it.
        part: its part of a lump, in picodollars.
        keys: the windows of the budgets that cover it.
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

    def release(self) -> None:
        """Release the reservation, unless the call was settled."""
        if self.id and not self.settled:
            self.settled = True
            self.store.end_reservation(self.id, self.part)

    def __del__(self) -> None:
        if not self.settled:
            self.release()


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
