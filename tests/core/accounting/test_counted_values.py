"""Which numbers count, and what is made of them."""

from __future__ import annotations

import base64
import os
import stat
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lunos_core import CallRecord, LunosAPIError, LunosError, Usage
from lunos_core.accounting.files import replacing, write_whole
from lunos_core.accounting.observers import CallStart
from lunos_core.accounting.pricing import price_of
from lunos_core.accounting.token_estimate import estimate_tokens
from lunos_core.accounting.totals import History, Row, amount_of, tokens_of
from lunos_core.accounting.usage import MOST_COST, MOST_TOKENS, parse_usage
from lunos_core.catalog.models import ModelInfo
from lunos_core.endpoints.embedding_arrays import EmbeddingArray, join_arrays


def test_the_bounds_of_what_a_call_can_use_are_counted_themselves() -> None:
    assert (MOST_TOKENS, MOST_COST) == (10**12, 1e6)
    at = parse_usage({"prompt_tokens": MOST_TOKENS, "completion_tokens": 0, "cost": MOST_COST})
    assert at == Usage(MOST_TOKENS, 0, MOST_TOKENS, cost=MOST_COST, cost_source="gateway")
    assert parse_usage({"prompt_tokens": MOST_TOKENS + 1, "cost": MOST_COST + 1}) is None
    assert parse_usage({"prompt_tokens": -1, "cost": -0.5}) is None
    assert (tokens_of(MOST_TOKENS), tokens_of(MOST_TOKENS + 1), tokens_of(-1)) == (
        MOST_TOKENS,
        0,
        0,
    )
    assert amount_of(-0.5) is None
    assert amount_of(MOST_COST) == Decimal("1000000.0")


@pytest.mark.parametrize(
    ("sent", "counted"),
    [
        ({"total_tokens": 9, "completion_tokens": 4}, (5, 4, 9)),
        ({"total_tokens": 9}, (9, 0, 9)),
        ({"total_tokens": 3, "completion_tokens": 4}, (0, 4)),
        ({"prompt_tokens": 2, "completion_tokens": 4, "total_tokens": 9}, (2, 4, 9)),
        ({"prompt_tokens": 2, "completion_tokens": 4}, (2, 4, 6)),
    ],
)
def test_what_is_missing_of_three_counts_comes_of_the_others(
    sent: dict[str, Any], counted: tuple[int, ...]
) -> None:
    usage = parse_usage(sent)
    assert usage is not None
    facts = (usage.input_tokens, usage.output_tokens, usage.total_tokens)
    assert facts[: len(counted)] == counted


def test_a_price_is_needed_for_those_tokens_alone_that_were_used() -> None:
    model = ModelInfo("m", input_price=Decimal("0.5"))
    assert price_of(Usage(input_tokens=3, output_tokens=0), model) == Decimal("1.5")
    assert price_of(Usage(input_tokens=3, output_tokens=1), model) is None


def record(cost: float | None, tokens: tuple[int, int]) -> CallRecord:
    usage = Usage(*tokens, sum(tokens), cost=cost)
    return CallRecord("app", "m", "/chat/completions", 1, 0.5, None, usage, None)


def test_a_rows_history_has_the_tokens_of_both_directions() -> None:
    row = Row(History())
    row.add(record(0.25, (3, 4)))
    row.add(record(None, (10, 0)))
    assert [point[1:] for point in row.history.points] == [(0.25, 7), (0.25, 17)]


def test_a_long_history_keeps_its_first_its_last_and_every_other_point() -> None:
    history = History()
    history.points = [(float(n), float(n), n) for n in range(6)]
    history._thin()
    assert [point[2] for point in history.points] == [0, 2, 4, 5]


def test_a_call_that_was_refused_took_no_time_and_no_attempt() -> None:
    start = CallStart("app", "m", "/chat/completions", user="u", tags={"a": "b"})
    error = LunosError("no")
    refused = start.refused(error)
    assert (refused.attempts, refused.seconds, refused.usage) == (0, 0.0, None)
    assert (refused.app_id, refused.user, refused.tags, refused.error) == (
        *("app", "u", {"a": "b"}),
        error,
    )
    assert start.input_bytes == 0


@pytest.mark.parametrize(
    ("part", "least", "most"),
    [
        ({"type": "input_audio", "input_audio": {"data": "A" * 4_000_000}}, 1000, 1000),
        ({"type": "file", "file": {"file_data": "A" * 4_000}}, 50, 5000),
        ({"type": "file", "file": {"file_data": "https://h/a.pdf"}}, 50, 5000),
    ],
)
def test_media_are_estimated_by_the_length_of_their_data(
    part: dict[str, Any], least: int, most: int
) -> None:
    assert least <= estimate_tokens([part]) <= most


def test_longer_media_are_more_tokens() -> None:
    def tokens(kind: str, length: int) -> int:
        return estimate_tokens([{"type": kind, kind: {"data": "A" * length}}])

    assert tokens("input_audio", 8_000_000) == 2000  # 3,000 bytes a token, behind base64
    assert tokens("input_audio", 12_000_000) == 3000
    assert tokens("file", 800_000) > tokens("file", 400_000) >= tokens("file", 300)


def test_rows_of_several_answers_are_joined_in_order() -> None:
    np = pytest.importorskip("numpy")
    first = EmbeddingArray(array=np.ones((2, 3), dtype=np.float32))
    second = EmbeddingArray(array=np.zeros((1, 3), dtype=np.float32))
    assert join_arrays([first]) is first.array
    assert join_arrays([first, second]).tolist() == [[1.0] * 3, [1.0] * 3, [0.0] * 3]
    assert join_arrays([]).shape == (0, 0)
    assert join_arrays([], 5).shape == (0, 5)
    assert join_arrays([]).dtype == np.float32
    assert "array(" not in repr(first)  # a thousand numbers are no help in a log


def test_a_new_file_has_the_rights_that_the_user_gives_new_files(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_whole(tmp_path / "a", b"1")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    (tmp_path / "a").chmod(0o600)
    write_whole(tmp_path / "a", b"2")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
    assert (tmp_path / "a").read_bytes() == b"2"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_new_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    def write_a_part() -> None:
        with replacing(tmp_path / "a") as file:
            file.write(b"a part")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_a_part()
    assert list(tmp_path.iterdir()) == []
    old = os.umask(0)
    try:
        write_whole(tmp_path / "a", b"1")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666


def test_the_estimate_for_an_image_does_not_depend_on_its_size() -> None:
    small, large = (base64.b64encode(b"x" * n).decode() for n in (10, 1_000_000))
    parts = [
        [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}]
        for data in (small, large)
    ]
    assert estimate_tokens(parts[0]) == estimate_tokens(parts[1]) > 0


def test_an_api_error_is_logged_with_its_status_but_not_its_text() -> None:
    from lunos_core.logs import reason_of

    error = LunosAPIError("secret words", status=418, code="teapot")
    assert reason_of(error) == "LunosAPIError (status 418, code teapot)"
    assert reason_of(LunosAPIError("secret words")) == "LunosAPIError"
    assert reason_of(LunosError("ours")) == "LunosError: ours"


def test_a_call_is_counted_at_the_moment_when_it_ended() -> None:
    row = Row(History())
    row.add(CallRecord("a", "m", "/x", 1, 0.5, None, Usage(3, 2, 5, cost=0.5), None), 5.0)
    assert row.history.points == [(5.0, 0.5, 5)]
