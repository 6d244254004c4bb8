"""Requests that cannot work, refused before the network: pure functions over the catalog.

Only what the catalog says for certain refuses: a list that it leaves out, or leaves empty, says
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from lunos_core.catalog.models import ModelInfo, meets, reads, takes, writes
from lunos_core.catalog.search import Wishes, matching, wanted
from lunos_core.errors import LunosBadRequestError, LunosContextOverflowError, LunosError

_MODALITIES = {
    "image_url": "image",
    "input_audio": "audio",
    "video_url": "video",
    "file": "file",
}
# what a model without the feature must refuse; what it may leave unused is not looked at
_FEATURE_ORDER = (
    "tools",
    "response_format",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "reasoning",
    "reasoning_effort",
)
_FEATURES = frozenset(_FEATURE_ORDER)
# about four characters are a token; a long prompt is refused only where two thirds of that
# would be too many: an estimate must not refuse what would have worked
_CHARACTERS_PER_TOKEN = 4
_DOUBT = 1.5


class KnowsModels(Protocol):
    """What is asked of a `Catalog` or an `AsyncCatalog`: nothing that takes time."""

    def cached(self, id: str, *, disk: bool = True) -> ModelInfo | None:
        """What is known of a model."""

    def cached_models(self) -> list[ModelInfo]:
        """All that is known."""
        ...


class Demand(NamedTuple):
    """What a request asks of a model.

    Attributes:
        inputs: modalities of the prompt besides text.
        outputs: modalities of the answer besides text.
        parameters: the features that it uses.
        tokens: an estimate of the prompt's length.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    tokens: int = 0


def demand_of(content: Any, params: Mapping[str, Any]) -> Demand:
    """Read a request: wire messages, or a prompt, and the wire's parameters."""
    inputs: dict[str, None] = {}
    longest = together = 0
    for message in content if isinstance(content, list) else (content,):
        said = message.get("content") if isinstance(message, dict) else message
        length = len(said) if isinstance(said, str) else _read_parts(said, inputs)
        together += length
        longest = max(longest, length)
    # several prompts of one request are read one by one, messages together
    several = isinstance(content, list) and bool(content) and isinstance(content[0], str)
    modalities = params.get("modalities")
    return Demand(
        tuple(inputs),
        tuple(one for one in modalities if one != "text") if modalities else (),
        # most requests use none of them: one look for all
        ()
        if _FEATURES.isdisjoint(params)
        else tuple(name for name in _FEATURE_ORDER if params.get(name)),
        -(-(longest if several else together) // _CHARACTERS_PER_TOKEN),
    )


def _read_parts(said: Any, inputs: dict[str, None]) -> int:
    """The characters of a message's parts; their modalities are noted in `inputs`."""
    characters = 0
    for part in said if isinstance(said, list) else ():
        text = part
        if isinstance(part, dict):
            kind, text = part.get("type"), part.get("text")
            if kind in _MODALITIES:
                inputs[_MODALITIES[kind]] = None
        characters += len(text) if isinstance(text, str) else 0
    return characters


def check_request(
    catalog: KnowsModels | None, content: Any, *, model: str, params: Mapping[str, Any]
) -> LunosError | None:
    """Why a request cannot work, or `None`: for the caller to raise as its framework's error.

    Args:
        catalog: what is known; without it nothing is refused.
        content: wire messages, or a prompt.
        model: the model's id.
        params: the wire's parameters. With a `fallback_model` nothing is refused but by it: the
            other model may be the one that can.
    """
    known = None if catalog is None else catalog.cached(model)
    if catalog is None or known is None or params.get("fallback_model"):
        return None
    demand = demand_of(content, params)
    inputs, outputs, parameters, _ = demand
    why = _lack(known, demand) if inputs or outputs or parameters else None
    window = known.context_window
    too_long = window is not None and demand.tokens > window * _DOUBT
    if why is None and not too_long:
        return None
    able = _able(catalog.cached_models(), demand)
    hint = f"; models that could do it: {', '.join(able)}" if able else ""
    facts = {"model": model, "app_id": params.get("app_id")}
    facts = {name: value for name, value in facts.items() if value is not None}
    if why is not None:
        text = f"{model} {why}, says the catalog: nothing was sent{hint}"
        return LunosBadRequestError(f"{text} (preflight=False sends all the same)", **facts)
    return LunosContextOverflowError(
        f"the prompt has about {demand.tokens} tokens, the window of {model} holds {window}: "
        f"nothing was sent{hint} (preflight=False sends all the same)",
        **facts,
    )


def _lack(model: ModelInfo, demand: Demand) -> str | None:
    for one in demand.inputs:
        if model.input_modalities and not meets(one, reads(model)):
            return f"reads no {one}s" if one != "audio" else "reads no audio"
    for one in demand.outputs:
        if model.output_modalities and not meets(one, writes(model)):
            return f"makes no {one}s" if one != "audio" else "makes no audio"
    for one in demand.parameters:
        if model.supported_parameters and not takes(model, one):
            return "takes no tools" if one == "tools" else f"takes no parameter {one!r}"
    return None


def _able(models: Sequence[ModelInfo], demand: Demand) -> list[str]:
    """Up to three models that are known to do it, the cheapest first."""
    wishes = Wishes(min_context=demand.tokens) if demand.tokens else Wishes()
    fitting = matching(models, wanted(**wishes)) if wishes else []
    # a catalog without windows: better a model whose window is unknown than none
    fitting = fitting or matching(models, wanted())
    return [
        one.id
        for one in fitting
        if all(meets(kind, reads(one)) for kind in demand.inputs)
        and all(meets(kind, writes(one)) for kind in demand.outputs)
        and all(takes(one, name) for name in demand.parameters)
        and (one.context_window is None or one.context_window >= demand.tokens)
    ][:3]
