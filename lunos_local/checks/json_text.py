"""Parses request bodies within bounds, so that a small body can't fill the memory."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from lunos_local.errors import WireError

MAX_VALUES = 300_000
MAX_DEPTH = 100
# a parsed value takes about this many bytes more than its text
_BYTES_PER_VALUE = 150
# the text exists as bytes, decoded, and as strings
_COPIES_PARSED = 3
# and again while it is hashed, searched and quoted: measured with 18 MB of text
COPIES_ANSWERED = 6


def count_values(raw: bytes) -> int:
    """Return an upper bound for the number of values in a JSON text."""
    return raw.count(b",") + raw.count(b"[") + raw.count(b"{") + 1


def weight(raw: bytes, copies: int = _COPIES_PARSED) -> int:
    """Estimate the memory in bytes that a JSON text takes while it is parsed, or answered."""
    return copies * len(raw) + _BYTES_PER_VALUE * min(count_values(raw), MAX_VALUES)


def parse(raw: bytes) -> Any:
    """Parse a request body.

    Raises:
        WireError: a 400 for text that isn't valid JSON in UTF-8, or that has too many values or
            levels.
    """
    if count_values(raw) > MAX_VALUES:
        raise WireError(
            f"The request body has more than {MAX_VALUES:,} values.", code="too_complex"
        )
    try:
        value = json.loads(raw, parse_constant=_refuse)
        if b"\\u" in raw:
            # half a surrogate pair is valid JSON, but a response could not quote it
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise WireError(
            "The request body isn't valid JSON in UTF-8.", code="invalid_json"
        ) from None
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for item in level for child in _children(item)]
        if not level:
            return value
    raise _too_deep()


def _children(value: Any) -> list[Any]:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [item for item in items if isinstance(item, dict | list)]


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's


def _too_deep() -> WireError:
    return WireError(
        f"The request body is nested more than {MAX_DEPTH} levels deep.", code="nested_too_deeply"
    )
