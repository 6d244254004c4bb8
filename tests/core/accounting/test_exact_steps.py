"""Single steps of budgets, observers and stores, by exact values."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lunos_core import Budget, CallRecord, LunosBudgetError, ModelInfo, Usage, UsageStore
from lunos_core.accounting import admission, database, observers
from lunos_core.accounting.admission import Admissions
from lunos_core.accounting.budgets import Scope
from lunos_core.accounting.dashboard.facts import dashboard_facts
from lunos_core.accounting.memory import MemoryStore
from lunos_core.accounting.observers import CallStart, begin_here, end_here
from lunos_core.accounting.pricing import price_of
from lunos_core.accounting.report import read_file, write_csv
from lunos_core.accounting.reservations import POLL, Reservation
from lunos_core.accounting.schema import GUESS, SHARED
from lunos_core.accounting.spending import facts_of
from lunos_core.accounting.totals import COLUMNS, COUNTED, amount_of
from lunos_core.accounting.usage import MOST_COST

NOW = 1_800_000_000.0
CALL = CallRecord("app", "m", "/x", 1, 0.5, None, None, None)
DOLLAR = 10**12


@pytest.fixture
def store(tmp_path: Path) -> Iterator[UsageStore]:
    with UsageStore(tmp_path / "u.db", clock=lambda: NOW) as opened:
        yield opened


def wanted(mine: Admissions, cost: int, *, certain: bool = True) -> Reservation:
    facts: dict[str, Any] = {"app": "app", "user": None, "tags": {}}
    return Reservation(mine.store, facts, cost, 0, certain, settled=True)


@pytest.mark.parametrize(
    ("spent", "held", "cost", "fits"),
    [
        (0, 0, 5 * DOLLAR, True),  # alone, however large it is
        (3, 3, 4, True),
        (3, 3, 5, False),
        (9, 0, 5, True),
        (10, 0, 0, False),
        (0, 1, 9, True),
        (0, 1, 10, False),
    ],
)
def test_without_the_store_a_budget_holds_by_what_is_known(
    monkeypatch: pytest.MonkeyPatch, spent: int, held: int, cost: int, fits: bool
) -> None:
    budget = Budget("0.00000000001")  # ten picodollars
    mine = Admissions(MemoryStore(lambda: NOW), [budget], (), "ignore")
    key = (budget, Scope(), 0.0)
    monkeypatch.setattr(mine._spending, "known", lambda _: spent)
    mine._others[key] = held
    verdict = mine._judge_alone(NOW, wanted(mine, cost), set(), patient=True)
    assert verdict.fits is fits
    if not fits:
        ((told, *amounts, end, where),) = verdict.exceeded
        assert (told, end, where) == (budget, None, key)
        more = cost if spent == 10 else held + cost
        assert amounts == [Decimal(spent).scaleb(-12), Decimal(more).scaleb(-12)]
    assert mine._judge_alone(NOW, wanted(mine, cost), {budget}, patient=True).fits


def test_a_guess_waits_for_another_guess_a_moment() -> None:
    memory = MemoryStore(lambda: NOW)
    mine = Admissions(memory, [Budget(1)], (), "ignore")
    start, guess = CallStart("app", "m", "/x"), wanted(mine, 5, certain=False)

    def judge(connection: sqlite3.Connection) -> list[float | None]:
        first = mine._judge(connection, NOW, guess, set(), patient=True).wait
        mine._hold(connection, start, guess, NOW, 0)
        return [
            first,
            mine._judge(connection, NOW, guess, set(), patient=True).wait,
            mine._judge(connection, NOW, guess, set(), patient=False).wait,
            mine._judge(connection, NOW, wanted(mine, 5), set(), patient=True).wait,
        ]

    assert memory.database.transact(judge) == [None, POLL, None, None]
    assert POLL == 0.02


@pytest.mark.parametrize("kind", [GUESS, SHARED])
def test_money_that_may_soon_be_free_is_waited_for_a_moment(kind: int) -> None:
    memory = MemoryStore(lambda: NOW)
    mine = Admissions(memory, [Budget(1)], (), "ignore")
    start, dear = CallStart("app", "m", "/x"), wanted(mine, DOLLAR)

    def judge(connection: sqlite3.Connection) -> tuple[Any, Any]:
        mine._hold(connection, start, wanted(mine, 1), NOW, kind)
        return (
            mine._judge(connection, NOW, dear, set(), patient=True),
            mine._judge(connection, NOW, dear, set(), patient=False),
        )

    patient, hasty = memory.database.transact(judge)
    assert (patient.wait, patient.exceeded) == (POLL, [])
    assert hasty.wait is None
    assert [amounts for _, *amounts, _, _ in hasty.exceeded] == [[0, 1 + Decimal("1e-12")]]


def test_calls_with_other_tags_are_of_another_kind() -> None:
    mine = Admissions(MemoryStore(lambda: NOW), [Budget(1)], (), "ignore")
    start = CallStart("app", "m", "/x")
    kinds = [mine._kind(start._replace(tags={"team": team})) for team in ("a", "b", "a")]
    assert kinds[0] == kinds[2]
    assert len({*kinds, mine._kind(start)}) == 3


def test_another_models_lump_refuses_no_model_whose_cost_the_store_knows(store: UsageStore) -> None:
    paid = CALL._replace(usage=Usage(cost=0.5))
    store.add_many([paid, paid._replace(model="other")])
    mine = Admissions(store, [Budget(1000)], (), "refuse")
    held = []
    for model in ("m", "m", "other", "other"):
        start = CallStart("app", model, "/x")
        drawn = mine.draw(start)
        held.append(drawn)
        if drawn is None:
            assert list(mine.open(start)) == []
    assert [drawn and drawn.cost for drawn in held] == [None, DOLLAR // 2] * 2
    with pytest.raises(LunosBudgetError, match="unknown"):
        list(mine.open(CallStart("app", "new", "/x")))


def test_a_guess_waits_no_longer_than_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([100.0, 100.0, 105.0, 109.9, 110.0])  # when it began, and of each try
    monkeypatch.setattr(admission, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    memory = MemoryStore(lambda: NOW)
    mine = Admissions(memory, [Budget(1)], (), "ignore")
    start, guess = CallStart("app", "m", "/x", total_timeout=10.0), wanted(mine, 5, certain=False)
    memory.database.transact(lambda connection: mine._hold(connection, start, guess, NOW, 0))
    assert list(mine.open(start)) == [POLL] * 3


def test_budgets_are_shown_now_and_then(tmp_path: Path) -> None:
    now, shown = NOW, []
    with UsageStore(tmp_path / "u.db", clock=lambda: now) as store:
        mine, start = Admissions(store, [Budget(1)], (), "ignore"), CallStart("app", "m", "/x")
        for passed in (0.0, 1.0, admission._SHOW_EVERY + 1):
            now = NOW + passed
            list(mine._try(start, facts_of(store, start), set(), patient=False))
            with store.database.reading() as connection:
                shown += [seen - NOW for (seen,) in connection.execute("SELECT seen FROM budgets")]
    assert shown == [0.0, 0.0, admission._SHOW_EVERY + 1]


def test_a_transaction_that_reads_first_locks_at_once_after_three_conflicts(
    store: UsageStore,
) -> None:
    statements: list[str] = []
    connection = store.database.connection
    assert connection is not None
    connection.set_trace_callback(statements.append)
    left = [1, 2, 3, 4]

    def work(_: sqlite3.Connection) -> str:
        if left:
            left.pop()
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error
        return "done"

    naps = store.database.turns(work, wait=60.0, reads_first=True)
    waited = list(naps)
    connection.set_trace_callback(None)
    assert waited == [0.001] * 4
    begins = [statement for statement in statements if statement.startswith("BEGIN")]
    assert begins == ["BEGIN"] * 3 + ["BEGIN IMMEDIATE"] * 2
    assert database._CONFLICTS == 3


def test_a_reservation_that_ends_hurries_the_writer_and_a_holder_does_not(
    store: UsageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[bool] = []
    monkeypatch.setattr(store, "_wake_writer", lambda *, hurry: woken.append(hurry))
    store.end_reservation("none")
    store.watch(type("Holder", (), {"holds": False, "end_old": lambda *_: None})())
    for reservation in (None, ("a", 5), ("b", None)):
        store.add(CALL._replace(), reservation=reservation)
    assert woken == [True, False, False, False, True]


def test_25_calls_are_shown_as_the_last_ones(store: UsageStore) -> None:
    store.add_many([CALL._replace(model=f"m{i}") for i in range(27)])
    recent = dashboard_facts(store, since="1h")["recent"]
    assert [row["model"] for row in recent] == [f"m{i}" for i in range(26, 1, -1)]


def test_a_price_or_cost_may_be_all_that_a_call_can_cost_or_nothing() -> None:
    model = ModelInfo("m", input_price=Decimal(MOST_COST))
    assert price_of(Usage(1, 0, 1), model) == MOST_COST
    assert price_of(Usage(2, 0, 2), model) is None
    for amount in (0.0, 0, Decimal(0), -0.0):
        assert amount_of(amount) == 0
    for amount in (float(MOST_COST), MOST_COST, Decimal(MOST_COST)):
        assert amount_of(amount) == MOST_COST
    for wrong in (MOST_COST + 1, MOST_COST + 0.5, -1, -0.5, True, "1", Decimal("NaN")):
        assert amount_of(wrong) is None


def test_the_last_of_equal_observers_ends_first() -> None:
    def first(call: CallRecord) -> None: ...

    def second(call: CallRecord) -> None: ...

    before = observers._here.get()
    for observer in (first, second, first):
        begin_here(observer)
    told = []
    for observer in (second, first, second, first):
        end_here(observer)
        told.append(observers._here.get()[len(before) :])
    assert told == [(first, first), (first,), (first,), ()]
    for observer in (first, second, first):
        begin_here(observer)
    end_here(first)
    assert observers._here.get()[len(before) :] == (first, second)
    end_here(first)
    end_here(second)


@pytest.mark.parametrize("name", ["a", "=1", "'=1", "!=1", "'a", "-", "+a", "@b"])
def test_a_name_comes_back_from_a_csv_as_it_was(tmp_path: Path, name: str) -> None:
    row = {"app_id": name, "model": "m", "endpoint": "/x", **dict.fromkeys(COUNTED, 2)}
    row |= {"cost": 0.5, "seconds": 1.5, "first_token_seconds": None}
    write_csv(tmp_path / "a.csv", [row])
    expected = row | {"app_id": "=1" if name == "'=1" else name}  # the quote is a csv's own
    assert read_file(tmp_path / "a.csv") == ([expected], {})
    assert list(row) == list(COLUMNS)


def test_a_refusal_passes_observers_that_hear_of_calls_alone() -> None:
    class Strict:
        def before_call(self, **_: Any) -> None:
            raise LunosBudgetError("no")

    heard: list[CallRecord] = []
    with pytest.raises(LunosBudgetError, match="no"):
        list(observers.opening((heard.append, Strict()), CallStart("app", "m", "/x")))
    assert heard == []
