"""One step with tools for a model that calls none: tools in the prompt, the call in the text.

LlamaIndex' own fallback does not work (it needs a formatter and a parser and is given neither), and
drops a direct answer. The parts used here are its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.llms.llm import ToolSelection

if TYPE_CHECKING:
    from llama_index.core.tools.types import BaseTool


def react_messages(
    tools: Sequence[BaseTool], messages: list[ChatMessage], formatter: Any = None
) -> list[ChatMessage]:
    """The messages with the tools explained in front of them."""
    from llama_index.core.agent.react.formatter import ReActChatFormatter

    formatted: list[ChatMessage] = (formatter or ReActChatFormatter()).format(tools, messages)
    return formatted


def read_react_step(text: str, parser: Any = None) -> ToolSelection | str:
    """The call that the text asks for, or its answer.

    Text that keeps to no format at all is an answer: models that need no tool just say what they
    know.
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
    """The history and the new message, in a list of its own."""
    messages = list(history or ())
    if isinstance(user_msg, str):
        user_msg = ChatMessage(role=MessageRole.USER, content=user_msg)
    return messages if user_msg is None else [*messages, user_msg]
