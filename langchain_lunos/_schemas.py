"""From the many kinds of schemas that LangChain takes to the wire's functions.

LangChain's own conversion is used wherever it works. It inlines references, which turns a class
that refers to itself into `{}`, and its strict mode closes open objects, which can then be only
`{}`.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from typing import Any, get_args, get_origin

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_function
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel, TypeAdapter
from typing_extensions import get_type_hints, is_typeddict

from langchain_lunos._results import log
from lunos_core.endpoints.chat.schemas import is_recursive, strict_schema, with_inline_root
from lunos_core.forks import first_use


def to_function(schema: Any, strict: bool | None = None) -> dict[str, Any]:
    """Return a schema as the wire's function: `name`, `description`, `parameters`, `strict`.

    Args:
        schema: a pydantic class, TypedDict, JSON schema, function schema, Python function or tool.
        strict: ask for exactly this schema. If the schema doesn't allow it (`dict[str, int]`, for
            example), `strict` is false on the wire, and a warning is logged.

    Raises:
        TypeError: a type whose values aren't objects: a union, an enum, `list[…]`, `int`.
        ValueError: something else, or a JSON schema without a title.
    """
    if isinstance(schema, Mapping):
        schema = with_inline_root(schema)
    elif _is_no_object(schema):
        name = schema.__name__ if isinstance(schema, type) and not get_origin(schema) else schema
        raise TypeError(
            f"{name} doesn't describe an object: give a Pydantic class, TypedDict, dataclass, "
            "function or JSON schema, such as a class that has a field of this type"
        )
    try:
        function = convert_to_openai_function(schema)
    except RecursionError:
        function = {}
    except TypeError:  # LangChain doesn't know `Required` and `NotRequired`
        if not is_typeddict(schema):
            raise
        function = _typed_dict(schema)
    if not function or _has_gaps(function.get("parameters")):
        function = _recursive(schema) or function
    if not _definitions_in(function):
        _drop_discriminators(function)
    if isinstance(schema, Mapping) and "parameters" not in function and "title" in schema:
        # LangChain leaves out what isn't an object
        function["parameters"] = {
            name: value for name, value in schema.items() if name not in ("title", "description")
        }
    if strict is None:
        return function
    if function.get("strict", strict) != strict:
        raise ValueError(
            f"strict is {strict}, but the function {function['name']!r} says otherwise itself"
        )
    if strict:
        parameters = strict_schema(function.get("parameters") or _NO_PARAMETERS)
        if parameters is None:
            log.warning(
                "the schema of %r allows no strict mode, so it is sent with strict=false",
                function["name"],
            )
            strict = False
        else:
            function["parameters"] = parameters
    return {**function, "strict": strict}


def _is_no_object(schema: Any) -> bool:
    origin = get_origin(schema)
    if origin is not None:
        return not (is_typeddict(origin) or is_dataclass(origin))
    if schema is Any or schema is BaseModel:
        return True
    return isinstance(schema, type) and (
        schema.__module__ == "builtins" or issubclass(schema, enum.Enum)
    )


def to_json_schema(schema: Any) -> dict[str, Any]:
    """Return any schema as a JSON schema, as `convert_to_json_schema` does."""
    function = to_function(schema)
    named = {name: function[name] for name in ("description",) if name in function}
    return {"title": function["name"], **named, **function.get("parameters", {})}


def _definitions_in(function: Mapping[str, Any]) -> bool:
    parameters = function.get("parameters") or {}
    return "$defs" in parameters or "definitions" in parameters


def _drop_discriminators(node: Any) -> None:
    if isinstance(node, dict):
        if isinstance(node.get("discriminator"), dict) and "oneOf" in node:
            del node["discriminator"]
            node["anyOf"] = node.pop("oneOf")
        for value in node.values():
            _drop_discriminators(value)
    elif isinstance(node, list):
        for value in node:
            _drop_discriminators(value)


def _has_gaps(schema: Any) -> bool:
    """Return whether a schema contains `{}`, LangChain's result for a self-reference."""
    if isinstance(schema, Mapping):
        return any(value == {} or _has_gaps(value) for value in schema.values())
    return isinstance(schema, list) and any(value == {} or _has_gaps(value) for value in schema)


def _recursive(schema: Any) -> dict[str, Any] | None:
    """Return the function of a schema that refers to itself, keeping references, or `None`."""
    if isinstance(schema, Mapping):
        return None  # LangChain keeps the references of a JSON schema
    raw = _json_schema_of(schema)
    return _with_references(schema, raw) if is_recursive(raw) else None


def _typed_dict(schema: Any) -> dict[str, Any]:
    function = _with_references(schema, _json_schema_of(schema))
    for name, hint in get_type_hints(schema, include_extras=True).items():
        while str(get_origin(hint)).endswith("Required"):
            (hint,) = get_args(hint)
        for text in getattr(hint, "__metadata__", ()):
            if isinstance(text, str):
                function["parameters"]["properties"][name]["description"] = text
    return function


def _json_schema_of(schema: Any) -> dict[str, Any]:
    if isinstance(schema, BaseTool):
        schema = schema.tool_call_schema
        if isinstance(schema, Mapping):
            return dict(schema)
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return schema.model_json_schema()
    if isinstance(schema, type) and (is_typeddict(schema) or is_basemodel_subclass(schema)):
        return TypeAdapter(schema).json_schema()
    return _schema_of_function(schema).model_json_schema()


def _schema_of_function(function: Callable[..., Any]) -> type[BaseModel]:
    with first_use:
        from langchain_core.tools.base import create_schema_from_function

    made: Any = create_schema_from_function(
        function.__name__,
        function,
        filter_args=(),
        parse_docstring=True,
        error_on_invalid_docstring=False,
        include_injected=False,
    )
    return made if issubclass(made, BaseModel) else BaseModel


def _with_references(schema: Any, raw: dict[str, Any]) -> dict[str, Any]:
    parameters = with_inline_root(raw)
    name = getattr(schema, "name", None) or getattr(schema, "__name__", "")
    described = parameters.pop("description", None)
    description = getattr(schema, "description", None) or described
    if not description and inspect.isroutine(schema):  # a class would inherit pydantic's own
        description = inspect.getdoc(schema)
    parameters.pop("title", None)
    function = {"name": str(name), "description": str(description or "")}
    return {**function, "parameters": parameters}


_NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}
