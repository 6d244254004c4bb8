"""LangChain's messages to the wire's messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from langchain_lunos._content import kind_of, to_part, to_parts, to_result_parts
from langchain_lunos._results import CALL_EXTRAS, log
from lunos_core.endpoints.chat.content_parts import text_part, without_blanks
from lunos_core.endpoints.chat.message import objects_of, text_of, tool_call_fragments
from lunos_core.endpoints.chat.requests import pair_calls
from lunos_core.endpoints.chat.tool_arguments import arguments_text
from lunos_core.endpoints.chat.tool_calls import UNNAMED
from lunos_core.endpoints.params import ROLES
from lunos_core.wire.text import join_surrogates

Wire = dict[str, Any]


def to_wire(messages: Sequence[BaseMessage], model: str | None = None) -> list[Wire]:
    """Return the messages in the wire's form. The given ones aren't changed.

    Other providers' answers are data, not mistakes: parts that cannot be sent are left out.

    Args:
        messages: the conversation.
        model: the model's id: other makers' models don't get Anthropic's signed reasoning.

    Raises:
        TypeError: a message or block has a type that cannot be sent.
        ValueError: the wire cannot carry a block, role or call; the message says which.
    """
    if not messages:
        raise ValueError("no messages: give at least one")
    answered = _answered_calls(messages)
    name = (model or "").lower()
    is_claude = "/" not in name or "claude" in name or "anthropic/" in name
    sent: list[Wire] = []
    for i, message in enumerate(messages):
        sent += _convert(message, f"messages[{i}]", answered, is_claude)
    return pair_calls(sent)


def _answered_calls(messages: Sequence[BaseMessage]) -> frozenset[str]:
    results = {message.tool_call_id for message in messages if isinstance(message, ToolMessage)}
    results |= {message.name for message in messages if isinstance(message, FunctionMessage)}
    for message in messages:
        if not isinstance(message.content, str):
            results |= {
                str(block.get("tool_use_id"))
                for block in message.content
                if isinstance(block, Mapping) and _type_of(block) == "tool_result"
            }
    return frozenset(results)


def _convert(
    message: BaseMessage, where: str, answered: frozenset[str], is_claude: bool
) -> Iterator[Wire]:
    if isinstance(message, AIMessage):
        yield _ai(message, where, answered, is_claude)
        return
    for kind, convert in _KINDS:
        if isinstance(message, kind):
            yield from convert(message, where)
            return
    raise TypeError(
        f"{where}: a {type(message).__name__} cannot be sent to Lunos; use HumanMessage, "
        "AIMessage, SystemMessage, ToolMessage or ChatMessage"
    )


def _system(message: SystemMessage, where: str) -> Iterator[Wire]:
    # how langchain_openai marks OpenAI's newer role
    developer = message.additional_kwargs.get("__openai_role__") == "developer"
    content = to_parts(message.content, f"{where}.content")
    yield _named(message, {"role": "developer" if developer else "system", "content": content})


def _human(message: HumanMessage, where: str) -> Iterator[Wire]:
    content: str | list[Wire] = ""
    if isinstance(message.content, str):
        content = message.content
    else:
        # Anthropic's histories have tool results in human messages
        others = []
        for i, block in enumerate(message.content):
            place = f"{where}.content[{i}]"
            kind = _type_of(block)
            if kind == "tool_result":
                yield _tool_result(block, place)
            elif kind not in _REASONING:  # an earlier answer may have been put into a question
                others.append(to_part(block, place))
        if message.content and not others:
            return
        content = others or ""
    yield _named(message, {"role": "user", "content": content})


def _tool(message: ToolMessage, where: str) -> Iterator[Wire]:
    content: Any = message.content
    if isinstance(content, list) and [*map(_type_of, content)] == ["tool_result"]:
        content = content[0].get("content") or ""  # Anthropic's, in a message of LangChain's
    content = to_result_parts(content, f"{where}.content")
    wire = {"role": "tool", "tool_call_id": message.tool_call_id, "content": content}
    yield _named(message, wire)


def _function(message: FunctionMessage, where: str) -> Iterator[Wire]:
    # from before LangChain had tools: such a call has no id, so its name stands for it
    content = to_result_parts(message.content, f"{where}.content")
    yield {"role": "tool", "tool_call_id": message.name, "content": content}


def _tool_result(block: Any, where: str) -> Wire:
    identifier = block.get("tool_use_id")
    if not isinstance(identifier, str):
        raise ValueError(f"{where}: a tool_result block has no tool_use_id")
    content = to_result_parts(block.get("content") or "", f"{where}.content")
    mark = block.get("cache_control")
    if mark is not None and content:  # on the wire it belongs to a part
        parts = [text_part(content)] if isinstance(content, str) else content
        content = [*parts[:-1], {**parts[-1], "cache_control": mark}]
    return {"role": "tool", "tool_call_id": identifier, "content": content}


def _chat(message: ChatMessage, where: str) -> Iterator[Wire]:
    if message.role not in ROLES:
        raise ValueError(
            f"{where}: a ChatMessage with role {message.role!r} cannot be sent to Lunos; "
            f"the wire knows {', '.join(ROLES)}"
        )
    content = to_parts(message.content, f"{where}.content")
    yield _named(message, {"role": message.role, "content": content})


def _ai(message: AIMessage, where: str, answered: frozenset[str], is_claude: bool) -> Wire:
    extra = message.additional_kwargs
    said_in = [message.content] if isinstance(message.content, str) else message.content
    blocks = [_unwrapped(block) for block in said_in]
    audio = extra.get("audio")
    spoken = audio.get("id") if isinstance(audio, Mapping) else None
    elsewhere = _SAID_ELSEWHERE | {"audio"} if spoken else _SAID_ELSEWHERE
    said = [
        part
        for i, block in enumerate(blocks)
        if block and _type_of(block) not in elsewhere
        for part in _answer_part(block, f"{where}.content[{i}]")
    ]
    calls = _tool_calls(message, blocks, answered)
    if calls:
        said = without_blanks(said)
    wire: Wire = {"role": "assistant", "content": None}
    if len(said) == 1 and isinstance(said[0], str):
        wire["content"] = said[0]
    elif said:
        wire["content"] = [text_part(part) if isinstance(part, str) else part for part in said]
    extras = extra.get(CALL_EXTRAS)
    if isinstance(extras, Mapping):
        of_calls = [extras.get(call["id"]) for call in calls]
        calls = [
            {**own, **call} if isinstance(own, Mapping) else call
            for own, call in zip(of_calls, calls, strict=True)
        ]
    if calls:
        wire["tool_calls"] = calls
    # Gemini's signatures look like Claude's
    is_google = message.response_metadata.get("model_provider") in _GOOGLES
    wire |= _reasoning(extra, blocks, is_claude and not is_google)
    refusal = text_of(extra.get("refusal")) or _joined(blocks, "refusal", "refusal")
    if refusal:
        wire["refusal"] = refusal
    images = objects_of(extra.get("images"))
    if images and "image" not in map(_type_of, blocks):
        wire["images"] = [
            {name: value for name, value in image.items() if name != "index"} for image in images
        ]
    if spoken:
        wire["audio"] = {"id": spoken}
    if wire["content"] is None and "tool_calls" not in wire:
        wire["content"] = ""  # null means that there is a call instead
    return _named(message, wire)


def _answer_part(block: Any, where: str) -> list[str | Wire]:
    if isinstance(block, str):
        return [join_surrogates(block)]
    try:
        part = to_part(block, where)
    except (TypeError, ValueError) as error:
        log.debug("left out of an answer that is sent back: %s", error)
        return []
    if part["type"] == "text":
        part["text"] = join_surrogates(part["text"])
    return [part]


def _tool_calls(message: AIMessage, blocks: Sequence[Any], answered: frozenset[str]) -> list[Wire]:
    calls = [_call(call["id"], call["name"], call["args"]) for call in message.tool_calls]
    calls += [
        # strict servers refuse arguments that aren't a JSON object, and calls without a result:
        # one broken call would end the whole conversation
        _call(call["id"], call["name"], call["args"])
        for call in message.invalid_tool_calls
        if call["id"] in answered
    ]
    if calls or message.invalid_tool_calls:
        return calls
    raw = [
        call
        for call in objects_of(message.additional_kwargs.get("tool_calls"))
        if isinstance(call.get("function"), Mapping)
    ]
    if raw:
        return [
            _call(call.get("id"), call["function"].get("name"), call["function"].get("arguments"))
            for call in raw
        ]
    older = message.additional_kwargs.get("function_call")
    if isinstance(older, Mapping) and older.get("name") in answered:
        return [_call(older.get("name"), older.get("name"), older.get("arguments"))]
    # every provider's blocks, in a message built by hand
    parts: Any = tool_call_fragments({"content": list(blocks)})
    parts += [
        block
        for block in blocks
        if _type_of(block) == "invalid_tool_call" and block.get("id") in answered
    ]
    return [
        _call(
            call.get("id"),
            call.get("name"),
            call.get("args") or call.get("input") or call.get("arguments"),
        )
        for call in parts
    ]


def _call(identifier: str | None, name: str | None, arguments: Any) -> Wire:
    function = {"name": name or UNNAMED, "arguments": arguments_text(arguments)}
    return {"id": identifier or "", "type": "function", "function": function}


def _reasoning(extra: Mapping[str, Any], blocks: Sequence[Any], is_claude: bool) -> Wire:
    """Return the model's reasoning: details with their signatures, else text."""
    details = objects_of(extra.get("reasoning_details"))
    if details:
        return {"reasoning_details": details}
    signed = is_claude and [
        detail
        for block in blocks
        if _type_of(block) in ("thinking", "redacted_thinking", "reasoning")
        for detail in _signed(block)
    ]
    if signed:  # Anthropic wants it back before a tool's results
        return {
            "reasoning_details": [
                {**detail, "format": "anthropic-claude-v1", "index": i}
                for i, detail in enumerate(signed)
            ]
        }
    text = (
        text_of(extra.get("reasoning_content"))
        or _joined(blocks, "reasoning", "reasoning")
        or _joined(blocks, "thinking", "thinking")
    )
    return {"reasoning": join_surrogates(text)} if text else {}


