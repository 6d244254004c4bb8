"""What models said before, made fit for the wire, so that a saved conversation can go on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from lunos_core.wire.text import join_surrogates

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

INVALID_ARGUMENTS = "invalid_arguments"
"""The key under which arguments that aren't a JSON object travel, as the model wrote them."""


def arguments_text(arguments: Any) -> str:
    """Return the arguments of a call in a history, always as the text of a JSON object.

    Strict servers refuse anything else, and with it the whole conversation. NaN becomes null;
    nothing and null become `{}`; broken text is carried under `INVALID_ARGUMENTS`, so that the
    model sees what it wrote.

    Args:
        arguments: an object, or text as the model wrote it.

    Example:
        >>> arguments_text({"a": float("nan")}), arguments_text("[1")
        ('{"a":null}', '{"invalid_arguments":"[1"}')
    """
    value = arguments
    if isinstance(arguments, str):
        value, is_strict = _parse(arguments)
        if is_strict and isinstance(value, dict):
            return join_surrogates(arguments)  # as it came: that keeps the prompt cache valid
    if value is None:
        value = {}
    if not isinstance(value, Mapping):
        value = {INVALID_ARGUMENTS: arguments}
    try:
        return _ENCODER.encode(_plain(value))
    except RecursionError:
        return _ENCODER.encode({INVALID_ARGUMENTS: "nested too deeply"})


def _parse(text: str) -> tuple[Any, bool]:
    """Return the value of JSON text, and whether any server can read it."""
    constants: list[str] = []
    for strict in (True, False):  # models write line breaks into strings
        try:
            decoder = json.JSONDecoder(strict=strict, parse_constant=constants.append)
            return decoder.decode(text), strict and not constants
        except RecursionError:
            break
        except ValueError:
            constants.clear()
    return ({INVALID_ARGUMENTS: text} if text.strip() else None), False


def _plain(value: Any) -> Any:
    """Return the value with nothing in it that JSON cannot carry."""
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
    return join_surrogates(str(value))
