"""Sums of calls, as a ledger keeps them for each app id, model and endpoint."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

from lunos_core.accounting.observers import CallRecord
from lunos_core.accounting.usage import Usage

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


class Sum:
    """A sum of amounts of money, or `None` where none was added; to fifteen digits, exact."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[float] = []

    def add(self, amount: float) -> None:
        """One more amount."""
        # summed up when someone asks, or there are many
        parts = self._parts
        parts.append(amount)
        if len(parts) > _MOST_PARTS:
            whole = math.fsum(parts)
            self._parts = [whole, math.fsum([*parts, -whole])]  # with what was rounded off

    def add_sum(self, other: Sum) -> None:
        """The amounts of another sum."""
        for amount in other._parts:
            self.add(amount)

    def value(self) -> float | None:
        """USD, or `None` where nothing was added."""
        if not self._parts:
            return None
        try:
            # fsum rounds once; fifteen digits of a float are those that were meant
            return float(f"{math.fsum(self._parts):.15g}")
        except OverflowError:
            return math.inf


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

    def add(self, call: CallRecord) -> None:
        """Count one call."""
        usage = call.usage or _NOTHING
        cost = usage.cost
        self.calls += 1
        if call.error is not None:
            self.errors += 1
        if call.attempts > 1:
            self.retries += call.attempts - 1
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens
        if usage.cached_tokens:
            self.cached_tokens += usage.cached_tokens
        if usage.reasoning_tokens:
            self.reasoning_tokens += usage.reasoning_tokens
        if cost is not None:
            self.cost.add(cost)
        self.seconds += call.seconds
        if call.first_token_seconds is not None:
            self.streams += 1
            self.waited += call.first_token_seconds
        self.history.add(time.time(), cost or 0.0, usage.input_tokens + usage.output_tokens)

    def add_row(self, other: Row) -> None:
        """Count the calls of another row, whose history is added by itself."""
        for name in (*COUNTED, "seconds", "streams", "waited"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.cost.add_sum(other.cost)

    def to_dict(self) -> dict[str, Any]:
        """The sums, as a ledger shows them."""
        shown = {name: getattr(self, name) for name in COUNTED}
        return {
            **shown,
            "cost": self.cost.value(),
            "seconds": self.seconds,
            "first_token_seconds": self.waited / self.streams if self.streams else None,
        }
