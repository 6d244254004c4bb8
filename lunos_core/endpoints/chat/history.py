"""Pairs the tool calls of a history with their results, as every provider requires."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lunos_core.endpoints.chat.content_parts import text_part

NOT_RUN = "The tool wasn't run."
"""The result of a call without one in a history, because an agent was stopped."""


def pair_calls(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    r"""Return a history in which each call has a unique id and its result right behind it.

    Providers refuse any other. But an agent may have been stopped, a memory trimmed, a question
    asked before a late result, and some models give all their calls the same id or none. A call
    without a result gets `NOT_RUN`, unless it is in the last message. A result without a call
    becomes a user message, unless the history has no answer: then the server may know the call.

    Args:
        messages: wire messages, which aren't changed.

    Example:
        >>> from lunos_core.endpoints.chat.history import pair_calls
        >>> result = {"role": "tool", "tool_call_id": "c", "content": "42"}
        >>> pair_calls([result, {"role": "assistant", "content": "It's 42."}])[0]
        {'role': 'user', 'content': 'What the tool call c returned:\n42'}
    """
    if all(message["role"] != "assistant" for message in messages):
        return list(messages)
    paired: list[dict[str, Any]] = []
    open_results: dict[str, list[dict[str, Any]]] = {}
    taken: dict[str, int] = {}
    for message in messages:
        if message["role"] == "tool":
            waiting = open_results.get(message["tool_call_id"])
            if waiting:
                result = waiting.pop(0)
                result |= {**message, "tool_call_id": result["tool_call_id"]}
            else:
                paired.append(_told_by_user(message))
            continue
        calls = message.get("tool_calls")
        if not calls:
            paired.append(message)
            continue
        open_results |= {call["id"]: [] for call in calls}
        own = [{**call, "id": _own_id(call["id"], taken)} for call in calls]
        paired.append({**message, "tool_calls": own})
        if message is not messages[-1]:
            for call, sent in zip(calls, own, strict=True):
                result = {"role": "tool", "tool_call_id": sent["id"], "content": NOT_RUN}
                paired.append(result)
                open_results[call["id"]].append(result)
    return paired


def _own_id(identifier: str, taken: dict[str, int]) -> str:
    base = own = identifier or "call"
    while own in taken:
        taken[base] += 1
        own = f"{base}_{taken[base]}"
    taken[own] = 1
    return own


def _told_by_user(result: dict[str, Any]) -> dict[str, Any]:
    said, content = f"What the tool call {result['tool_call_id']} returned:", result["content"]
    both = f"{said}\n{content}" if isinstance(content, str) else [text_part(said), *content]
    return {"role": "user", "content": both}
