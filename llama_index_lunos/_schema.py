"""A class as a JSON schema that providers accept. Pure."""

from __future__ import annotations

import copy
import re
from typing import Any

from llama_index.core.bridge.pydantic import BaseModel


def to_response_format(output_cls: type[BaseModel]) -> dict[str, Any]:
    """The wire's `response_format` for a class.

    Strict where the schema can be: then the provider guarantees the shape. A class with free-form
    parts (`dict[str, int]`, `Any`) cannot, and is sent as pydantic describes it.
    """
    schema = output_cls.model_json_schema()
    strict = strict_schema(schema)
    wanted: dict[str, Any] = {
        "name": wire_name(output_cls),
        "schema": schema if strict is None else strict,
    }
    description = schema.get("description")
    if description:
        wanted["description"] = description
    if strict is not None:
        wanted["strict"] = True
    return {"type": "json_schema", "json_schema": wanted}


def strict_schema(schema: dict[str, Any]) -> dict[str, Any] | None:
    """The schema under OpenAI's rules for strict mode; `None` where it cannot keep them.

    Every object lists its properties, all of them required, and allows no others; no defaults; a
    `$ref` stands alone.
    """
    strict = copy.deepcopy(schema)
    return strict if _make_strict(strict, strict.get("$defs", {})) else None


def _make_strict(node: Any, definitions: dict[str, Any]) -> bool:
    if not isinstance(node, dict):
        return False  # `true`, which allows anything
    if "$ref" in node and len(node) > 1:
        reference = node.pop("$ref")
        target = definitions.get(str(reference).rpartition("/")[2])
        if not isinstance(target, dict):
            return False
        node.update({**copy.deepcopy(target), **node})
    node.pop("default", None)
    if not node.keys() & {"type", "$ref", "anyOf", "allOf", "enum", "const"}:
        return False  # `Any`
    if node.get("type") == "object":
        if "properties" not in node or node.get("additionalProperties"):
            return False
        node["additionalProperties"] = False
        node["required"] = list(node["properties"])
    if node.get("type") == "array" and "items" not in node:
        return False
    inner = [*node.get("properties", {}).values(), *node.get("$defs", {}).values()]
    inner += [one for name in ("anyOf", "allOf") for one in node.get(name, ())]
    if "items" in node:
        inner.append(node["items"])
    if "oneOf" in node or "prefixItems" in node:
        return False
    return all(_make_strict(one, definitions) for one in inner)


def to_tool(output_cls: type[BaseModel]) -> dict[str, Any]:
    """A tool whose arguments are an object of the class."""
    schema = output_cls.model_json_schema()
    description = schema.pop("description", None) or f"Give a {output_cls.__name__}."
    function = {"name": wire_name(output_cls), "description": description, "parameters": schema}
    return {"type": "function", "function": function}


def wire_name(output_cls: type[BaseModel]) -> str:
    """The class's name in the letters that the wire allows (`Box[int]` has others)."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", output_cls.__name__)[:64]
