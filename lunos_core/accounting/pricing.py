"""The cost of an answer if the gateway sends none: its tokens at the catalog's prices."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal
from typing import Any, NamedTuple

from lunos_core.accounting.usage import MOST_COST, Usage

# our own context, so that sums are exact whatever precision the user has set
EXACT = Context(prec=60)
_DECIMALS = 30
_DOLLAR = 10**_DECIMALS
_MOST = MOST_COST * _DOLLAR


class Rates(NamedTuple):
    """Prices in 10⁻³⁰ USD for a token, or `None`: whole numbers are fast and exact."""

    input: int | None
    output: int | None
    cached: int | None
    cache_write: int | None
    reasoning: int | None


Prices = Callable[[str], Any]
"""Finds a `ModelInfo`, or another object with prices, by its id without a request."""


def rates_of(model: Any) -> Rates:
    """Return a model's prices as whole numbers; a `ModelInfo` keeps them."""
    kept = getattr(model, "rates", None)
    if isinstance(kept, Rates):
        return kept
    own = [getattr(model, f"{part}_price", None) for part in Rates._fields]
    rates = []
    # a part without a price costs as much as the whole
    for price, whole in zip(own, (0, 1, 0, 0, 1), strict=True):
        price = own[whole] if price is None else price
        known = Decimal("NaN" if price is None else price)
        rates.append(int(EXACT.scaleb(known, _DECIMALS)) if known.is_finite() else None)
    return Rates(*rates)


def price_of(usage: Usage | None, model: Any) -> Decimal | None:
    """Return the cost of tokens at a model's prices in USD, or `None` if that is unknown.

    Without separate prices, cached tokens and cache writes cost as much as input, and reasoning as
    much as output. `usage.cost`, if the gateway sent it, is more exact; it isn't used here.

    Example:
        >>> from decimal import Decimal
        >>> from lunos_core.accounting.pricing import price_of
        >>> from lunos_core import ModelInfo, Usage
        >>> model = ModelInfo("m", input_price=Decimal("0.00003"), output_price=Decimal("0.00006"))
        >>> price_of(Usage(input_tokens=1000, output_tokens=500), model)
        Decimal('0.06')
    """
    cost = None if usage is None else _cost(usage, rates_of(model))
    return None if cost is None else usd(cost)


def usd(cost: int) -> Decimal:
    """Convert 10⁻³⁰ USD to USD."""
    exact = EXACT.normalize(EXACT.scaleb(Decimal(cost), -_DECIMALS))
    return EXACT.add(exact, Decimal(0))  # "30", not "3E+1"


def _cost(usage: Usage, rates: Rates) -> int | None:
    sent, got, total = usage.input_tokens, usage.output_tokens, 0
    if not (sent or got):
        return None
    if usage.cached_tokens or usage.cache_write_tokens or usage.reasoning_tokens:
        read = min(usage.cached_tokens or 0, sent)
        written = min(usage.cache_write_tokens or 0, sent - read)
        thought = min(usage.reasoning_tokens or 0, got)
        sent, got = sent - read - written, got - thought
        for tokens, rate in zip((read, written, thought), rates[2:], strict=True):
            if tokens and rate is None:
                return None
            total += tokens * (rate or 0)
    if (sent and rates.input is None) or (got and rates.output is None):
        return None
    total += sent * (rates.input or 0) + got * (rates.output or 0)
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
        cost = None if known is None else _cost(usage, rates_of(known))
        if cost is not None:
            usage.cost, usage.cost_source = cost / _DOLLAR, "catalog"
            if hasattr(answer, "cost"):  # images have it twice
                answer.cost = usage.cost
            return
