"""The cost of a call before it is sent: that of earlier calls, else by price and tokens."""

from __future__ import annotations

import warnings
from decimal import Decimal
from sqlite3 import Connection

from lunos_core.accounting.budgets import LunosCostWarning
from lunos_core.accounting.observers import CallRecord, CallStart
from lunos_core.accounting.pricing import EXACT
from lunos_core.accounting.schema import cost_of, last_id_of, picodollars
from lunos_core.accounting.totals import amount_of
from lunos_core.errors import LunosBudgetError

_CHARACTERS_PER_TOKEN = 4
# an answer's length, if neither the request nor the catalog has one
_TYPICAL_TOKENS = 1000
# how many of a model's last calls predict the cost of the next one
_SAMPLE = 20
_LOOKED_AT = 10_000
_FREE = Decimal(0)

warned_models: set[str] = set()
"""Models about whose unknown cost this process has warned."""


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
    if known is None or (known.input_price is None and known.output_price is None):
        return None
    most = start.max_tokens or getattr(known, "max_output_tokens", None) or _TYPICAL_TOKENS
    prompt = start.input_bytes // _CHARACTERS_PER_TOKEN
    of_prompt = max(known.input_price or _FREE, known.cache_write_price or _FREE)
    of_answer = max(known.output_price or _FREE, known.reasoning_price or _FREE)
    price = EXACT.multiply(of_prompt, Decimal(prompt))
    return picodollars(amount_of(EXACT.add(price, EXACT.multiply(of_answer, Decimal(most)))))
