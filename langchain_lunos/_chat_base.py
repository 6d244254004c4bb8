"""What a chat model has besides generation: its profile, and the app id of LangChain's config."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, Self

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import LLMResult
from langchain_core.runnables import RunnableConfig
from pydantic import PrivateAttr

from langchain_lunos._app_id import with_config_app_id
from langchain_lunos._parameters import LunosModel
from langchain_lunos._tracing import config_with_tag, with_tag

if TYPE_CHECKING:
    from lunos_core.catalog.models import ModelInfo


class LunosChatBase(LunosModel, BaseChatModel):
    """`ChatLunos` without its endpoint."""

    _filled: dict[str, Any] | None = PrivateAttr(default=None)  # the profile, if it is ours

    def load_profile(self) -> Self:
        """Ask the catalog what the model is, and fill `profile`; what you set there wins.

        Without a `catalog` one is made, which then also prices answers and refuses what cannot
        work. A model that the catalog does not know leaves the profile as it is.

        Raises:
            LunosError: the catalog could not be fetched.
            TypeError: `catalog` is an `AsyncCatalog`: await `aload_profile()`.
        """
        from lunos_core.catalog.catalog import AsyncCatalog, Catalog

        if self.catalog is None:
            self.catalog = Catalog(self.client)
        if isinstance(self.catalog, AsyncCatalog):
            raise TypeError("the catalog is an AsyncCatalog: await aload_profile()")
        return self._take(self.catalog.get(self.model))

    async def aload_profile(self) -> Self:
        """`load_profile`, awaited."""
        from lunos_core.catalog.catalog import AsyncCatalog

        if self.catalog is None:
            self.catalog = AsyncCatalog(self.async_client)
        if isinstance(self.catalog, AsyncCatalog):
            return self._take(await self.catalog.get(self.model))
        return self._take(await asyncio.to_thread(self.catalog.get, self.model))

    def _take(self, known: ModelInfo | None) -> Self:
        if known is not None:
            from langchain_lunos._profile import to_profile

            found = to_profile(known)
            mine = None if self._profile_is_ours() else self.profile
            self._filled = None if mine else found
            merged: Any = {**found, **(mine or {})}
            self.profile = merged
        return self

    def _profile_is_ours(self) -> bool:
        profile = getattr(self, "profile", None)
        return profile is None or profile == self._filled

    def _profile_of(self, model: str) -> dict[str, Any] | None:
        """What is at hand, in memory: this is asked in constructors."""
        known = None if self.catalog is None else self.catalog.cached(model, disk=False)
        if known is None:
            return None
        from langchain_lunos._profile import to_profile  # four modules, for those with a catalog

        return to_profile(known)

    def _resolve_model_profile(self) -> Any:
        self._filled = self._profile_of(self.model)
        return self._filled

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field; another model has another profile, unless it was set by hand."""
        super().__setattr__(name, value)
        if name in ("model", "catalog") and self.catalog is not None and self._profile_is_ours():
            self.profile = self._resolve_model_profile()

    def bind(self, **kwargs: Any) -> Any:
        """As LangChain's; with another `model` the profile is that one's."""
        model = kwargs.get("model")
        if isinstance(model, str) and self.catalog is not None and self._profile_is_ours():
            profile = self._profile_of(model)
            copied = self.model_copy(update={"profile": profile})
            copied._filled = profile
            return super(LunosChatBase, copied).bind(**kwargs)
        return super().bind(**kwargs)

    def _convert_cached_generations(self, cache_val: list[Any]) -> list[Any]:
        """LangChain says of a hit that it cost nothing; so do we, in our place."""
        found = super()._convert_cached_generations(cache_val)
        for one in found:
            metadata = one.message.response_metadata
            if "cost" in metadata:
                free = {**metadata, "cost": 0.0, "cost_source": "cache"}
                one.message = one.message.model_copy(update={"response_metadata": free})
        return found

    # -- the app id of the config, and among the tags of a run ---------------------------------

    def invoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AIMessage:
        """As LangChain's, for the app id that the config names."""
        return super().invoke(input, config, **with_config_app_id(kwargs, config))

    async def ainvoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AIMessage:
        """As LangChain's, for the app id that the config names."""
        return await super().ainvoke(input, config, **with_config_app_id(kwargs, config))

    def generate(self, messages: Any, *args: Any, tags: Any = None, **kwargs: Any) -> LLMResult:
        """As LangChain's, with the app id among the run's tags."""
        tags = with_tag(tags, self._app_id(kwargs))
        return super().generate(messages, *args, tags=tags, **kwargs)

    async def agenerate(
        self, messages: Any, *args: Any, tags: Any = None, **kwargs: Any
    ) -> LLMResult:
        """As LangChain's, with the app id among the run's tags."""
        tags = with_tag(tags, self._app_id(kwargs))
        return await super().agenerate(messages, *args, tags=tags, **kwargs)

    def stream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[AIMessageChunk]:
        """As LangChain's, with the app id among the run's tags."""
        kwargs = with_config_app_id(kwargs, config)
        return super().stream(input, config_with_tag(config, self._app_id(kwargs)), **kwargs)

    def astream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[AIMessageChunk]:
        """As LangChain's, with the app id among the run's tags."""
        kwargs = with_config_app_id(kwargs, config)
        return super().astream(input, config_with_tag(config, self._app_id(kwargs)), **kwargs)

    def stream_events(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        """As LangChain's, with the app id among the run's tags."""
        if kwargs.get("version") == "v3":  # the older versions go through `astream`
            kwargs = with_config_app_id(kwargs, config)
            config = config_with_tag(config, self._app_id(kwargs))
        return super().stream_events(input, config, **kwargs)

    def astream_events(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        """As LangChain's, with the app id among the run's tags."""
        if kwargs.get("version") == "v3":
            kwargs = with_config_app_id(kwargs, config)
            config = config_with_tag(config, self._app_id(kwargs))
        return super().astream_events(input, config, **kwargs)
