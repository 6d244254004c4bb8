"""Rows, reservations and percentiles of a store, by exact values."""

from __future__ import annotations

import atexit
import gc
import math
import sqlite3
import struct
import sys
import threading
import time
import types
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lunos_core import (
    CallRecord,
    LunosBudgetError,
    LunosConfigError,
    LunosServerError,
    Usage,
    UsageStore,
)
from lunos_core.accounting import admission, sums, writer
from lunos_core.accounting.admission import Admissions
from lunos_core.accounting.budgets import Budget, Scope
from lunos_core.accounting.database import Database
from lunos_core.accounting.histograms import (
    add_functions,
    counts_of,
    percentile,
    sorted_times,
)
from lunos_core.accounting.memory import MemoryStore
from lunos_core.accounting.questions import NUMBERS
from lunos_core.accounting.schema import (
    COLUMNS,
    RESERVE,
    dollars,
    picodollars,
    row_of,
    settle,
)
from lunos_core.accounting.spending import Spending
from lunos_core.accounting.sums import DAY, HOUR, pieces
from lunos_core.accounting.writer import Writer

CALL = CallRecord("app", "m", "/x", 1, 0.5, None, None, None)
NOW = 1_800_000_000.0  # 2027-01-15T08:00 UTC


def row(call: CallRecord, **expected: Any) -> tuple[Any, Any]:
    told = dict(zip(COLUMNS, row_of(call, 7.0, ("team",)), strict=True))
    return {name: told[name] for name in expected}, expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"at": 7.0, "status": "ok", "http_status": None, "retries": 0, "seconds": 0.5}),
        ({"time": 3.0}, {"at": 3.0}),
        ({"attempts": 3}, {"retries": 2}),
        ({"attempts": 0}, {"retries": 0}),
        ({"app_id": None}, {"app": "Unknown"}),
        ({"app_id": "a\ud83d"}, {"app": "a?"}),
        ({"seconds": -1.0}, {"seconds": 0.0}),
        ({"seconds": 1e9}, {"seconds": 0.0}),
        ({"seconds": 999_999_999}, {"seconds": 999_999_999.0}),
        ({"seconds": math.nan}, {"seconds": 0.0}),
        ({"first_token_seconds": 0.0}, {"first_token_seconds": 0.0}),
        ({"first_token_seconds": -0.1}, {"first_token_seconds": None}),
        (
            {"error": LunosServerError("no", status=503)},
            {"status": "LunosServerError", "http_status": 503},
        ),
        ({"error": LunosBudgetError("no"), "attempts": 0}, {"status": "refused", "retries": 0}),
        ({"error": LunosBudgetError("no"), "attempts": 1}, {"status": "LunosBudgetError"}),
        (
            {"tags": {"a": "1", "user": "u"}, "metadata": {"team": 7, "b": 2}},
            {"tags": '{"a": "1", "team": "7"}', "user": "u"},
        ),
        ({"metadata": {"team": None}, "user": "v"}, {"tags": None, "user": "v"}),
        (
            {"usage": Usage(3, 2, 5, input_audio_tokens=1, output_audio_tokens=2, cost=0.5)},
            {"input_tokens": 3, "output_tokens": 2, "audio_tokens": 3, "cost": 5 * 10**11}
            | {"cached_tokens": None},
        ),
        (
            {"usage": Usage(3, 2, 5, cached_tokens=0, cache_write_tokens=1, reasoning_tokens=2)},
            {"cached_tokens": 0, "cache_write_tokens": 1, "reasoning_tokens": 2}
            | {"audio_tokens": None, "cost": None},
        ),
    ],
)
def test_a_call_is_this_row(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    told, wanted = row(CALL._replace(**changes), **expected)
    assert told == wanted


def test_money_is_whole_picodollars() -> None:
    assert picodollars(None) is None
    assert picodollars(Decimal("0.1")) == 10**11
    assert picodollars(Decimal("1e-12")) == 1
    assert dollars(10**12 + 1) == Decimal("1.000000000001")


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    database = Database(str(tmp_path / "u.db"))
    assert database.connection is not None
    yield database.connection
    database.close()


@pytest.mark.parametrize(
    ("settled", "now", "left"),
    [
        ([], 99.0, {"a": 100, "b": 100, "shared": 100}),  # nothing ended, nothing is looked at
        ([("a", None)], 0.0, {"b": 100, "shared": 100}),
        ([("shared", 30), ("shared", 20)], 0.0, {"a": 100, "b": 100, "shared": 50}),
        ([("shared", 60), ("shared", 40)], 0.0, {"a": 100, "b": 100}),
        ([("shared", 99), ("a", None)], 9.9, {"b": 100, "shared": 1}),
        ([("a", 100)], 0.0, {"a": 0, "b": 100, "shared": 100}),  # not shared: it ends as a whole
        ([("none", None)], 10.0, {"b": 100, "shared": 100}),  # expired
        ([("none", 0)], 10.1, {"b": 100, "shared": 100}),
    ],
)
def test_reservations_end_as_a_whole_or_in_parts(
    connection: sqlite3.Connection, settled: Any, now: float, left: dict[str, int]
) -> None:
    for name, expires, certain in (("a", 10.0, 1), ("b", 20.0, 0), ("shared", 20.0, 2)):
        row = (name, 0.0, expires, "app", None, '{"t": "1"}', "m", 100, 5, certain)
        connection.execute(RESERVE, row)
    settle(connection, settled, now)
    rows = connection.execute("SELECT id, cost FROM reservations ORDER BY id")
    assert dict(rows) == left
    assert connection.execute("SELECT tags FROM reservations LIMIT 1").fetchone() == ('{"t": "1"}',)


@pytest.mark.parametrize(
    ("percent", "value"),
    [(1, 1.0), (50, 2.0), (51, 3.0), (75, 3.0), (76, 4.0), (99, 4.0), (100, 4.0)],
)
def test_a_percentile_is_the_nearest_rank(percent: int, value: float) -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], percent) == value
    assert percentile([(1.0, 1), (2.0, 1), (3.0, 1), (4.0, 1)], percent) == value
    assert percentile([(1.0, 25), (2.0, 25), (3.0, 25), (4.0, 25)], percent) == value
    assert percentile([], percent) is None


