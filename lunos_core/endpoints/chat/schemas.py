"""JSON schemas of tools and of structured output, in the form that strict servers accept."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any


def with_inline_root(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema whose root is an object and not a reference to one of its definitions.

    Pydantic writes a class that refers to itself as `{"$defs": {…}, "$ref": "#/$defs/Node"}`, which
    servers don't take for the parameters of a function.

    Example:
        >>> from lunos_core.endpoints.chat.schemas import with_inline_root
        >>> with_inline_root({"$defs": {"A": {"type": "object"}}, "$ref": "#/$defs/A"})
        {'type': 'object', '$defs': {'A': {'type': 'object'}}}
    """
    definitions = _definitions(schema)
    target = definitions.get(_name_of(schema.get("$ref")))
    if not isinstance(target, Mapping):
        return dict(schema)
    others = {name: value for name, value in schema.items() if name != "$ref"}
    return {**copy.deepcopy(dict(target)), **others}


def is_recursive(schema: Any) -> bool:
    """Return whether a schema refers to itself, so that its references cannot be inlined.

    Example:
        >>> from lunos_core.endpoints.chat.schemas import is_recursive
        >>> is_recursive({"$defs": {"A": {"items": {"$ref": "#/$defs/A"}}}, "$ref": "#/$defs/A"})
        True
    """
    definitions = _definitions(schema)
    reached = {name: set(_references(node)) for name, node in definitions.items()}

    def reaches(name: str, goal: str, seen: set[str]) -> bool:
        for other in reached.get(name, set()) - seen:
            seen.add(other)
            if other == goal or reaches(other, goal, seen):
                return True
        return False

    return any(reaches(name, name, set()) for name in reached) or "" in set(_references(schema))


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the schema under OpenAI's rules for strict mode; `None` if it can't follow them.

    Every object lists its properties, requires all of them and allows no others. There are no
    defaults, a `$ref` has no siblings, and the root is an object. Unions of classes by a
    discriminator become `anyOf`.

    Example:
        >>> from lunos_core.endpoints.chat.schemas import strict_schema
        >>> strict_schema({"type": "object", "properties": {"a": {"type": "integer"}}})["required"]
        ['a']
        >>> strict_schema({"type": "object", "additionalProperties": {"type": "integer"}}) is None
        True
    """
    strict = copy.deepcopy(with_inline_root(schema))
    if strict.get("type") != "object":
        return None
    return strict if _make_strict(strict, _definitions(strict)) else None


def _make_strict(node: Any, definitions: Mapping[str, Any]) -> bool:
    """Change a node in place; return whether strict mode allows it."""
    if not isinstance(node, dict):
        return False  # `true`, which allows anything
    if "$ref" in node and len(node) > 1:
        target = definitions.get(_name_of(node.pop("$ref")))
        if not isinstance(target, dict):
            return False
        others = dict(node)
        node.update({**copy.deepcopy(target), **others})
    node.pop("default", None)
    if "discriminator" in node:
        del node["discriminator"]
        node["anyOf"] = node.pop("oneOf", [])
    if not node.keys() & {"type", "$ref", "anyOf", "allOf", "enum", "const"}:
        return False  # `Any`
    if node.keys() & _NOT_IN_STRICT:
        return False
    if node.get("type") == "object":
        if "properties" not in node or node.get("additionalProperties"):
            return False
        node["additionalProperties"] = False
        node["required"] = list(node["properties"])
    if node.get("type") == "array" and "items" not in node:
        return False
    return all(_make_strict(inner, definitions) for inner in _inner(node))


def _inner(node: Mapping[str, Any]) -> Iterator[Any]:
    for name in ("properties", "$defs", "definitions"):
        if isinstance(node.get(name), Mapping):
            yield from node[name].values()
    for name in ("anyOf", "allOf"):
        yield from node.get(name, ())
    if "items" in node:
        yield node["items"]


def _definitions(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, Mapping):
        return {}
    return {**(schema.get("definitions") or {}), **(schema.get("$defs") or {})}


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if isinstance(node.get("$ref"), str):
            yield _name_of(node["$ref"])
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _name_of(reference: Any) -> str:
    return str(reference or "#").rpartition("#")[2].rpartition("/")[2]


_NOT_IN_STRICT = frozenset(
    {"oneOf", "not", "prefixItems", "patternProperties", "if", "then", "else", "dependentSchemas"}
)
