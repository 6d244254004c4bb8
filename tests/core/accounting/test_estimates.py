"""What a call may cost before it is sent: as those before it, else by price and tokens."""

from __future__ import annotations

import threading
import warnings
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lunos_core import (
    Budget,
    CallRecord,
    LunosBudgetError,
    LunosCostWarning,
    LunosServerError,
    ModelInfo,
    RateLimit,
    Usage,
    UsageStore,
)
from lunos_core.accounting import spending
from lunos_core.accounting.budgets import Scope
from lunos_core.accounting.memory import MemoryStore
from lunos_core.accounting.observers import CallStart
from lunos_core.accounting.reservations import Reservation, refusal_text, seconds_to_room
from lunos_core.accounting.schema import RESERVE
from lunos_core.accounting.spending import Estimator
from lunos_core.accounting.store import BATCH

USD = 10**12  # picodollars
NOON = 1_764_072_000.0


def start(max_tokens: int | None = None, **prices: Any) -> CallStart:
    """A call with a prompt of 1,000 tokens or so."""
    known = ModelInfo("m", **prices) if prices else None
    return CallStart(
        *("a", "m", "/chat/completions"),
        input_bytes=4000,
        max_tokens=max_tokens,
        prices=None if known is None else lambda _: known,
    )


def record(cost: float | None, model: str = "m", **more: Any) -> CallRecord:
    facts = {"attempts": 1, "seconds": 1.0, "first_token_seconds": None, "error": None, **more}
    usage = None if cost is None else Usage(1, 1, 2, cost=cost)
    return CallRecord("a", model, "/chat/completions", usage=usage, **facts)


@pytest.mark.parametrize(
    ("max_tokens", "tokens"), [(None, 2000), (50, 1050), (1000, 2000), (9000, 2000)]
)
def test_an_answer_is_expected_to_be_as_long_as_is_allowed_or_usual(
    max_tokens: int | None, tokens: int
) -> None:
    assert Estimator("warn").tokens(start(max_tokens)) == tokens


IN, OUT = Decimal("0.000002"), Decimal("0.00001")


@pytest.mark.parametrize(
    ("max_tokens", "prices", "usd", "is_certain"),
    [
        (100, {"input_price": IN, "output_price": OUT}, "0.003", True),
        (None, {"input_price": IN, "output_price": OUT}, "0.012", False),
        (
            None,
            {"input_price": IN, "output_price": OUT, "max_output_tokens": 200},
            "0.004",
            False,
        ),
        (100, {"input_price": IN}, "0.002", True),
        (100, {"output_price": OUT}, "0.001", True),
        (100, {"input_price": IN, "cache_write_price": 2 * IN}, "0.004", True),
        (100, {"input_price": IN, "cache_write_price": IN / 2}, "0.002", True),
        (100, {"output_price": OUT, "reasoning_price": 3 * OUT}, "0.003", True),
    ],
)
def test_a_first_call_is_estimated_by_its_tokens_at_the_dearest_price_that_may_apply(
    max_tokens: int | None, prices: dict[str, Any], usd: str, is_certain: bool
) -> None:
    cost, certain = Estimator("refuse").cost(start(max_tokens, **prices), None)
    assert (Decimal(cost) / USD, certain) == (Decimal(usd), is_certain)


