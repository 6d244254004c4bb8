"""LangChain's messages to the messages of the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from langchain_lunos._parts import to_part, to_parts
from lunos_core import _json
from lunos_core._messages_in import ROLES

Wire = dict[str, Any]


def to_wire(messages: Sequence[BaseMessage]) -> list[Wire]:
    """The messages as they are sent. The given ones are left as they are.

    Raises:
        TypeError: a message or block of a kind that cannot be sent.
        ValueError: a block, role or call that the wire cannot carry; the text says which.
    """
    if not messages:
        raise ValueError("no messages: give at least one")
    return [
        wire for at, message in enumerate(messages) for wire in _one(message, f"messages[{at}]")
    ]


def _one(message: BaseMessage, where: str) -> Iterator[Wire]:
    for kind, convert in _KINDS:
        if isinstance(message, kind):
            yield from convert(message, where)
            return
    raise TypeError(
        f"{where}: a {type(message).__name__} cannot be sent to Lunos; use HumanMessage, "
        "AIMessage, SystemMessage, ToolMessage or ChatMessage"
    )


def _system(message: SystemMessage, where: str) -> Iterator[Wire]:
    # langchain_openai's mark for OpenAI's newer role
    developer = message.additional_kwargs.get("__openai_role__") == "developer"
    content = to_parts(message.content, f"{where}.content")
    yield _named(message, {"role": "developer" if developer else "system", "content": content})


def _human(message: HumanMessage, where: str) -> Iterator[Wire]:
    content = message.content
    if not isinstance(content, str):
        # Anthropic's histories hold a tool's results in human messages
        results = [block for block in content if _type_of(block) == "tool_result"]
        for block in results:
            yield _tool_result(block, where)
        content = [block for block in content if _type_of(block) != "tool_result"]
        if results and not content:
            return
    yield _named(message, {"role": "user", "content": to_parts(content, f"{where}.content")})


def _tool(message: ToolMessage, where: str) -> Iterator[Wire]:
    wire = {"role": "tool", "tool_call_id": message.tool_call_id}
    yield _named(message, {**wire, "content": to_parts(message.content, f"{where}.content")})


def _tool_result(block: Any, where: str) -> Wire:
    identifier = block.get("tool_use_id")
    if not isinstance(identifier, str):
        raise ValueError(f"{where}: a tool_result block has no tool_use_id")
    content = to_parts(block.get("content") or "", f"{where}.content")
    return {"role": "tool", "tool_call_id": identifier, "content": content}


def _chat(message: ChatMessage, where: str) -> Iterator[Wire]:
    if message.role not in ROLES:
        raise ValueError(
            f"{where}: a ChatMessage with role {message.role!r} cannot be sent to Lunos; "
            f"the wire knows {', '.join(ROLES)}"
        )
    content = to_parts(message.content, f"{where}.content")
    yield _named(message, {"role": message.role, "content": content})


def _ai(message: AIMessage, where: str) -> Iterator[Wire]:
    extra = message.additional_kwargs
    blocks = [message.content] if isinstance(message.content, str) else message.content
    said = [block for block in blocks if block and _type_of(block) not in _SAID_ELSEWHERE]
    wire: Wire = {"role": "assistant", "content": None}
    if len(said) == 1 and isinstance(said[0], str):
        wire["content"] = said[0]
    elif said:
        wire["content"] = [
            to_part(block, f"{where}.content[{at}]") for at, block in enumerate(said)
        ]
    calls = _tool_calls(message, blocks)
    if calls:
        wire["tool_calls"] = calls
    wire |= _reasoning(extra, blocks)
    refusal = extra.get("refusal") or _joined(blocks, "refusal", "refusal")
    if refusal:
        wire["refusal"] = refusal
    if extra.get("images") and "image" not in map(_type_of, blocks):
        wire["images"] = [
            {name: value for name, value in image.items() if name != "index"}
            for image in extra["images"]
        ]
    if isinstance(extra.get("audio"), Mapping) and extra["audio"].get("id"):
        wire["audio"] = {"id": extra["audio"]["id"]}
    if wire["content"] is None and len(wire) == 2:
        wire["content"] = ""  # null stands for "a call instead"; here there is nothing at all
    yield _named(message, wire)


def _tool_calls(message: AIMessage, blocks: Sequence[Any]) -> list[Wire]:
    calls = [
        _call(call["id"], call["name"], call["args"])
        for call in [*message.tool_calls, *message.invalid_tool_calls]
    ]
    if calls:
        return calls
    raw = message.additional_kwargs.get("tool_calls")
    if raw:
        return [dict(call) for call in raw]
    return [  # Anthropic's, in a message made by hand
        _call(block.get("id"), block.get("name"), block.get("input") or {})
        for block in blocks
        if _type_of(block) == "tool_use"
    ]


def _call(identifier: str | None, name: str | None, arguments: Any) -> Wire:
    text = arguments if isinstance(arguments, str) else _json.dumps(arguments or {}).decode()
    function = {"name": name or "", "arguments": text}
    return {"id": identifier or "", "type": "function", "function": function}


def _reasoning(extra: Mapping[str, Any], blocks: Sequence[Any]) -> Wire:
    """What the model thought, as it came: details with their signatures, else the text."""
    if extra.get("reasoning_details"):
        return {"reasoning_details": extra["reasoning_details"]}
    text = (
        extra.get("reasoning_content")
        or _joined(blocks, "reasoning", "reasoning")
        or _joined(blocks, "thinking", "thinking")
    )
    return {"reasoning": text} if text else {}


# Blocks of an answer that travel in other fields of the message than `content`.
_SAID_ELSEWHERE = frozenset(
    {
        "tool_call",
        "tool_call_chunk",
        "invalid_tool_call",
        "tool_use",
        "input_json_delta",
        "reasoning",
        "thinking",
        "redacted_thinking",
        "refusal",
    }
)


def _type_of(block: Any) -> Any:
    if not isinstance(block, Mapping):
        return None
    kind = block.get("type")
    if kind == "non_standard" and isinstance(block.get("value"), Mapping):
        return block["value"].get("type")
    return kind


def _joined(blocks: Sequence[Any], kind: str, field: str) -> str:
    found = [
        block.get("value", block).get(field) if kind == "refusal" else block.get(field)
        for block in blocks
        if _type_of(block) == kind
    ]
    return "\n".join(text for text in found if isinstance(text, str) and text)


def _named(message: BaseMessage, wire: Wire) -> Wire:
    if message.name:
        wire["name"] = message.name
    return wire


_KINDS: tuple[tuple[type[BaseMessage], Callable[[Any, str], Iterator[Wire]]], ...] = (
    (HumanMessage, _human),
    (AIMessage, _ai),
    (SystemMessage, _system),
    (ToolMessage, _tool),
    (ChatMessage, _chat),
)
