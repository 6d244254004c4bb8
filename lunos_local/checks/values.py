"""Small checks on JSON values; each raises a `WireError` that names the path of a bad value.

A check is a function of the value and its path.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Collection
from typing import Any

from lunos_local.errors import WireError

Check = Callable[[Any, str], None]

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w.+-]+=[^;,]*)*;base64,(.*)", re.DOTALL)


def fail(path: str, message: str, code: str | None = None) -> WireError:
    """Return the error for a bad value at `path`."""
    return WireError(f"Invalid value at '{path}': {message}", param=path, code=code)


def missing(path: str) -> WireError:
    """Return the error for a required field that isn't there."""
    return WireError(
        f"Missing required parameter: '{path}'", param=path, code="missing_required_parameter"
    )


def json_type(value: object) -> str:
    """Return JSON's name for the type of `value`."""
    names = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def _expect(ok: bool, value: object, path: str, expected: str) -> None:
    if not ok:
        raise fail(path, f"expected {expected}, got {json_type(value)}", "invalid_type")


def boolean(value: Any, path: str) -> None:
    """Check for true or false."""
    _expect(isinstance(value, bool), value, path, "a boolean")


def string(value: Any, path: str) -> None:
    """Check for a string, which may be empty."""
    _expect(isinstance(value, str), value, path, "a string")


def filled_string(value: Any, path: str) -> None:
    """Check for a string with at least one character."""
    string(value, path)
    if not value:
        raise fail(path, "must not be empty", "empty_string")


def an_object(value: Any, path: str) -> None:
    """Check for a JSON object."""
    _expect(isinstance(value, dict), value, path, "an object")


def array(value: Any, path: str) -> None:
    """Check for a JSON array, which may be empty."""
    _expect(isinstance(value, list), value, path, "an array")


def filled_array(value: Any, path: str) -> None:
    """Check for an array with at least one entry."""
    array(value, path)
    if not value:
        raise fail(path, "must not be empty", "empty_array")


def number(low: float, high: float) -> Check:
    """Return a check for a number from `low` to `high`, inclusive."""

    def check(value: Any, path: str) -> None:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        _expect(is_number, value, path, "a number")
        if not low <= value <= high:
            raise fail(path, f"{value} is not between {low} and {high}", "out_of_range")

    return check


def integer(low: int | None = None, high: int | None = None) -> Check:
    """Return a check for an integer within the given bounds."""

    def check(value: Any, path: str) -> None:
        _expect(isinstance(value, int) and not isinstance(value, bool), value, path, "an integer")
        if low is not None and value < low:
            raise fail(path, f"{value} is less than {low}", "out_of_range")
        if high is not None and value > high:
            raise fail(path, f"{value} is more than {high}", "out_of_range")

    return check


def one_of(options: Collection[str]) -> Check:
    """Return a check for one of the strings in `options`."""
    names = ", ".join(repr(option) for option in options)

    def check(value: Any, path: str) -> None:
        string(value, path)
        if value not in options:
            raise fail(path, f"{value!r} is not one of {names}", "invalid_value")

    return check


def matching(pattern: re.Pattern[str], description: str) -> Check:
    """Return a check for a string that matches `pattern`, described as `description`."""

    def check(value: Any, path: str) -> None:
        string(value, path)
        if not pattern.fullmatch(value):
            raise fail(path, f"expected {description}, got {value!r}", "invalid_value")

    return check


def array_of(check_item: Check, *, most: int | None = None, least: int = 0) -> Check:
    """Return a check for an array whose entries all pass `check_item`."""

    def check(value: Any, path: str) -> None:
        array(value, path)
        if len(value) < least:
            raise fail(path, f"must have at least {least} entries", "empty_array")
        if most is not None and len(value) > most:
            raise fail(path, f"must have at most {most} entries", "array_too_long")
        for i, item in enumerate(value):
            check_item(item, f"{path}[{i}]")

    return check


def string_or_array(most: int | None = None, least: int = 0) -> Check:
    """Return a check for a string or an array of strings."""
    items = array_of(string, most=most, least=least)

    def check(value: Any, path: str) -> None:
        if isinstance(value, str):
            return
        _expect(isinstance(value, list), value, path, "a string or an array of strings")
        items(value, path)

    return check


def fields(table: dict[str, Check], required: Collection[str] = ()) -> Check:
    """Return a check for an object whose fields pass their checks in `table`."""

    def check(value: Any, path: str) -> None:
        an_object(value, path)
        for name in required:
            if value.get(name) is None:
                raise missing(f"{path}.{name}")
        for name, check_field in table.items():
            if value.get(name) is not None:
                check_field(value[name], f"{path}.{name}")

    return check


def base64_text(value: Any, path: str) -> None:
    """Check for a string of bare base64."""
    filled_string(value, path)
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise fail(path, "isn't valid base64", "invalid_base64") from None


def url(media: str | None = None) -> Check:
    """Return a check for an http(s) URL or a base64 `data:` URL, of type `media` if given."""

    def check(value: Any, path: str) -> None:
        filled_string(value, path)
        if value.startswith(("http://", "https://")):
            if len(value.split("://", 1)[1]) < 1:
                raise fail(path, "the URL has no host", "invalid_url")
            return
        match = _DATA_URL.fullmatch(value)
        if match is None:
            raise fail(path, "expected an http(s) URL or a base64 data: URL", "invalid_url")
        if media is not None and not match[1].startswith(media):
            raise fail(path, f"expected a data: URL of type {media}, got {match[1]}", "invalid_url")
        base64_text(match[2], path)

    return check
