"""Stored sums say what the calls say, however they came to be."""

from __future__ import annotations

import contextlib
import math
import random
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lunos_core import CallRecord, LunosServerError, Usage, UsageStore
from lunos_core.accounting import questions, sums
from lunos_core.accounting import store as store_module

NOW = 1_800_000_000.0  # 2027-01-15T08:00 UTC
OLD_STORES = Path(__file__).parent / "old_stores"  # as the code of that version wrote them
OLD_SUMS = (24, 0.0492, 0.018)


def random_calls(count: int, days: float, seed: int = 1) -> Iterator[CallRecord]:
    choose = random.Random(seed)
    for _ in range(count):
        source = choose.choice(["gateway", "catalog", "estimate", None])
        cost = None if source is None else round(choose.random(), 9)
        usage = Usage(
            input_tokens=choose.randrange(1000),
            output_tokens=choose.randrange(100),
            cached_tokens=choose.choice([None, 5]),
            cost=cost,
            cost_source=source,
        )
        yield CallRecord(
            *(choose.choice(["a", "b", "c"]), choose.choice(["m", "n"])),
            *(choose.choice(["/chat/completions", "/embeddings"]), choose.choice([1, 1, 1, 3])),
            *(choose.lognormvariate(0, 1), choose.choice([None, choose.random()])),
            usage,
            choose.choice([None, None, LunosServerError("no", status=500)]),
            time=NOW - choose.random() * days * 86_400,
        )


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[UsageStore]:
    monkeypatch.setattr(sums, "_WORTH", 1)
    with UsageStore(tmp_path / "u.db", clock=lambda: NOW) as store:
        yield store


QUESTIONS: list[dict[str, Any]] = [
    {},
    {"by": ()},
    {"by": "model,endpoint"},
    {"by": ("app", "day"), "since": "7d"},
    {"by": "hour", "since": "30h", "until": "90m"},
    {"by": "day", "since": "2d", "until": "47h", "app": "a"},
    {"since": "10m", "model": "n"},
    {"by": "app", "until": NOW - 1000.5},
    {"by": "day", "since": "2027-01-10", "until": "2027-01-11T13:30"},
]


@pytest.mark.parametrize("asked", QUESTIONS)
def test_sums_and_calls_give_the_same_answer(store: UsageStore, asked: dict[str, Any]) -> None:
    store.add_many(random_calls(1500, 9))
    from_sums = store.summary(**asked)
    with store.database.reading() as connection:
        assert sums.summed_up_to(connection) == 1500
    for statement in "DELETE FROM rollups", "DELETE FROM times", "UPDATE rolled_up SET id = 0":
        store.database.transact(lambda c, statement=statement: c.execute(statement))
    with store.database.reading() as connection:
        question = questions.Question.of(**{"by": ("app",), **asked}, now=NOW)
        assert question.ask(connection) == from_sums


