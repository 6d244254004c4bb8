"""Reading the parts that whole messages and stream deltas have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lunos_core.accounting.usage import parse_usage
from lunos_core.endpoints.chat.reasoning import parse_reasoning
from lunos_core.endpoints.chat.tool_calls import parse_tool_calls
from lunos_core.endpoints.chat.types import Choice, Completion, Message
from lunos_core.request import Reply


def parse_message(sent: dict[str, Any]) -> Message:
    """A whole message."""
    text, images = parse_content(sent.get("content"))
    reasoning, details = parse_reasoning(sent)
    audio = sent.get("audio")
    return Message(
        content=text,
        tool_calls=parse_tool_calls(tool_call_fragments(sent)),
        reasoning=reasoning,
        reasoning_details=details,
        refusal=text_of(sent.get("refusal")),
        images=list(dict.fromkeys([*images, *parse_images(sent.get("images"))])),
        annotations=objects_of(sent.get("annotations")),
        audio=audio if isinstance(audio, dict) else None,
        role=text_of(sent.get("role")) or "assistant",
    )


def parse_content(content: object) -> tuple[str, list[str]]:
    """Text and image URLs of a `content`: a string, null, or (some providers) a list of parts."""
    if isinstance(content, str):
        return content, []
    parts = objects_of(content)
    text = "".join(text_of(part.get("text")) for part in parts if part.get("type") != "image_url")
    return text, parse_images(parts)


def parse_images(value: object) -> list[str]:
    """The URLs of `{"type": "image_url", "image_url": {"url": …}}` parts, each once."""
    urls: dict[str, None] = {}
    for part in objects_of(value):
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, dict) else image
        if isinstance(url, str) and url:
            urls[url] = None
    return list(urls)


def tool_call_fragments(sent: dict[str, Any]) -> object:
    """The `tool_calls` of a message or delta, or its `function_call` of old in that form."""
    calls = sent.get("tool_calls")
    if not calls and isinstance(sent.get("function_call"), dict):
        return [{"index": 0, "function": sent["function_call"]}]
    return calls


def completion_from(value: Mapping[str, Any], choices: list[Choice], reply: Reply) -> Completion:
    """An answer's own facts, around its choices."""
    created = value.get("created")
    return Completion(
        choices=choices,
        usage=parse_usage(value.get("usage")),
        id=text_of(value.get("id")) or None,
        model=text_of(value.get("model")) or None,
        created=created if isinstance(created, int) else None,
        provider=text_of(value.get("provider")) or None,
        system_fingerprint=text_of(value.get("system_fingerprint")) or None,
        request_id=reply.request_id,
        attempts=reply.attempts,
        fallback=reply.fallback,
        raw=value,
    )


def objects_of(value: object) -> list[dict[str, Any]]:
    """The objects in a list; nothing where it is no list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def text_of(value: object) -> str:
    """A text, or "" for whatever is none."""
    return value if isinstance(value, str) else ""
