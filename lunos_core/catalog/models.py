"""`GET /public/models` and `GET /v1/models`: what the gateway serves, and at what price.

Source of the format: the Lunos API reference (the public list, priced per token), the vendor's
later documentation (priced per million tokens), OpenAI's minimum. One `ModelInfo` for all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import quote

from lunos_core.accounting.pricing import EXACT
from lunos_core.request import Reply, Request

PUBLIC_PATH = "/public/models"
PATH = "/models"


_PRICED_PER = {"token": 0, "tokens": 0, "1k tokens": -3, "million": -6, "1m tokens": -6}
_PER_MILLION = -6
_LONGEST_PRICE = 40
_NOBODY = ("system", "")


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model of the catalog. What the catalog does not say is `None`, never a guess.

    Attributes:
        id: as the catalog has it: "gpt-4" or "openai/gpt-4".
        provider: as stated, else what stands before the id's slash, else the owner.
        name: for people.
        context_window: tokens.
        max_output_tokens: tokens.
        input_modalities: "text", "image", …
        output_modalities: "text", "image", "embeddings", …
        capabilities: in the catalog's own words ("chat-completion", "vision", …).
        supported_parameters: names of request fields ("temperature", "tools", …).
        supports_reasoning: whether it thinks before it answers.
        input_price: USD for one token of the prompt, exact. A `discountPercentage` is not taken
            off: nothing says whether the listed price has it off already, and a cost that is too
            high is the safer mistake.
        output_price: USD for one token of the answer, exact.
        enabled: whether it can be used now.
        raw: the entry as it came.
    """

    id: str
    provider: str | None = None
    name: str | None = None
    context_window: int | None = None
    max_output_tokens: int | None = None
    input_modalities: tuple[str, ...] | None = None
    output_modalities: tuple[str, ...] | None = None
    capabilities: tuple[str, ...] | None = None
    supported_parameters: tuple[str, ...] | None = None
    supports_reasoning: bool | None = None
    input_price: Decimal | None = None
    output_price: Decimal | None = None
    enabled: bool | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


def models_request(
    *,
    input: str | Iterable[str] | None = None,
    output: str | Iterable[str] | None = None,
    public: bool | None = None,
) -> Request[list[ModelInfo]]:
    """The request for the catalog: the public one, or with a filter the one that has filters.

    Args:
        input: modalities that the models must read: "text,image" or ["text", "image"].
        output: modalities that they must write.
        public: ask `/public/models` (no key, no filters) or `/v1/models`; without it, the public
            list unless there is a filter.

    Raises:
        TypeError: a modality that is no `str`.
        ValueError: a filter for the public list, which has none.

    Example:
        >>> models_request(input=["text", "image"]).query
        'input=text,image'
        >>> models_request().path, models_request().public
        ('/public/models', True)
    """
    filters = {"input": words_of(input, "input"), "output": words_of(output, "output")}
    query = "&".join(
        f"{name}={','.join(quote(word, safe='') for word in words)}"
        for name, words in filters.items()
        if words
    )
    if public is None:
        public = not query
    if public and query:
        raise ValueError("the public list takes no filters: leave public out, or the filters")
    return Request(
        path=PUBLIC_PATH if public else PATH,
        method="GET",
        public=public,
        query=query,
        parse=parse_models,
    )


def words_of(words: str | Iterable[str] | None, name: str) -> tuple[str, ...]:
    """Words as the catalog writes them: in lower case; commas separate them in one text.

    Raises:
        TypeError: something that is no text; it is called by `name`.
    """
    if words is None:
        return ()
    several = words.split(",") if isinstance(words, str) else list(words)
    for word in several:
        if not isinstance(word, str):
            raise TypeError(f"{name} must be a str or a list of str, not {type(word).__name__}")
    return tuple(word.strip().lower() for word in several if word.strip())


def parse_models(reply: Reply) -> list[ModelInfo]:
    """Read the catalog in any of its four shapes.

    `{"status", "data": {"models": […]}, "meta"}`, `[…]`, `{"data": […]}` or `{"object": "list",
    "data": […]}`. An entry without an id is left out: it must not hide the others.

    Raises:
        LunosResponseError: no list of models, or one in which nothing can be read.
        LunosAPIError: an error that came with a successful status.
    """
    value = reply.value()
    for name in ("data", "models"):
        if isinstance(value, dict):
            value = value.get(name, value)
    if not isinstance(value, list):
        raise reply.malformed("has no list of models")
    models = read_entries(value)
    if value and not models:
        raise reply.malformed("lists models, but none of them has an id")
    return models


def read_entries(entries: Iterable[Any]) -> list[ModelInfo]:
    """The entries that can be read, in their order, each id once."""
    found: dict[str, ModelInfo] = {}
    for entry in entries:
        model = _parse_entry(entry) if isinstance(entry, dict) else None
        if model is not None:
            found.setdefault(model.id, model)
    return list(found.values())