def test_a_question_waits_a_moment_for_the_sums_of_old_calls_and_the_writer_does_the_rest(
    store: UsageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add_many(random_calls(1500, 9))
    whole = store.summary("app,day")
    for statement in "DELETE FROM rollups", "DELETE FROM times", "UPDATE rolled_up SET id = 0":
        store.database.transact(lambda c, statement=statement: c.execute(statement))
    monkeypatch.setattr(sums, "LARGE_CHUNK", 100)
    monkeypatch.setattr(store_module, "_MOMENT", 0.0)
    woken: list[bool] = []
    monkeypatch.setattr(store, "_wake_writer", lambda *, hurry: woken.append(hurry))
    assert store.summary("app,day") == whole
    assert woken == [False]
    with store.database.reading() as connection:
        assert sums.summed_up_to(connection) == 100
    assert store.flush()
    assert store.summary("app,day") == whole
    with store.database.reading() as connection:
        assert sums.summed_up_to(connection) == 1500


def test_every_number_is_what_adding_up_by_hand_gives(store: UsageStore) -> None:
    calls = list(random_calls(800, 3))
    store.add_many(calls)
    groups: dict[Any, list[CallRecord]] = defaultdict(list)
    for call in calls:
        assert call.time is not None
        groups[call.app_id, datetime.fromtimestamp(call.time, UTC).strftime("%Y-%m-%d")].append(
            call
        )
    for row in store.summary(("app", "day")):
        group = groups.pop((row["app"], row["day"]))
        usages = [call.usage for call in group if call.usage is not None]
        seconds = sorted(call.seconds for call in group)
        assert row["calls"] == len(group)
        assert row["errors"] == sum(call.error is not None for call in group)
        assert row["retries"] == sum(call.attempts - 1 for call in group)
        assert row["input_tokens"] == sum(usage.input_tokens for usage in usages)
        assert row["cached_tokens"] == sum(usage.cached_tokens or 0 for usage in usages)
        assert row["cost"] == pytest.approx(sum(usage.cost or 0 for usage in usages), rel=1e-12)
        assert row["p95_seconds"] == seconds[math.ceil(len(seconds) * 0.95) - 1]
    assert not groups


def test_many_calls_give_percentiles_within_five_percent(
    store: UsageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add_many(random_calls(3000, 40))
    exact = store.summary(("app", "model"), since="30d")
    monkeypatch.setattr(questions, "MOST_SORTED", 0)
    names = [name for name in exact[0] if name.endswith("_seconds")]
    for row, about in zip(exact, store.summary(("app", "model"), since="30d"), strict=True):
        assert {name: row[name] for name in row if name not in names} == {
            name: about[name] for name in row if name not in names
        }
        for name in names:
            assert about[name] == pytest.approx(row[name], rel=0.05)


@pytest.mark.parametrize("by", ["user", "tag:feature", "user,day"])
@pytest.mark.parametrize("since", ["1h", "12h", "9d", None])
def test_rows_are_the_same_however_they_are_found(
    store: UsageStore, monkeypatch: pytest.MonkeyPatch, by: str, since: str | None
) -> None:
    choose = random.Random(5)
    store.add_many(
        call._replace(user=choose.choice(["u", None]), tags={"feature": choose.choice("xy")})
        for call in random_calls(1000, 9)
    )
    answers = []
    for share in (0.0, 2.0):  # all rows are looked at, or those of the time by its index
        monkeypatch.setattr(questions, "_MOST_LOOKED_UP", share)
        answers.append(store.summary(by, since=since))
    assert answers[0] == answers[1]
    assert sum(row["calls"] for row in answers[0]) == store.summary((), since=since)[0]["calls"]


@pytest.mark.parametrize("before", ["4d", "90m", "2027-01-12", "2027-01-12T10:20:30"])
def test_pruning_keeps_the_sums_right(store: UsageStore, before: str) -> None:
    calls = list(random_calls(1000, 9))
    store.add_many(calls)
    moment = questions.moment(before, "older_than", NOW)
    old = [call for call in calls if call.time is not None and call.time < moment]
    assert store.prune(before) == len(old)
    kept = store.summary(("day", "app"))
    with UsageStore(str(store.path) + "-2", clock=lambda: NOW) as other:
        other.add_many(call for call in calls if call not in old)
        assert other.summary(("day", "app")) == kept
    store.add_many(old)
    assert sum(row["calls"] for row in store.summary(())) == 1000


def test_the_writer_keeps_the_sums_up(store: UsageStore) -> None:
    for call in random_calls(50, 1):
        store.add(call)
    assert store.flush()
    with store.database.reading() as connection:
        assert sums.summed_up_to(connection) == 50


@pytest.mark.parametrize("version", [1, 2])
def test_a_file_of_an_older_version_is_carried_over(tmp_path: Path, version: int) -> None:
    path = tmp_path / "old.db"
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.executescript((OLD_STORES / f"version_{version}.sql").read_text(encoding="utf-8"))
    with UsageStore(path, clock=lambda: NOW) as store:
        store.add_many(random_calls(10, 1))
        (row,) = store.summary((), until=NOW - 2 * 86_400)
        assert (row["calls"], row["cost"], row["estimated_cost"]) == OLD_SUMS
        assert store.summary(())[0]["calls"] == row["calls"] + 10
        assert {item["tag:feature"] for item in store.summary("tag:feature")} == {"search", None}
    with contextlib.closing(sqlite3.connect(path)) as new:
        assert new.execute("PRAGMA user_version").fetchone() == (3,)


def test_a_process_of_the_version_before_goes_on_writing(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.executescript((OLD_STORES / "version_2.sql").read_text(encoding="utf-8"))
        with UsageStore(path, clock=lambda: NOW) as store:
            calls = store.summary(())[0]["calls"]
            columns = [row[1] for row in old.execute("PRAGMA table_info(calls)")][1:]
            old.execute(
                f"INSERT INTO calls ({', '.join(columns)}) "
                f"SELECT {', '.join(columns)} FROM calls WHERE id = 1"
            )
            old.execute(
                "INSERT INTO sums SELECT 3600, 0, app, model, endpoint, 1, 0, 0, 1, 1, 0, "
                "0, 0, 1, 0, x'', x'' FROM calls WHERE id = 1"
            )
            old.commit()
            assert store.summary(())[0]["calls"] == calls + 1


def test_small_sums_of_estimates_are_whole(store: UsageStore) -> None:
    usage = Usage(input_tokens=1, cost=0.0000003, cost_source="estimate")  # 0.3 millionths
    store.add_many(
        CallRecord("a", "m", "/c", 1, 1.0, None, usage, None, time=NOW - i) for i in range(1000)
    )
    (row,) = store.summary()
    assert row["cost"] == row["estimated_cost"] == 0.0003