def _signed(block: Mapping[str, Any]) -> Iterator[Wire]:
    extras = block.get("extras")  # where LangChain's own blocks have it
    signature = block.get("signature") or (extras or {}).get("signature")
    if signature:
        text = block.get("thinking") or block.get("reasoning")
        yield {"type": "reasoning.text", "text": text, "signature": signature}
    elif block.get("data"):
        yield {"type": "reasoning.encrypted", "data": block["data"]}


_GOOGLES = ("google_genai", "google_vertexai")
_REASONING = frozenset({"reasoning", "reasoning_content", "thinking", "redacted_thinking"})

# blocks of an answer that the wire has in other fields of the message than `content`
_SAID_ELSEWHERE = _REASONING | frozenset(
    {
        "tool_call",
        "tool_call_chunk",
        "invalid_tool_call",
        "tool_use",
        "function_call",
        "input_json_delta",
        "refusal",
    }
)


def _unwrapped(block: Any) -> Any:
    if isinstance(block, Mapping) and block.get("type") == "non_standard":
        return block["value"] if isinstance(block.get("value"), Mapping) else block
    return block


def _type_of(block: Any) -> Any:
    block = _unwrapped(block)
    if not isinstance(block, Mapping):
        return None
    # Google's thoughts are texts that are marked
    return "reasoning" if block.get("thought") is True else kind_of(block)


def _joined(blocks: Sequence[Any], kind: str, field: str) -> str:
    values = [block.get(field) for block in blocks if _type_of(block) == kind]
    return "\n".join(text for text in values if isinstance(text, str) and text)


def _named(message: BaseMessage, wire: Wire) -> Wire:
    if message.name:
        wire["name"] = message.name
    return wire


_KINDS: tuple[tuple[type[BaseMessage], Callable[[Any, str], Iterator[Wire]]], ...] = (
    (HumanMessage, _human),
    (SystemMessage, _system),
    (ToolMessage, _tool),
    (FunctionMessage, _function),
    (ChatMessage, _chat),
)