def test_times_are_counted_in_buckets_and_packed_as_they_are() -> None:
    connection = sqlite3.connect(":memory:")
    add_functions(connection)
    connection.execute("CREATE TABLE t (s REAL)")
    times = [0.0, 1e-6, 1e-6, 2.0, None, 0.5]
    connection.executemany("INSERT INTO t VALUES (?)", [(time,) for time in times])
    ((counted, packed),) = connection.execute("SELECT histogram(s), packed(s) FROM t")
    middles = counts_of(counted)
    assert [count for _, count in middles] == [3, 1, 1]
    for (middle, _), second in zip(middles, (1e-6, 0.5, 2.0), strict=True):
        assert middle / 1.04 <= second * 1.0001 <= middle * 1.04
    assert middles[0][0] == pytest.approx(1e-6 * 1.04**0.5)
    assert [bucket for bucket, _ in struct.iter_unpack("<HI", counted)] == [
        math.floor(math.log(second / 1e-6) / math.log(1.04)) for second in (1e-6, 0.5, 2.0)
    ]
    assert sorted_times(packed) == [0.0, 1e-6, 1e-6, 0.5, 2.0]
    ((merged,),) = connection.execute("SELECT merged(?, ?)", (counted, counted))
    assert [count for _, count in counts_of(merged)] == [6, 2, 2]
    joined = "SELECT packed(p), histogram(h) FROM (SELECT ? AS p, ? AS h UNION ALL SELECT ?, ?)"
    ((both, twice),) = connection.execute(joined, (packed, counted) * 2)
    assert (len(both), twice) == (2 * len(packed), merged)
    connection.close()


