"""`GET /public/models` and `GET /v1/models`: the gateway's models and their prices.

Source of the format: the Lunos API reference (the public list, priced per token), the vendor's
later documentation (priced per million tokens) and OpenAI's minimum. One `ModelInfo` serves all.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol
from urllib.parse import quote

from lunos_core.accounting.pricing import EXACT, Rates, rates_of
from lunos_core.request import Reply, Request
from lunos_core.wire.text import decimal_of, flag_of

PUBLIC_PATH = "/public/models"
PATH = "/models"

_PRICED_PER = {"token": 0, "tokens": 0, "1k tokens": -3, "million": -6, "1m tokens": -6}
_PER_MILLION = -6
_NOBODY = ("system", "")

# catalogs of different ages name the same ability, parameter or modality differently
_SYNONYMS = (
    ("chat", "chat-completion", "chat-completions"),
    ("text-generation", "text-completion", "completion"),
    ("embeddings", "embedding", "text-embedding"),
    ("tools", "tool-choice", "tool-use", "function-calling", "functions"),
    ("max-tokens", "max-completion-tokens"),
    ("reasoning", "reasoning-effort", "include-reasoning"),
    ("response-format", "structured-outputs", "json-schema"),
    ("file", "pdf"),
    ("speech", "text-to-speech", "speech-generation"),
    ("transcription", "audio-transcription"),
)
_SHARED_NAME = {word: words[0] for words in _SYNONYMS for word in words}
# what an ability says about the modalities, if the catalog leaves them out
_READS = {"chat": "text", "text-generation": "text", "embeddings": "text", "vision": "image"}
_WRITES = {
    "chat": "text",
    "text-generation": "text",
    "embeddings": "embeddings",
    "image-generation": "image",
}


@functools.lru_cache(maxsize=1024)  # called several times in each call
def shared_name(word: str) -> str:
    """Return the common name of an ability, parameter or modality."""
    word = word.lower().replace("_", "-").replace(" ", "-")
    return _SHARED_NAME.get(word, word)


class _Rated:
    __slots__ = ("rates",)  # no field: it follows from the prices
    rates: Rates


@dataclass(frozen=True, slots=True)
class ModelInfo(_Rated):
    """One model of the catalog. Facts that the catalog leaves out are `None`, never guessed.

    Attributes:
        id: in the catalog's form: "gpt-4" or "openai/gpt-4".
        provider: as stated, else the id's part before the slash, else the owner.
        name: for people.
        context_window: tokens.
        max_output_tokens: tokens.
        input_modalities: "text", "image", …
        output_modalities: "text", "image", "embeddings", …
        capabilities: in the catalog's own terms ("chat-completion", "vision", …).
        supported_parameters: names of request fields ("temperature", "tools", …).
        supports_reasoning: whether it reasons before it answers.
        input_price: USD for one token of the prompt, exact. A `discountPercentage` isn't
            subtracted: the listed price may already include it, and a cost that is too high is the
            safer mistake.
        output_price: USD for one token of the answer, exact.
        cached_price: USD for one token of the prompt that is read from a cache; `None`, like the
            next two, if the catalog has no separate price for it.
        cache_write_price: USD for one token of the prompt that is written to a cache.
        reasoning_price: USD for one token of reasoning.
        enabled: whether it can be used now.
        model_id: the id under which the vendor lists it, if it differs.
        permaslug: the id that stays the same when the model is renamed.
        description: for people, or the `summary` if there is none.
        release_date: in the catalog's form, mostly "2025-08-07".
        status: in the catalog's own term ("active", …).
        tokens_per_second: the catalog's measured average.
        free_tokens: tokens per day that cost nothing.
        free_is_premium: whether these are only for premium accounts.
        raw: the original entry.
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
    cached_price: Decimal | None = field(default=None, kw_only=True)
    cache_write_price: Decimal | None = field(default=None, kw_only=True)
    reasoning_price: Decimal | None = field(default=None, kw_only=True)
    # shown, but ignored when entries are compared
    model_id: str | None = field(default=None, compare=False)
    permaslug: str | None = field(default=None, compare=False)
    description: str | None = field(default=None, compare=False)
    release_date: str | None = field(default=None, compare=False)
    status: str | None = field(default=None, compare=False)
    tokens_per_second: float | None = field(default=None, compare=False)
    free_tokens: int | None = field(default=None, compare=False)
    free_is_premium: bool | None = field(default=None, compare=False)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Make the prices whole numbers."""
        object.__setattr__(self, "rates", rates_of(self))

    @property
    def reads(self) -> frozenset[str]:
        """The modalities that it is known to read, such as "image"."""
        return self._modalities(self.input_modalities, _READS)

    @property
    def writes(self) -> frozenset[str]:
        """The modalities that it is known to write."""
        return self._modalities(self.output_modalities, _WRITES)

    @property
    def abilities(self) -> frozenset[str]:
        """What it can do, under names that all catalogs share."""
        return frozenset(map(shared_name, self.capabilities or ()))

    def takes(self, parameter: str) -> bool:
        """Return whether it is known to accept a request field, under any of the field's names.

        Example:
            >>> from lunos_core import ModelInfo
            >>> ModelInfo("m", supported_parameters=("tools",)).takes("tool_choice")
            True
        """
        name = shared_name(parameter)
        listed = name in map(shared_name, self.supported_parameters or ())
        return listed or (name == "tools" and name in self.abilities)

    def _modalities(
        self, stated: tuple[str, ...] | None, implied: Mapping[str, str]
    ) -> frozenset[str]:
        if stated is not None:
            return frozenset(word.lower() for word in stated)
        return frozenset(implied[word] for word in self.abilities if word in implied)


class KnowsModels(Protocol):
    """A `Catalog`, an `AsyncCatalog` or a stand-in, for code that must not wait."""

    def cached(self, id: str, *, disk: bool = True) -> ModelInfo | None:
        """Return a model as far as it is known."""


def models_request(
    *,
    input: str | Iterable[str] | None = None,
    output: str | Iterable[str] | None = None,
    public: bool | None = None,
) -> Request[list[ModelInfo]]:
    """Return the request for the public list, or for the one that filters.

    Args:
        input: modalities that the models must read: "text,image" or ["text", "image"].
        output: modalities that they must write.
        public: whether to use `/public/models` (no key, no filters) or `/v1/models`; by default
            the public list unless there is a filter.

    Raises:
        TypeError: a modality isn't a `str`.
        ValueError: a filter was given for the public list, which has none.

    Example:
        >>> from lunos_core import models_request
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
    """Split words into a tuple in lower case; in a `str`, commas separate them.

    Raises:
        TypeError: one of them isn't a `str`; `name` is its name in the message.
    """
    if words is None:
        return ()
    items = words.split(",") if isinstance(words, str) else list(words)
    for word in items:
        if not isinstance(word, str):
            raise TypeError(f"{name} must be a str or a list of str, not {type(word).__name__}")
    return tuple(word.strip().lower() for word in items if word.strip())


