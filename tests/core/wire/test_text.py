"""Text in any encoding, and characters that a server cut in two."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from lunos_core.wire.sse import PlainPieces
from lunos_core.wire.text import TextPieces, decimal_of, decode, flag_of, join_surrogates


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        ("{é}".encode(), "{é}"),
        ("\ufeff{é}".encode(), "{é}"),
        ("\ufeff\ufeffé".encode(), "\ufeffé"),
        (b'{"\xff"}', '{"\ufffd"}'),
        (b"\xff", "\ufffd"),
        *(("{}".encode(name), "{}") for name in ("utf-16-le", "utf-16-be")),
        *(("{}".encode(name), "{}") for name in ("utf-32-le", "utf-32-be", "utf-16", "utf-32")),
        *(("{".encode(name), "{") for name in ("utf-16-le", "utf-16-be")),
        # without a zero byte, the byte order mark alone tells
        ("\ufeff中文".encode("utf-16-le"), "中文"),
        ("\ufeff中文".encode("utf-16-be"), "中文"),
        # what looks like UTF-16 and is none
        (b"{\0\0\xd8", "{\0\0\ufffd"),
        (b"\xff\xfe{", "\ufffd\ufffd{"),
        (b"{}}}}\0", "{}}}}\0"),
    ],
)
def test_an_answer_is_read_in_its_encoding(data: bytes, text: str) -> None:
    assert decode(data) == text
    assert decode(bytearray(data)) == text


@pytest.mark.parametrize(
    ("given", "joined"),
    [
        ("plain é", "plain é"),
        ("\ud83d\ude00", "😀"),
        ("a\ud800", "a\ufffd"),
        ("\udfffb", "\ufffdb"),
        ("\ud7ff\ue000", "\ud7ff\ue000"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
    ],
)
def test_halves_of_characters_are_joined(given: str, joined: str) -> None:
    assert join_surrogates(given) == joined


@pytest.mark.parametrize(
    ("given", "shown", "pieces"),
    [
        (["a", "", "é"], ["a", "", "é", ""], ["a", "é"]),
        (["a\ud83d", "\ude00b"], ["a", "😀b", ""], ["a", "😀b"]),
        (["\ud83d", "\ude00"], ["", "😀", ""], ["😀"]),
        (["\ud83d", "b"], ["", "\ufffdb", ""], ["\ufffdb"]),
        (["\ud83d", "", "\ude00"], ["", "", "😀", ""], ["😀"]),
        (["\ud83d", "\ud83d", "\ude00"], ["", "\ufffd", "😀", ""], ["\ufffd", "😀"]),
        (["a\ud800"], ["a", "\ufffd"], ["a", "\ufffd"]),
        (["b\udbff"], ["b", "\ufffd"], ["b", "\ufffd"]),
        (["\ude00b\ud83d\n"], ["\ufffdb\ufffd\n", ""], ["\ufffdb\ufffd\n"]),
    ],
)
def test_a_first_half_waits_for_the_second(
    given: list[str], shown: list[str], pieces: list[str]
) -> None:
    text = TextPieces()
    assert [*map(text.add, given), text.end()] == shown
    assert text.pieces == pieces
    assert text.whole == "".join(pieces)
    assert (text.end(), text.pieces) == ("", pieces)


def test_a_body_without_events_is_given_as_it_comes() -> None:
    plain = PlainPieces()
    assert [plain.feed(b"a\n\n"), plain.feed(b""), plain.close()] == [[b"a\n\n"], [], []]


@pytest.mark.parametrize(
    ("value", "flag"),
    [
        *((true, True) for true in (True, 1, "true", " True\n", "1", "YES")),
        *((false, False) for false in (False, 0, "false", "FALSE", " 0", "no")),
        *((none, None) for none in (None, 1.0, 2, "", "on", b"1", [1])),
    ],
)
def test_a_flag_is_read_in_the_forms_that_servers_write(value: Any, flag: bool | None) -> None:
    assert flag_of(value) is flag


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *((0.1, "0.1"), (-3, "-3"), (" 1e-7 ", "1E-7"), ("$5", "5"), ("5 USD", "5")),
        *(("$ 1,234,567.5", "1234567.5"), ("-1,234", "-1234"), ("+1,234.", "1234")),
        *(("1" * 40, "1" * 40), ("1" * 41, None), ("$" + "1" * 40, "1" * 40)),
        *(("1,23", None), ("1,2345", None), ("1234,567", None), (",123", None), ("5$", None)),
        *((True, None), (None, None), (b"1", None), ("", None), ("NaN", None), ("inf", None)),
        *((float("nan"), None), (float("inf"), None), (10**40, None)),
    ],
)
def test_a_number_is_read_exactly_or_not_at_all(value: Any, number: str | None) -> None:
    result = decimal_of(value)
    assert result == (None if number is None else Decimal(number))
    if number is not None:
        assert str(result) == str(Decimal(number))
