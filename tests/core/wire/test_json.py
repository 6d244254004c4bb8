"""JSON as servers send it, with orjson and without: the results are the same."""

from __future__ import annotations

import codecs
import math
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from lunos_core import Usage
from lunos_core.wire import json

GOOD = [
    b"{}",
    b'{"a": [1, 2.5, null, true, "\xc3\xa9"]}',
    '"\\u00e9"',
    b"-0.0",
    b'"\\ud83d\\ude00"',
    b"1e308",
]
BAD = [b"", b"{", b"nope", b"[" * 100_000, b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\0\0\0\0"]
# (what a server sends, what is read)
ODD: list[tuple[Any, Any]] = [
    (b"NaN", None),
    (b"[Infinity, 1]", [None, 1]),
    (b'{"a": -Infinity}', {"a": None}),
    (b"1e999", None),
    (b'"\\ud83d"', "\ufffd"),
    (b'{"\\udc00": ["a\\ud83d\\ude00b\\ud83d"]}', {"\ufffd": ["a\U0001f600b\ufffd"]}),
    (b'{"text": "caf\xe9"}', {"text": "caf\ufffd"}),
    (codecs.BOM_UTF8 + b'{"a": 1}', {"a": 1}),
    ("\ufeff[1]", [1]),
]
ENCODINGS = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-8-sig"]


@pytest.fixture(params=["orjson", "the standard library"], autouse=True)
def _parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "orjson":
        monkeypatch.setattr(json, "orjson", None)


@pytest.mark.parametrize("text", GOOD)
def test_json_is_read(text: Any) -> None:
    assert json.loads(text) == orjson.loads(text)


@pytest.mark.parametrize("text", BAD)
def test_what_is_not_json_is_a_value_error(text: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        json.loads(text)


@pytest.mark.parametrize(("text", "value"), ODD)
def test_an_odd_character_or_number_does_not_cost_the_answer(text: Any, value: Any) -> None:
    assert json.loads(text) == value


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("text", ['{"text": "é 😀"}', "[1]", '"ab"'])
def test_every_encoding_of_json_is_read(encoding: str, text: str) -> None:
    assert json.loads(text.encode(encoding)) == orjson.loads(text)


def test_a_reader_of_streams_gets_the_halves_of_a_character() -> None:
    assert json.loads(b'"\\ud83d"', keep_halves=True) == "\ud83d"


def test_half_characters_of_a_history_can_be_sent() -> None:
    history = {"messages": [{"content": "a\ud83d", "\ude00": "\ud83d\ude00"}]}
    sent = '{"messages":[{"content":"a\ufffd","\ufffd":"\U0001f600"}]}'
    assert json.dumps(history) == sent.encode()


def test_what_json_cannot_carry_is_refused() -> None:
    assert json.dumps({"a": "\u00e9", "b": [1, None]}) == '{"a":"\u00e9","b":[1,null]}'.encode()
    assert json.dumps({"a": 1 << 70}) == b'{"a":1180591620717411303424}'
    for wrong in (math.nan, math.inf):
        with pytest.raises(ValueError, match="JSON"):
            json.dumps({"a": wrong})
    # orjson would write the last two: what can be sent doesn't depend on what is installed
    for odd in (object(), datetime(2026, 1, 1, tzinfo=UTC), Usage(1)):
        with pytest.raises(TypeError):
            json.dumps({"a": odd})
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="nested too deeply"):
        json.dumps(deep)
