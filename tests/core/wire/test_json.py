"""JSON without orjson: the standard library's way gives the same, and fails in the same way."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest

from lunos_core.wire import json
from lunos_core.wire.json import _loads

GOOD = [
    b"{}",
    b'{"a": [1, 2.5, null, true, "\xc3\xa9"]}',
    '"\\u00e9"',
    b"-0.0",
    b'"\\ud83d\\ude00"',
    b"1e308",
]
BAD = [
    b"",
    b"{",
    b"nope",
    b"NaN",
    b"[Infinity]",
    b"-Infinity",
    b"1e999",
    b'"\\ud83d"',
    b"[" * 100_000,
    b"\xff",
]


@pytest.mark.parametrize("text", GOOD)
def test_what_is_json_is_read_alike(text: Any) -> None:
    assert _loads(text) == orjson.loads(text) == json.loads(text)


@pytest.mark.parametrize("text", BAD)
def test_what_is_none_is_a_value_error_alike(text: Any) -> None:
    for read in (_loads, json.loads):
        with pytest.raises(ValueError, match=r"."):  # each says it in its own words
            read(text)


@pytest.mark.parametrize("with_orjson", [True, False])
def test_what_json_cannot_carry_is_refused_with_or_without(
    monkeypatch: pytest.MonkeyPatch, with_orjson: bool
) -> None:
    if not with_orjson:
        monkeypatch.setattr(json, "orjson", None)
    assert json.dumps({"a": "\u00e9", "b": [1, None]}) == '{"a":"\u00e9","b":[1,null]}'.encode()
    assert json.dumps({"a": 1 << 70}) == b'{"a":1180591620717411303424}'
    for wrong in (math.nan, math.inf, "\ud83d"):
        with pytest.raises(ValueError, match=r"JSON|surrogate"):
            json.dumps({"a": wrong})
    with pytest.raises(TypeError):
        json.dumps({"a": object()})
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="nested too deeply"):
        json.dumps(deep)
