"""`ChatLunos`: any chat model behind Lunos, as a LangChain chat model."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.utils import LC_ID_PREFIX

from langchain_lunos import (
    _content_blocks as _content_blocks,  # registers the translator of content blocks
)
from langchain_lunos._chat_base import LunosChatBase
from langchain_lunos._messages import to_wire
from langchain_lunos._parameters import RunManager
from langchain_lunos._results import to_chunk, to_result
from langchain_lunos._serialization import make_loadable
from langchain_lunos._stream_events import Event, EventBuilder
from langchain_lunos._tools import to_wire_tools
from langchain_lunos._tracing import ls_params
from lunos_core.adapters import to_tool_choice
from lunos_core.endpoints import params
from lunos_core.endpoints.chat.requests import chat_request, chat_stream_request
from lunos_core.endpoints.chat.types import Chunk, Completion
from lunos_core.request import Request, StreamRequest

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

__all__ = ["ChatLunos"]


class ChatLunos(LunosChatBase):
    """A chat model behind Lunos.

    Every parameter of the wire is a field, and each may be given anew for one call
    (`invoke(…, temperature=0)`) or bound (`bind(app_id="billing")`). What is not set is not sent:
    there is no default temperature and no default `max_tokens`.

    Example:
        >>> from langchain_lunos import ChatLunos
        >>> llm = ChatLunos(
        ...     model="lunos/scripted",
        ...     api_key=gateway.api_key,
        ...     base_url=gateway.base_url,
        ...     app_id="docs",
        ... )
        >>> message = llm.invoke("Hello")
        >>> message.response_metadata["model_name"], message.usage_metadata["input_tokens"] > 0
        ('lunos/scripted', True)

    Raises:
        LunosConfigError: no key (`api_key` or `LUNOS_API_KEY`), or settings that cannot work.
        ValueError: a parameter out of range.
        TypeError: an argument that is not known; the text says where it may go.
    """

    _checks = params.CHAT

    max_completion_tokens: int | None = None
    """`max_tokens` under OpenAI's newer name, which counts reasoning as well."""
    logprobs: bool | None = None
    """Give the log probabilities of the tokens, in `response_metadata["logprobs"]`."""
    top_logprobs: int | None = None
    """How many alternatives for each token, 0 to 20; needs `logprobs`."""
    reasoning: dict[str, Any] | None = None
    """How much to think: `{"effort": "low" | "medium" | "high"}` or `{"max_tokens": …}`, and maybe
    `"exclude": True` to keep the thought out of the answer."""
    reasoning_effort: str | None = None
    """The effort alone, as OpenAI has it."""
    modalities: list[str] | None = None
    """What to answer with: `["image", "text"]` for generated images."""
    audio: dict[str, Any] | None = None
    """`{"voice": …, "format": …}` for spoken answers."""
    image_config: dict[str, Any] | None = None
    """`{"aspect_ratio": …, "image_size": …}` for generated images."""
    plugins: list[dict[str, Any]] | None = None
    """`[{"id": "file-parser", "pdf": {"engine": …}}]`: how PDFs are read."""
    parallel_tool_calls: bool | None = None
    """Whether the model may ask for several tool calls at once; sent with tools alone."""

    # -- what LangChain asks about the model ------------------------------------------------------

    @property
    def _llm_type(self) -> str:
        return "lunos-chat"

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        """Where `load` finds the class."""
        return ["langchain_lunos", "chat_models"]

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        found = super()._get_ls_params(stop=stop or _as_list(self.stop), **kwargs)
        model = kwargs.get("model") or self.model
        tagged: LangSmithParams = ls_params(found, app_id=self._app_id(kwargs), model=model)
        return tagged

    def _combine_llm_outputs(self, llm_outputs: list[dict[str, Any] | None]) -> dict[str, Any]:
        usage: dict[str, int] = {}
        for output in llm_outputs:
            for name, count in ((output or {}).get("token_usage") or {}).items():
                usage[name] = usage.get(name, 0) + count
        return {"token_usage": usage, "model_name": self.model}

    def get_num_tokens_from_messages(
        self,
        messages: list[BaseMessage],
        tools: Sequence[Mapping[str, Any] | type | Callable[..., Any] | BaseTool] | None = None,
    ) -> int:
        """How many tokens messages and tools have, estimated by LangChain's own rule."""
        given: Any = [*to_wire_tools(tools)] if tools else None
        return count_tokens_approximately(messages, tools=given)

    # -- generation -------------------------------------------------------------------------------

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return to_result(self.client.send(self._request(messages, stop, kwargs)))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return to_result(await self.async_client.send(self._request(messages, stop, kwargs)))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        images: list[str] = []
        with self.client.stream(self._stream_request(messages, stop, kwargs)) as stream:
            for event in stream:
                chunk = to_chunk(event, images)
                if chunk is None:
                    continue
                if run_manager:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        images: list[str] = []
        request = self._stream_request(messages, stop, kwargs)
        async with await self.async_client.stream(request) as stream:
            async for event in stream:
                chunk = to_chunk(event, images)
                if chunk is None:
                    continue
                if run_manager:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    def _stream_chat_model_events(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[Event]:
        """The events of `stream_events(version="v3")`; LangChain calls it where it is there."""
        events = EventBuilder(_message_id(run_manager))
        end: list[Event] = []
        with self.client.stream(self._stream_request(messages, stop, kwargs)) as stream:
            for chunk in stream:
                if run_manager and chunk.text:
                    run_manager.on_llm_new_token(chunk.text)
                if chunk.last is not None:
                    end = events.feed(chunk)
                else:
                    yield from events.feed(chunk)
        # only now: LangChain asks for nothing more after it, and the call would not be over
        yield from end

    async def _astream_chat_model_events(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Event]:
        events = EventBuilder(_message_id(run_manager))
        end: list[Event] = []
        request = self._stream_request(messages, stop, kwargs)
        async with await self.async_client.stream(request) as stream:
            async for chunk in stream:
                if run_manager and chunk.text:
                    await run_manager.on_llm_new_token(chunk.text)
                if chunk.last is not None:
                    end = events.feed(chunk)
                    continue
                for event in events.feed(chunk):
                    yield event
        for event in end:
            yield event

    def _request(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> Request[Completion]:
        found = _without_empty_tools(self._call_params(stop, kwargs))
        wire = to_wire(messages)
        self._refuse_impossible(wire, found)
        return chat_request(wire, **found)

    def _stream_request(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> StreamRequest[Chunk]:
        found = _without_empty_tools(self._stream_params(stop, kwargs))
        wire = to_wire(messages)
        self._refuse_impossible(wire, found)
        return chat_stream_request(wire, **found)

    # -- tools and structured output --------------------------------------------------------------

    def bind_tools(
        self,
        tools: Sequence[Mapping[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: Mapping[str, Any] | str | bool | None = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        response_format: Any = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools to the model.

        Args:
            tools: LangChain tools, pydantic classes, TypedDicts, functions, JSON schemas, and
                Lunos' own `{"type": "web_search"}`.
            tool_choice: "auto", "none", "any" or True (some tool), a tool's name, or a dict.
            strict: ask for arguments that keep to the schema exactly.
            parallel_tool_calls: whether the model may ask for several calls at once.
            response_format: a schema, or a `response_format` as the wire has it.
            **kwargs: bound as well.

        Raises:
            ValueError: a `tool_choice` that is none of the tools.

        Example:
            >>> from langchain_lunos import ChatLunos
            >>> def weather(city: str) -> str:
            ...     '''The weather in a city.'''
            ...     return "sunny"
            >>> llm = ChatLunos(
            ...     model="lunos/scripted", api_key=gateway.api_key, base_url=gateway.base_url
            ... )
            >>> llm.bind_tools([weather]).invoke("Weather in 'Rome'?").tool_calls[0]["args"]
            {'city': 'Rome'}
        """
        wire = to_wire_tools(tools, strict=strict)
        if wire:
            kwargs["tools"] = wire
        choice = to_tool_choice(tool_choice, wire)
        if choice is not None:
            kwargs["tool_choice"] = choice
        if parallel_tool_calls is not None:
            kwargs["parallel_tool_calls"] = parallel_tool_calls
        if response_format is not None:
            from langchain_lunos import _structured_output  # eight modules that few calls need

            kwargs["response_format"] = _structured_output.to_response_format(
                response_format, strict
            )
        bound: Runnable[LanguageModelInput, AIMessage] = super().bind(**kwargs)
        return bound

    def with_structured_output(
        self,
        schema: Any = None,
        *,
        method: Literal["json_schema", "function_calling", "json_mode"] | None = None,
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Answers in the form of a schema.

        Args:
            schema: a pydantic class, TypedDict, JSON schema, or function schema; may be `None` with
                `method="json_mode"`.
            method: "json_schema" (the server keeps the model to the schema), "function_calling" (a
                forced tool call), "json_mode" (any JSON; say in the prompt which). When not given:
                "json_schema" where the model's profile says that it can, else "function_calling".
            include_raw: give `{"raw", "parsed", "parsing_error"}` and do not raise on bad answers.
            strict: ask for exactly the schema.
            **kwargs: bound to the model.

        Returns:
            A runnable that gives pydantic objects for a pydantic class, else dicts.

        Raises:
            ValueError: an unknown method, or one that lacks its schema. When run:
            LunosRefusalError: the model refused.
            LunosTruncatedError: the answer was cut at `max_tokens`.

        Example:
            >>> from pydantic import BaseModel
            >>> from langchain_lunos import ChatLunos
            >>> class City(BaseModel):
            ...     name: str
            >>> llm = ChatLunos(
            ...     model="lunos/scripted", api_key=gateway.api_key, base_url=gateway.base_url
            ... )
            >>> llm.with_structured_output(City).invoke("The city is 'Rome'.")
            City(name='Rome')
        """
        from langchain_lunos import _structured_output  # eight modules that few applications need

        chosen = method or self._structured_method()
        _structured_output.check_arguments(schema, chosen, strict)
        bound = {**_structured_output.to_bind(schema, chosen, strict), **kwargs}
        if chosen == "function_calling":
            llm = self.bind_tools([schema], strict=strict, **bound)
        else:
            llm = self.bind(**bound)
        parser = _structured_output.to_parser(schema, chosen)
        return _structured_output.with_raw(llm, parser) if include_raw else llm | parser

    def _structured_method(self) -> str:
        profile = getattr(self, "profile", None) or {}  # langchain-core 1.1 and newer
        return "json_schema" if profile.get("structured_output") else "function_calling"


make_loadable(ChatLunos)


def _without_empty_tools(found: dict[str, Any]) -> dict[str, Any]:
    """create_agent binds an empty list, which strict servers refuse."""
    if not found.get("tools"):
        for name in ("tools", "tool_choice", "parallel_tool_calls"):
            found.pop(name, None)
    return found


def _message_id(run_manager: RunManager) -> str:
    return f"{LC_ID_PREFIX}-{run_manager.run_id}" if run_manager else ""


def _as_list(stop: list[str] | str | None) -> list[str] | None:
    return [stop] if isinstance(stop, str) else stop


# LangChain asks for the signatures of these two in every call, which takes 20 µs unless it is there
for _name in ("_generate", "_agenerate"):
    _method: Any = getattr(ChatLunos, _name)
    _method.__signature__ = inspect.signature(_method)
