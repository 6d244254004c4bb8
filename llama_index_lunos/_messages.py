"""From LlamaIndex's messages to the wire's. Pure; the caller's messages are never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

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
from llama_index_lunos._results import DETAILS, SPELLING, log
from lunos_core.endpoints.chat.content_parts import text_part, without_blanks
from lunos_core.endpoints.chat.requests import pair_calls
from lunos_core.endpoints.chat.tool_arguments import arguments_text
from lunos_core.endpoints.chat.tool_calls import EXTRAS, UNNAMED

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
    """Return the messages of a request.

    Images, audio and files in tool results go into a user message right after the results: most
    providers accept only text in a tool message.

    Raises:
        TypeError: an item isn't a `ChatMessage`, or the wire doesn't know a kind of block.
        ValueError: there are no messages, or the wire can't carry some content.
    """
    if isinstance(messages, str | ChatMessage) or not isinstance(messages, Sequence):
        raise TypeError(f"messages must be a list of ChatMessage, not {type(messages).__name__}")
    if not messages:
        raise ValueError("messages is empty: give at least one")
    history = _History()
    for i, message in enumerate(messages):
        if not isinstance(message, ChatMessage):
            raise TypeError(f"messages[{i}] must be a ChatMessage, not {type(message).__name__}")
        history.add(message, f"messages[{i}]")
    history.flush()
    return pair_calls(history.wire)


class SentCall(NamedTuple):
    """A message's tool call; `arguments` is the stored text or object, which may be broken."""

    id: str
    name: str
    arguments: Any


def sent_tool_calls(message: ChatMessage) -> list[SentCall]:
    """Return a message's tool calls: from its blocks, else from `additional_kwargs`.

    There other integrations keep plain dicts or an SDK's objects, and OpenAI's older
    `function_call`.
    """
    blocks = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
    if blocks:
        return [
            SentCall(block.tool_call_id or block.tool_name, block.tool_name, block.tool_kwargs)
            for block in blocks
        ]
    stored = message.additional_kwargs.get("tool_calls")
    older = message.additional_kwargs.get("function_call")
    if not isinstance(stored, list | tuple) or not stored:
        stored = [older] if older else []
    calls = [_sent_tool_call(call) for call in stored]
    return [call for call in calls if call.id or call.arguments]


def _sent_tool_call(call: Any) -> SentCall:
    function = _get(call, "function") or call  # OpenAI's Responses API has no wrapper
    name = str(_get(function, "name") or "")
    # without ids from the provider, integrations use the name instead
    identifier = _get(call, "call_id") or _get(call, "id") or name
    return SentCall(str(identifier), name, _get(function, "arguments"))


def _extras_by_id(message: ChatMessage) -> dict[str, dict[str, Any]]:
    """Return what providers want back with a message's calls: see `ToolCall.extras`."""
    stored = message.additional_kwargs.get("tool_calls")
    return {
        str(call.get("id")): {name: call[name] for name in EXTRAS if call.get(name)}
        for call in (stored if isinstance(stored, Sequence) else ())
        if isinstance(call, Mapping)
    }


