"""Facts about a model that the catalog has in memory, without I/O.

The user's settings always take precedence over the catalog.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lunos_core.catalog.models import KnowsModels, ModelInfo

# For unknown models. LlamaIndex sizes prompts and chat memory by this number:
# its own default of 3,900 leaves an agent a memory of 2,925 tokens, while current models have
# 128,000 and more. With a smaller model `LunosContextOverflowError` is raised and says what to do.
DEFAULT_CONTEXT_WINDOW = 128_000


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A catalog's facts about a model; `None` means unknown.

    Attributes:
        context_window: tokens of prompt and answer together.
        is_chat_model: whether it answers `/chat/completions` (else `/completions`).
        tools: whether it calls tools.
        json_schema: whether it takes a JSON schema (`response_format`).
    """

    context_window: int | None = None
    is_chat_model: bool | None = None
    tools: bool | None = None
    json_schema: bool | None = None


NOTHING = ModelFacts()


def facts_of(model: str, catalog: KnowsModels | None = None) -> ModelFacts:
    """Return the facts of a model id without I/O: `metadata` asks for them on every call."""
    known = None if catalog is None else catalog.cached(model, disk=False)
    if known is None:
        return NOTHING
    parameters = tuple(known.supported_parameters or ())
    return _facts(known.context_window, parameters, tuple(known.capabilities or ()))


@functools.lru_cache(maxsize=256)  # LlamaIndex asks several times a call
def _facts(
    context_window: int | None,
    parameters: tuple[str, ...],
    capabilities: tuple[str, ...],
) -> ModelFacts:
    known = ModelInfo("", supported_parameters=parameters, capabilities=capabilities)
    listed = bool(parameters)
    abilities = {name.lower() for name in capabilities}
    return ModelFacts(
        context_window=context_window,
        # a model can't chat only if completions are all that it lists
        is_chat_model=False if abilities and abilities <= _COMPLETIONS else None,
        tools=known.takes("tools") if listed else None,
        json_schema=known.takes("response_format") if listed else None,
    )


_COMPLETIONS = {"text-completion", "completion", "completions"}


def tokens_left(prompt: str, tokenizer: Any, context_window: int) -> int:
    """Return how many tokens an answer may have after a prompt.

    Args:
        prompt: the text.
        tokenizer: as `encode_with` takes it.
        context_window: tokens of prompt and answer together.

    Raises:
        ImportError: a name was given, and transformers isn't installed.
        ValueError: the prompt leaves no room.
    """
    used = len(encode_with(tokenizer)(prompt))
    if used >= context_window:
        raise ValueError(
            f"the prompt has {used} tokens, and the context window {context_window}: shorten the "
            "prompt, or set context_window if the model has a larger one"
        )
    return context_window - used


def encode_with(tokenizer: Any) -> Callable[[str], Any]:
    """Return the function that splits a text into tokens.

    Args:
        tokenizer: an object with `encode`, such a function, or a tokenizer's name on Hugging Face.

    Raises:
        ImportError: a name was given, and transformers isn't installed.
        TypeError: it is something else.
    """
    if isinstance(tokenizer, str):
        tokenizer = _named_tokenizer(tokenizer)
    # tiktoken's `encode` refuses a text that mentions a special token
    plain = getattr(tokenizer, "encode_ordinary", None)
    encode: Callable[[str], Any] = plain or getattr(tokenizer, "encode", tokenizer)
    if isinstance(tokenizer, type) or not callable(encode):
        raise TypeError(
            "tokenizer must be a function, an object with `encode` or the name of a tokenizer on "
            f"Hugging Face, not {tokenizer!r}"
        )
    return encode


@functools.lru_cache(maxsize=8)
def _named_tokenizer(name: str) -> Any:
    try:
        transformers = importlib.import_module("transformers")
    except ImportError as error:
        raise ImportError(
            f"tokenizer={name!r} needs transformers, which isn't installed: pip install "
            "transformers, or give an object with `encode`"
        ) from error
    return transformers.AutoTokenizer.from_pretrained(name)
