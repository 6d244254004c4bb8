"""Points in time and groups of a question to a store, by their values."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from lunos_core.accounting.questions import Question, is_store, moment

NOW = 1_000_000_000.0
DAY = 86_400


@pytest.mark.parametrize(
    ("said", "time"),
    [
        *(("30s", NOW - 30), (" 5 m ", NOW - 300), ("12h", NOW - 43_200), ("7d", NOW - 7 * DAY)),
        *(("2w", NOW - 14 * DAY), ("1.5h", NOW - 5400), ("1970-01-02", DAY), ("0d", NOW)),
        *(("1970-01-02T01:00", DAY + 3600), ("1970-01-02T01:00+01:00", DAY)),
        *((datetime(1970, 1, 2), DAY), (datetime(1970, 1, 2, tzinfo=UTC), DAY)),
        (datetime(1970, 1, 2, tzinfo=timezone(timedelta(hours=1))), DAY - 3600),
        *((7, 7.0), (7.5, 7.5), (-1, -1.0)),
    ],
)
def test_a_point_in_time_is_read_in_utc(said: Any, time: float) -> None:
    assert moment(said, "since", NOW) == time


@pytest.mark.parametrize(
    "said",
    ["soon", "7y", "d7", "1234567890d", "7d ago", "", True, math.inf, math.nan, None, [1], 10**400],
)
def test_an_invalid_point_in_time_is_refused_by_its_name(said: Any) -> None:
    with pytest.raises(ValueError, match=r'until must be such as "7d"'):
        moment(said, "until", NOW)


@pytest.mark.parametrize(
    ("since", "until"), [("1d", "7d"), ("2026-02-01", "2026-01-31"), (6, 5.5), ("1d", 0)]
)
def test_a_span_that_ends_before_it_begins_is_refused(since: Any, until: Any) -> None:
    with pytest.raises(ValueError, match=f"^since={since!r} is after until={until!r}$"):
        Question.of((), since=since, until=until, now=NOW)
    turned = Question.of((), since=until, until=since, now=NOW)
    assert turned.since < turned.until
    assert Question.of((), since=since, until=since, now=NOW).since >= 0  # of no length: empty


def test_a_question_names_each_group_once_and_filters_by_what_is_given() -> None:
    question = Question.of("app, day,app,tag:x", since="1d", app="a", user="u", now=NOW)
    assert question == Question(
        ("app", "day", "tag:x"), NOW - DAY, math.inf, {"app": "a", "user": "u"}
    )
    assert Question.of((), until=5, model="m", now=NOW) == Question(
        (), -math.inf, 5.0, {"model": "m"}
    )


@pytest.mark.parametrize("name", ["tag:", "tag", "Tag:x", "apps", "", 7, None, ["app"]])
def test_a_group_that_no_store_has_is_refused_with_those_that_it_has(name: Any) -> None:
    with pytest.raises(ValueError, match="by takes app, user, model, endpoint, day, hour and tag:"):
        Question.of([name], now=NOW)


@pytest.mark.parametrize("name", ["app", "model", "user"])
def test_a_filter_is_a_text(name: str) -> None:
    only: dict[str, Any] = {name: 7}
    with pytest.raises(ValueError, match=f"{name} must be a str, not int"):
        Question.of((), now=NOW, **only)


def test_a_file_is_a_store_by_how_it_begins(tmp_path: Path) -> None:
    begins = {"a": b"SQLite format 3\0", "b": b"SQLite format 3\0" * 2, "c": b"SQLite format 3"}
    for name, data in begins.items():
        (tmp_path / name).write_bytes(data)
    assert [is_store(tmp_path / name) for name in "abcd"] == [True, True, False, False]
