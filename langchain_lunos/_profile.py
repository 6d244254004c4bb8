"""LangChain's model profile from the catalog."""

from __future__ import annotations

from typing import Any

from lunos_core.catalog.models import ModelInfo

# profile key to modality of the catalog
_READS = {
    "text_inputs": "text",
    "image_inputs": "image",
    "image_url_inputs": "image",
    "audio_inputs": "audio",
    "video_inputs": "video",
}
_WRITES = {
    "text_outputs": "text",
    "image_outputs": "image",
    "audio_outputs": "audio",
    "video_outputs": "video",
}
_TAKES = {
    "tool_calling": "tools",
    "structured_output": "response_format",
    "temperature": "temperature",
}


def to_profile(model: ModelInfo) -> dict[str, Any]:
    """Return what the catalog says of a model, by LangChain's keys; unknown facts are left out."""
    profile: dict[str, Any] = {
        "name": model.name,
        "max_input_tokens": model.context_window,
        "max_output_tokens": model.max_output_tokens,
        "reasoning_output": model.supports_reasoning,
    }
    if model.input_modalities:
        profile |= {key: kind in model.reads for key, kind in _READS.items()}
        profile["pdf_inputs"] = not model.reads.isdisjoint({"file", "pdf"})
    if model.output_modalities:
        profile |= {key: kind in model.writes for key, kind in _WRITES.items()}
    if model.supported_parameters:
        profile |= {key: model.takes(name) for key, name in _TAKES.items()}
    known = _known_keys()
    return {key: value for key, value in profile.items() if value is not None and key in known}


def profile_from(catalog: Any, model: str) -> dict[str, Any] | None:
    """Return a model's profile from what the catalog has in memory, or `None`: no I/O."""
    known = None if catalog is None else catalog.cached(model, disk=False)
    return None if known is None else to_profile(known)


def _known_keys() -> set[str]:
    """Return the keys of the installed LangChain: it warns of others."""
    try:
        from langchain_core.language_models.model_profile import ModelProfile
    except ImportError:
        return set()
    return set(ModelProfile.__annotations__)