def parse_models(reply: Reply) -> list[ModelInfo]:
    """Read the catalog in any of its four shapes.

    `{"status", "data": {"models": […]}, "meta"}`, `[…]`, `{"data": […]}` or `{"object": "list",
    "data": […]}`. An entry without an id is left out and doesn't hide the others.

    Raises:
        LunosResponseError: it has no list of models, or a list without a readable entry.
        LunosAPIError: it is an error that was sent with a successful status.
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
    """Return the readable entries in their order, each id once."""
    models: dict[str, ModelInfo] = {}
    for entry in entries:
        model = _parse_entry(entry) if isinstance(entry, dict) else None
        if model is not None:
            models.setdefault(model.id, model)
    return list(models.values())


def _parse_entry(entry: Mapping[str, Any]) -> ModelInfo | None:
    name = _text(entry.get("id"))
    if name is None:
        return None
    parameters = _mapping(entry.get("parameters"))
    owner, model_id = _text(entry.get("owned_by")), _text(entry.get("modelId"))
    free = _mapping(entry.get("freeConfig"))
    return ModelInfo(
        id=name,
        provider=_text(entry.get("provider"))
        or next((word.partition("/")[0] for word in (name, model_id or "") if "/" in word), None)
        or (None if owner in _NOBODY else owner),
        name=_text(entry.get("name")),
        context_window=_count(parameters.get("context")),
        max_output_tokens=_count(parameters.get("max_output_tokens"))
        or _count(entry.get("maxCompletionTokens")),
        input_modalities=_words(entry.get("inputModalities")),
        output_modalities=_words(entry.get("outputModalities")),
        capabilities=_words(entry.get("capabilities")),
        supported_parameters=_words(entry.get("supportedParameters")),
        supports_reasoning=flag_of(entry.get("supportReasoning")),
        enabled=_enabled(entry),
        **_prices(entry),
        model_id=model_id,
        permaslug=_text(entry.get("permaslug")),
        description=_text(entry.get("description")) or _text(entry.get("summary")),
        release_date=_text(entry.get("releaseDate")),
        status=_text(entry.get("status")),
        tokens_per_second=_positive(entry.get("avgThroughput")),
        free_tokens=_count(free.get("maxTokens")),
        free_is_premium=flag_of(free.get("isPremium")),
        raw=entry,
    )


# Lunos's and OpenRouter's names, without "_" and in lower case
_PRICES = {
    "input_price": ("input", "prompt"),
    "output_price": ("output", "completion"),
    "cached_price": ("inputcacheread", "cacheread", "cachedinput", "inputcached"),
    "cache_write_price": ("inputcachewrite", "cachewrite"),
    "reasoning_price": ("internalreasoning", "reasoning"),
}
# parts with a separate price; 0 means that there is none, unless the whole is free
_PART_OF = {
    "cached_price": "input_price",
    "cache_write_price": "input_price",
    "reasoning_price": "output_price",
}


def _prices(entry: Mapping[str, Any]) -> dict[str, Decimal | None]:
    for name, power in (("pricing", 0), ("pricePerMillionTokens", _PER_MILLION)):
        pricing = _mapping(entry.get(name))
        unit = pricing.get("unit")
        scale = _PRICED_PER.get(unit.strip().lower()) if isinstance(unit, str) else power
        currency = pricing.get("currency") or "USD"
        if scale is None or not isinstance(currency, str) or currency.upper() != "USD":
            continue  # a price that isn't USD per token is unknown
        told = {str(key).replace("_", "").lower(): value for key, value in pricing.items()}
        prices = {
            price: next(
                (p for word in words if (p := _price(told.get(word), scale)) is not None), None
            )
            for price, words in _PRICES.items()
        }
        if (prices["input_price"], prices["output_price"]) != (None, None):
            return prices | {
                part: prices[part] or None for part in _PART_OF if prices[_PART_OF[part]]
            }
    return {}


def _price(value: Any, power: int) -> Decimal | None:
    number = decimal_of(value)
    if number is None or number.is_signed():
        return None  # some catalogs use -1 for "it depends"
    if not number:
        return Decimal(0)
    if not -30 <= number.adjusted() <= 6:
        return None
    return number.scaleb(power, EXACT)


def _enabled(entry: Mapping[str, Any]) -> bool | None:
    enabled = flag_of(entry.get("isEnabled"))
    status = _text(entry.get("status"))
    if enabled is None and status is not None:
        return status.lower() in ("active", "enabled", "available")
    return enabled


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _words(value: Any) -> tuple[str, ...] | None:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return None
    words = tuple(word for word in value if isinstance(word, str))
    # a list of other values says nothing; an empty one means "none"
    return words if words or not value else None


def _count(value: Any) -> int | None:
    number = decimal_of(value)
    # ignores a "0" that means "unknown"
    return int(number) if number is not None and 1 <= number < 2**63 else None


def _positive(value: Any) -> float | None:
    number = decimal_of(value)
    return float(number) if number is not None and 0 < number < 10**9 else None
