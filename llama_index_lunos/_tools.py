"""Tools on their way out, and the calls that come back. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatResponse, ToolCallBlock
from llama_index.core.llms.llm import ToolSelection
from pydantic_core import from_json

from llama_index_lunos._logs import log as _log
from llama_index_lunos._messages import sent_tool_call
from lunos_core import adapters

if TYPE_CHECKING:
    from llama_index.core.chat_engine.types import AgentChatResponse
    from llama_index.core.tools.types import BaseTool, ToolOutput


def to_wire_tool(tool: BaseTool | Mapping[str, Any]) -> dict[str, Any]:
    """A tool as the wire has it; a plain dict (`{"type": "web_search"}`) is one already."""
    if isinstance(tool, Mapping):
        return dict(tool)
    wire: dict[str, Any] = tool.metadata.to_openai_tool(skip_length_check=True)
    return wire


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
    must be whole: a tool is never called with arguments that were cut in the middle.
    """
    message = response.message
    calls = [
        (block.tool_call_id or "", block.tool_name, block.tool_kwargs)
        for block in message.blocks
        if isinstance(block, ToolCallBlock)
    ]
    if not calls:
        sent = [sent_tool_call(one) for one in message.additional_kwargs.get("tool_calls") or ()]
        calls = [(one["id"], one["function"]["name"], one["function"]["arguments"]) for one in sent]
    finished = "finish_reason" in response.additional_kwargs
    return [
        ToolSelection(
            tool_id=identifier,
            tool_name=name,
            tool_kwargs=_arguments(name, arguments, finished=finished),
        )
        for identifier, name, arguments in calls
    ]


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


def _arguments(name: str, arguments: dict[str, Any] | str, *, finished: bool) -> dict[str, Any]:
    if isinstance(arguments, dict):
        return arguments
    try:
        if finished:
            value = json.loads(arguments or "{}", strict=False)  # small models write bare newlines
        else:
            value = from_json(arguments or "{}", allow_partial="trailing-strings")
    except ValueError:
        if finished:
            _log.warning("the model's arguments for %s are no JSON; the call has none", name)
        return {}
    return value if isinstance(value, dict) else {}


def by_own_names(calls: Sequence[ToolSelection], tools: Sequence[BaseTool]) -> list[ToolSelection]:
    """The calls under the names that the tools have here: the wire allows fewer characters.

    Raises:
        ValueError: a call of a tool that does not exist.
    """
    names = {to_wire_tool(tool)["function"]["name"]: tool.metadata.get_name() for tool in tools}
    names |= {name: name for name in names.values()}
    for call in calls:
        if call.tool_name not in names:
            raise ValueError(
                f"the model called {call.tool_name!r}, which is none of the tools: "
                + ", ".join(tool.metadata.get_name() for tool in tools)
            )
    return [call.model_copy(update={"tool_name": names[call.tool_name]}) for call in calls]


def to_agent_response(
    text: str, outputs: Sequence[ToolOutput], *, error_on_tool_error: bool
) -> AgentChatResponse:
    """What the tools returned; the model's own words where none was called.

    Raises:
        ValueError: a tool failed, and that was to be raised.
    """
    from llama_index.core.chat_engine.types import AgentChatResponse

    said = "\n\n".join(output.content for output in outputs) if outputs else text
    if error_on_tool_error and any(output.is_error for output in outputs):
        raise ValueError(said)
    return AgentChatResponse(response=said, sources=list(outputs))