@pytest.mark.parametrize(
    ("since", "until", "spans", "cut"),
    [
        (0.0, 0.0, (DAY, HOUR), []),
        (5.0, 4.0, (DAY, HOUR), []),
        (5.0, 9.0, (DAY, HOUR), [(0, 5.0, 9.0)]),
        (5.0, 9.0, (), [(0, 5.0, 9.0)]),
        (0.0, DAY, (DAY, HOUR), [(DAY, 0, DAY)]),
        (HOUR, DAY, (DAY, HOUR), [(HOUR, HOUR, DAY)]),
        (-math.inf, math.inf, (DAY, HOUR), [(DAY, -math.inf, math.inf)]),
        (
            HOUR - 1.0,
            2 * DAY + HOUR + 1.0,
            (DAY, HOUR),
            [
                *((0, HOUR - 1.0, HOUR), (HOUR, HOUR, DAY), (DAY, DAY, 2 * DAY)),
                *((HOUR, 2 * DAY, 2 * DAY + HOUR), (0, 2 * DAY + HOUR, 2 * DAY + HOUR + 1.0)),
            ],
        ),
    ],
)
def test_a_stretch_of_time_is_cut_into_days_hours_and_rests(
    since: float, until: float, spans: Any, cut: list[Any]
) -> None:
    assert list(pieces(since, until, spans)) == cut


def calls() -> Iterator[CallRecord]:
    for i, (app, cost, source) in enumerate(
        [("b", 0.5, "gateway"), ("b", 0.25, "estimate"), ("a", 0.875, "catalog"), ("c", None, None)]
    ):
        usage = None if cost is None else Usage(10 + i, i, 10, cost=cost, cost_source=source)
        yield CALL._replace(
            app_id=app, usage=usage, seconds=1.0 + i, time=NOW - 3600 * i, tags={"t": f"{i % 2}"}
        )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[UsageStore]:
    with UsageStore(tmp_path / "u.db", clock=lambda: NOW) as opened:
        opened.add_many(calls())
        yield opened


def test_a_summary_is_exact_and_the_most_expensive_comes_first(store: UsageStore) -> None:
    first, *others = store.summary("app")
    assert first == {
        "app": "a",
        **dict.fromkeys(NUMBERS, 0),
        "calls": 1,
        "input_tokens": 12,
        "output_tokens": 2,
        "cost": 0.875,
        **dict.fromkeys(("p50_seconds", "p95_seconds", "p99_seconds"), 3.0),
        "estimated_cost": 0.0,
        "first_token_p50_seconds": None,
    }
    told = [(row["app"], row["calls"], row["cost"], row["estimated_cost"]) for row in others]
    assert told == [("b", 2, 0.75, 0.25), ("c", 1, None, 0.0)]
    assert [row["p50_seconds"] for row in others] == [1.0, 4.0]
    assert [row["p95_seconds"] for row in others] == [2.0, 4.0]


def test_half_of_the_first_pieces_came_by_their_median(tmp_path: Path) -> None:
    with UsageStore(tmp_path / "u.db", clock=lambda: NOW) as store:
        times = [float(i) for i in range(1, 101)]
        store.add_many([CALL._replace(first_token_seconds=seconds) for seconds in times])
        (row,) = store.summary("app")
    assert row["first_token_p50_seconds"] == 50.0


def test_sums_have_a_row_for_each_hour_and_day_and_times_one_for_each_day(
    store: UsageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sums, "_WORTH", 4)
    counts = "SELECT (SELECT COUNT(*) FROM rollups), (SELECT COUNT(*) FROM times)"

    def rows(connection: sqlite3.Connection) -> list[Any]:
        added = [sums.carry_on(connection, 2), connection.execute(counts).fetchone()]
        return [*added, sums.summed_up_to(connection)]

    told = store.summary("app")
    store.add_many(calls())
    assert store.database.transact(rows) == [False, (7, 6), 8]  # 4 hours and 3 days of apps, twice
    assert [row["calls"] for row in store.summary("app")] == [2 * row["calls"] for row in told]


