"""Well-known model names that the gateway serves with its own models.

Each has its own catalog entry, at a price near the real one, so that costs aren't zero.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from lunos_local.backends.hashed_embeddings import HashedEmbeddings
from lunos_local.catalog import Model

CHAT = "local/stand-in"
EMBEDDING = "lunos/scripted-embedding"
IMAGE = "lunos/scripted-image"
SPEECH = "lunos/scripted-speech"
TRANSCRIPTION = "lunos/scripted-whisper"

# name: (own model, USD per million input tokens, USD per million output tokens)
DEFAULTS: dict[str, tuple[str, float, float]] = {
    "openai/gpt-4o": (CHAT, 2.5, 10.0),
    "openai/gpt-4o-mini": (CHAT, 0.15, 0.6),
    "openai/gpt-4": (CHAT, 30.0, 60.0),
    "openai/gpt-4.1": (CHAT, 2.0, 8.0),
    "openai/gpt-4.1-mini": (CHAT, 0.4, 1.6),
    "openai/gpt-5": (CHAT, 1.25, 10.0),
    "openai/gpt-5-mini": (CHAT, 0.25, 2.0),
    "openai/o3-mini": (CHAT, 1.1, 4.4),
    "openai/gpt-3.5-turbo": (CHAT, 0.5, 1.5),
    "openai/gpt-3.5-turbo-instruct": (CHAT, 1.5, 2.0),
    "anthropic/claude-sonnet-4": (CHAT, 3.0, 15.0),
    "anthropic/claude-3.5-haiku": (CHAT, 0.8, 4.0),
    "google/gemini-2.5-flash": (CHAT, 0.3, 2.5),
    "google/gemini-2.5-flash-image": (CHAT, 0.3, 2.5),
    "openai/text-embedding-3-small": (EMBEDDING, 0.02, 0.0),
    "openai/text-embedding-3-large": (EMBEDDING, 0.13, 0.0),
    "openai/text-embedding-ada-002": (EMBEDDING, 0.1, 0.0),
    "openai/whisper-1": (TRANSCRIPTION, 0.0, 0.0),
    "openai/gpt-4o-transcribe": (TRANSCRIPTION, 0.0, 0.0),
    "openai/dall-e-3": (IMAGE, 0.0, 0.0),
    "openai/gpt-image-1": (IMAGE, 0.0, 0.0),
    "openai/tts-1": (SPEECH, 0.0, 0.0),
    "openai/tts": (SPEECH, 0.0, 0.0),
    "openai/gpt-4o-mini-tts": (SPEECH, 0.0, 0.0),
}
# USD per image, minute of audio or thousand characters of speech
_UNIT_PRICES = {IMAGE: 0.04, TRANSCRIPTION: 0.006, SPEECH: 0.015}
_DIMENSIONS = {"openai/text-embedding-3-large": 3072}
_DEFAULT_DIMENSIONS = 1536
# whole families, which the catalog doesn't list, each with the entry that has its price
_FAMILIES = (
    (re.compile(r"anthropic/claude-[\w.:-]+"), "anthropic/claude-sonnet-4"),
    (re.compile(r"(openai/[\w.-]+?)(?:-\d{4}-\d\d-\d\d|-\d{4}|-latest)"), None),
)


def alias_of(model: Model, name: str, prices: tuple[float, float] | None = None) -> Model:
    """Return the entry that serves `model` as `name`."""
    input_price, output_price = prices or (model.input_price, model.output_price)
    own = model.served_by or model.id
    return replace(
        model,
        id=name,
        name=name.partition("/")[2] or name,
        description=f"Served by {own} on this machine; the price is an example.",
        served_by=own,
        input_price=input_price,
        output_price=output_price,
    )


def default_aliases(models: Mapping[str, Model]) -> list[Model]:
    """Return the entries of `DEFAULTS` whose own models are among `models`."""
    entries = []
    for name, (target, *prices) in DEFAULTS.items():
        if target not in models:
            continue
        entry = alias_of(models[target], name, (prices[0], prices[1]))
        entry = replace(entry, unit_price=_UNIT_PRICES.get(target, 0.0))
        if target == EMBEDDING:
            # some clients don't sort by index
            entry = replace(
                entry,
                embedding=HashedEmbeddings(reverse=False),
                dimensions=_DIMENSIONS.get(name, _DEFAULT_DIMENSIONS),
            )
        if target == CHAT and "image" not in name:
            entry = replace(entry, outputs=("text", "audio"))
        entries.append(entry)
    return entries


def own_aliases(aliases: Mapping[str, str], find: Callable[[str], Model | None]) -> list[Model]:
    """Return an entry for each name and model of a user's `aliases`.

    Raises:
        ValueError: the gateway has no such model.
    """
    entries = []
    for name, target in aliases.items():
        model = find(target)
        if not name or model is None:
            raise ValueError(
                f"the alias {name!r} names {target!r}, which this gateway doesn't have"
            )
        entries.append(alias_of(model, name))
    return entries


def find_alias(listed: Mapping[str, Model], id: str) -> Model | None:
    """Return the entry for another spelling of a listed alias, or of its family.

    Ids may be bare (`gpt-4o`), or begin with `lunos/` or a router's name
    (`openrouter/openai/gpt-4o`).
    """
    short = "/".join(id.split("/")[-2:])
    for name in (id, id.removeprefix("lunos/"), short, f"openai/{short}", f"anthropic/{short}"):
        if name in listed:
            return alias_of(listed[name], id) if listed[name].served_by else None
        for family, price in _FAMILIES:
            match = family.fullmatch(name)
            entry = listed.get(price or match[1]) if match else None
            if entry is not None and entry.served_by:
                return alias_of(entry, id)
    return None
