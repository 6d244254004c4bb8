"""Reads the fields that whole messages and stream deltas share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lunos_core.accounting.usage import parse_usage
from lunos_core.endpoints.chat.reasoning import REASONING, parse_reasoning, text_inside
from lunos_core.endpoints.chat.tool_calls import parse_tool_calls
from lunos_core.endpoints.chat.types import Choice, Completion, Message
from lunos_core.request import Reply
from lunos_core.wire import json


class Content(NamedTuple):
    """The parts of a `content`, by kind."""

    text: str = ""
    images: Sequence[str] = ()
    reasoning: str = ""
    refusal: str = ""


def parse_message(sent: dict[str, Any], names: Mapping[str, str] | None = None) -> Message:
    """Read a whole message.

    Args:
        sent: the message, in the wire's form.
        names: the names of the request's tools: see `ToolCallAssembler`.
    """
    text, images, thoughts, refusal = parse_content(sent.get("content"))
    reasoning, details = ("", []) if REASONING.isdisjoint(sent) else parse_reasoning(sent)
    calls = tool_call_fragments(sent)
    audio = sent.get("audio")
    return Message(
        content=text,
        tool_calls=parse_tool_calls(calls, names) if calls else [],
        reasoning=reasoning or thoughts,
        reasoning_details=details,
        refusal=text_of(sent.get("refusal")) or refusal,
        images=list(dict.fromkeys([*images, *parse_images(sent.get("images"))])),
        annotations=objects_of(sent.get("annotations")),
        audio=audio if isinstance(audio, dict) else None,
        role=text_of(sent.get("role")) or "assistant",
    )


def parse_content(content: object) -> Content:
    """Read a `content`: a string, null, or (some providers) a list of parts.

    Mistral sends its reasoning as `{"type": "thinking", "thinking": [{"type": "text", …}]}`,
    others as a part of type "reasoning", Google as a text with `thought`, Bedrock as
    `{"reasoningContent": {"reasoningText": {"text": …}}}`. The text of unknown parts is kept.
    """
    if content is None or isinstance(content, str):
        return Content(content or "")
    content = _parts_of(content)
    if isinstance(content, int | float) or (isinstance(content, dict) and "type" not in content):
        return Content(json.dumps(content).decode())  # from a gateway that parsed the model's JSON
    parts = [content] if isinstance(content, dict) else content
    said: dict[str, list[str]] = {"text": [], "reasoning": [], "refusal": []}
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, str):
            said["text"].append(part)
        elif isinstance(part, dict) and "image" not in str(part.get("type")):
            kind = str(part.get("type"))
            thought = part.get("reasoningContent") or (part.get("thought") is True and part)
            if thought or "thinking" in kind or "reasoning" in kind:
                said["reasoning"].append(text_inside(thought or part))
            elif kind == "refusal":
                said["refusal"].append(text_inside(part, "refusal"))
            else:
                said["text"].append(text_inside(part, "text"))
    text, reasoning, refusal = ("".join(pieces) for pieces in said.values())
    return Content(text, parse_images(objects_of(parts)), reasoning, refusal)


def parse_images(value: object) -> list[str]:
    """Return the URLs of `{"type": "image_url", "image_url": {"url": …}}` parts, each once.

    Images have been seen without their wrapper too: `{"url": …}`. A bare address, and base64
    under the names of the images route, are read as well.
    """
    if not value:
        return []
    urls = map(_image_url, value if isinstance(value, list) else [value])
    return list(dict.fromkeys(filter(None, urls)))


def _image_url(part: object) -> str:
    if isinstance(part, dict) and "image" in str(part.get("type", "image")):
        # OpenAI's, Google's, Anthropic's, Vercel's
        words = ("image_url", "inlineData", "inline_data", "source", "image")
        inner = next(filter(None, map(part.get, words)), part)
        if isinstance(inner, dict):
            data = text_of(inner.get("b64_json") or inner.get("data"))
            kind = inner.get("media_type") or inner.get("mime_type") or inner.get("mimeType")
            kind = text_of(kind) or "image/png"
            inner = inner.get("url") or (data and f"data:{kind};base64,{data}")
        return text_of(inner)
    text = text_of(part)
    return text if text.startswith(("https://", "http://", "data:image/")) else ""


def tool_call_fragments(sent: dict[str, Any]) -> object:
    """Return the `tool_calls` of a message or delta, or an older `function_call` in that form."""
    calls = sent.get("tool_calls") or sent.get("toolCalls")
    if calls:
        return _listed(calls)
    call = sent.get("function_call") or sent.get("functionCall")
    if isinstance(call, dict):
        return [{"index": 0, "function": call}]
    parts = map(_call_in, objects_of(_parts_of(sent.get("content"))))
    return [call for call in parts if call is not None]


def _listed(calls: object) -> object:
    """Return calls that are keyed by their position or id, `{"0": {…}}`, as a list."""
    if not isinstance(calls, dict) or not all(isinstance(call, dict) for call in calls.values()):
        return calls
    if not calls.keys().isdisjoint(("function", "custom")):
        return calls
    return [
        {"index": int(key), **call} if re.fullmatch("[0-9]{1,9}", key) else {"id": key, **call}
        for key, call in calls.items()
    ]


_GOOGLES = {
    *("text", "thought", "inlineData", "inline_data"),
    *("functionCall", "function_call", "executableCode", "codeExecutionResult"),
}


def _parts_of(content: object) -> object:
    """Return the parts in Google's `{"role": "model", "parts": […]}`, and anything else unchanged.

    Other objects are JSON that a model wrote.
    """
    if not isinstance(content, dict) or not content.keys() <= {"parts", "role"}:
        return content
    parts = content.get("parts")
    if not isinstance(parts, list) or not (parts or "role" in content):
        return content
    is_googles = all(isinstance(part, dict) and not _GOOGLES.isdisjoint(part) for part in parts)
    return parts if is_googles else content


def _call_in(part: dict[str, Any]) -> dict[str, Any] | None:
    """Return the call in a part of content that a gateway passes on in its provider's form."""
    kind = part.get("type")
    if kind in ("tool_use", "tool_call"):  # Anthropic's, and LangChain's name for it
        return part
    if kind == "tool-call":  # Vercel
        return {**part, "id": part.get("toolCallId"), "name": part.get("toolName")}
    if kind == "function_call":  # OpenAI's Responses, where `id` is the part's
        return {**part, "id": part.get("call_id") or part.get("id")}
    call = part.get("toolUse") or part.get("functionCall") or part.get("function_call")
    if not isinstance(call, dict):
        return None
    # Bedrock and Google
    identifier = call.get("toolUseId") or call.get("id")
    return {**call, "id": identifier}


