"""The cost of an answer if the gateway sends none: its tokens at the catalog's prices."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal
from typing import Any, Protocol

from lunos_core.accounting.usage import MOST_COST, Usage


class Priced(Protocol):
    """The prices of a model: USD for one token, or `None` if unknown."""

    @property
    def input_price(self) -> Decimal | None:
        """For the prompt."""
        ...

    @property
    def output_price(self) -> Decimal | None:
        """For the answer."""
        ...

    @property
    def cached_price(self) -> Decimal | None:
        """For parts of the prompt that are read from a cache."""
        ...

    @property
    def cache_write_price(self) -> Decimal | None:
        """For parts of the prompt that are written to a cache."""
        ...

    @property
    def reasoning_price(self) -> Decimal | None:
        """For the answer's reasoning."""
        ...


Prices = Callable[[str], Priced | None]
"""Finds a model by its id without a request: `Catalog.cached`."""

# our own context, so that sums are exact whatever precision the user has set
EXACT = Context(prec=60)
_FREE, _MOST = Decimal(0), Decimal(MOST_COST)


def price_of(usage: Usage | None, model: Priced) -> Decimal | None:
    """Return the cost of tokens at a model's prices in USD, or `None` if that is unknown.

    Without separate prices, cached tokens and cache writes cost as much as input, and reasoning as
    much as output. `usage.cost`, if the gateway sent it, is more exact; it isn't used here.

    Example:
        >>> from decimal import Decimal
        >>> from lunos_core.accounting.pricing import price_of
        >>> from lunos_core import ModelInfo, Usage
        >>> model = ModelInfo("m", input_price=Decimal("0.00003"), output_price=Decimal("0.00006"))
        >>> price_of(Usage(input_tokens=1000, output_tokens=500), model)
        Decimal('0.06000')
    """
    if usage is None or not (usage.input_tokens or usage.output_tokens):
        return None
    sent, got = usage.input_tokens, usage.output_tokens
    parts = []
    if usage.cached_tokens:
        tokens, price = min(usage.cached_tokens, sent), model.cached_price
        sent -= tokens
        parts.append((tokens, model.input_price if price is None else price))
    if usage.cache_write_tokens:
        tokens, price = min(usage.cache_write_tokens, sent), model.cache_write_price
        sent -= tokens
        parts.append((tokens, model.input_price if price is None else price))
    if usage.reasoning_tokens:
        tokens, price = min(usage.reasoning_tokens, got), model.reasoning_price
        got -= tokens
        parts.append((tokens, model.output_price if price is None else price))
    total = _FREE
    for tokens, price in (*parts, (sent, model.input_price), (got, model.output_price)):
        if tokens:
            if price is None:
                return None
            total = EXACT.fma(price, tokens, total)
    return total if total <= _MOST else None


def price_answer(answer: Any, asked: str | None, *, fallback: bool, prices: Prices) -> None:
    """Add the cost to an answer's usage, unless the gateway has sent it.

    Args:
        answer: a new result with a usage and `model`, which is changed.
        asked: the requested model.
        fallback: whether the gateway may have used another model.
        prices: the catalog's prices.
    """
    usage: Usage = answer.usage
    if usage.cost is not None:
        return
    served = getattr(answer, "model", None)
    # servers answer with their own names ("gpt-4o-2024-08-06"), so the requested id is the better
    # key, unless another model may have answered
    for name in (served, asked) if fallback else (asked, served):
        known = prices(name) if isinstance(name, str) else None
        price = None if known is None else price_of(usage, known)
        if price is not None:
            answer.usage = usage.with_cost(float(price), "catalog")
            if hasattr(answer, "cost"):  # images have it twice
                answer.cost = answer.usage.cost
            return
