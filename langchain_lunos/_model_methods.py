"""The methods of a model that return a new runnable around it, such as `bind_tools`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool

from langchain_lunos._tools import to_wire_tools
from langchain_lunos.registration import make_loadable
from lunos_core.adapters import to_tool_choice
from lunos_core.forks import first_use


class ModelMethods:
    """A mixin: methods that return a new runnable around a chat model or another runnable.

    List it before LangChain's class, whose methods it calls.
    """

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
            strict: ask for arguments that follow the schema exactly, if the schema allows it.
            parallel_tool_calls: whether the model may ask for several calls at once.
            response_format: a schema, or a `response_format` in the wire's form.
            **kwargs: also bound.

        Raises:
            ValueError: `tool_choice` isn't one of the tools.

        Example:
            >>> from langchain_lunos import ChatLunos
            >>> def weather(city: str) -> str:
            ...     '''The weather in a city.'''
            ...     return "sunny"
            >>> llm = ChatLunos(model="lunos/scripted")
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
            with first_use:
                from langchain_lunos import _structured_output  # eight modules, rarely needed

            kwargs["response_format"] = _structured_output.to_response_format(
                response_format, strict
            )
        bound: Runnable[LanguageModelInput, AIMessage] = self.bind(**kwargs)
        return bound

    def with_structured_output(
        self,
        schema: Any = None,
        *,
        method: Literal["json_schema", "function_calling", "json_mode"] | None = None,
        include_raw: bool = False,
        strict: bool | None = None,
        tools: Sequence[Mapping[str, Any] | type | Callable[..., Any] | BaseTool] | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Answer in the form of a schema.

        Args:
            schema: a pydantic class, TypedDict, JSON schema, or function schema; may be `None` with
                `method="json_mode"`.
            method: "json_schema" (the server keeps the model to the schema), "function_calling" (a
                forced tool call), "json_mode" (any JSON; say in the prompt which). When not given:
                "json_schema" if the model's profile says that it is supported, else
                "function_calling".
            include_raw: return `{"raw", "parsed", "parsing_error"}` and don't raise on bad answers.
            strict: ask for exactly this schema, if the schema allows it.
            tools: tools that the model may call first. If it calls one, the result is `None`
                instead of the object; with `include_raw` the calls are in `raw`.
            **kwargs: bound to the model.

        Returns:
            A runnable that returns pydantic objects for a pydantic class, else dicts.

        Raises:
            ValueError: an unknown method, or one that lacks its schema. When run:
            LunosRefusalError: the model refused.
            LunosTruncatedError: the answer was cut off at `max_tokens`.

        Example:
            >>> from pydantic import BaseModel
            >>> from langchain_lunos import ChatLunos
            >>> class City(BaseModel):
            ...     name: str
            >>> llm = ChatLunos(model="lunos/scripted")
            >>> llm.with_structured_output(City).invoke("The city is 'Rome'.")
            City(name='Rome')
        """
        with first_use:
            from langchain_lunos import _structured_output  # eight modules, rarely needed

        if method is None:
            profile = getattr(self, "profile", None) or {}  # langchain-core 1.1 and newer
            method = "json_schema" if profile.get("structured_output") else "function_calling"
        _structured_output.check_arguments(schema, method, strict)
        bound = {**_structured_output.to_bind(schema, method, strict, tools), **kwargs}
        if method == "function_calling":
            llm = self.bind_tools([schema, *(tools or ())], strict=strict, **bound)
        else:
            llm = self.bind_tools(tools, strict=strict, **bound) if tools else self.bind(**bound)
        parser = _structured_output.to_parser(schema, method, tools)
        return _structured_output.with_raw(llm, parser) if include_raw else llm | parser

    def bind(self, **kwargs: Any) -> Any:
        """As LangChain's; later bindings are added."""
        return self._made("bind", **kwargs)

    def with_config(self, config: Any = None, **kwargs: Any) -> Any:
        """As LangChain's; later bindings are added."""
        return self._made("with_config", config, **kwargs)

    def with_retry(self, **kwargs: Any) -> Any:
        """As LangChain's; later bindings are added."""
        return self._made("with_retry", **kwargs)

    def with_listeners(self, **kwargs: Any) -> Any:
        """As LangChain's; later bindings are added."""
        return self._made("with_listeners", **kwargs)

    def with_alisteners(self, **kwargs: Any) -> Any:
        """As LangChain's; later bindings are added."""
        return self._made("with_alisteners", **kwargs)

    def with_types(self, *args: Any, **kwargs: Any) -> Any:
        """As LangChain's; later bindings are added."""
        return self._made("with_types", *args, **kwargs)

    def with_fallbacks(self, *args: Any, **kwargs: Any) -> Any:
        """As LangChain's; later bindings apply to each of the models."""
        return self._made("with_fallbacks", *args, **kwargs)

    def configurable_fields(self, **kwargs: Any) -> Any:
        """As LangChain's; later bindings are added. `model_name` stands for the field `model`."""
        if "model_name" in kwargs:
            kwargs = {"model": kwargs.pop("model_name"), **kwargs}
        return self._made("configurable_fields", **kwargs)

    def configurable_alternatives(self, *args: Any, **kwargs: Any) -> Any:
        """As LangChain's; later bindings apply to each alternative."""
        return self._made("configurable_alternatives", *args, **kwargs)

    def _made(self, method: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call LangChain's method and return its runnable as one of the classes of `_bindings`."""
        return self._keep_methods(getattr(super(), method)(*args, **kwargs))

    def _keep_methods(self, runnable: Any) -> Any:
        raise NotImplementedError


for _name in ("Binding", "Retry", "ConfigurableFields", "Fallbacks", "Alternatives"):
    make_loadable("_bindings", f"Lunos{_name}")  # before anything imports them
