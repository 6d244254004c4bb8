"""`ChatLunos`: any chat model behind Lunos, as a LangChain chat model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, Self

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.tools import BaseTool
from langchain_core.utils.utils import LC_ID_PREFIX
from pydantic import PrivateAttr

from langchain_lunos import (
    _content_blocks as _content_blocks,  # registers the translator of content blocks
)
from langchain_lunos._app_id import (
    AppIdFromConfig,
    config_for_tracers,
    ls_params,
    refuse_trio,
    traced,
    with_config_app_id,
    with_run,
    with_tag,
)
from langchain_lunos._messages import to_wire
from langchain_lunos._model_methods import ModelMethods
from langchain_lunos._parameters import ChatParameters, RunManager
from langchain_lunos._results import Streamed, add_llm_outputs, to_chunk, to_result
from langchain_lunos._stream_events import Event, EventBuilder, one_by_one
from langchain_lunos._tools import to_wire_tools
from langchain_lunos.registration import make_loadable
from lunos_core.accounting.token_estimate import estimate_tokens
from lunos_core.adapters import to_tool_choice
from lunos_core.endpoints.chat.requests import chat_request, chat_stream_request
from lunos_core.endpoints.chat.types import Chunk, Completion
from lunos_core.forks import first_use
from lunos_core.request import Request, StreamRequest

__all__ = ["ChatLunos"]


class ChatLunos(
    ChatParameters,
    AppIdFromConfig[AIMessage, AIMessageChunk],
    ModelMethods,
    BaseChatModel,
    defer_build=False,
):
    """A chat model behind Lunos.

    Every parameter of the wire is a field, and each may also be given for one call
    (`invoke(…, temperature=0)`) or bound (`bind(app_id="billing")`). Parameters that aren't set
    aren't sent: there is no default temperature and no default `max_tokens`.

    Example:
        >>> from langchain_lunos import ChatLunos
        >>> llm = ChatLunos(model="lunos/scripted", app_id="docs")
        >>> message = llm.invoke("Hello")
        >>> message.response_metadata["model_name"], message.usage_metadata["input_tokens"] > 0
        ('lunos/scripted', True)

    Raises:
        LunosConfigError: no key (`api_key` or `LUNOS_API_KEY`), or settings that cannot work.
        ValueError: a parameter out of range.
        TypeError: an unknown argument; the message says which name or place was probably meant.
    """

    _catalog_profile: dict[str, Any] | None = PrivateAttr(default=None)  # `profile`, if we set it

    @property
    def _llm_type(self) -> str:
        return "lunos-chat"

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        """Return where `load` finds the class."""
        return ["langchain_lunos", "chat_models"]

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        own = [self.stop] if isinstance(self.stop, str) else self.stop
        params = super()._get_ls_params(stop=stop or own, **kwargs)
        model = kwargs.get("model") or self.model
        tagged: LangSmithParams = ls_params(params, app_id=self._app_id(kwargs), model=model)
        return tagged

    def _combine_llm_outputs(self, llm_outputs: list[dict[str, Any] | None]) -> dict[str, Any]:
        return {"model_name": self.model, **add_llm_outputs(llm_outputs)}

    def get_num_tokens_from_messages(
        self,
        messages: list[BaseMessage],
        tools: Sequence[Mapping[str, Any] | type | Callable[..., Any] | BaseTool] | None = None,
    ) -> int:
        """Return an estimate of the tokens of messages and tools, without any download.

        Images, audio and documents count by their kind, not by the length of their base64.
        """
        texts = [str(to_wire_tools(tools))] if tools else []
        total = 0
        for message in messages:
            if isinstance(message, AIMessage) and message.tool_calls:
                texts.append(str([(call["name"], call["args"]) for call in message.tool_calls]))
            if isinstance(message.content, str):
                texts.append(message.content)
            else:
                total += estimate_tokens(message.content)
        return total + sum(map(self.get_num_tokens, texts)) + _TOKENS_PER_MESSAGE * len(messages)

    def load_profile(self) -> Self:
        """Fill `profile` from the catalog; values that you set yourself win.

        If there is no `catalog`, one is made, which then also prices answers and refuses requests
        that cannot work. A model that the catalog doesn't know leaves the profile unchanged.

        Raises:
            LunosError: the catalog could not be fetched.
            TypeError: `catalog` is an `AsyncCatalog`: await `aload_profile()`.
        """
        from lunos_core.catalog.catalog import AsyncCatalog, Catalog

        if self.catalog is None:
            self.catalog = Catalog(self.client)
        if isinstance(self.catalog, AsyncCatalog):
            raise TypeError("the catalog is an AsyncCatalog: await aload_profile()")
        return self._set_profile(self.catalog.get(self.model))

    async def aload_profile(self) -> Self:
        """`load_profile`, awaited."""
        from lunos_core.catalog.catalog import AsyncCatalog

        if self.catalog is None:
            self.catalog = AsyncCatalog(self.async_client)
        if isinstance(self.catalog, AsyncCatalog):
            return self._set_profile(await self.catalog.get(self.model))
        return self._set_profile(await asyncio.to_thread(self.catalog.get, self.model))

    def _set_profile(self, model: Any) -> Self:
        if model is not None:
            from langchain_lunos._profile import to_profile

            profile = to_profile(model)
            own = None if self._profile_is_ours() else self.profile
            self._catalog_profile = None if own else profile
            merged: Any = {**profile, **(own or {})}
            self.profile = merged
        return self

    def _profile_is_ours(self) -> bool:
        profile = getattr(self, "profile", None)
        return profile is None or profile == self._catalog_profile

    def _resolve_model_profile(self) -> Any:
        self._catalog_profile = self._profile_of(self.model)
        return self._catalog_profile

    def _profile_of(self, model: str) -> dict[str, Any] | None:
        if self.catalog is None:
            return None
        with first_use:
            from langchain_lunos._profile import profile_from  # only with a catalog

        return profile_from(self.catalog, model)

    def _keep_methods(self, runnable: Any) -> Any:
        with first_use:
            from langchain_lunos._bindings import keep_methods  # and LangChain's retries

        return keep_methods(runnable)

    def _share_with(self, other: ChatLunos) -> None:
        """Use another model's connections if the settings are equal.

        A profile from the catalog becomes that of this model.
        """
        if self._clients.config == other._clients.config:
            self._clients = other._clients
        if other._profile_is_ours() and self.model != other.model:
            self.profile = self._resolve_model_profile()

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field; a new model gets its own profile, unless the profile was set by hand."""
        super().__setattr__(name, value)
        if name in ("model", "catalog") and self.catalog is not None and self._profile_is_ours():
            self.profile = self._resolve_model_profile()

    def bind(self, **kwargs: Any) -> Any:
        """As LangChain's; another `model` brings its own profile."""
        model = kwargs.get("model")
        if isinstance(model, str) and self.catalog is not None and self._profile_is_ours():
            profile = self._profile_of(model)
            copied = self.model_copy(update={"profile": profile})
            copied._catalog_profile = profile
            return super(ChatLunos, copied).bind(**kwargs)
        return super().bind(**kwargs)

    def _convert_cached_generations(self, cache_val: list[Any]) -> list[Any]:
        """Set our cost to 0 for a cache hit, as LangChain does in its own field."""
        generations = super()._convert_cached_generations(cache_val)
        for generation in generations:
            metadata = generation.message.response_metadata
            if "cost" in metadata:
                free = {**metadata, "cost": 0.0, "cost_source": "cache"}
                free |= {name: 0.0 for name in ("total_cost",) if name in metadata}
                generation.message = generation.message.model_copy(
                    update={"response_metadata": free}
                )
        return generations

    def generate(
        self, messages: Any, stop: Any = None, callbacks: Any = None, **kwargs: Any
    ) -> LLMResult:
        """As LangChain's, with the app id among the run's tags."""
        kwargs["tags"] = with_tag(kwargs.get("tags"), self._app_id(kwargs))
        return super().generate(messages, stop, traced(callbacks), **kwargs)

    async def agenerate(
        self, messages: Any, stop: Any = None, callbacks: Any = None, **kwargs: Any
    ) -> LLMResult:
        """As LangChain's, with the app id among the run's tags."""
        refuse_trio()
        kwargs["tags"] = with_tag(kwargs.get("tags"), self._app_id(kwargs))
        return await super().agenerate(messages, stop, traced(callbacks), **kwargs)

    def stream_events(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        """As LangChain's, with the app id among the run's tags."""
        if kwargs.get("version") == "v3":  # older versions go through `astream`
            kwargs = with_config_app_id(kwargs, config)
            config = config_for_tracers(config, self._app_id(kwargs))
        return super().stream_events(input, config, **kwargs)

    def astream_events(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        """As LangChain's, with the app id among the run's tags."""
        if kwargs.get("version") == "v3":
            kwargs = with_config_app_id(kwargs, config)
            config = config_for_tracers(config, self._app_id(kwargs))
        return super().astream_events(input, config, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request = self._request(messages, stop, with_run(kwargs, run_manager))
        return to_result(self._clients.sync.send(request))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request = self._request(messages, stop, with_run(kwargs, run_manager))
        return to_result(await self._clients.asynchronous.send(request))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        streamed = Streamed()
        request = self._stream_request(messages, stop, with_run(kwargs, run_manager))
        with self._clients.sync.stream(request) as stream:
            for event in stream:
                chunk = to_chunk(event, streamed)
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
        streamed = Streamed()
        request = self._stream_request(messages, stop, with_run(kwargs, run_manager))
        async with await self._clients.asynchronous.stream(request) as stream:
            async for event in stream:
                chunk = to_chunk(event, streamed)
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
        """Yield the events of `stream_events(version="v3")`; LangChain calls this if it exists."""
        events = EventBuilder(_message_id(run_manager))
        end: list[Event] = []
        request = self._stream_request(messages, stop, with_run(kwargs, run_manager))
        with self._clients.sync.stream(request) as stream:
            for chunk in stream:
                if run_manager and chunk.choices:
                    run_manager.on_llm_new_token(chunk.text)
                if chunk.last is not None:
                    end = events.feed(chunk)
                else:
                    yield from events.feed(chunk)
        # after the block: LangChain stops iterating here, and the call would stay open
        yield from one_by_one(end)

    async def _astream_chat_model_events(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Event]:
        events = EventBuilder(_message_id(run_manager))
        end: list[Event] = []
        request = self._stream_request(messages, stop, with_run(kwargs, run_manager))
        async with await self._clients.asynchronous.stream(request) as stream:
            async for chunk in stream:
                if run_manager and chunk.choices:
                    await run_manager.on_llm_new_token(chunk.text)
                if chunk.last is not None:
                    end = events.feed(chunk)
                    continue
                for event in events.feed(chunk):
                    yield event
        for event in one_by_one(end):
            yield event

    def _request(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> Request[Completion]:
        params = _for_the_wire(self._call_params(stop, kwargs), kwargs.get("strict"))
        wire = to_wire(messages, params["model"])
        self._refuse_impossible(wire, params)
        return chat_request(wire, **params)

    def _stream_request(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> StreamRequest[Chunk]:
        params = _for_the_wire(self._stream_params(stop, kwargs), kwargs.get("strict"))
        wire = to_wire(messages, params["model"])
        self._refuse_impossible(wire, params)
        return chat_stream_request(wire, **params)


make_loadable("chat_models", "ChatLunos")


def _for_the_wire(params: dict[str, Any], strict: bool | None) -> dict[str, Any]:
    if not params.get("tools"):  # create_agent binds an empty list; strict servers refuse it
        for name in ("tools", "tool_choice", "parallel_tool_calls"):
            params.pop(name, None)
    else:
        if not all(isinstance(tool, Mapping) for tool in params["tools"]):
            params["tools"] = to_wire_tools(params["tools"], strict=strict)
        if isinstance(params.get("tool_choice"), str | bool):
            params["tool_choice"] = to_tool_choice(params["tool_choice"], params["tools"])
    form = params.get("response_format")
    if form is not None and not (isinstance(form, Mapping) and form.get("type") in _FORMATS):
        with first_use:
            from langchain_lunos._structured_output import to_response_format

        params["response_format"] = to_response_format(form, strict)
    return params


_FORMATS = ("json_schema", "json_object", "text")

# the names of roles and the separators between messages
_TOKENS_PER_MESSAGE = 3


def _message_id(run_manager: RunManager) -> str:
    return f"{LC_ID_PREFIX}-{run_manager.run_id}" if run_manager else ""