@pytest.mark.parametrize(
    ("worked", "naps"), [([True, True], 0), ([False, True], 1), ([False, False], 2)]
)
def test_the_writer_waits_only_where_it_could_not_write(
    monkeypatch: pytest.MonkeyPatch, worked: list[bool], naps: int
) -> None:
    slept: list[float] = []

    class Store:
        closed = holds = False

        def flush(self) -> bool:
            mine._hurry.set()
            self.closed = not worked  # closed meanwhile: no reason to wait
            if self.closed or worked[0]:  # after a failure it wakes itself
                mine._wake.set()
            return bool(worked) and worked.pop(0)

    store: Any = Store()
    mine = Writer(store)
    mine._wake.set()
    mine._hurry.set()
    monkeypatch.setattr(time, "sleep", slept.append)
    mine._run()
    assert slept == [writer.DELAY] * naps
    assert writer.DELAY == 0.5


@pytest.mark.parametrize("is_child", [True, False])
def test_what_is_pending_when_a_process_ends_is_written(
    monkeypatch: pytest.MonkeyPatch, is_child: bool
) -> None:
    class Store:
        closed = holds = False
        flushed = 0

        def flush(self) -> bool:
            self.flushed += 1
            return True

    at_the_end: list[Any] = []
    finalizers = types.SimpleNamespace(Finalize=lambda _, work, **_options: at_the_end.append(work))
    monkeypatch.setitem(sys.modules, "multiprocessing.util", finalizers if is_child else None)
    monkeypatch.setattr(atexit, "register", at_the_end.append)
    monkeypatch.setattr(threading, "Thread", lambda **_options: types.SimpleNamespace(start=int))
    store: Any = Store()
    Writer(store).wake()
    assert len(at_the_end) == 1 + is_child
    for i, flush in enumerate(at_the_end, 1):
        flush()
        assert store.flushed == i
    store.closed = True
    at_the_end[0]()
    assert store.flushed == len(at_the_end)
    del store
    gc.collect()
    at_the_end[0]()  # of a store that nobody knows any more


def test_for_a_store_that_is_closed_or_gone_no_thread_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threading, "Thread", None)
    Store = type("Store", (), {"closed": True})
    closed = Store()
    Writer(closed).wake()
    Store.closed = False
    Writer(Store()).wake()


def test_a_call_that_is_not_written_yet_counts_with_its_cost_if_it_has_one(
    store: UsageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, dear = CALL._replace(usage=Usage(cost=0.0)), CALL._replace(usage=Usage(cost=0.5))
    monkeypatch.setattr(UsageStore, "pending", [CALL, free, dear, CALL._replace(usage=Usage())])
    assert [cost for _, cost in Spending(store).pending().calls] == [picodollars(Decimal("0.5"))]


def test_a_call_that_ends_while_a_window_is_added_up_counts(store: UsageStore) -> None:
    spending = Spending(store)
    key: Any = (Budget(9), Scope(), 0.0)
    spending.note(CALL._replace(usage=Usage(cost=0.25)), [key])  # its row is in the store
    pending = spending.pending()
    spending.note(CALL._replace(usage=Usage(cost=0.5)), [key])
    with store.database.reading() as connection:
        total = spending.total(connection, key, pending)
    assert dollars(spending.known(key)) == dollars(total) + Decimal("0.5")
    store.add_many([CALL._replace(usage=Usage(cost=4.0))])  # another process's
    with store.database.reading() as connection:
        assert spending.total(connection, key, pending) > total  # begun before, and ended later
    assert dollars(spending.known(key)) == dollars(total) + Decimal("4.5")


def test_a_window_that_is_over_is_forgotten_and_others_are_not(store: UsageStore) -> None:
    spending, scope = Spending(store), Scope()
    daily, other = Budget(1, per="day"), Budget(2, per="day")
    today = NOW // DAY * DAY
    keys: list[Any] = [(daily, scope, today - DAY), (other, scope, today - DAY)]
    assert [dollars(spending.exact(key)) for key in keys] == [Decimal("1.625")] * 2
    spending.note(CALL._replace(usage=Usage(cost=0.5)), keys)
    spending.note(CALL, keys)  # of unknown cost
    assert [dollars(spending.known(key)) for key in keys] == [Decimal("2.125")] * 2
    assert dollars(spending.exact((daily, scope, today))) == Decimal("1.625")
    assert [dollars(spending.known(key)) for key in keys] == [0, Decimal("2.125")]
    assert dollars(spending.exact((daily, Scope(" AND app = ?", ("a",)), today))) == Decimal(
        "0.875"
    )
    assert dollars(spending.exact((daily, scope, NOW - 1800))) == Decimal("0.5")


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("hour", ["2027-01-15T05:00", "2027-01-15T06:00", "2027-01-15T07:00", "2027-01-15T08:00"]),
        ("day", ["2027-01-15"]),
        ("tag:t", ["0", "1"]),
        ("model", ["m"]),
    ],
)
def test_a_summary_is_in_the_order_of_time_or_cost(
    store: UsageStore, by: str, keys: list[str]
) -> None:
    assert [row[by] for row in store.summary(by)] == keys
    assert store.summary(()) == [
        {name: row[name] for name in row if name != "model"} for row in store.summary("model")
    ]


