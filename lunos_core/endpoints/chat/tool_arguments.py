"""The arguments of tool calls: read tolerantly, and written so that any server takes them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from lunos_core.wire.text import join_surrogates

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

INVALID_JSON = "INVALID_JSON"
"""The key under which arguments that aren't a JSON object travel, as the model wrote them."""


def read_arguments(arguments: Any) -> dict[str, Any] | None:
    r"""Return the arguments of a whole tool call, or `None` if they aren't an object.

    Nothing, null and an empty list give `{}`. Line breaks in strings, NaN, and JSON within a JSON
    string are accepted, because models write them.

    Args:
        arguments: text as the model wrote it, or an object.

    Example:
        >>> from lunos_core.endpoints.chat.tool_arguments import read_arguments
        >>> read_arguments('"{\\"a\\": 1}"'), read_arguments(" "), read_arguments("[1")
        ({'a': 1}, {}, None)
    """
    if isinstance(arguments, Mapping):
        return dict(arguments)
    if arguments is None or arguments == []:
        return {}
    if not isinstance(arguments, str):
        return None
    if not arguments.strip():
        return {}
    try:
        value = json.loads(arguments, strict=False)
    except (ValueError, RecursionError):
        return None
    # a string within a string is common; deeper nesting is text
    if isinstance(value, str) and value.lstrip().startswith('"'):
        return None
    return read_arguments(value)


def arguments_text(arguments: Any) -> str:
    """Return the arguments of a call in a history, always as the text of a JSON object.

    Strict servers refuse anything else, and with it the whole conversation. NaN becomes null;
    nothing and null become `{}`; broken text is sent under `INVALID_JSON`, so that the model
    sees what it wrote.

    Args:
        arguments: an object, or text as the model wrote it.

    Example:
        >>> from lunos_core.endpoints.chat.tool_arguments import arguments_text
        >>> arguments_text({"a": float("nan")}), arguments_text("[1")
        ('{"a":null}', '{"INVALID_JSON":"[1"}')
    """
    if isinstance(arguments, str) and _is_strict(arguments):
        return join_surrogates(arguments)  # unchanged: that keeps the prompt cache valid
    value = read_arguments(arguments)
    try:
        return _ENCODER.encode(_plain({INVALID_JSON: arguments} if value is None else value))
    except RecursionError:
        return _ENCODER.encode({INVALID_JSON: "nested too deeply"})


def _is_strict(text: str) -> bool:
    """Return whether any server can read the text as a JSON object."""
    try:
        value = json.loads(text, parse_constant=_finite, parse_float=_finite)
        if "\\u" in text:  # half a surrogate pair, escaped, is refused by some
            _ENCODER.encode(value).encode()
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict)


def _finite(number: str) -> float:
    """Return a number that any server can read: 1e999 is valid JSON, but too large for most."""
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(number)
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return join_surrogates(value)
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {join_surrogates(str(name)): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if hasattr(value, "model_dump"):  # pydantic's, which this package doesn't need
        return _plain(value.model_dump(mode="json"))
    return join_surrogates(str(value))
