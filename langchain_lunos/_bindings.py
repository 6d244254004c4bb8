"""Bindings of a model that keep what was bound before, in any order.

LangChain's `RunnableBinding` passes `bind_tools` and `with_structured_output` on to the bare model:
`llm.bind(app_id="billing").bind_tools([…])` would lose the app id. `RunnableRetry` lacks these
methods, and configurable fields forget that they are configurable. The classes here are
LangChain's, with the methods of `ModelMethods` added.
"""

from __future__ import annotations

from typing import Any, cast

from langchain_core.runnables import (
    Runnable,
    RunnableBinding,
    RunnableConfig,
    RunnableWithFallbacks,
)
from langchain_core.runnables.config import merge_configs
from langchain_core.runnables.configurable import (
    RunnableConfigurableAlternatives,
    RunnableConfigurableFields,
)
from langchain_core.runnables.retry import RunnableRetry

from langchain_lunos._model_methods import ModelMethods
from lunos_core.endpoints.build import merge_options

# without type arguments: with them pydantic creates classes that LangChain's runnables don't match


class _Loadable:
    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        """Return where `load` finds the class."""
        return ["langchain_lunos", "_bindings"]

    def _keep_methods(self, runnable: Any) -> Any:
        return keep_methods(runnable)


class LunosBinding(_Loadable, ModelMethods, RunnableBinding):  # type: ignore[type-arg]  # see above
    """A model with arguments or a config bound to it."""

    def bind(self, **kwargs: Any) -> Any:
        """Add arguments through the model's own `bind`, which may change the model too."""
        return self._around(self.bound.bind(**kwargs))

    def with_config(self, config: Any = None, **kwargs: Any) -> Any:
        """Merge this into the config."""
        merged = merge_configs(self.config, config, cast("RunnableConfig", kwargs))
        return type(self)(**{**self.__dict__, "config": merged})

    def configurable_fields(self, **kwargs: Any) -> Any:
        """Make fields of the model configurable, and keep the binding."""
        return self._around(cast("Any", self.bound).configurable_fields(**kwargs))

    def configurable_alternatives(self, *args: Any, **kwargs: Any) -> Any:
        """Make the model one of several, and keep the binding."""
        return keep_methods(super(ModelMethods, self).configurable_alternatives(*args, **kwargs))

    def _around(self, inner: Any) -> Any:
        """Return a new version of the bound runnable with this binding's arguments and config."""
        if not isinstance(inner, RunnableBinding):
            return type(self)(**{**self.__dict__, "bound": inner})
        kwargs = {**self.kwargs, **inner.kwargs}
        merge_options(kwargs, self.kwargs, inner.kwargs)
        own = {
            "bound": inner.bound,
            "kwargs": kwargs,
            "config": merge_configs(self.config, inner.config),
            "config_factories": [*self.config_factories, *inner.config_factories],
        }
        return type(self)(**{**self.__dict__, **own})


class LunosRetry(_Loadable, ModelMethods, RunnableRetry):  # type: ignore[type-arg]  # see above
    """A model inside LangChain's retry policy."""

    def configurable_fields(self, **kwargs: Any) -> Any:
        """Make fields of the model configurable, and keep the retries."""
        inner = cast("Any", self.bound).configurable_fields(**kwargs)
        return type(self)(**{**self.__dict__, "bound": inner})

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bound, name)


class LunosConfigurableFields(_Loadable, ModelMethods, RunnableConfigurableFields):  # type: ignore[type-arg]  # see above
    """A model whose fields a config may set."""

    def _prepare(self, config: RunnableConfig | None = None) -> Any:
        """Make the model that a config asks for; it shares connections if the settings allow it."""
        model, config = super()._prepare(config)
        share = getattr(model, "_share_with", None)
        if share is not None:
            share(self.default)
        return model, config

    def with_config(self, config: Any = None, **kwargs: Any) -> Any:
        """Merge this into the config."""
        merged = merge_configs(self.config, config, cast("RunnableConfig", kwargs))
        return type(self)(**{**self.__dict__, "config": merged})


class LunosFallbacks(_Loadable, RunnableWithFallbacks):  # type: ignore[type-arg]  # see above
    """A model with fallbacks; bindings apply to each of the models."""

    def bind(self, **kwargs: Any) -> Any:
        """Bind arguments to each of the models."""
        return self._each("bind", **kwargs)

    def with_config(self, config: Any = None, **kwargs: Any) -> Any:
        """Bind a config to each of the models."""
        return self._each("with_config", config, **kwargs)

    def with_retry(self, **kwargs: Any) -> Any:
        """Retry each of the models before trying the next."""
        return self._each("with_retry", **kwargs)

    def _each(self, method: str, /, *args: Any, **kwargs: Any) -> Any:
        changed: dict[str, Any] = {
            "runnable": getattr(self.runnable, method)(*args, **kwargs),
            "fallbacks": [getattr(model, method)(*args, **kwargs) for model in self.fallbacks],
        }
        return type(self)(**{**self.__dict__, **changed})


class LunosAlternatives(_Loadable, RunnableConfigurableAlternatives):  # type: ignore[type-arg]  # see above
    """Models from which the config chooses one; bindings apply to each of them."""

    def bind(self, **kwargs: Any) -> Any:
        """Bind arguments to each of the models."""
        return self._each("bind", **kwargs)

    def bind_tools(self, *args: Any, **kwargs: Any) -> Any:
        """Offer tools to each of the models."""
        return self._each("bind_tools", *args, **kwargs)

    def with_structured_output(self, *args: Any, **kwargs: Any) -> Any:
        """Answer in the form of a schema, whichever model is chosen."""
        return self._each("with_structured_output", *args, **kwargs)

    def with_retry(self, **kwargs: Any) -> Any:
        """Retry each of the models."""
        return self._each("with_retry", **kwargs)

    def _each(self, method: str, /, *args: Any, **kwargs: Any) -> Any:
        def change(model: Any) -> Any:
            if not isinstance(model, Runnable):  # a function that makes the model
                return lambda: change(model())
            return getattr(model, method)(*args, **kwargs)

        changed: dict[str, Any] = {
            "default": change(self.default),
            "alternatives": {key: change(model) for key, model in self.alternatives.items()},
        }
        return type(self)(**{**self.__dict__, **changed})


_CLASSES: dict[type[Any], type[Any]] = {
    RunnableBinding: LunosBinding,
    RunnableRetry: LunosRetry,
    RunnableConfigurableFields: LunosConfigurableFields,
    RunnableWithFallbacks: LunosFallbacks,
    RunnableConfigurableAlternatives: LunosAlternatives,
}


def keep_methods(runnable: Any) -> Any:
    """Return LangChain's runnable as our class for it, which keeps bindings."""
    for framework, kind in _CLASSES.items():
        if isinstance(runnable, framework) and not isinstance(runnable, kind):
            return kind(**runnable.__dict__)
    return runnable
