"""LangChain's model profile from the catalog."""

from __future__ import annotations

from typing import Any

from langchain_core.language_models.model_profile import ModelProfile

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
    """Return the catalog's facts about a model under LangChain's keys, without unknown ones.

    `mid_conversation_tools` is always left out: no field of the catalog says whether a model
    accepts tools that are added during a conversation.
    """
    profile: dict[str, Any] = {
        "name": model.name,
        "max_input_tokens": model.context_window,
        "max_output_tokens": model.max_output_tokens,
        "reasoning_output": model.supports_reasoning,
        "release_date": _date(model.raw.get("releaseDate")),
        "last_updated": _date(model.raw.get("updatedAt")),
        "status": _text(model.raw.get("status")),
        "reasoning_effort_levels": _texts(model.raw.get("reasoningEfforts")),
    }
    if model.input_modalities:
        # system messages stay at their place in the conversation
        profile["mid_conversation_system_messages"] = "text" in model.reads
        profile |= {key: kind in model.reads for key, kind in _READS.items()}
        profile["pdf_inputs"] = not model.reads.isdisjoint({"file", "pdf"})
        profile["attachment"] = not model.reads.isdisjoint({"file", "pdf", "image"})
    if model.output_modalities:
        profile |= {key: kind in model.writes for key, kind in _WRITES.items()}
    if model.supported_parameters:
        profile |= {key: model.takes(name) for key, name in _TAKES.items()}
        # a list with "tools" but without "tool_choice" says nothing about the choice
        named = "tool_choice" in model.supported_parameters
        profile["tool_choice"] = True if named else None if profile["tool_calling"] else False
    known = ModelProfile.__annotations__  # LangChain warns about keys that it doesn't know
    return {key: value for key, value in profile.items() if value is not None and key in known}


def profile_from(catalog: Any, model: str) -> dict[str, Any] | None:
    """Return a model's profile from the catalog's memory, without I/O, or `None`."""
    known = catalog.cached(model, disk=False)
    return None if known is None else to_profile(known)


def _text(value: Any) -> str | None:
    return value or None if isinstance(value, str) else None


def _date(value: Any) -> str | None:
    text = _text(value)
    return text and text[:10]


def _texts(value: Any) -> list[str] | None:
    texts = [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
    return texts or None
