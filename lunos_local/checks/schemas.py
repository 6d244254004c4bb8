"""Checks that JSON schemas are well formed and small enough to generate values for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lunos_local.checks import values
from lunos_local.checks.values import Check, fail

MAX_SUBSCHEMAS = 20_000
MAX_LENGTH = 10_000
MAX_ITEMS = 1_000
MAX_OPTIONS = 1_000
MAX_PATTERN = 1_000
# more repetitions than `MAX_ITEMS`
_REPETITION = re.compile(r"\{\d*,?\d{4,}")
_FINITE = values.number(-1e300, 1e300)


def _pattern(value: Any, path: str) -> None:
    values.string(value, path)
    if len(value) > MAX_PATTERN or _REPETITION.search(value):
        raise fail(path, "the pattern is too long or repeats too often", "schema_too_large")


def _at_most(limit: int) -> Check:
    def check(value: Any, path: str) -> None:
        values.number(0, float("inf"))(value, path)
        if value > limit or value != int(value):
            raise fail(path, f"expected an integer up to {limit:,}", "schema_too_large")

    return check


def _options(value: Any, path: str) -> None:
    values.filled_array(value, path)
    if len(value) > MAX_OPTIONS:
        raise fail(path, f"must have at most {MAX_OPTIONS:,} entries", "schema_too_large")


def _positive(value: Any, path: str) -> None:
    _FINITE(value, path)
    if value <= 0:
        raise fail(path, "must be more than 0", "out_of_range")


_KEYWORDS: dict[str, Check] = {
    "enum": _options,
    "pattern": _pattern,
    "minLength": _at_most(MAX_LENGTH),
    "maxLength": _at_most(10**9),
    "minItems": _at_most(MAX_ITEMS),
    "maxItems": _at_most(10**9),
    "minimum": _FINITE,
    "maximum": _FINITE,
    "exclusiveMinimum": _FINITE,
    "exclusiveMaximum": _FINITE,
    "multipleOf": _positive,
    "required": values.array_of(values.string),
    "format": values.string,
    "$ref": values.string,
}
_BY_NAME = ("properties", "$defs", "definitions")
_BY_INDEX = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = ("items", "additionalProperties", "not")


def check_schema(value: Any, path: str) -> None:
    """Check a JSON schema and its subschemas; a `WireError` names the place of an error."""
    waiting: list[tuple[Any, str]] = [(value, path)]
    count = 0
    while waiting:
        schema, place = waiting.pop()
        count += 1
        if count > MAX_SUBSCHEMAS:
            raise fail(path, f"has more than {MAX_SUBSCHEMAS:,} subschemas", "schema_too_large")
        if isinstance(schema, bool):
            continue
        values.an_object(schema, place)
        for name, check in _KEYWORDS.items():
            value = schema.get(name)
            is_draft_4 = name.startswith("exclusive") and isinstance(value, bool)
            if value is not None and not is_draft_4:
                check(value, f"{place}.{name}")
        waiting += _subschemas(schema, place)


def _subschemas(schema: dict[str, Any], place: str) -> Iterator[tuple[Any, str]]:
    for name in (*_BY_NAME, *_BY_INDEX, *_SINGLE):
        value, path = schema.get(name), f"{place}.{name}"
        if value is None:
            continue
        if name in _BY_NAME:
            values.an_object(value, path)
            yield from ((child, f"{path}.{key}") for key, child in value.items())
        elif name in _BY_INDEX or isinstance(value, list):  # `items` was a list before 2020-12
            values.filled_array(value, path)
            yield from ((child, f"{path}[{i}]") for i, child in enumerate(value))
        else:
            yield value, path
