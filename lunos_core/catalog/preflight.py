"""Refuse requests that cannot work before they are sent. Pure functions over the catalog.

Only certain facts count: a list that the catalog leaves out, or empty, says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from lunos_core.accounting.token_estimate import estimate_tokens
from lunos_core.catalog.models import ModelInfo, shared_name
from lunos_core.catalog.search import ModelFilter, ModelIndex, matching
from lunos_core.errors import LunosBadRequestError, LunosContextOverflowError, LunosError

_MODALITIES = {
    "image_url": "image",
    "input_audio": "audio",
    "video_url": "video",
    "file": "file",
}
# parameters that a model without the feature must refuse; others it may ignore
_FEATURES = (
    "tools",
    "response_format",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "reasoning",
    "reasoning_effort",
)
_ASKED = frozenset(("modalities", *_FEATURES))
# a long prompt is refused only if two thirds of the estimate would be too many: an estimate must
# not refuse a request that would have worked
_DOUBT = 1.5


class Needs(NamedTuple):
    """What a request needs of a model.

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


def needs_of(content: Any, params: Mapping[str, Any]) -> Needs:
    """Return what a request needs, from its wire messages or prompt and its parameters."""
    inputs: dict[str, None] = {}
    tokens = 0
    for message in content if isinstance(content, list) else (content,):
        if isinstance(message, dict):
            said = message.get("content")
            tokens += estimate_tokens(said)
        else:  # several prompts of a request are read separately, messages together
            said = message
            tokens = max(tokens, estimate_tokens(said))
        if isinstance(said, list):
            for part in said:
                kind = part.get("type") if isinstance(part, dict) else None
                if isinstance(kind, str) and kind in _MODALITIES:
                    inputs[_MODALITIES[kind]] = None
    modalities = params.get("modalities")
    return Needs(
        tuple(inputs),
        tuple(kind for kind in modalities if kind != "text") if modalities else (),
        tuple(filter(params.get, _FEATURES)),
        tokens,
    )


def refusal(
    index: ModelIndex, content: Any, *, model: str, params: Mapping[str, Any]
) -> LunosError | None:
    """Return the error for a request that cannot work, or `None`: see `Catalog.check`."""
    known = index.get(model)
    if known is None or params.get("fallback_model"):
        return None
    # most requests
    if params.keys().isdisjoint(_ASKED) and _is_short_text(content, known.context_window):
        return None
    needs = needs_of(content, params)
    lack = _lack(known, needs)
    window = known.context_window
    is_too_long = window is not None and needs.tokens > window * _DOUBT
    if lack is None and not is_too_long:
        return None
    able = _able(index.models, needs)
    hint = f"; models that could do it: {', '.join(able)}" if able else ""
    facts = {"model": model, "app_id": params.get("app_id")}
    facts = {name: value for name, value in facts.items() if value is not None}
    if lack is not None:
        text = f"{model} {lack}, says the catalog: nothing was sent{hint}"
        return LunosBadRequestError(f"{text} (preflight=False sends it anyway)", **facts)
    return LunosContextOverflowError(
        f"the prompt has about {needs.tokens} tokens, the window of {model} holds {window}: "
        f"nothing was sent{hint} (preflight=False sends it anyway)",
        **facts,
    )


def _is_short_text(content: Any, window: int | None) -> bool:
    characters = 0
    for message in content if isinstance(content, list) else (content,):
        said = message.get("content") if isinstance(message, dict) else message
        if not isinstance(said, str):
            return False
        characters += len(said)
    return window is None or characters <= window


def _lack(model: ModelInfo, needs: Needs) -> str | None:
    if model.input_modalities:
        for kind in needs.inputs:
            if not _includes(model.reads, kind):
                return f"reads no {_plural(kind)}"
    if model.output_modalities:
        for kind in needs.outputs:
            if not _includes(model.writes, kind):
                return f"makes no {_plural(kind)}"
    if model.supported_parameters:
        for name in needs.parameters:
            if not model.takes(name):
                return "takes no tools" if name == "tools" else f"takes no parameter {name!r}"
    return None


def _includes(modalities: Iterable[str], kind: str) -> bool:
    return shared_name(kind) in map(shared_name, modalities)


def _plural(kind: str) -> str:
    return kind if kind == "audio" else f"{kind}s"


def _able(models: Sequence[ModelInfo], needs: Needs) -> list[str]:
    fitting = matching(models, ModelFilter(min_context=needs.tokens or None))
    # without windows in the catalog: a model with an unknown window is better than none
    fitting = fitting or matching(models, ModelFilter())
    return [
        model.id
        for model in fitting
        if all(_includes(model.reads, kind) for kind in needs.inputs)
        and all(_includes(model.writes, kind) for kind in needs.outputs)
        and all(map(model.takes, needs.parameters))
        and (model.context_window is None or model.context_window >= needs.tokens)
    ][:3]
