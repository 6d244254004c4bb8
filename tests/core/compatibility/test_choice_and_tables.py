"""Broken answers in one line, the models that a check asks, tables, and parts of local files."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import Any

import pytest

from lunos_core import (
    LunosConfigError,
    LunosConnectionError,
    LunosStreamInterruptedError,
    ModelInfo,
)
from lunos_core.accounting.report import aligned, app_table, visible
from lunos_core.compatibility.advice import one_line
from lunos_core.compatibility.probes import choose_models
from lunos_core.endpoints.chat.content_parts import part_of_file

URL = "http://127.0.0.1:9/v1"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (LunosConnectionError("cut", status=200), "cut (status 200)"),
        (LunosStreamInterruptedError("cut", status=200), "cut (status 200)"),
        (
            ValueError("\u202eodd \U0001f469\u200d\U0001f4bb"),
            "\\u202eodd \U0001f469\u200d\U0001f4bb",
        ),
    ],
)
def test_an_answer_that_broke_off_isnt_called_a_missing_gateway(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, line: str
) -> None:
    monkeypatch.setenv("LUNOS_BASE_URL", URL)
    assert one_line(error) == line


@pytest.mark.parametrize("error", [LunosConfigError("bad"), ValueError("bad")])
def test_an_error_without_a_call_is_explained_without_the_environment(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setenv("LUNOS_BASE_URL", "no URL")
    assert one_line(error) == "bad"


def test_a_check_asks_well_known_models_else_the_cheapest_that_fit() -> None:
    def model(id: str, price: str, *capabilities: str) -> ModelInfo:
        return ModelInfo(id, input_price=Decimal(price), capabilities=capabilities)

    listed = [
        model("a/dear", "2", "chat"),
        model("a/cheap", "1", "chat-completion"),
        model("a/says", "1", "text-to-speech"),
        model("openai/text-embedding-3-small", "9", "embeddings"),
        model("a/embeds", "1", "embeddings"),
    ]
    chosen = choose_models(listed, None)
    assert (chosen["chat"], chosen["speech"]) == ("a/cheap", "a/says")
    assert chosen["embedding"] == "openai/text-embedding-3-small"
    assert chosen["image"] == "openai/dall-e-3"  # none is listed: the well-known name is tried
    assert choose_models(listed, "a/dear") == {**chosen, "chat": "a/dear"}


def test_columns_between_the_first_and_the_numbers_are_left_out_first() -> None:
    lines = [["name", "reads", "in", "out"], ["a", "text,image", "1", "22"]]
    assert aligned(lines, 2).splitlines() == [
        "name  reads       in  out",
        "a     text,image   1   22",
    ]
    assert aligned(lines, 2, 24).splitlines() == ["name  in  out", "a      1   22"]
    assert aligned(lines, 2, 5).splitlines() == ["name  out", "a      22"]
    assert aligned([["a"]], 1, sys.maxsize) == "a"


def test_apps_are_added_up_and_named_without_obeying_them() -> None:
    numbers = {"calls": 1, "input_tokens": 2, "output_tokens": 3, "errors": 0, "retries": 0}
    numbers |= {"cached_tokens": 0, "reasoning_tokens": 0}
    rows: list[dict[str, Any]] = [
        {"app_id": "total", **numbers, "cost": 0.25},
        {"app_id": "total", **numbers, "cost": None},
        {"app_id": "\x1b[2J", **numbers, "cost": None},
    ]
    assert [line.split() for line in app_table(rows).splitlines()[1:]] == [
        ["total", "2", "10", "0.250000"],
        ["\\x1b[2J", "1", "5", "-"],
        ["total", "3", "15", "0.250000"],
    ]


def test_characters_that_a_text_may_keep_stay() -> None:
    assert visible("a\n\x9b\u200d", keep="\n\u200d") == "a\n\\x9b\u200d"


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.PNG", b"\x89PNG", "image_url"),
        ("a.webp", b"RIFF", "image_url"),
        ("a", b"%PDF-1.7", "file"),
        ("a.pdf", b"text after all", "text"),
        ("a.txt", "Grüße".encode(), "text"),
        ("empty", b"", "text"),
    ],
)
def test_a_local_file_is_the_part_that_it_is(name: str, data: bytes, kind: str) -> None:
    assert part_of_file(name, data)["type"] == kind


def test_a_local_file_that_is_none_of_these_is_named() -> None:
    with pytest.raises(ValueError, match=r"a\.zip is neither an image, nor a PDF, nor text"):
        part_of_file("a.zip", b"PK\xff\xfe")
    with pytest.raises(ValueError, match=r"a\.png is empty"):
        part_of_file("a.png", b"")
