"""Finding models in a catalog: pure functions over the list."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal, InvalidOperation
from typing import TypedDict, Unpack

from lunos_core.accounting.pricing import EXACT
from lunos_core.catalog.models import ModelInfo, abilities, ability, reads, words_of, writes

Words = str | Iterable[str]
Price = Decimal | float | str

_PLAIN: dict[str, type] = {
    "provider": str,
    "reasoning": bool,
    "min_context": int,
    "min_output": int,
    "include_disabled": bool,
}
_LEAST_LIKENESS = 0.6
_SUGGESTIONS = 3


class Wishes(TypedDict, total=False):
    """What `find` can be asked for; what is left out, or `None`, does not matter."""

    provider: str | None
    """Such as "openai"."""
    input: Words | None
    """Modalities that it reads: "text,image" or ["text", "image"]; all of them."""
    output: Words | None
    """Modalities that it writes."""
    capability: Words | None
    """Abilities, by any catalog's name: "chat" is also "chat-completion"."""
    parameter: Words | None
    """Request fields that it takes: "tools", "response_format", …"""
    reasoning: bool | None
    """Whether it thinks before it answers."""
    max_input_price: Price | None
    """USD for one token, at most."""
    max_output_price: Price | None
    """USD for one token, at most."""
    min_context: int | None
    """Tokens of the window, at least."""
    min_output: int | None
    """Tokens of an answer, at least."""
    include_disabled: bool
    """Also models that cannot be used now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a model must be: wishes, checked by `wanted`."""

    provider: str | None = None
    input: tuple[str, ...] = ()
    output: tuple[str, ...] = ()
    capability: tuple[str, ...] = ()
    parameter: tuple[str, ...] = ()
    reasoning: bool | None = None
    max_input_price: Decimal | None = None
    max_output_price: Decimal | None = None
    min_context: int | None = None
    min_output: int | None = None
    include_disabled: bool = False

    @property
    def needs_details(self) -> bool:
        """Whether the reference's public list, which holds prices and abilities, may not do."""
        asked = (self.input, self.output, self.parameter, self.min_context, self.min_output)
        return any(asked) or self.reasoning is not None

    def fits(self, model: ModelInfo) -> bool:
        """Whether a model is known to be all that; what is unknown does not count."""
        return (
            (self.include_disabled or model.enabled is not False)
            and (self.provider is None or (model.provider or "").lower() == self.provider)
            and set(self.input) <= reads(model)
            and set(self.output) <= writes(model)
            and {ability(one) for one in self.capability} <= abilities(model)
            and set(self.parameter) <= {one.lower() for one in model.supported_parameters or ()}
            and (self.reasoning is None or model.supports_reasoning is self.reasoning)
            and _at_most(model.input_price, self.max_input_price)
            and _at_most(model.output_price, self.max_output_price)
            and _at_least(model.context_window, self.min_context)
            and _at_least(model.max_output_tokens, self.min_output)
        )


def wanted(**wishes: Unpack[Wishes]) -> Wanted:
    """The wishes, checked.

    Raises:
        TypeError: a wish that there is not, or a value of the wrong type.
        ValueError: a price that is no number.
    """
    unknown = sorted(wishes.keys() - Wishes.__annotations__.keys())
    if unknown:
        known = ", ".join(Wishes.__annotations__)
        raise TypeError(f"models cannot be found by {unknown[0]!r}, but by: {known}")
    for name, kind in _PLAIN.items():
        value = wishes.get(name)
        if value is not None and type(value) is not kind:
            raise TypeError(f"{name} must be {kind.__name__}, not {type(value).__name__}")
    provider = wishes.get("provider")
    return Wanted(
        provider=None if provider is None else provider.lower(),
        input=words_of(wishes.get("input"), "input"),
        output=words_of(wishes.get("output"), "output"),
        capability=words_of(wishes.get("capability"), "capability"),
        parameter=words_of(wishes.get("parameter"), "parameter"),
        reasoning=wishes.get("reasoning"),
        max_input_price=_ceiling(wishes.get("max_input_price"), "max_input_price"),
        max_output_price=_ceiling(wishes.get("max_output_price"), "max_output_price"),
        min_context=wishes.get("min_context"),
        min_output=wishes.get("min_output"),
        include_disabled=bool(wishes.get("include_disabled")),
    )


