"""What is held for a call before it is sent, and what budgets and limits say to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from lunos_core.accounting.budgets import Budget, RateLimit, Scope
from lunos_core.accounting.store import UsageStore

Key = tuple[Budget, Scope, float]
"""A budget, the calls that count together, and the begin of the window."""


@dataclass(slots=True, weakref_slot=True, eq=False)
class Reservation:
    """Money and tokens that are held for one call; given back where the call leaves no record."""

    store: UsageStore
    facts: dict[str, Any]
    cost: int
    tokens: int
    certain: bool
    id: str = ""
    settled: bool = False

    def release(self) -> None:
        """Give back what is held, unless the call was settled."""
        if self.id and not self.settled:
            self.settled = True
            self.store.end_reservation(self.id)

    def __del__(self) -> None:
        self.release()


@dataclass(slots=True)
class Verdict:
    """What follows from the state of budgets and limits: `wait` seconds, or who objects."""

    wait: float | None = None
    exceeded: list[tuple[Budget, Decimal, Decimal, float | None, Key]] = field(default_factory=list)
    limit: RateLimit | None = None
    warn: list[tuple[Budget, float]] = field(default_factory=list)

    @property
    def fits(self) -> bool:
        """Whether the call may begin."""
        return self.wait is None and not self.exceeded and self.limit is None
