"""LlamaIndex' messages as the wire's. Pure; the caller's messages are never changed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    CachePoint,
    ChatMessage,
    CitationBlock,
    MessageRole,
    ThinkingBlock,
    ToolCallBlock,
)

from llama_index_lunos._content import Part, joined, mark_for_cache, to_parts
from llama_index_lunos._results import DETAILS, SPELLING
from lunos_core.endpoints.chat.content_parts import text_part

_ROLES = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "developer",
    MessageRole.USER: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
    MessageRole.TOOL: "tool",
    MessageRole.FUNCTION: "tool",
}


def to_wire(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """The messages of a request.

    Images, audio and files in tool results go into a user message right after the results: most
    providers take nothing but text in a tool message.

    Raises:
        TypeError: something that is no `ChatMessage`, or a block that the wire does not know.
        ValueError: no message at all, or content that the wire cannot carry.
    """
    if isinstance(messages, str | ChatMessage) or not isinstance(messages, Sequence):
        raise TypeError(f"messages must be a list of ChatMessage, not {type(messages).__name__}")
    if not messages:
        raise ValueError("messages is empty: give at least one")
    wire: list[dict[str, Any]] = []
    from_tools: list[Part] = []
    for at, message in enumerate(messages):
        if not isinstance(message, ChatMessage):
            raise TypeError(f"messages[{at}] must be a ChatMessage, not {type(message).__name__}")
        role = _ROLES[message.role]
        where = f"messages[{at}]"
        if role == "tool":
            wire.append(_tool_result(message, where, from_tools))
            continue
        _flush(from_tools, wire)
        if role == "assistant":
            wire.append(_assistant(message, where))
        else:
            wire.append({"role": role, "content": joined(_parts(message, where))})
    _flush(from_tools, wire)
    return wire


def _parts(message: ChatMessage, where: str) -> list[Part]:
    parts: list[Part] = []
    for at, block in enumerate(message.blocks):
        if isinstance(block, CachePoint):
            mark_for_cache(parts, block, f"{where}.blocks[{at}]")
        else:
            parts += to_parts(block, f"{where}.blocks[{at}]")
    return parts


def _assistant(message: ChatMessage, where: str) -> dict[str, Any]:
    """An answer, as it came: reasoning with its signatures, text, images, tool calls."""
    wire: dict[str, Any] = {"role": "assistant", "content": ""}
    parts: list[Part] = []
    calls: list[dict[str, Any]] = []
    spoken = message.additional_kwargs.get("audio")
    spoken_id = spoken.get("id") if isinstance(spoken, Mapping) else None
    for at, block in enumerate(message.blocks):
        place = f"{where}.blocks[{at}]"
        if isinstance(block, ThinkingBlock):
            _add_thinking(wire, block)
        elif isinstance(block, ToolCallBlock):
            calls.append(_tool_call(block))
        elif isinstance(block, CachePoint):
            mark_for_cache(parts, block, place)
        elif isinstance(block, AudioBlock) and spoken_id:
            wire["audio"] = {"id": spoken_id}  # the model's own words are sent back by their id
        elif not isinstance(block, CitationBlock):  # a remark on text that is there already
            parts += to_parts(block, place)
    calls = calls or [
        sent_tool_call(one) for one in message.additional_kwargs.get("tool_calls", ())
    ]
    wire["content"] = joined(parts)
    if calls:
        wire["content"] = wire["content"] or None
        wire["tool_calls"] = calls
    return wire


def _tool_result(message: ChatMessage, where: str, from_tools: list[Part]) -> dict[str, Any]:
    """A tool's result; what is no text is put behind `from_tools`."""
    known = message.additional_kwargs
    identifier = known.get("tool_call_id") or known.get("name")
    if not isinstance(identifier, str):
        raise ValueError(
            f"{where}: a tool result needs the id of its call: "
            "ChatMessage(role='tool', …, additional_kwargs={'tool_call_id': call.tool_id})"
        )
    parts = _parts(message, where)
    texts = [part for part in parts if part["type"] == "text"]
    others = [part for part in parts if part["type"] != "text"]
    if others:
        from_tools += [text_part(f"What the tool call {identifier} returned:"), *others]
        texts = texts or [text_part("The result follows in the next user message.")]
    return {"role": "tool", "tool_call_id": identifier, "content": joined(texts)}


def _flush(from_tools: list[Part], wire: list[dict[str, Any]]) -> None:
    if from_tools:
        wire.append({"role": "user", "content": list(from_tools)})
        from_tools.clear()


def _add_thinking(wire: dict[str, Any], block: ThinkingBlock) -> None:
    known = block.additional_information
    details = known.get(DETAILS)
    if not details and known.get("signature"):  # as Anthropic's own integration keeps it
        signature = known["signature"]
        details = [{"type": "reasoning.text", "text": block.content or "", "signature": signature}]
    if details:
        wire[DETAILS] = [*wire.get(DETAILS, ()), *details]
    elif block.content:
        field = known.get(SPELLING, "reasoning")
        wire[field] = wire.get(field, "") + block.content


def _tool_call(block: ToolCallBlock) -> dict[str, Any]:
    # integrations of providers without ids use the name in its place
    return _wire_call(block.tool_call_id or block.tool_name, block.tool_name, block.tool_kwargs)


def sent_tool_call(call: Any) -> dict[str, Any]:
    """A tool call of a message that another integration made: a plain dict, or an SDK's object."""
    function = _get(call, "function")
    name = _get(function, "name") or ""
    return _wire_call(_get(call, "id") or name, name, _get(function, "arguments"))


def _wire_call(identifier: str, name: str, arguments: Any) -> dict[str, Any]:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
    function = {"name": name, "arguments": text or "{}"}
    return {"id": identifier, "type": "function", "function": function}


def _get(source: Any, name: str) -> Any:
    return source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