def usage_in(value: Mapping[str, Any]) -> object:
    """Return the usage of an answer or event, also from Groq's and Google's fields."""
    usage = value.get("usage")
    if usage is None:
        own = value.get("x_groq")
        if isinstance(own, dict):
            return own.get("usage")
        usage = value.get("usageMetadata") or value.get("usage_metadata")
    return usage


def _usage_of(value: Mapping[str, Any]) -> object:
    choices = objects_of(value.get("choices"))
    return usage_in(value) or (choices[0].get("usage") if choices else None)  # Moonshot's


def completion_from(value: Mapping[str, Any], choices: list[Choice], reply: Reply) -> Completion:
    """Return the completion with these choices and the other facts of the answer."""
    created = value.get("created")
    return Completion(
        choices=choices,
        usage=parse_usage(_usage_of(value)),
        id=text_of(value.get("id")) or None,
        model=text_of(value.get("model")) or None,
        created=created if isinstance(created, int) else None,
        provider=text_of(value.get("provider")) or None,
        system_fingerprint=text_of(value.get("system_fingerprint")) or None,
        service_tier=text_of(value.get("service_tier")) or None,
        request_id=reply.request_id,
        attempts=reply.attempts,
        fallback=reply.fallback,
        raw=value,
    )


def objects_of(value: object) -> list[dict[str, Any]]:
    """Return the objects in a list; an empty list for anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text_of(value: object) -> str:
    """Return a text, or "" for anything else."""
    return value if isinstance(value, str) else ""
