"""What an answer cost, where the gateway does not say: tokens at the catalog's prices."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lunos_core._per_model import PerModel
from lunos_core.models import ModelInfo
from lunos_core.usage import Usage, set_cost

Prices = Callable[[str], ModelInfo | None]
"""Finds a model by its id without asking anyone: `Catalog.cached`."""


def _fractions(model: ModelInfo) -> tuple[int | None, int | None, int]:
    """Input and output price as numerators, and their common denominator."""
    prices = [
        None if price is None else price.as_integer_ratio()
        for price in (model.input_price, model.output_price)
    ]
    whole = math.lcm(*(price[1] for price in prices if price is not None))
    above = [None if price is None else price[0] * (whole // price[1]) for price in prices]
    return above[0], above[1], whole


_fractions_of = PerModel(_fractions)


def cost_of(usage: Usage, model: ModelInfo) -> float | None:
    """`price_of` as the nearest float, without a decimal of its own for each call.

    Example:
        >>> from decimal import Decimal
        >>> model = ModelInfo("m", input_price=Decimal("0.00003"), output_price=Decimal("0.00006"))
        >>> cost_of(Usage(input_tokens=1000, output_tokens=500), model)
        0.06
    """
    sent, got = usage.input_tokens, usage.output_tokens
    if not (sent or got):
        return None
    input_price, output_price, whole = _fractions_of(model)
    if (sent and input_price is None) or (got and output_price is None):
        return None
    # the quotient of two integers is rounded once, and right
    return (sent * (input_price or 0) + got * (output_price or 0)) / whole


def price_answer(answer: Any, asked: str | None, *, fallback: bool, prices: Prices | None) -> None:
    """Put the cost into an answer that has none. The gateway's own word wins.

    Args:
        answer: a result with `usage` and `model` that nobody has seen yet.
        asked: the model that was asked.
        fallback: whether the gateway may have asked another one.
        prices: what the catalog knows.
    """
    usage: Usage | None = answer.usage
    if prices is None or usage is None or usage.cost is not None:
        return
    served = getattr(answer, "model", None)
    # servers answer with names of their own ("gpt-4o-2024-08-06"), so the id that was asked for
    # is the better key, unless another model may have answered
    for name in (served, asked) if fallback else (asked, served):
        known = prices(name) if isinstance(name, str) else None
        cost = None if known is None else cost_of(usage, known)
        if cost is not None:
            set_cost(usage, cost, "catalog")
            if getattr(type(answer), "cost", None) is not None:  # it says the cost twice
                answer.cost = cost
            return