def matching(models: Iterable[ModelInfo], asked: Wanted) -> list[ModelInfo]:
    """The models that fit, cheapest first, unknown prices last; else in the catalog's order."""
    return sorted((model for model in models if asked.fits(model)), key=_price_order)


def contradicts(model: ModelInfo, input: Sequence[str], output: Sequence[str]) -> bool:
    """Whether a model is known not to have these modalities: a filter that went unheard."""
    return (model.input_modalities is not None and not set(input) <= reads(model)) or (
        model.output_modalities is not None and not set(output) <= writes(model)
    )


def named(models: Sequence[ModelInfo], id: str) -> ModelInfo | None:
    """The model with this id; "gpt-4" and "openai/gpt-4" are the same, "azure/gpt-4" is another.

    The exact id wins, then letter case is forgotten, then the provider in front; of several, one
    that can be used, in the catalog's order.
    """
    exact = next((model for model in models if model.id == id), None)
    if exact is not None:
        return exact
    asked = id.strip().lower()
    for names in (_full_names, _bare_name):
        found = [model for model in models if asked in names(model)]
        if found:
            return min(found, key=lambda model: model.enabled is False)
    bare = asked.rpartition("/")[2]
    nobodys = (model for model in models if model.provider is None)
    return next((model for model in nobodys if model.id.lower() == bare), None)


def similar(models: Sequence[ModelInfo], id: str) -> list[str]:
    """Up to three ids that someone who wrote `id` may have meant, best first."""
    # the names behind the slash are compared: the same provider makes no two models alike
    asked, whole = _letters(id.rpartition("/")[2]), _letters(id)
    scored = []
    for model in models:
        name, full = _letters(_bare(model)), _letters(model.id)
        likeness = _likeness(asked, name)
        if "/" not in id:  # "openai gpt-4o"
            likeness = max(likeness, _likeness(asked, full))
        if asked and likeness >= _LEAST_LIKENESS:
            order = (-likeness, -_likeness(whole, full), model.enabled is False, len(model.id))
            scored.append((order, model.id))
    return [found for _, found in sorted(scored)[:_SUGGESTIONS]]


def is_lean(model: ModelInfo) -> bool:
    """Whether the catalog says no more of a model than the reference's public list does."""
    return (
        model.context_window is None
        and model.input_modalities is None
        and model.output_modalities is None
        and model.supported_parameters is None
    )


def completed(model: ModelInfo, other: ModelInfo | None) -> ModelInfo:
    """The model, with what it leaves open taken from the same model in another list."""
    if other is None:
        return model
    names = [one.name for one in fields(model) if getattr(model, one.name) is None]
    return replace(model, **{name: getattr(other, name) for name in names})


def _full_names(model: ModelInfo) -> tuple[str, ...]:
    own = model.id.lower()
    return (own,) if model.provider is None else (own, f"{model.provider.lower()}/{own}")


def _bare_name(model: ModelInfo) -> tuple[str, ...]:
    return (_bare(model).lower(),)


def _bare(model: ModelInfo) -> str:
    return model.id.rpartition("/")[2]


def _letters(name: str) -> str:
    return re.sub(r"[^0-9a-z]+", "", name.lower())


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()


def _price_order(model: ModelInfo) -> tuple[int, Decimal]:
    known = [price for price in (model.input_price, model.output_price) if price is not None]
    total = Decimal(0)
    for price in known:
        total = EXACT.add(total, price)
    return 2 - len(known), total


def _at_most(price: Decimal | None, ceiling: Decimal | None) -> bool:
    return ceiling is None or (price is not None and price <= ceiling)


def _at_least(number: int | None, floor: int | None) -> bool:
    return floor is None or (number is not None and number >= floor)


def _ceiling(price: Price | None, name: str) -> Decimal | None:
    if price is None:
        return None
    if isinstance(price, bool) or not isinstance(price, Decimal | int | float | str):
        raise TypeError(f"{name} must be a number, not {type(price).__name__}")
    try:
        ceiling = Decimal(str(price))
    except InvalidOperation:
        ceiling = Decimal("NaN")
    if ceiling.is_nan():
        raise ValueError(f"{name} must be a number, not {price!r}")
    return ceiling
