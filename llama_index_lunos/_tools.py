"""From LlamaIndex's tools to the wire's, and from the wire's calls to LlamaIndex's. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

from llama_index_lunos._messages import sent_tool_calls
from llama_index_lunos._results import log
from lunos_core import adapters
from lunos_core.endpoints.chat.tool_arguments import INVALID_JSON, read_arguments
from lunos_core.forks import first_use


def to_wire_tool(tool: BaseTool | Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool in the wire's form, which a plain dict (`{"type": "web_search"}`) already has.

    It keeps the tool's name, which the core rewrites in the wire's characters and translates back:
    an agent wouldn't recognize a name that LlamaIndex had rewritten.
    """
    if isinstance(tool, Mapping):
        return dict(tool)
    wire = tool.metadata.to_openai_tool(skip_length_check=True)
    return {**wire, "function": {**wire["function"], "name": tool.metadata.get_name()}}


def to_tool_choice(choice: Any, *, required: bool, tools: Sequence[Mapping[str, Any]]) -> Any:
    """Return the wire's `tool_choice`; `None` leaves it to the server, which means "auto".

    Args:
        choice: as in `lunos_core.adapters.to_tool_choice`.
        required: the value of `tool_required`; it counts if `choice` is `None`.
        tools: the request's tools in the wire's form.

    Raises:
        ValueError: none of the tools has that name.
        TypeError: `choice` is something else.
    """
    if choice is None:
        return "required" if required else None
    return adapters.to_tool_choice(choice, tools)


def tool_selections(response: ChatResponse) -> list[ToolSelection]:
    """Return the calls in a response.

    Arguments that are still arriving are read as far as possible. In a finished answer they must be
    whole: anything but a JSON object is passed as `INVALID_JSON`, an argument that no tool has. So
    a tool never runs with half of its arguments or with its defaults, and its error tells the model
    what was wrong.
    """
    finished = "finish_reason" in response.additional_kwargs
    return [
        ToolSelection(
            tool_id=call.id,
            tool_name=call.name,
            tool_kwargs=(
                _finished(call.name, call.arguments) if finished else _so_far(call.arguments)
            ),
        )
        for call in sent_tool_calls(response.message)
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
    """Return the response with only its first tool call, in both representations."""
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
                f"the model called {call.tool_name!r}, which isn't one of the tools: "
                + ", ".join(names)
            )


def to_agent_response(
    text: str, outputs: Sequence[ToolOutput], *, error_on_tool_error: bool
) -> AgentChatResponse:
    """Return the tools' results, or the model's own text if none was called.

    Raises:
        ValueError: a tool failed, and `error_on_tool_error` is set.
    """
    said = "\n\n".join(output.content for output in outputs) if outputs else text
    if error_on_tool_error and any(output.is_error for output in outputs):
        raise ValueError(said)
    return AgentChatResponse(response=said, sources=list(outputs))


# ReAct for models without tool calls: the tools are in the prompt, and the call is in the text.
# LlamaIndex's own fallback doesn't work (it needs a formatter and a parser and gets neither) and
# drops a direct answer. These functions use its parts.


def react_messages(
    tools: Sequence[BaseTool], messages: list[ChatMessage], formatter: Any = None
) -> list[ChatMessage]:
    """Return the messages after an explanation of the tools."""
    with first_use:
        from llama_index.core.agent.react.formatter import ReActChatFormatter

    formatted: list[ChatMessage] = (formatter or ReActChatFormatter()).format(tools, messages)
    return formatted


def read_react_step(text: str, parser: Any = None) -> ToolSelection | str:
    """Return the call that the text asks for, or the answer in it.

    Text without the format is an answer: a model that needs no tool simply answers.
    """
    with first_use:
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
    """Return the history and the new message, in a new list."""
    messages = list(history or ())
    if isinstance(user_msg, str):
        user_msg = ChatMessage(role=MessageRole.USER, content=user_msg)
    return messages if user_msg is None else [*messages, user_msg]
