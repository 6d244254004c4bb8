"""Search a list of models by abilities, by id, and by an id with a typo."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal, InvalidOperation
from typing import Self, TypedDict, Unpack

from lunos_core.accounting.pricing import EXACT
from lunos_core.catalog.models import ModelInfo, shared_name, words_of

Words = str | Iterable[str]
Price = Decimal | float | str

_PLAIN: dict[str, type] = {
    "provider": str,
    "reasoning": bool,
    "min_context": int,
    "min_output": int,
    "include_disabled": bool,
}
_GATEWAY = "lunos/"  # some put the gateway before the id
_LEAST_LIKENESS = 0.6
_SUGGESTIONS = 3


class FilterOptions(TypedDict, total=False):
    """The options of `find`; one that is left out, or `None`, does not matter."""

    provider: str | None
    """Such as "openai"."""
    input: Words | None
    """Modalities that it reads, all of them: "text,image" or ["text", "image"]."""
    output: Words | None
    """Modalities that it writes."""
    capability: Words | None
    """Abilities, by any catalog's name: "chat" is also "chat-completion"."""
    parameter: Words | None
    """Request fields that it accepts, by any catalog's name: "tools", "response_format", …"""
    reasoning: bool | None
    """Whether it reasons before it answers."""
    max_input_price: Price | None
    """USD for one token, at most."""
    max_output_price: Price | None
    """USD for one token, at most."""
    min_context: int | None
    """The least size of the context window, in tokens."""
    min_output: int | None
    """The least length of an answer that it supports, in tokens."""
    include_disabled: bool
    """Also models that cannot be used now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFilter:
    """The checked `FilterOptions`."""

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

    @classmethod
    def of(cls, **options: Unpack[FilterOptions]) -> Self:
        """Check the options.

        Raises:
            TypeError: there is no such option, or its value has the wrong type.
            ValueError: a price isn't a number.
        """
        unknown = sorted(options.keys() - FilterOptions.__annotations__.keys())
        if unknown:
            known = ", ".join(FilterOptions.__annotations__)
            raise TypeError(f"models can't be searched by {unknown[0]!r}: use one of {known}")
        for name, kind in _PLAIN.items():
            value = options.get(name)
            if value is not None and type(value) is not kind:
                raise TypeError(f"{name} must be {kind.__name__}, not {type(value).__name__}")
        provider = options.get("provider")
        return cls(
            provider=None if provider is None else provider.lower(),
            input=words_of(options.get("input"), "input"),
            output=words_of(options.get("output"), "output"),
            capability=words_of(options.get("capability"), "capability"),
            parameter=words_of(options.get("parameter"), "parameter"),
            reasoning=options.get("reasoning"),
            max_input_price=_ceiling(options.get("max_input_price"), "max_input_price"),
            max_output_price=_ceiling(options.get("max_output_price"), "max_output_price"),
            min_context=options.get("min_context"),
            min_output=options.get("min_output"),
            include_disabled=bool(options.get("include_disabled")),
        )

    @property
    def needs_details(self) -> bool:
        """Whether it needs more than prices and abilities, all that the public list may have."""
        options = (self.input, self.output, self.parameter, self.min_context, self.min_output)
        return any(options) or self.reasoning is not None

    def fits(self, model: ModelInfo) -> bool:
        """Return whether a model is known to meet all conditions; unknown facts don't count."""
        return (
            (self.include_disabled or model.enabled is not False)
            and (self.provider is None or (model.provider or "").lower() == self.provider)
            and model.reads.issuperset(self.input)
            and model.writes.issuperset(self.output)
            and model.abilities.issuperset(map(shared_name, self.capability))
            and all(map(model.takes, self.parameter))
            and (self.reasoning is None or model.supports_reasoning is self.reasoning)
            and _at_most(model.input_price, self.max_input_price)
            and _at_most(model.output_price, self.max_output_price)
            and _at_least(model.context_window, self.min_context)
            and _at_least(model.max_output_tokens, self.min_output)
        )


def matching(models: Iterable[ModelInfo], wanted: ModelFilter) -> list[ModelInfo]:
    """Return the models that fit, cheapest first, unknown prices last, else in their order."""
    return sorted((model for model in models if wanted.fits(model)), key=_price_order)