class _History:
    """The wire's messages so far, and the calls that later tool results are matched with."""

    def __init__(self) -> None:
        self.wire: list[dict[str, Any]] = []
        self._from_tools: list[Part] = []
        self._open: list[str] = []  # the calls of the last answer that have no result yet

    def add(self, message: ChatMessage, where: str) -> None:
        role = _ROLES[message.role]
        if role == "tool":
            self.wire.append(self._tool_result(message, where))
            return
        self.flush()
        if role == "assistant":
            self.wire.append(self._assistant(message, where))
        else:
            self.wire.append({"role": role, "content": joined(_parts(message, where))})

    def flush(self) -> None:
        if self._from_tools:
            self.wire.append({"role": "user", "content": self._from_tools})
            self._from_tools = []

    def _assistant(self, message: ChatMessage, where: str) -> dict[str, Any]:
        """Return an answer as it came: reasoning with its signatures, text, images, tool calls."""
        wire: dict[str, Any] = {"role": "assistant", "content": ""}
        parts: list[Part] = []
        spoken = message.additional_kwargs.get("audio")
        spoken_id = spoken.get("id") if isinstance(spoken, Mapping) else None
        for i, block in enumerate(message.blocks):
            if isinstance(block, ThinkingBlock):
                _add_thinking(wire, block)
            elif isinstance(block, AudioBlock) and spoken_id:
                wire["audio"] = {"id": spoken_id}  # spoken answers are sent back by their id
            # a citation only annotates text that is already there
            elif not isinstance(block, CitationBlock | ToolCallBlock):
                _add_answered(parts, block, f"{where}.blocks[{i}]")
        calls = sent_tool_calls(message)
        wire["content"] = joined(parts)
        if calls:
            wire["content"] = joined(without_blanks(parts)) or None
            extras = _extras_by_id(message)
            wire["tool_calls"] = [{**extras.get(call.id, {}), **_call(call)} for call in calls]
            self._open = [call.id for call in calls]
        return wire

    def _tool_result(self, message: ChatMessage, where: str) -> dict[str, Any]:
        known = message.additional_kwargs
        identifier = known.get("tool_call_id") or known.get("name")
        if identifier is None and self._open:
            identifier = self._open[0]
        if identifier in self._open:
            self._open.remove(identifier)
        if not isinstance(identifier, str):
            raise ValueError(
                f"{where}: a tool result needs the id of its call: "
                "ChatMessage(role='tool', …, additional_kwargs={'tool_call_id': call.tool_id})"
            )
        parts: list[Part] = []
        for i, block in enumerate(message.blocks):
            _add_returned(parts, block, f"part {i + 1} of the result")
        texts = [part for part in parts if part["type"] == "text"]
        others = [part for part in parts if part["type"] != "text"]
        if others:
            self._from_tools += [text_part(f"What the tool call {identifier} returned:"), *others]
            texts = texts or [text_part("The result follows in the next user message.")]
        return {"role": "tool", "tool_call_id": identifier, "content": joined(texts)}


def _call(call: SentCall) -> dict[str, Any]:
    function = {"name": call.name or UNNAMED, "arguments": arguments_text(call.arguments)}
    return {"id": call.id, "type": "function", "function": function}


def _parts(message: ChatMessage, where: str) -> list[Part]:
    parts: list[Part] = []
    for i, block in enumerate(message.blocks):
        _add(parts, block, f"{where}.blocks[{i}]")
    return parts


def _add(parts: list[Part], block: Any, where: str) -> None:
    if isinstance(block, CachePoint):
        mark_for_cache(parts, block, where)
    else:
        parts += to_parts(block, where)


def _add_answered(parts: list[Part], block: Any, where: str) -> None:
    """Add a block of an answer, which another model may have written: skip unsendable ones."""
    try:
        _add(parts, block, where)
    except (TypeError, ValueError) as error:
        log.warning("left out of the conversation: %s", error)


def _add_returned(parts: list[Part], block: Any, where: str) -> None:
    """Add a block that a tool returned; tell the model if the wire can't carry it, and why.

    A tool passes on what its library returned, in the middle of a paid conversation.
    """
    try:
        _add(parts, block, where)
    except (TypeError, ValueError) as error:
        log.warning("left out of a tool's result: %s", error)
        if not isinstance(block, CachePoint):
            parts.append(text_part(f"Left out: {error}"))


def _add_thinking(wire: dict[str, Any], block: ThinkingBlock) -> None:
    known = block.additional_information
    details = known.get(DETAILS)
    if not details and known.get("signature"):  # from Anthropic's own integration
        signature = known["signature"]
        details = [{"type": "reasoning.text", "text": block.content or "", "signature": signature}]
    if details:
        wire[DETAILS] = [*wire.get(DETAILS, ()), *details]
    elif block.content:
        field = known.get(SPELLING, "reasoning")
        before = wire.get(field)
        wire[field] = f"{before}\n{block.content}" if before else block.content


def _get(source: Any, name: str) -> Any:
    return source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
