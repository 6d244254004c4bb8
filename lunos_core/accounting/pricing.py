"""What an answer cost, where the gateway does not say: tokens at the catalog's prices."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal
from typing import Any, Protocol

from lunos_core.accounting.usage import Usage, set_cost

Prices = Callable[[str], "Priced | None"]
"""Finds a model by its id without asking anyone: `Catalog.cached`."""


class Priced(Protocol):
    """What pricing reads of a model: USD for one token, or `None` where that is unknown."""

    @property
    def input_price(self) -> Decimal | None:
        """Of the prompt."""
        ...

    @property
    def output_price(self) -> Decimal | None:
        """Of the answer."""
        ...


# our own, so that sums are exact whatever precision the user's code works with
EXACT = Context(prec=60)


def price_of(usage: Usage | None, model: Priced) -> Decimal | None:
    """What the catalog's prices make of the tokens: USD, or `None` where that is unknown.

    Cached tokens are priced as input and reasoning as output: the catalog has no prices of their
    own for them. `usage.cost`, where the gateway sent it, is the better word, and is not read here.

    Example:
        >>> model = ModelInfo("m", input_price=Decimal("0.00003"), output_price=Decimal("0.00006"))
        >>> price_of(Usage(input_tokens=1000, output_tokens=500), model)
        Decimal('0.06000')
    """
    if usage is None or not (usage.input_tokens or usage.output_tokens):
        return None
    total = Decimal(0)
    for tokens, price in (
        (usage.input_tokens, model.input_price),
        (usage.output_tokens, model.output_price),
    ):
        if tokens and price is None:
            return None
        if tokens and price is not None:
            total = EXACT.add(total, EXACT.multiply(price, Decimal(tokens)))
    return total


def cost_of(usage: Usage, model: Priced) -> float | None:
    """`price_of` as the nearest float.

    Example:
        >>> from decimal import Decimal
        >>> model = ModelInfo("m", input_price=Decimal("0.00003"), output_price=Decimal("0.00006"))
        >>> cost_of(Usage(input_tokens=1000, output_tokens=500), model)
        0.06
    """
    price = price_of(usage, model)
    return None if price is None else float(price)


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