def test_of_models_that_cost_the_same_or_nothing_the_busiest_comes_first(tmp_path: Path) -> None:
    with UsageStore(tmp_path / "u.db") as store:
        for model, count, cost in (("b", 1, None), ("c", 3, None), ("d", 2, 0.0), ("a", 1, 0.5)):
            usage = None if cost is None else Usage(1, 1, 2, cost=cost)
            store.add_many([CALL._replace(model=model, usage=usage)] * count)
        store.add(CALL._replace(model="e"))
        rows = store.summary("model")
    assert [row["model"] for row in rows] == ["a", "c", "d", "b", "e"]


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({"since": NOW}, 1),
        ({"since": NOW - 0.5}, 1),
        ({"until": NOW}, 3),
        ({"since": NOW - 3600, "until": NOW}, 1),
        ({"since": "1h"}, 2),
        ({"since": NOW + 1}, 0),
        ({"app": "b", "until": NOW}, 1),
        ({"app": "b", "model": "m"}, 2),
        ({"user": "nobody"}, 0),
    ],
)
def test_a_summary_counts_from_its_beginning_to_before_its_end(
    store: UsageStore, asked: dict[str, Any], count: int
) -> None:
    assert sum(row["calls"] for row in store.summary((), **asked)) == count
    by_tag = store.summary("tag:t", **asked)
    assert sum(row["calls"] for row in by_tag) == count


def admissions(*budgets: Budget) -> tuple[MemoryStore, Admissions]:
    memory = MemoryStore(lambda: NOW)
    return memory, Admissions(memory, budgets, (), "ignore")


def test_the_rows_of_a_store_in_memory_are_forgotten_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admission, "_PRUNE_EVERY", 3)
    memory, mine = admissions(Budget(1))
    memory.add_many(calls())
    left = []
    for _ in range(7):
        mine.after(CALL, ())
        memory.add_many([CALL])
        left.append(
            memory.database.transact(
                lambda connection: connection.execute("SELECT COUNT(*) FROM calls").fetchone()[0]
            )
        )
    assert left == [5, 6, 4, 5, 6, 7, 8]  # three are older than this moment


def test_a_store_in_memory_that_cannot_be_emptied_now_fails_no_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admission, "_PRUNE_EVERY", 1)
    memory, mine = admissions(Budget(1))
    memory.database.close()
    mine.after(CALL, ())


def test_a_nearly_spent_budget_is_warned_of_once_even_if_the_store_is_locked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[float] = []
    budget = Budget(1, warn_at=0.5, on_warn=lambda budget, spent: told.append(spent))
    _, mine = admissions(budget)

    def locked(*_: Any, **__: Any) -> int:
        raise LunosConfigError("locked")

    monkeypatch.setattr(mine._spending, "exact", locked)
    key = (budget, Scope(), budget.window(NOW)[0])
    for cost in (0.25, 0.25, 0.25):
        call = CALL._replace(usage=Usage(1, 1, 2, cost=cost))
        mine.hear(call, (key,))
        mine.after(call, (key,))
    assert told == [0.5]


def test_a_store_that_is_forgotten_is_closed(tmp_path: Path) -> None:
    for path in (None, tmp_path / "u.db"):
        store = MemoryStore() if path is None else UsageStore(path)
        connection = store.database.connection
        assert connection is not None
        del store
        gc.collect()
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")