def contradicts(model: ModelInfo, wanted: ModelFilter) -> bool:
    """Return whether a model is known to lack a modality, as some gateways ignore the filter."""
    return (model.input_modalities is not None and not model.reads.issuperset(wanted.input)) or (
        model.output_modalities is not None and not model.writes.issuperset(wanted.output)
    )


class ModelIndex:
    """An index of models by every spelling of their ids.

    "gpt-4", "openai/gpt-4" and "lunos/openai/gpt-4" are the same model, "azure/gpt-4" is another.
    The exact id wins, then a full name in any letter case, then the name without its provider. Of
    several models, the first enabled one wins.
    """

    def __init__(self, models: Iterable[ModelInfo]) -> None:
        self.models = list(models)
        self._exact = {model.id: model for model in reversed(self.models)}
        self._full: dict[str, ModelInfo] = {}
        self._bare: dict[str, ModelInfo] = {}
        self._without_provider: dict[str, ModelInfo] = {}
        # disabled models come last, and the first entry stays
        for model in sorted(self.models, key=lambda model: model.enabled is False):
            for name in _full_names(model):
                self._full.setdefault(name, model)
            for name in _ids(model):
                self._bare.setdefault(_bare(name), model)
            if model.provider is None:
                self._without_provider.setdefault(model.id.lower(), model)

    def get(self, id: str) -> ModelInfo | None:
        """Return the model with this id, in any of its spellings."""
        model = self._exact.get(id)
        if model is not None:
            return model
        name = id.strip().lower()
        if not name:
            return None
        model = self._full.get(name)
        if model is not None:
            return model
        name = name.removeprefix(_GATEWAY)
        model = self._full.get(name) or self._bare.get(name)
        if model is None and name.count("/") >= 2:  # a router in front: "openrouter/google/gemini"
            model = self._full.get(name.partition("/")[2])
        return model or self._without_provider.get(_bare(name))


def similar(models: Sequence[ModelInfo], id: str) -> list[str]:
    """Return up to three ids that someone who wrote `id` may have meant, best first."""
    # compares the names after the slash: a common provider doesn't make models similar
    asked, whole = _letters(_bare(id)), _letters(id)
    scored = []
    for model in models:
        name, full = _letters(_bare(model.id)), _letters(model.id)
        likeness = _likeness(asked, name)
        if "/" not in id:  # "openai gpt-4o"
            likeness = max(likeness, _likeness(asked, full))
        if asked and likeness >= _LEAST_LIKENESS:
            order = (-likeness, -_likeness(whole, full), model.enabled is False, len(model.id))
            scored.append((order, model.id))
    return [suggestion for _, suggestion in sorted(scored)[:_SUGGESTIONS]]


def is_lean(model: ModelInfo) -> bool:
    """Return whether a model has only the facts of the reference's public list."""
    return (
        model.context_window is None
        and model.input_modalities is None
        and model.output_modalities is None
        and model.supported_parameters is None
    )


def completed(models: Iterable[ModelInfo], details: Iterable[ModelInfo]) -> list[ModelInfo]:
    """Fill in unknown facts of models from the same models in another list."""
    index = ModelIndex(details)
    return [_complete(model, index.get(model.id)) for model in models]


def _complete(model: ModelInfo, other: ModelInfo | None) -> ModelInfo:
    if other is None:
        return model
    names = [item.name for item in fields(model) if getattr(model, item.name) is None]
    return replace(model, **{name: getattr(other, name) for name in names})


def _full_names(model: ModelInfo) -> list[str]:
    """Return the names of this model that no other model has, in lower case."""
    names = []
    for name in _ids(model):
        names += [name, _GATEWAY + name]
        if model.provider is not None:
            names.append(f"{model.provider.lower()}/{name}")
        if name.count("/") >= 2:
            names.append(name.partition("/")[2])
    return names


def _ids(model: ModelInfo) -> list[str]:
    return [name.lower() for name in (model.id, model.model_id, model.permaslug) if name]


def _bare(id: str) -> str:
    return id.rpartition("/")[2]


def _letters(name: str) -> str:
    return re.sub(r"[^0-9a-z]+", "", name.lower())


def _likeness(left: str, right: str) -> float:
    return difflib.SequenceMatcher(None, left, right, autojunk=False).ratio()


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
