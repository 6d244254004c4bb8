"""The parts of a chat request that the rule-based models use."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any


def text_of(message: dict[str, Any]) -> str:
    """Return the text of a message, whether its content is a string or parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content or () if part["type"] == "text")


def last_user_text(messages: list[dict[str, Any]]) -> str:
    """Return the text of the last user message, else of the last message."""
    for message in reversed(messages):
        if message["role"] == "user":
            return text_of(message)
    return text_of(messages[-1])


def last_user_media(messages: list[dict[str, Any]]) -> Counter[str]:
    """Count the parts other than text, by type, since the last assistant message."""
    seen: Counter[str] = Counter()
    for message in reversed(messages):
        if message["role"] == "assistant":
            break
        if isinstance(message.get("content"), list):
            seen.update(part["type"] for part in message["content"] if part["type"] != "text")
    return seen


def tool_results(messages: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return (tool name, result) for the tool messages at the end of the conversation."""
    names = {
        call["id"]: call["function"]["name"]
        for message in messages
        for call in message.get("tool_calls") or ()
    }
    results: list[tuple[str, str]] = []
    for message in reversed(messages):
        if message["role"] != "tool":
            break
        results.append((names.get(message["tool_call_id"], "tool"), text_of(message)))
    return results[::-1]


def tools_called(messages: list[dict[str, Any]]) -> set[str]:
    """Return the names of the tools called since the last user message."""
    called: set[str] = set()
    for message in reversed(messages):
        if message["role"] == "user":
            break
        called.update(call["function"]["name"] for call in message.get("tool_calls") or ())
    return called


def function_tools(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the `function` objects of a request's tools."""
    return [tool["function"] for tool in body.get("tools") or () if tool["type"] == "function"]


def fingerprint(value: object, length: int = 24) -> str:
    """Return a hex hash of a JSON value."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]


def cached_prefix(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages up to and including the last part with `cache_control`."""
    for last in range(len(messages) - 1, -1, -1):
        content = messages[last].get("content")
        if not isinstance(content, list):
            continue
        marked = [i for i, part in enumerate(content) if part.get("cache_control")]
        if marked:
            return [*messages[:last], {**messages[last], "content": content[: marked[-1] + 1]}]
    return []
