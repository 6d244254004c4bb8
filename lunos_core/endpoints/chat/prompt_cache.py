"""Marks a prompt's parts for the provider's cache, with one switch.

Source of the format: Anthropic's `cache_control`, which gateways pass on inside OpenAI's dialect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

DEFAULT = {"type": "ephemeral"}


def mark_for_cache(
    messages: Sequence[Any], params: Mapping[str, Any]
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Move `params["cache_control"]` to the parts at which the stable prompt ends.

    These are the last tool, the last system message and the last message. The arguments aren't
    changed, and parts that have a mark keep it.

    Args:
        messages: wire messages.
        params: the wire's parameters; `cache_control` is True, or the mark, such as
            `{"type": "ephemeral", "ttl": "1h"}`.
    """
    control = params.get("cache_control")
    rest = {name: value for name, value in params.items() if name != "cache_control"}
    if not control:
        return messages, rest
    control = DEFAULT if control is True else control
    if rest.get("tools"):
        *tools, last = rest["tools"]
        rest["tools"] = [*tools, {"cache_control": control, **last}]
    marked = list(messages)
    system = [
        i
        for i, message in enumerate(marked)
        if isinstance(message, Mapping) and message.get("role") in ("system", "developer")
    ]
    for i in {*system[-1:], len(marked) - 1}:
        if isinstance(marked[i], Mapping):
            marked[i] = _marked(marked[i], control)
    return marked, rest


def _marked(message: Mapping[str, Any], control: Any) -> Mapping[str, Any]:
    content = message.get("content")
    if isinstance(content, str) and content:
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list | tuple) or not content:
        return message
    *parts, last = content
    if not isinstance(last, Mapping):
        return message
    return {**message, "content": [*parts, {"cache_control": control, **last}]}
