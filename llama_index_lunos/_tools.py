"""Tools on their way out, and the calls that come back. Pure."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    MessageRole,
    ToolCallBlock,
)
from llama_index.core.chat_engine.types import AgentChatResponse
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools.types import BaseTool, ToolOutput
from pydantic_core import from_json

from llama_index_lunos._messages import (
    INVALID_JSON,
    read_arguments,
    sent_tool_call,
    wire_tool_name,
)
from llama_index_lunos._results import log
from lunos_core import adapters


class ToolNames:
    """The names of one request's tools: here any text, on the wire 64 letters, digits, _ and -.

    Calls come back under the tools' own names, so that agents find them. Names that would be the
    same on the wire are told apart.

    Example:
        >>> from llama_index.core.tools import FunctionTool
        >>> tool = FunctionTool.from_defaults(lambda: "noon", name="local time")
        >>> names = ToolNames([tool])
        >>> names.to_wire("local time"), names.to_own("local_time")
        ('local_time', 'local time')
    """

    def __init__(self, tools: Sequence[BaseTool | Mapping[str, Any]]) -> None:
        own = [tool.metadata.get_name() for tool in tools if not isinstance(tool, Mapping)]
        self._wire = {name: name for name in own if wire_tool_name(name) == name}
        self._own = dict(self._wire)
        for name in own:
            if name not in self._wire:
                wire = wire_tool_name(name)
                if wire in self._own:
                    wire = f"{wire[:55]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
                self._wire[name], self._own[wire] = wire, name

    def to_wire(self, name: str) -> str:
        """The name on the wire."""
        return self._wire.get(name, name)

    def to_own(self, name: str) -> str:
        """The tool's own name; of an unknown tool the name as it came."""
        return self._own.get(name, name)

    def to_wire_tool(self, tool: BaseTool | Mapping[str, Any]) -> dict[str, Any]:
        """A tool as the wire has it; a plain dict (`{"type": "web_search"}`) is one already."""
        if isinstance(tool, Mapping):
            return dict(tool)
        wire: dict[str, Any] = tool.metadata.to_openai_tool(skip_length_check=True)
        name = self.to_wire(tool.metadata.get_name())
        return {**wire, "function": {**wire["function"], "name": name}}

    def in_history(self, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        """The messages with their calls under the wire's names, in a new list."""
        return [_renamed(message, self.to_wire) for message in messages]

    def in_response(self, response: ChatResponse) -> ChatResponse:
        """The response with its calls under the tools' own names."""
        message = _renamed(response.message, self.to_own)
        if message is response.message:
            return response
        return response.model_copy(update={"message": message})


def _renamed(message: ChatMessage, rename: Callable[[str], str]) -> ChatMessage:
    """The message with its calls renamed, in both representations; itself if nothing changes."""
    blocks = [
        block.model_copy(update={"tool_name": rename(block.tool_name)})
        if isinstance(block, ToolCallBlock) and rename(block.tool_name) != block.tool_name
        else block
        for block in message.blocks
    ]
    stored = message.additional_kwargs.get("tool_calls")
    calls = [_renamed_call(call, rename) for call in stored] if isinstance(stored, list) else []
    if all(map(operator.is_, blocks, message.blocks)) and all(
        map(operator.is_, calls, stored or ())
    ):
        return message
    extras = {**message.additional_kwargs, **({"tool_calls": calls} if calls else {})}
    return message.model_copy(update={"blocks": blocks, "additional_kwargs": extras})


def _renamed_call(call: Any, rename: Callable[[str], str]) -> Any:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        return call
    name = rename(function["name"])
    return call if name == function["name"] else {**call, "function": {**function, "name": name}}


def to_tool_choice(choice: Any, *, required: bool, tools: Sequence[Mapping[str, Any]]) -> Any:
    """The wire's `tool_choice`; `None` leaves it to the server, which means "auto".

    Args:
        choice: as `lunos_core.adapters.to_tool_choice` takes it.
        required: what `tool_required` says; it counts where `choice` is `None`.
        tools: the request's tools, as the wire has them.

    Raises:
        ValueError: none of the tools has that name.
        TypeError: `choice` is something else.
    """
    if choice is None:
        return "required" if required else None
    return adapters.to_tool_choice(choice, tools)


def tool_selections(response: ChatResponse) -> list[ToolSelection]:
    """The calls in a response, from its blocks, else from `additional_kwargs["tool_calls"]`.

    Arguments that are still on their way are read as far as they came. In a finished answer they
    must be whole: what isn't a JSON object is handed over under `INVALID_JSON`, an argument that
    no tool has. So the tool isn't run with half of its arguments, or with its defaults, and its
    error tells the model what was wrong.
    """
    message = response.message
    calls = [
        (block.tool_call_id or "", block.tool_name, block.tool_kwargs)
        for block in message.blocks
        if isinstance(block, ToolCallBlock)
    ]
    if not calls:
        sent = [sent_tool_call(call) for call in message.additional_kwargs.get("tool_calls") or ()]
        calls = [(call.id, call.name, call.arguments) for call in sent]
    finished = "finish_reason" in response.additional_kwargs
    return [
        ToolSelection(
            tool_id=identifier,
            tool_name=name,
            tool_kwargs=_finished(name, arguments) if finished else _so_far(arguments),
        )
        for identifier, name, arguments in calls
    ]


def _finished(name: str, arguments: Any) -> dict[str, Any]:
    kwargs = read_arguments(arguments)
    if kwargs is None:
        log.warning("the model's arguments for %s aren't a JSON object: not called with them", name)
        return {INVALID_JSON: arguments}
    return kwargs


def _so_far(arguments: Any) -> dict[str, Any]:
    if not isinstance(arguments, str):
        return read_arguments(arguments) or {}
    try:
        value = from_json(arguments or "{}", allow_partial="trailing-strings")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def keep_first_call(response: ChatResponse) -> ChatResponse:
    """The response with its first tool call only, in both representations."""
    message = response.message
    blocks = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
    calls = message.additional_kwargs.get("tool_calls") or []
    if len(blocks) <= 1 and len(calls) <= 1:
        return response
    kept = [
        block
        for block in message.blocks
        if not isinstance(block, ToolCallBlock) or block is blocks[0]
    ]
    extras = {**message.additional_kwargs, "tool_calls": calls[:1]}
    return response.model_copy(
        update={"message": message.model_copy(update={"blocks": kept, "additional_kwargs": extras})}
    )


def check_calls(calls: Sequence[ToolSelection], tools: Sequence[BaseTool]) -> None:
    """Check that every called tool exists.

    Raises:
        ValueError: a call of a tool that doesn't exist.
    """
    names = [tool.metadata.get_name() for tool in tools]
    for call in calls:
        if call.tool_name not in names:
            raise ValueError(
                f"the model called {call.tool_name!r}, which is none of the tools: "
                + ", ".join(names)
            )


def to_agent_response(
    text: str, outputs: Sequence[ToolOutput], *, error_on_tool_error: bool
) -> AgentChatResponse:
    """What the tools returned; the model's own words if none was called.

    Raises:
        ValueError: a tool failed, and `error_on_tool_error` is set.
    """
    said = "\n\n".join(output.content for output in outputs) if outputs else text
    if error_on_tool_error and any(output.is_error for output in outputs):
        raise ValueError(said)
    return AgentChatResponse(response=said, sources=list(outputs))


# For a model that calls no tools: the tools in the prompt, the call in the text (ReAct).
# LlamaIndex's own fallback doesn't work (it needs a formatter and a parser and is given neither)
# and drops a direct answer. The parts used here are its own.


def react_messages(
    tools: Sequence[BaseTool], messages: list[ChatMessage], formatter: Any = None
) -> list[ChatMessage]:
    """The messages with the tools explained in front of them."""
    from llama_index.core.agent.react.formatter import ReActChatFormatter

    formatted: list[ChatMessage] = (formatter or ReActChatFormatter()).format(tools, messages)
    return formatted


def read_react_step(text: str, parser: Any = None) -> ToolSelection | str:
    """The call that the text asks for, or the answer that it gives.

    Text in no format at all is an answer: a model that needs no tool just says what it knows.
    """
    from llama_index.core.agent.react.output_parser import ReActOutputParser
    from llama_index.core.agent.react.types import ActionReasoningStep, ResponseReasoningStep

    try:
        step = (parser or ReActOutputParser()).parse(text)
    except ValueError:
        return text
    if isinstance(step, ActionReasoningStep):
        return ToolSelection(
            tool_id="react_1", tool_name=step.action, tool_kwargs=step.action_input
        )
    return str(step.response) if isinstance(step, ResponseReasoningStep) else text


def with_user_message(
    history: Sequence[ChatMessage] | None, user_msg: str | ChatMessage | None
) -> list[ChatMessage]:
    """The history and the new message, in a new list."""
    messages = list(history or ())
    if isinstance(user_msg, str):
        user_msg = ChatMessage(role=MessageRole.USER, content=user_msg)
    return messages if user_msg is None else [*messages, user_msg]
