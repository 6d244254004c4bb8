"""What an answer cost, where the gateway does not say: tokens at the catalog's prices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lunos_core.models import ModelInfo, price_of
from lunos_core.usage import Usage

Prices = Callable[[str], ModelInfo | None]
"""Finds a model by its id without asking anyone: `Catalog.cached`."""


def priced(usage: Usage | None, models: list[str], prices: Prices | None) -> Usage | None:
    """The usage with its cost, and where the cost is from. The gateway's own word wins.

    Args:
        usage: of the answer.
        models: ids under which the catalog may have the model, the likeliest first.
        prices: what the catalog knows, or `None`.
    """
    if usage is None or usage.cost is not None or prices is None:
        return usage
    for model in models:
        known = prices(model)
        cost = None if known is None else price_of(usage, known)
        if cost is not None:
            return replace(usage, cost=float(cost), cost_source="catalog")
    return usage


def price_answer(answer: Any, asked: str | None, *, fallback: bool, prices: Prices | None) -> None:
    """Put the cost into an answer that has none.

    Args:
        answer: a result with `usage` and `model`.
        asked: the model that was asked.
        fallback: whether the gateway may have asked another one.
        prices: what the catalog knows.
    """
    served = getattr(answer, "model", None)
    # servers answer with names of their own ("gpt-4o-2024-08-06"), so the id that was asked for
    # is the better key, unless another model may have answered
    order = (served, asked) if fallback else (asked, served)
    usage = priced(answer.usage, [name for name in order if isinstance(name, str)], prices)
    if usage is not answer.usage:
        answer.usage = usage
        if hasattr(answer, "cost"):
            answer.cost = None if usage is None else usage.cost
