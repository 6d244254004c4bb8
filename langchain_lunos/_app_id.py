"""The application that a call is made for: where its id comes from, and how tracers see it."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any, Generic, TypeVar, cast

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.language_models import LanguageModelInput
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config
from langsmith.utils import tracing_is_enabled

from langchain_lunos._settings import config_app_id, config_metadata
from lunos_core.app_id import current_app_id
from lunos_core.arguments import check_app_id
from lunos_core.endpoints.build import RUN_METADATA
from lunos_core.forks import first_use

Output = TypeVar("Output")
ChunkT = TypeVar("ChunkT")


def with_run(kwargs: dict[str, Any], run_manager: Any) -> dict[str, Any]:
    """Return a call's arguments with its run's metadata, which a usage store may keep."""
    metadata = getattr(run_manager, "metadata", None) or _streamed.get()
    return {**kwargs, RUN_METADATA: metadata} if metadata else kwargs


# LangChain's `stream` passes no run manager to `_stream`
_streamed: ContextVar[Mapping[str, Any] | None] = ContextVar(
    "metadata of a streamed run", default=None
)


def _of_run(chunks: Iterator[ChunkT], metadata: Mapping[str, Any]) -> Iterator[ChunkT]:
    """Yield the chunks; `with_run` finds the metadata while the first one sends the request."""
    _streamed.set(metadata)
    try:
        first = next(chunks, None)
    finally:
        _streamed.set(None)
    if first is not None:
        yield first
        yield from chunks


async def _aof_run(
    chunks: AsyncIterator[ChunkT], metadata: Mapping[str, Any]
) -> AsyncIterator[ChunkT]:
    async with aclosing(cast("AsyncGenerator[ChunkT]", chunks)):
        _streamed.set(metadata)
        try:
            first = await anext(chunks, None)
        finally:
            _streamed.set(None)
        if first is not None:
            yield first
            async for chunk in chunks:
                yield chunk


def with_config_app_id(kwargs: Mapping[str, Any], config: Any = None) -> dict[str, Any]:
    """Return a call's arguments, with the config's app id if they have none."""
    is_named = kwargs.get("app_id") is not None
    if is_named or (config is None and var_child_runnable_config.get() is None):
        return dict(kwargs)
    app_id = config_app_id(config)
    return dict(kwargs) if app_id is None else {**kwargs, "app_id": app_id}


def app_id_of_call(kwargs: Mapping[str, Any], own: str | None) -> str | None:
    """Return the application of one call.

    In order of precedence: the call's argument (given or bound), the config, the `app()` block,
    the constructor's (which may come from the environment).
    """
    given: str | None = kwargs.get("app_id")
    if given is not None:
        return given
    of_config = None if var_child_runnable_config.get() is None else config_app_id()
    return of_config or current_app_id() or own


class AppIdFromConfig(Generic[Output, ChunkT]):
    """A mixin for models: calls take the app id of their config, and runs are tagged with it.

    List it before LangChain's class, whose methods it calls.
    """

    def _app_id(self, kwargs: Mapping[str, Any]) -> str | None:
        raise NotImplementedError

    def invoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Output:
        """As LangChain's, for the app id that the config names."""
        parent: Any = super()
        output: Output = parent.invoke(input, config, **with_config_app_id(kwargs, config))
        return output

    async def ainvoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Output:
        """As LangChain's, for the app id that the config names."""
        refuse_trio()
        parent: Any = super()
        output: Output = await parent.ainvoke(input, config, **with_config_app_id(kwargs, config))
        return output

    def stream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[ChunkT]:
        """As LangChain's, with the app id among the run's tags."""
        parent: Any = super()
        kwargs = with_config_app_id(kwargs, config)
        tagged = config_for_tracers(config, self._app_id(kwargs))
        chunks: Iterator[ChunkT] = parent.stream(input, tagged, **kwargs)
        metadata = config_metadata(config, getattr(self, "metadata", None))
        return _of_run(chunks, metadata) if metadata else chunks

    def astream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[ChunkT]:
        """As LangChain's, with the app id among the run's tags."""
        refuse_trio()
        parent: Any = super()
        kwargs = with_config_app_id(kwargs, config)
        tagged = config_for_tracers(config, self._app_id(kwargs))
        chunks: AsyncIterator[ChunkT] = parent.astream(input, tagged, **kwargs)
        metadata = config_metadata(config, getattr(self, "metadata", None))
        return _aof_run(chunks, metadata) if metadata else chunks

    async def abatch(self, inputs: Any, config: Any = None, **kwargs: Any) -> list[Output]:
        """As LangChain's."""
        refuse_trio()
        parent: Any = super()
        outputs: list[Output] = await parent.abatch(inputs, config, **kwargs)
        return outputs

    def abatch_as_completed(self, inputs: Any, config: Any = None, **kwargs: Any) -> Any:
        """As LangChain's."""
        refuse_trio()
        parent: Any = super()
        return parent.abatch_as_completed(inputs, config, **kwargs)

    def astream_events(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
        """As LangChain's."""
        refuse_trio()
        parent: Any = super()
        return parent.astream_events(input, config, **kwargs)


def refuse_trio() -> None:
    """Raise a clear error under trio, where LangChain's own errors don't name the cause.

    Raises:
        LunosConfigError: the event loop is trio's.
    """
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        from lunos_core.transport.loop_cleanup import running_loop

        running_loop()


def ls_params(params: Any, *, app_id: str | None, model: str) -> Any:
    """Return LangSmith's parameters with ours added: `app_id` becomes run metadata."""
    ours = {"ls_provider": "lunos", "ls_model_name": model}
    if app_id is not None:
        ours["app_id"] = app_id
    return {**params, **ours}


def with_tag(tags: list[str] | None, app_id: str | None) -> list[str] | None:
    """Return a run's tags, with the app id among them."""
    if app_id is None:
        return tags
    return [*(tags or []), f"app_id:{check_app_id(app_id)}"]


def with_tags(tags: Any, app_id: str | None, *, callbacks: Any, prompts: int) -> Any:
    """Add the tag as `with_tag` does, for LLMs, whose batches have a list of tags per prompt."""
    if app_id is None or not _is_for_each_prompt(callbacks):
        return with_tag(tags, app_id)
    return [with_tag(tags_of_prompt, app_id) for tags_of_prompt in tags or [None] * prompts]


def _is_for_each_prompt(callbacks: Any) -> bool:
    first = callbacks[0] if isinstance(callbacks, list) and callbacks else ""
    return first is None or isinstance(first, list | BaseCallbackManager)


def config_for_tracers(config: Any, app_id: str | None) -> Any:
    """Return a run's config, with the app id among its tags and its callbacks `traced`.

    The given config isn't changed.
    """
    values: Mapping[str, Any] = config or {}
    callbacks = values.get("callbacks")
    if callbacks is None:  # LangChain takes the enclosing run's
        callbacks = (var_child_runnable_config.get() or {}).get("callbacks")
    changed: dict[str, Any] = {}
    if (ours := traced(callbacks)) is not callbacks:
        changed["callbacks"] = ours
    if app_id is not None:
        changed["tags"] = with_tag(values.get("tags"), app_id)
    return {**values, **changed} if changed else config


def traced(callbacks: Any) -> Any:
    """Return a call's callbacks; a LangSmith tracer among them also sends the call's cost."""
    if _is_for_each_prompt(callbacks):
        return [traced(of_prompt) for of_prompt in callbacks]
    context: Any = sys.modules.get("langchain_core.tracers.context")  # None: no tracer exists
    if not tracing_is_enabled() and not (
        context
        and (
            context.tracing_v2_callback_var.get()
            or any(
                isinstance(handler, context.LangChainTracer)
                for handler in getattr(callbacks, "handlers", callbacks) or ()
            )
        )
    ):
        return callbacks
    with first_use:
        from langchain_lunos.tracing import with_costs
    return with_costs(callbacks)
