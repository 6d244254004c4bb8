"""`UsageStore`: what lasts, what is lost, and what trouble with the file does to calls."""

from __future__ import annotations

import contextlib
import copy
import multiprocessing
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
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
    UsageLedger,
    UsageStore,
)
from lunos_core.accounting.observers import NO_TAGS, CallStart, opening
from tests.core.forked import passes_in_a_forked_child

DAY = 86_400.0
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()


def call(
    app: str | None = "a",
    *,
    cost: float | None = 0.1,
    seconds: float = 1.0,
    source: str = "gateway",
    **more: Any,
) -> CallRecord:
    usage = Usage(10, 5, 15, cached_tokens=4, reasoning_tokens=2, cost=cost, cost_source=source)
    facts = {"model": "m", "endpoint": "/chat/completions", "attempts": 1, "usage": usage}
    facts |= {"first_token_seconds": None, "error": None, **more}
    return CallRecord(app_id=app, seconds=seconds, **facts)


def rows_in(path: Path) -> list[dict[str, Any]]:
    """The rows as any other program reads them."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM calls ORDER BY id")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "usage.db"


# --- what is written -----------------------------------------------------------------------------


def test_a_row_holds_what_a_call_used_and_nothing_that_was_said(path: Path) -> None:
    error = LunosServerError("You asked: my secret prompt", status=503)
    with UsageStore(path, tag_keys=("team",), clock=lambda: NOON) as store:
        store.add(
            call(
                user="request",
                tags={"user": "u1", "feature": "search"},
                metadata={"team": 7, "private": "hush"},
                served="m-2026",
                request_id="r1",
                framework="langchain",
                attempts=3,
                first_token_seconds=0.25,
            )
        )
        store.add(call(None, cost=None, error=error, usage=None, user="request"))
        store.add(call(model=None))  # the catalog is no call of a model
    whole, failed = rows_in(path)
    assert whole == {
        "id": 1, "at": NOON, "app": "a", "user": "u1", "model": "m", "served": "m-2026",
        "endpoint": "/chat/completions", "status": "ok", "http_status": None, "retries": 2,
        "input_tokens": 10, "output_tokens": 5, "cached_tokens": 4, "cache_write_tokens": None,
        "reasoning_tokens": 2, "audio_tokens": None, "cost": 100_000_000_000,
        "cost_source": "gateway", "seconds": 1.0, "first_token_seconds": 0.25,
        "request_id": "r1", "framework": "langchain",
        "tags": '{"feature": "search", "team": "7"}',
    }  # fmt: skip
    assert (failed["app"], failed["user"], failed["cost"]) == ("Unknown", "request", None)
    assert (failed["status"], failed["http_status"]) == ("LunosServerError", 503)
    assert b"secret prompt" not in path.read_bytes()
    assert b"hush" not in path.read_bytes()


def test_odd_values_of_a_server_are_written_all_the_same(path: Path) -> None:
    absurd = Usage(10**400, -1, 0, cached_tokens=10**30, cost=1e308)
    with UsageStore(path) as store:
        store.add(call("\ud800\0", usage=absurd, seconds=float("nan"), user="\udfff"))
        store.add(call("ok"))
        assert store.flush()
    odd, fine = rows_in(path)
    assert (odd["input_tokens"], odd["cost"], odd["seconds"]) == (0, None, 0.0)
    assert fine["app"] == "ok"


def test_rows_are_written_soon_without_being_asked_for(path: Path) -> None:
    store = UsageStore(path)
    store.add(call())
    end = time.monotonic() + 10
    while not rows_in(path) and time.monotonic() < end:
        time.sleep(0.02)
    assert len(rows_in(path)) == 1
    store.close()


def test_a_call_is_written_once_however_many_ledgers_tell_of_it(path: Path) -> None:
    with UsageStore(path) as store:
        once = call()
        for _ in range(3):
            store.add(once)
        store.add(call())
    assert len(rows_in(path)) == 2


def test_a_store_that_is_dropped_or_closed_twice_has_written_what_it_had(path: Path) -> None:
    store = UsageStore(path)
    store.add(call())
    del store
    assert len(rows_in(path)) == 1
    with UsageStore(path) as again:
        again.add(call())
        again.close()
        again.add(call())  # too late, and no error
    assert len(rows_in(path)) == 2
    with pytest.raises(LunosConfigError, match="closed"):
        again.summary()


def test_a_pickle_and_a_copy_write_the_same_file(path: Path) -> None:
    with UsageStore(path, tag_keys=("t",)) as store:
        assert copy.deepcopy(store) is store
        other = pickle.loads(pickle.dumps(store))
        other.add(call(metadata={"t": 1}))
        other.close()
        assert [row["calls"] for row in store.summary(by=("tag:t",))] == [1]


# --- threads and processes -----------------------------------------------------------------------


def test_many_threads_write_one_file(path: Path) -> None:
    with UsageStore(path) as store, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: store.add(call(f"app{i % 3}")), range(1000)))
        assert sum(row["calls"] for row in store.summary()) == 1000


def _work(path: str, number: int) -> None:
    store = UsageStore(path)
    for _ in range(50):
        store.add(call(f"app{number}"))
    # not closed: the end of the process writes


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_many_processes_write_one_file_and_their_end_loses_nothing(path: Path, method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("not on this system")
    context: Any = multiprocessing.get_context(method)
    workers = [context.Process(target=_work, args=(str(path), i)) for i in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    with UsageStore(path) as store:
        assert {row["app"]: row["calls"] for row in store.summary()} == {
            "app0": 50,
            "app1": 50,
            "app2": 50,
        }


def test_a_forked_child_writes_its_own_calls_and_none_of_the_parents(path: Path) -> None:
    store = UsageStore(path)
    store.add(call("parent"))

    def check() -> None:
        store.add(call("child"))
        assert store.flush()

    with store.database.lock:  # as a thread that writes in the moment of the fork
        assert passes_in_a_forked_child(check)
    store.close()
    assert sorted(row["app"] for row in rows_in(path)) == ["child", "parent"]


@pytest.mark.slow
def test_a_killed_process_loses_less_than_a_batch(path: Path) -> None:
    code = (
        "import sys, time\n"
        "from tests.core.accounting.test_store import UsageStore, call\n"
        "store = UsageStore(sys.argv[1])\n"
        "for i in range(1, 100_000):\n"
        "    store.add(call())\n"
        "    print(i, flush=True)\n"
        "    time.sleep(0.002)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) == 700:
                child.send_signal(signal.SIGKILL)
                break
        told = 700 + len(child.stdout.read().split())
    # younger than a second, or among the last 100
    assert len(rows_in(path)) >= told - 600
    with UsageStore(path) as store:
        assert store.summary()[0]["calls"] == len(rows_in(path))


# --- trouble -------------------------------------------------------------------------------------


def test_a_locked_file_delays_rows_and_fails_nothing(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = UsageStore(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        store.add(call())
        assert store.flush() is False
        assert store.flush() is False
        other.execute("ROLLBACK")
    assert len([line for line in caplog.messages if "can't be recorded for now" in line]) == 1
    assert store.flush()
    store.close()
    assert len(rows_in(path)) == 1


def test_rows_that_waited_for_a_locked_file_are_written_without_being_asked_for(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("lunos_core.accounting.writer.DELAY", 0.01)
    store = UsageStore(path)
    end = time.monotonic() + 20
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        store.add(call())
        while not caplog.messages and time.monotonic() < end:
            time.sleep(0.01)
        other.execute("ROLLBACK")
    while not rows_in(path) and time.monotonic() < end:
        time.sleep(0.01)
    assert (len(rows_in(path)), store.has_pending) == (1, False)
    store.close()


def test_a_full_disk_delays_rows_and_fails_nothing(path: Path) -> None:
    store = UsageStore(path)
    with store.database.reading() as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
    assert store.database.connection is not None
    store.database.connection.execute(f"PRAGMA max_page_count = {pages + 1}")
    for _ in range(2000):
        store.add(call("x" * 100))
    assert store.flush() is False
    store.database.connection.execute("PRAGMA max_page_count = 1000000")
    assert store.flush()
    store.close()
    assert len(rows_in(path)) == 2000


def test_the_queue_is_bounded_and_lost_rows_are_reported(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("lunos_core.accounting.store._MOST_PENDING", 10)
    store = UsageStore(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(50):
            store.add(call())
        assert len(store._pending) == 10
        other.execute("ROLLBACK")
    store.close()
    assert "40 calls weren't recorded: too many waited" in caplog.messages


def test_a_file_that_cannot_be_a_store_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no database, but long enough that SQLite reads its header " * 20)
    foreign = tmp_path / "foreign.db"
    with contextlib.closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE calls (id)")
    newer = tmp_path / "newer.db"
    UsageStore(newer).close()
    with contextlib.closing(sqlite3.connect(newer)) as connection:
        connection.execute("PRAGMA user_version = 99")
    for bad, reason in (
        (text, "not a database"),
        (foreign, "another program"),
        (newer, "newer"),
        (tmp_path, "unable to open"),
        (tmp_path / "no" / "folder" / "usage.db", "unable to open"),
        (text / "usage.db", "unable to open"),
        ("", "name a file"),
        ("a\0b", "name a file"),
    ):
        with pytest.raises(LunosConfigError, match=f"path=.*{reason}"):
            UsageStore(bad)
    for wrong in (7, None, b"x"):
        with pytest.raises((TypeError, LunosConfigError), match="path"):
            UsageStore(wrong)  # type: ignore[arg-type]  # what a caller may do
    arguments: list[dict[str, Any]] = [
        *({"tag_keys": "team"}, {"tag_keys": 7}, {"tag_keys": (7,)}, {"clock": 7.0}),
    ]
    for argument in arguments:
        with pytest.raises(TypeError, match=next(iter(argument))):
            UsageStore(tmp_path / "x.db", **argument)
    with pytest.raises(TypeError, match="store must be a UsageStore or its path, not int"):
        UsageLedger(store=7)  # type: ignore[arg-type]  # what a caller may do
    with pytest.raises(LunosConfigError, match=r"usage store.*not a database"):
        UsageLedger(store=text)
    assert text.read_text().startswith("no database")


def test_a_folder_or_a_file_that_cannot_be_written_is_refused() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, old = Path(name), Path(name) / "old.db"
        UsageStore(old).close()
        old.chmod(0o444)
        folder.chmod(0o555)

        def nobody() -> None:
            if os.geteuid() == 0:  # root may write all
                os.setuid(65534)
            for path in folder / "usage.db", old:
                with pytest.raises(LunosConfigError, match="path="):
                    UsageStore(path)

        assert passes_in_a_forked_child(nobody)
        folder.chmod(0o700)


def test_a_question_is_answered_with_what_all_stores_of_the_process_have(path: Path) -> None:
    first, second = UsageStore(path), UsageStore(path)
    first.add(call("a"))
    with UsageLedger(store=path) as ledger:
        ledger(call("b"))
        assert {row["app"] for row in second.summary()} == {"a", "b"}
    first.close()
    ledger.close()
    assert second.summary()
    second.close()


def test_a_refused_call_is_one_row_however_many_ledgers_hear_of_it(path: Path) -> None:
    with UsageStore(path) as store:
        outer, inner = UsageLedger(store=store), UsageLedger(store=store, budget=0)
        begin = opening([outer, inner], CallStart("a", "m", "/c"))
        with pytest.raises(LunosBudgetError):
            list(begin)
        store.flush()
        assert [row["status"] for row in rows_in(path)] == ["refused"]


# --- questions -----------------------------------------------------------------------------------


@pytest.fixture
def filled(path: Path) -> UsageStore:
    """Three days of two apps; a failed call, a retried one, a refused one, an estimate."""
    store = UsageStore(path, clock=lambda: NOON)
    failed = LunosServerError("No", status=500)
    refused = LunosBudgetError("no money")
    store.add_many(
        [
            call("a", seconds=1, time=NOON - 2 * DAY),
            call("a", seconds=2, time=NOON - DAY, attempts=2, tags={"feature": "search"}),
            call("a", seconds=3, time=NOON - 60, user="u", first_token_seconds=0.5),
            call("b", seconds=9, time=NOON - 60, model="big", cost=2.5, source="estimate"),
            call("b", seconds=1, time=NOON - 60, cost=None, usage=None, error=failed),
            call("b", time=NOON - 60, usage=None, error=refused, attempts=0),
        ]
    )
    return store


def test_a_summary_has_the_promised_names_and_adds_up(filled: UsageStore) -> None:
    b, a = filled.summary()
    assert list(a) == [
        "app", "calls", "errors", "retries", "input_tokens", "output_tokens", "cached_tokens",
        "reasoning_tokens", "cost", "estimated_cost", "p50_seconds", "p95_seconds", "p99_seconds",
        "first_token_p50_seconds",
    ]  # fmt: skip
    assert list(a.values()) == ["a", 3, 0, 1, 30, 15, 12, 6, 0.3, 0.0, 2.0, 3.0, 3.0, 0.5]
    assert list(b.values()) == ["b", 2, 1, 0, 10, 5, 4, 2, 2.5, 2.5, 1.0, 9.0, 9.0, None]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"by": ()}, [5]),
        ({"by": ("day",)}, [("2026-11-23", 1), ("2026-11-24", 1), ("2026-11-25", 3)]),
        ({"by": "hour", "since": "1h"}, [("2026-11-25T11:00", 3)]),
        ({"by": "app, day", "since": "9h", "app": "a"}, [("a", "2026-11-25", 1)]),
        ({"by": ("model",)}, [("big", 1), ("m", 4)]),
        ({"by": ("user",)}, [(None, 4), ("u", 1)]),
        ({"by": ("tag:feature",)}, [(None, 4), ("search", 1)]),
        ({"by": ("tag:no such tag",)}, [(None, 5)]),
        ({"by": ("endpoint",), "model": "big"}, [("/chat/completions", 1)]),
        ({"by": ("app",), "user": "u"}, [("a", 1)]),
        ({"by": ("app",), "until": "2026-11-24"}, [("a", 1)]),
        ({"by": ("app",), "since": datetime(2026, 11, 25, tzinfo=UTC)}, [("b", 2), ("a", 1)]),
        ({"by": ("app",), "since": NOON + 1}, []),
        ({"by": ("app",), "app": "x' OR 1=1 --"}, []),
        ({"by": ("tag:x\") --",)}, [(None, 5)]),
    ],
)  # fmt: skip
def test_calls_are_grouped_and_chosen(
    filled: UsageStore, arguments: dict[str, Any], expected: list[Any]
) -> None:
    by = arguments["by"]
    names = by.replace(" ", "").split(",") if isinstance(by, str) else by
    rows = filled.summary(**arguments)
    assert [tuple(row[name] for name in (*names, "calls")) for row in rows] == [
        item if isinstance(item, tuple) else (item,) for item in expected
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        {"by": ("colour",)},
        {"by": ("tag:",)},
        {"by": (7,)},
        {"since": "soon"},
        {"since": "7 years"},
        {"until": True},
        {"until": float("nan")},
        {"app": 7},
    ],
)
def test_a_question_that_makes_no_sense_is_refused_by_name(
    filled: UsageStore, arguments: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        filled.summary(**arguments)


def test_sums_are_exact_and_large_ones_do_not_overflow(path: Path) -> None:
    with UsageStore(path) as store:
        store.add_many([call("small", cost=0.000123456789)] * 12_345)
        store.add_many([call("large", cost=1e6)] * 20)
        large, small = store.summary()
    assert (small["cost"], large["cost"]) == (1.524074060205, 2e7)


def test_a_summary_holds_what_was_added_a_moment_ago(path: Path) -> None:
    with UsageStore(path) as store:
        store.add(call())
        assert store.summary()[0]["calls"] == 1
        assert store.summary()[0]["cost"] == float(Decimal("0.1"))


def test_a_call_without_a_model_and_one_after_the_end_are_not_kept(path: Path) -> None:
    with UsageStore(path) as store:
        store.add(call()._replace(model=None))
        assert not store.has_pending
        assert store.summary() == []
    store.add(call())
    assert not store.has_pending
    with UsageStore(path) as again:
        assert again.summary() == []


def test_only_calls_can_be_added_and_a_group_is_a_text(path: Path) -> None:
    with UsageStore(path) as store:
        with pytest.raises(TypeError, match="records must be CallRecord"):
            store.add_many([call(), "a call"])  # type: ignore[list-item]  # what a caller may do
        assert store.summary() == []
        with pytest.raises(ValueError, match="by must be a str or several, not int"):
            store.summary(by=7)  # type: ignore[arg-type]  # what a caller may do


@pytest.mark.parametrize(("older_than", "left"), [("90d", 6), ("12h", 4), ("2026-11-25", 4)])
def test_prune_deletes_old_calls_and_returns_their_number(
    filled: UsageStore, older_than: str, left: int
) -> None:
    assert filled.prune(older_than=older_than) == 6 - left
    with filled.database.reading() as connection:
        assert connection.execute("SELECT COUNT(*) FROM calls").fetchone() == (left,)
    with pytest.raises(ValueError, match="older_than"):
        filled.prune(older_than="old")


def test_no_tags_is_a_mapping_that_nobody_can_fill() -> None:
    with pytest.raises(TypeError):
        NO_TAGS["a"] = "b"  # type: ignore[index]  # what it forbids


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("app_id", 5),
        ("model", ["m"]),
        ("endpoint", None),
        ("attempts", "x"),
        ("seconds", None),
        ("first_token_seconds", "x"),
        ("usage", "x"),
        ("error", ValueError("x")),
        ("user", 5),
        ("tags", None),
        ("time", "yesterday"),
        ("time", float("nan")),
        ("time", 1e300),
        ("time", -5.0),
        ("time", -0.5),
    ],
)
def test_a_wrong_record_is_refused_by_name_and_keeps_no_other_from_being_written(
    path: Path, field: str, value: Any
) -> None:
    wrong = call()._replace(**{field: value})
    with UsageStore(path) as store:
        with pytest.raises((TypeError, ValueError), match=f"{field} of a CallRecord"):
            store.add_many([call("a"), wrong])
        assert store.summary() == []
        store.add(wrong)
        store.add(call("b"))
        assert store.flush()
        assert [row["app"] for row in store.summary("app,day")] == ["b"]