def _parse_entry(entry: Mapping[str, Any]) -> ModelInfo | None:
    name = _text(entry.get("id"))
    if name is None:
        return None
    parameters = _mapping(entry.get("parameters"))
    input_price, output_price = _prices(entry)
    owner = _text(entry.get("owned_by"))
    return ModelInfo(
        id=name,
        provider=_text(entry.get("provider"))
        or _text(name.partition("/")[0] if "/" in name else None)
        or (None if owner in _NOBODY else owner),
        name=_text(entry.get("name")),
        context_window=_count(parameters.get("context")),
        max_output_tokens=_count(parameters.get("max_output_tokens"))
        or _count(entry.get("maxCompletionTokens")),
        input_modalities=_words(entry.get("inputModalities")),
        output_modalities=_words(entry.get("outputModalities")),
        capabilities=_words(entry.get("capabilities")),
        supported_parameters=_words(entry.get("supportedParameters")),
        supports_reasoning=_flag(entry.get("supportReasoning")),
        input_price=input_price,
        output_price=output_price,
        enabled=_enabled(entry),
        raw=entry,
    )


def _prices(entry: Mapping[str, Any]) -> tuple[Decimal | None, Decimal | None]:
    """Input and output, in USD for one token."""
    for name, power in (("pricing", 0), ("pricePerMillionTokens", _PER_MILLION)):
        pricing = _mapping(entry.get(name))
        unit = pricing.get("unit")
        scale = _PRICED_PER.get(unit.strip().lower()) if isinstance(unit, str) else power
        currency = pricing.get("currency") or "USD"
        if scale is None or not isinstance(currency, str) or currency.upper() != "USD":
            continue  # a price that we cannot read as USD for a token is unknown
        found = _price(pricing.get("input"), scale), _price(pricing.get("output"), scale)
        if found != (None, None):
            return found
    return None, None


def _price(value: Any, power: int) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        # the shortest text of a float is the number that the server wrote
        text = str(value).strip()
        number = Decimal(text) if len(text) <= _LONGEST_PRICE else None
    except (InvalidOperation, ValueError):
        return None
    if number is None or not number.is_finite() or number.is_signed():
        return None  # some catalogs say -1 for "it depends"
    if not number:
        return Decimal(0)
    if not -30 <= number.adjusted() <= 6:
        return None
    return number.scaleb(power, EXACT)


def _enabled(entry: Mapping[str, Any]) -> bool | None:
    enabled = _flag(entry.get("isEnabled"))
    status = _text(entry.get("status"))
    if enabled is None and status is not None:
        return status.lower() in ("active", "enabled", "available")
    return enabled


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _words(value: Any) -> tuple[str, ...] | None:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return None
    words = tuple(word for word in value if isinstance(word, str))
    # a list of other things says nothing; an empty one says "none"
    return words if words or not value else None


def _count(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # refuses NaN, infinities and a "0" that stands for "not known"
    return int(value) if 1 <= value < 2**63 else None


# catalogs of different age call the same ability by different names
_SAME = {
    "chat-completion": "chat",
    "chat-completions": "chat",
    "text-completion": "text-generation",
    "completion": "text-generation",
    "embedding": "embeddings",
    "tool-use": "tools",
    "function-calling": "tools",
}


# what an ability says of a model whose modalities the catalog leaves out
_READS = {"chat": "text", "text-generation": "text", "embeddings": "text", "vision": "image"}


_WRITES = {
    "chat": "text",
    "text-generation": "text",
    "embeddings": "embeddings",
    "image-generation": "image",
}


def reads(model: ModelInfo) -> set[str]:
    """The modalities that a model is known to read."""
    if model.input_modalities is not None:
        return {one.lower() for one in model.input_modalities}
    return {_READS[one] for one in abilities(model) if one in _READS}


def writes(model: ModelInfo) -> set[str]:
    """The modalities that a model is known to write."""
    if model.output_modalities is not None:
        return {one.lower() for one in model.output_modalities}
    return {_WRITES[one] for one in abilities(model) if one in _WRITES}


def abilities(model: ModelInfo) -> set[str]:
    """What a model can do, by one name each."""
    return {ability(word) for word in model.capabilities or ()}


def ability(word: str) -> str:
    """A capability under the name that all catalogs share."""
    word = word.lower().replace("_", "-").replace(" ", "-")
    return _SAME.get(word, word)


# one name of each row in a model's list is enough
_SAME_PARAMETERS = (
    {"max_tokens", "max_completion_tokens"},
    {"reasoning", "reasoning_effort", "include_reasoning"},
    {"response_format", "structured_outputs", "json_schema"},
    {"tools", "tool_choice", "functions", "tool-use", "function-calling"},
    {"file", "pdf"},
)


def takes(model: ModelInfo, parameter: str) -> bool:
    """Whether a model is known to take a parameter, under any of its names."""
    return meets(parameter, _taken(model))


def _taken(model: ModelInfo) -> frozenset[str]:
    named = {one.lower() for one in model.supported_parameters or ()}
    abilities = {one.lower().replace("_", "-") for one in model.capabilities or ()}
    return frozenset(named | (abilities & {"tools", "tool-use", "function-calling"}))


def meets(one: str, names: Collection[str]) -> bool:
    """Whether a parameter or modality is among the names, under any of its own."""
    if one in names:
        return True
    return not next((same for same in _SAME_PARAMETERS if one in same), {one}).isdisjoint(names)