def test_later_calls_are_estimated_by_those_before_but_never_above_the_ceiling() -> None:
    estimator = Estimator("refuse")
    assert estimator.learn(record(0.1)) == USD // 10
    assert estimator.cost(start(), None) == (USD // 10, True)
    estimator.learn(record(0.5))  # a fourth of the difference is learned
    assert estimator.cost(start(100), None) == (USD // 5, True)
    priced = {"input_price": IN, "output_price": OUT}
    assert estimator.cost(start(100, **priced), None) == (3 * USD // 1000, True)
    assert estimator.cost(start(100), None) == (USD // 5, True)
    assert estimator.cost(start(None, **priced), None) == (USD // 5, True)
    assert estimator.cost(start(10**6, **priced), None) == (USD // 5, True)


def test_the_calls_of_a_store_tell_what_the_next_one_costs(tmp_path: Path) -> None:
    failed = LunosServerError("No", status=500)
    with UsageStore(tmp_path / "u.db") as store:
        old = [record(9.0)] * 5  # too long ago to matter
        store.add_many([*old, *[record(0.1)] * 10, *[record(0.3)] * 10])
        store.add_many([record(5.0, "other"), record(None), record(5.0, error=failed)])
        estimator = Estimator("refuse")
        with store.database.reading() as connection:
            assert estimator.cost(start(), connection) == (USD // 5, True)
        estimator.learn(record(0.6))  # and it is remembered: no second look
        with store.database.reading() as connection:
            assert estimator.cost(start(100), connection) == (3 * USD // 10, True)
        with (
            store.database.reading() as connection,
            pytest.raises(LunosBudgetError, match="unknown"),
        ):
            estimator.cost(start()._replace(model="new"), connection)


def test_a_model_of_unknown_cost_is_held_for_nothing_once_that_is_certain() -> None:
    estimator = Estimator("warn")
    assert estimator.cost(start(), None) == (0, False)
    assert estimator.learn(record(None, error=LunosServerError("No"))) is None
    assert estimator.cost(start(), None) == (0, False)  # a failed call tells nothing
    assert estimator.learn(record(None)) is None
    assert estimator.cost(start(), None) == (0, True)
    estimator.learn(record(0.1))
    assert estimator.cost(start(), None) == (USD // 10, True)


@pytest.mark.parametrize(
    ("choice", "call", "warns"),
    [
        ("warn", record(None), True),
        ("warn", record(0.1), False),
        ("warn", record(0.0), False),
        ("warn", record(None, error=LunosServerError("No")), False),
        ("ignore", record(None), False),
        ("refuse", record(None), False),
    ],
)
def test_an_unknown_cost_is_warned_of_once_per_model(
    choice: str, call: CallRecord, warns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spending, "warned_models", set())
    estimator = Estimator(choice)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for told in (call, call, call._replace(model="n")):
            estimator.tell_unknown(told)
    assert [item.category for item in caught] == [LunosCostWarning] * (2 if warns else 0)


# --- what is held, and what limits say to it -----------------------------------------------------


def test_what_is_held_is_given_back_once_and_only_where_it_was_not_settled() -> None:
    store = MemoryStore()
    for name, settled in (("", False), ("settled", True), ("dropped", False), ("released", False)):
        held = Reservation(store, {}, 1, 1, certain=True, id=name, settled=settled)
        if name == "released":
            held.abandon()
            held.abandon()
        del held
    assert [name for name, _ in store._ended] == ["dropped", "released"]
    store.close()


def rate_limit_store(path: Path, *, ages: list[float], held: int = 0) -> UsageStore:
    store = UsageStore(path, clock=lambda: NOON)
    store.add_many([record(0.1, time=NOON - age) for age in ages])
    rows = [(f"r{i}", NOON, NOON + 9, "a", None, None, "m", 0, 10, 1) for i in range(held)]
    store.database.transact(lambda connection: connection.executemany(RESERVE, rows))
    return store


@pytest.mark.parametrize(
    ("limit", "ages", "held", "tokens", "wait"),
    [
        ({"requests": 2}, [10.0], 0, 0, None),
        ({"requests": 2}, [59.5, 1.0], 0, 0, 0.5),
        ({"requests": 2}, [59.999, 1.0], 0, 0, 0.02),  # never shorter
        ({"requests": 2}, [10.0, 1.0], 0, 0, 1.0),  # never longer: a call under way may fail
        ({"requests": 2}, [61.0, 1.0], 0, 0, None),
        ({"requests": 2}, [-90.0, 1.0], 0, 0, None),  # of before the clock was set back
        ({"requests": 2}, [1.0], 1, 0, 1.0),
        ({"requests": 2}, [], 2, 0, 0.02),
        ({"tokens": 30}, [1.0] * 5, 0, 20, None),  # two tokens each
        ({"tokens": 30}, [1.0] * 5, 0, 21, 1.0),
        ({"tokens": 30}, [1.0], 1, 18, None),
        ({"tokens": 30}, [1.0], 1, 19, 1.0),
        ({"tokens": 30}, [], 0, 99, None),  # alone
    ],
)
def test_a_limit_gives_the_wait_until_there_may_be_room(
    tmp_path: Path,
    limit: dict[str, int],
    ages: list[float],
    held: int,
    tokens: int,
    wait: float | None,
) -> None:
    with rate_limit_store(tmp_path / "u.db", ages=ages, held=held) as store:
        rule = RateLimit(**limit)
        with store.database.reading() as connection:
            result = seconds_to_room(connection, NOON, rule, Scope(), tokens)
    assert result == (None if wait is None else pytest.approx(wait))


@pytest.mark.parametrize(
    ("spent", "end", "text"),
    [
        ("1", None, "the budget of 1 USD is spent (1 USD so far)"),
        ("1.5", NOON, "the budget of 1 USD is spent (1.5 USD so far, until 2025-11-25T12:00Z)"),
        (
            "0.9",
            NOON,
            "the budget of 1 USD has no room for this call (0.9 USD so far, and 0.2 USD may follow "
            "from it and calls under way, until 2025-11-25T12:00Z)",
        ),
    ],
)
def test_a_refusal_states_the_spending_the_reservations_and_the_end_of_the_window(
    spent: str, end: float | None, text: str
) -> None:
    said = refusal_text(Budget(1), Decimal(spent), Decimal("0.2"), end)
    assert said == f"{text}: nothing was sent; raise the budget, or begin a new ledger"


def test_a_store_in_memory_writes_a_batch_at_a_time_without_a_thread() -> None:
    before = {*threading.enumerate()}
    store = MemoryStore(clock=lambda: NOON)
    for _ in range(BATCH - 1):
        store.add(record(0.1))
    assert len(store.pending) == BATCH - 1
    store.add(record(0.1))
    assert (store.pending, store.in_memory) == ([], True)
    assert {*threading.enumerate()} <= before
    (row,) = store.database.transact(
        lambda connection: connection.execute("SELECT COUNT(*) FROM calls").fetchall()
    )
    assert row == (BATCH,)
    store.close()
