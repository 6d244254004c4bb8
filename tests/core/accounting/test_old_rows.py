"""A ledger on an old store adds up its rows when it is made, so that no call has to."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from lunos_core import (
    Budget,
    CallRecord,
    Client,
    Config,
    LunosBudgetError,
    Usage,
    UsageLedger,
    UsageStore,
    app,
    tags,
)
from lunos_core.accounting import sums
from lunos_core.accounting.questions import spent_of
from lunos_core.accounting.schema import dollars
from lunos_core.endpoints.chat.requests import chat_request
from tests.core.forked import passes_in_a_forked_child
from tests.core.wire_samples import HELLO

NOW = 1_800_000_000.0  # a Friday, 2027-01-15T08:00 UTC
ANSWER = {
    "model": "m",
    "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.1},
}


def old_calls(count: int) -> Iterator[CallRecord]:
    choose = random.Random(3)
    for _ in range(count):
        yield CallRecord(
            *(choose.choice(["website", "bot", None]), "m", "/chat/completions", 1, 0.5, None),
            *(Usage(cost=choose.choice([0.0003, 0.1, 1e-7, None])), None),
            user=choose.choice(["ann", None]),
            tags={"feature": choose.choice(["search", 'a"b'])} if choose.random() < 0.6 else {},
            time=NOW - choose.random() * 40 * 86_400,
        )


@contextlib.contextmanager
def answering() -> Iterator[Client]:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=ANSWER))
    config = Config(api_key="sk-test", base_url="https://wire.test")
    with httpx.Client(transport=transport) as http:
        yield Client(config, http_client=http)


def ask(client: Client) -> None:
    with app("website"), tags(user="ann", feature="search"):
        client.send(chat_request(HELLO, model="m"))


BUDGETS: list[dict[str, Any]] = [
    {},
    {"per": "month"},
    {"per": "week", "app": "website"},
    {"app": "*"},
    {"user": "ann"},
    {"user": "*", "app": "website"},
    {"tag": ("feature", "search")},
    {"tag": ("feature", "*"), "per": "month", "app": "*"},
]


def counts(call: CallRecord, budget: Budget, facts: dict[str, Any]) -> bool:
    """Whether a call counts together with these facts, as `Budget` documents it."""
    begin, _ = budget.window(NOW)
    name = budget.tag[0] if budget.tag else ""
    same = (
        (budget.app, call.app_id or "Unknown", facts["app"]),
        (budget.user, call.user, facts["user"]),
        (budget.tag, call.tags.get(name), facts["tags"].get(name)),
    )
    return (call.time or 0) >= begin and all(
        wanted is None or theirs == ours for wanted, theirs, ours in same
    )


@pytest.mark.parametrize("worth", [1, 10**9], ids=["from sums", "from rows"])
@pytest.mark.parametrize("narrowed", BUDGETS)
def test_what_is_spent_of_a_budget_is_what_adding_up_by_hand_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, narrowed: dict[str, Any], worth: int
) -> None:
    monkeypatch.setattr(sums, "_WORTH", worth)
    budget, calls = Budget(1, **narrowed), list(old_calls(500))
    with UsageStore(tmp_path / "u.db", clock=lambda: NOW) as store:
        store.add_many(calls)
        with store.database.reading() as connection:
            spent = spent_of(connection, budget, NOW)
    assert spent
    for facts, amount in spent:
        costs = [call.usage.cost for call in calls if counts(call, budget, facts) and call.usage]
        assert dollars(amount) == sum(Decimal(str(cost)) for cost in costs if cost is not None)


@pytest.mark.parametrize("narrowed", BUDGETS)
def test_old_rows_are_added_up_before_the_first_call(
    tmp_path: Path, narrowed: dict[str, Any]
) -> None:
    path = tmp_path / "u.db"
    with UsageStore(path, clock=lambda: NOW) as store, answering() as client:
        store.add_many(old_calls(2000))
        ledger = UsageLedger(store=store, budgets=[Budget("0.3", **narrowed)])
        forget(path)  # a call that added them up would find nothing
        with ledger, pytest.raises(LunosBudgetError):
            ask(client)


def test_a_window_without_old_rows_has_all_its_money(tmp_path: Path) -> None:
    with UsageStore(tmp_path / "u.db", clock=lambda: NOW) as store, answering() as client:
        store.add_many(call for call in old_calls(500) if call.app_id != "website")
        with UsageLedger(store=store, budgets=[Budget("0.3", app="*")]):
            for _ in range(3):
                ask(client)
            with pytest.raises(LunosBudgetError):
                ask(client)


@pytest.mark.subprocess
def test_a_forked_child_knows_what_its_parent_added_up(tmp_path: Path) -> None:
    path = tmp_path / "u.db"
    with UsageStore(path, clock=lambda: NOW) as store, answering() as client:
        store.add_many(old_calls(500))
        ledger = UsageLedger(store=store, budgets=[Budget("0.3")])
        forget(path)

        def child() -> None:
            with ledger, pytest.raises(LunosBudgetError):
                ask(client)

        assert passes_in_a_forked_child(child)


def forget(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.executescript("DELETE FROM calls; DELETE FROM rollups; DELETE FROM times")
