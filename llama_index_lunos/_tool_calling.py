"""The methods of LlamaIndex's LLM class that work with tools."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
)
from llama_index.core.bridge.pydantic import Field
from llama_index.core.chat_engine.types import AgentChatResponse
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools.types import BaseTool
from llama_index_instrumentation.dispatcher import DISPATCHER_SPAN_DECORATED_ATTR

from llama_index_lunos._structured_output import set_strict
from llama_index_lunos._tools import (
    check_calls,
    keep_first_call,
    react_messages,
    read_react_step,
    to_agent_response,
    to_tool_choice,
    to_wire_tool,
    tool_selections,
    with_user_message,
)
from lunos_core.arguments import check_flag_or_none
from lunos_core.forks import first_use

F = TypeVar("F", bound=Callable[..., Any])

# these are for LlamaIndex's ReAct fallback, not parameters of the wire
_REACT_SETTINGS = ("react_chat_formatter", "output_parser", "tool_retriever", "memory")


def _not_a_model_call(function: F) -> F:
    """Keep LlamaIndex from tracing a function, which sends nothing, as a call of the model."""
    setattr(function, DISPATCHER_SPAN_DECORATED_ATTR, True)
    return function


class ToolCalling(FunctionCallingLLM):
    """Tools for any model: through the wire if the model supports them, else through the prompt."""

    strict: bool | None = Field(
        default=None,
        description=(
            "Have the provider enforce the schemas of tools that allow it. For structured output "
            "that is the default, which False turns off."
        ),
    )

    @_not_a_model_call
    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        tool_choice: Any = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return the arguments of `chat` for a chat with tools; the history isn't changed.

        `parallel_tool_calls` is sent only to forbid parallel calls: the server allows them by
        default, and some models refuse the parameter.
        """
        messages = with_user_message(chat_history, user_msg)
        check_flag_or_none("strict", strict)
        strict = self.strict if strict is None else strict
        wire_tools = [set_strict(to_wire_tool(tool), strict) for tool in tools or ()]
        wire_tools += [to_wire_tool(tool) for tool in self._standing_tools()]
        arguments: dict[str, Any] = {}
        if wire_tools:
            arguments = {
                "tools": wire_tools,
                "tool_choice": to_tool_choice(
                    tool_choice, required=tool_required and bool(tools), tools=wire_tools
                ),
                "parallel_tool_calls": None if allow_parallel_tool_calls or not tools else False,
            }
        arguments |= kwargs
        return {
            "messages": messages,
            **{name: value for name, value in arguments.items() if value is not None},
        }

    def _standing_tools(self) -> Sequence[Any]:
        """Return tools that the user gave to the model itself, such as a server-side web search."""
        return ()

    def _validate_chat_with_tools_response(
        self,
        response: ChatResponse,
        tools: Sequence[BaseTool],
        allow_parallel_tool_calls: bool = False,
        **kwargs: Any,
    ) -> ChatResponse:
        return response if allow_parallel_tool_calls else keep_first_call(response)

    def stream_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> ChatResponseGen:
        """Stream a chat with tools, with at most one call unless several are allowed."""
        responses = super().stream_chat_with_tools(
            tools,
            user_msg=user_msg,
            chat_history=chat_history,
            verbose=verbose,
            allow_parallel_tool_calls=allow_parallel_tool_calls,
            tool_required=tool_required,
            **kwargs,
        )
        if allow_parallel_tool_calls:
            return responses
        return (keep_first_call(response) for response in responses)

    async def astream_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> ChatResponseAsyncGen:
        """`stream_chat_with_tools`, awaited."""
        responses = await super().astream_chat_with_tools(
            tools,
            user_msg=user_msg,
            chat_history=chat_history,
            verbose=verbose,
            allow_parallel_tool_calls=allow_parallel_tool_calls,
            tool_required=tool_required,
            **kwargs,
        )
        if allow_parallel_tool_calls:
            return responses
        return (keep_first_call(response) async for response in responses)

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """Return the tool calls in a response.

        Args:
            response: a whole response, or an item of a stream.
            error_on_no_tool_call: whether to raise if there is no call.
            **kwargs: not used.

        Raises:
            ValueError: there is no call, and `error_on_no_tool_call` is set.
        """
        calls = tool_selections(response)
        if not calls and error_on_no_tool_call:
            raise ValueError(
                f"the model called no tool; it said: {response.message.content or 'nothing'!r}"
            )
        return calls

    def predict_and_call(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        error_on_no_tool_call: bool = True,
        error_on_tool_error: bool = False,
        **kwargs: Any,
    ) -> AgentChatResponse:
        """Let the model choose a tool, and call it.

        A model without tool support gets the tools in the prompt (ReAct) and may answer directly.

        Args:
            tools: the tools to choose from.
            user_msg: the question.
            chat_history: the messages before it.
            verbose: print the calls.
            allow_parallel_tool_calls: make all the calls that the model asks for.
            error_on_no_tool_call: raise if a model that supports tools calls none.
            error_on_tool_error: raise if a tool fails.
            **kwargs: parameters of `chat`.

        Raises:
            ValueError: no call, an unknown tool, or a failed tool, as set above.
        """
        with first_use:
            from llama_index.core.tools.calling import call_tool_with_selection

        if self.metadata.is_function_calling_model:
            response = self.chat_with_tools(
                tools,
                user_msg=user_msg,
                chat_history=chat_history,
                verbose=verbose,
                allow_parallel_tool_calls=allow_parallel_tool_calls,
                **kwargs,
            )
            text = response.message.content or ""
            calls = self.get_tool_calls_from_response(response, error_on_no_tool_call)
        else:
            messages, parser, more = _react_call(tools, user_msg, chat_history, kwargs)
            text, calls = _read_step(self.chat(messages, **more), parser)
        check_calls(calls, tools)
        outputs = [call_tool_with_selection(call, tools, verbose=verbose) for call in calls]
        return to_agent_response(text, outputs, error_on_tool_error=error_on_tool_error)

    async def apredict_and_call(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        error_on_no_tool_call: bool = True,
        error_on_tool_error: bool = False,
        **kwargs: Any,
    ) -> AgentChatResponse:
        """`predict_and_call`, awaited; several calls run at once."""
        with first_use:
            from llama_index.core.tools.calling import acall_tool_with_selection

        if self.metadata.is_function_calling_model:
            response = await self.achat_with_tools(
                tools,
                user_msg=user_msg,
                chat_history=chat_history,
                verbose=verbose,
                allow_parallel_tool_calls=allow_parallel_tool_calls,
                **kwargs,
            )
            text = response.message.content or ""
            calls = self.get_tool_calls_from_response(response, error_on_no_tool_call)
        else:
            messages, parser, more = _react_call(tools, user_msg, chat_history, kwargs)
            text, calls = _read_step(await self.achat(messages, **more), parser)
        check_calls(calls, tools)
        outputs = await asyncio.gather(
            *(acall_tool_with_selection(call, tools, verbose=verbose) for call in calls)
        )
        return to_agent_response(text, outputs, error_on_tool_error=error_on_tool_error)


def _react_call(
    tools: Sequence[BaseTool],
    user_msg: str | ChatMessage | None,
    chat_history: list[ChatMessage] | None,
    kwargs: dict[str, Any],
) -> tuple[list[ChatMessage], Any, dict[str, Any]]:
    messages = react_messages(
        tools, with_user_message(chat_history, user_msg), kwargs.get("react_chat_formatter")
    )
    dropped = (*_REACT_SETTINGS, "tool_choice", "tool_required")
    more = {name: value for name, value in kwargs.items() if name not in dropped}
    return messages, kwargs.get("output_parser"), more


def _read_step(response: ChatResponse, parser: Any) -> tuple[str, list[ToolSelection]]:
    step = read_react_step(response.message.content or "", parser)
    return (step, []) if isinstance(step, str) else ("", [step])
