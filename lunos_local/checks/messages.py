"""Checks on `messages`: roles, content parts, and tool calls with their answers."""

from __future__ import annotations

import json
from typing import Any

from lunos_local.checks import values
from lunos_local.checks.values import Check, fail
from lunos_local.errors import WireError

CACHE_CONTROL = values.fields(
    {"type": values.one_of(["ephemeral"]), "ttl": values.string}, required=["type"]
)

_FILE = values.fields(
    {
        "filename": values.filled_string,
        "file_data": values.url(),
        "fileData": values.url(),
        "url": values.url(),
    }
)


def _file(value: Any, path: str) -> None:
    _FILE(value, path)
    if not any(value.get(name) for name in ("file_data", "fileData", "url")):
        raise values.missing(f"{path}.file_data")


# part type: (the field with the payload, its check)
PARTS: dict[str, tuple[str, Check]] = {
    "text": ("text", values.string),
    "image_url": (
        "image_url",
        values.fields(
            {"url": values.url("image/"), "detail": values.one_of(["auto", "low", "high"])},
            required=["url"],
        ),
    ),
    "file": ("file", _file),
    "input_audio": (
        "input_audio",
        values.fields(
            {"data": values.base64_text, "format": values.one_of(["wav", "mp3"])},
            required=["data", "format"],
        ),
    ),
    "video_url": (
        "video_url",
        values.fields({"url": values.url("video/")}, required=["url"]),
    ),
    "refusal": ("refusal", values.string),
}

_MEDIA = ("text", "image_url", "file", "input_audio", "video_url")
ROLE_PARTS: dict[str, tuple[str, ...]] = {
    "system": ("text",),
    "developer": ("text",),
    "user": _MEDIA,
    # image models get their own images back
    "assistant": ("text", "image_url", "refusal"),
    "tool": _MEDIA,
}

_ASSISTANT_FIELDS: dict[str, Check] = {
    "refusal": values.string,
    "reasoning": values.string,
    "reasoning_content": values.string,
    "reasoning_details": values.array_of(
        values.fields({"type": values.filled_string}, required=["type"])
    ),
}


def check_messages(messages: Any) -> None:
    """Check the whole conversation; raise a `WireError` that names the place of an error."""
    values.filled_array(messages, "messages")
    waiting: list[str] = []
    for i, message in enumerate(messages):
        path = f"messages[{i}]"
        values.an_object(message, path)
        role = _check_role(message, path)
        if role == "tool":
            _take_answer(message, path, waiting)
        elif waiting:
            raise _unanswered(waiting, path)
        _check_content(message, role, path)
        if message.get("name") is not None:
            values.filled_string(message["name"], f"{path}.name")
        if role == "assistant":
            for name, check in _ASSISTANT_FIELDS.items():
                if message.get(name) is not None:
                    check(message[name], f"{path}.{name}")
        waiting += _check_tool_calls(message, role, path)
    if waiting:
        raise _unanswered(waiting, "messages")


def _check_role(message: dict[str, Any], path: str) -> str:
    if message.get("role") is None:
        raise values.missing(f"{path}.role")
    values.one_of(list(ROLE_PARTS))(message["role"], f"{path}.role")
    return str(message["role"])


def _check_content(message: dict[str, Any], role: str, path: str) -> None:
    content = message.get("content")
    path = f"{path}.content"
    if isinstance(content, str):
        return
    if content is None:
        others = ("tool_calls", "refusal", "reasoning", "reasoning_content", "reasoning_details")
        if role == "assistant" and any(message.get(name) for name in others):
            return
        raise fail(path, f"a {role} message needs content", "missing_required_parameter")
    if not isinstance(content, list):
        raise fail(path, "expected a string or an array of parts", "invalid_type")
    values.filled_array(content, path)
    for i, part in enumerate(content):
        _check_part(part, role, f"{path}[{i}]")


def _check_part(part: Any, role: str, path: str) -> None:
    values.an_object(part, path)
    kind = part.get("type")
    allowed = ROLE_PARTS[role]
    if kind is None or kind not in allowed:
        names = ", ".join(repr(name) for name in allowed)
        raise fail(
            f"{path}.type",
            f"{kind!r} is not a content part of a {role} message; expected one of {names}",
            "invalid_value",
        )
    field, check = PARTS[kind]
    if part.get(field) is None:
        raise values.missing(f"{path}.{field}")
    check(part[field], f"{path}.{field}")
    if part.get("cache_control") is not None:
        CACHE_CONTROL(part["cache_control"], f"{path}.cache_control")


def _check_tool_calls(message: dict[str, Any], role: str, path: str) -> list[str]:
    calls = message.get("tool_calls")
    path = f"{path}.tool_calls"
    if calls is None:
        return []
    if role != "assistant":
        raise fail(path, f"a {role} message cannot call tools", "invalid_value")
    values.filled_array(calls, path)
    ids: list[str] = []
    for i, call in enumerate(calls):
        _check_tool_call(call, f"{path}[{i}]")
        if call["id"] in ids:
            raise fail(f"{path}[{i}].id", f"{call['id']!r} is used twice", "invalid_value")
        ids.append(call["id"])
    return ids


_CALL = values.fields(
    {
        "id": values.filled_string,
        "type": values.one_of(["function"]),
        "function": values.fields(
            {"name": values.filled_string, "arguments": values.string},
            required=["name", "arguments"],
        ),
    },
    required=["id", "type", "function"],
)


def _check_tool_call(call: Any, path: str) -> None:
    _CALL(call, path)
    path = f"{path}.function.arguments"
    try:
        arguments = json.loads(call["function"]["arguments"])
    except (ValueError, RecursionError):
        raise fail(path, "isn't valid JSON", "invalid_json") from None
    if not isinstance(arguments, dict):
        raise fail(path, "isn't a JSON object", "invalid_json")


def _take_answer(message: dict[str, Any], path: str, waiting: list[str]) -> None:
    path = f"{path}.tool_call_id"
    answered = message.get("tool_call_id")
    if answered is None:
        raise values.missing(path)
    values.filled_string(answered, path)
    if answered not in waiting:
        raise fail(path, f"no tool call {answered!r} before this message waits for an answer")
    waiting.remove(answered)


def _unanswered(waiting: list[str], path: str) -> WireError:
    names = ", ".join(repr(name) for name in waiting)
    return fail(
        path,
        "an assistant message with 'tool_calls' must be followed by tool messages "
        f"for each call; no answer to {names}",
    )
