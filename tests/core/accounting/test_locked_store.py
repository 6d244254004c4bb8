"""A locked file: an event loop goes on, and no call waits for longer than it may."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from lunos_core import (
    AsyncClient,
    Budget,
    CallRecord,
    Client,
    Config,
    LunosBudgetError,
    LunosCostWarning,
    UsageLedger,
    UsageStore,
)
from lunos_core.accounting.memory import LateStore
from lunos_core.endpoints.chat.requests import chat_request, chat_stream_request
from tests.core.wire_samples import HELLO, Wire, delta, reply, stream

if TYPE_CHECKING:
    from tests.conftest import Both

ANSWER = {
    "model": "m",
    "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "cost": 0.5},
}


@contextlib.contextmanager
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Hold the file's write lock, as another process does."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield other
    finally:
        if other.in_transaction:
            other.execute("ROLLBACK")
        other.close()


def async_client() -> AsyncClient:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=ANSWER))
    config = Config(api_key="sk-test", base_url="https://wire.test")
    return AsyncClient(config, http_client=httpx.AsyncClient(transport=transport))


async def give_back(other: sqlite3.Connection) -> None:
    """Release the lock from a task of the loop: one that is blocked never gets to it."""
    for _ in range(3):
        await asyncio.sleep(0.002)
    other.execute("ROLLBACK")


@pytest.mark.parametrize("spent", [0.0, 0.9], ids=["new", "nearly spent"])
async def test_a_budget_waits_for_a_locked_file_without_the_loop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spent: float
) -> None:
    told: list[float] = []
    budget = Budget(2, warn_at=0.4, on_warn=lambda _, so_far: told.append(so_far))
    with UsageStore(tmp_path / "u.db") as store, UsageLedger(store=store, budgets=[budget]):
        client = async_client()
        if spent:
            await client.send(chat_request(HELLO, model="m"))
            store.flush()
        with locked(tmp_path / "u.db") as other:
            release = asyncio.create_task(give_back(other))
            await client.send(chat_request(HELLO, model="m"))
            assert release.done()
        await release
        store.flush()
        (row,) = store.summary()
    assert row["calls"] == 1 + (spent > 0)
    assert not [line for line in caplog.messages if "this process alone" in line]
    assert len(told) == (1 if spent else 0)


@contextlib.contextmanager
def store_in_a_locked_file(path: Path, *, is_open: bool) -> Iterator[UsageStore]:
    """A store whose file can't be written, nor read where it was locked before it was opened."""
    UsageStore(path).close()
    if is_open:
        with UsageStore(path) as store, locked(path):
            yield store
    else:
        with locked(path) as other, LateStore(path) as store:
            yield store
            other.execute("ROLLBACK")


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("amount", ["0", "0.5"])
async def test_a_budget_without_money_refuses_while_the_file_is_locked(
    both: Both, tmp_path: Path, caplog: pytest.LogCaptureFixture, amount: str, is_open: bool
) -> None:
    wire = Wire(reply(ANSWER))
    client = both.client(wire)
    off, on = Budget(amount, app="off"), Budget(1, app="on")
    with (
        store_in_a_locked_file(tmp_path / "u.db", is_open=is_open) as store,
        UsageLedger(store=store, budgets=[off, on]),
    ):
        await both(client.send(chat_request(HELLO, model="m", app_id="on")))
        if off.limit:
            await both(client.send(chat_request(HELLO, model="m", app_id="off")))
        sent = len(wire.requests)
        with pytest.raises(LunosBudgetError, match=f"the budget of {amount} USD, app='off' "):
            await both(client.send(chat_request(HELLO, model="m", app_id="off")))
        with pytest.raises(LunosBudgetError, match="nothing was sent"):
            await both.chunks(client, chat_stream_request(HELLO, model="m", app_id="off"))
        assert len(wire.requests) == sent
    assert any(
        line.startswith("budgets hold for this process alone for now: ") for line in caplog.messages
    )


@pytest.mark.parametrize("is_open", [True, False])
async def test_a_budget_of_nothing_warns_or_asks_while_the_file_is_locked(
    both: Both, tmp_path: Path, is_open: bool
) -> None:
    wire, asked = Wire(reply(ANSWER)), list[Any]()

    def decide(budget: Budget, spent: float, estimate: float) -> bool:
        asked.append(budget)
        return len(asked) == 1

    client = both.client(wire)
    warns, asks = Budget(0, app="warns", on_exceed="warn"), Budget(0, app="asks", on_exceed=decide)
    with (
        store_in_a_locked_file(tmp_path / "u.db", is_open=is_open) as store,
        UsageLedger(store=store, budgets=[warns, asks]),
    ):
        with pytest.warns(LunosCostWarning, match="of 0 USD, app='warns' is spent"):
            await both(client.send(chat_request(HELLO, model="m", app_id="warns")))
        await both(client.send(chat_request(HELLO, model="m", app_id="asks")))
        with pytest.raises(LunosBudgetError, match="of 0 USD, app='asks' is spent"):
            await both(client.send(chat_request(HELLO, model="m", app_id="asks")))
    assert asked == [asks, asks]
    assert len(wire.requests) == 2


async def test_a_callback_is_told_what_may_follow_while_the_file_is_locked(
    both: Both, tmp_path: Path
) -> None:
    told: list[Any] = []

    def decide(_: Budget, spent: float, estimate: float) -> bool:
        told.append((spent, estimate))
        return True

    events = stream([delta("One"), delta("two")])
    client = both.client(Wire(reply(ANSWER), events, reply(ANSWER)))
    with (
        store_in_a_locked_file(tmp_path / "u.db", is_open=False) as store,
        UsageLedger(store=store, budgets=[Budget("0.9", on_exceed=decide)]),
    ):
        await both(client.send(chat_request(HELLO, model="m")))
        opened = await both(client.stream(chat_stream_request(HELLO, model="m")))
        await both(client.send(chat_request(HELLO, model="m")))
        await both(client.send(chat_request(HELLO, model="m")))
        await both(opened.close())
    # while there is money: this call and those under way; once it is spent: this call
    assert told == [(0.5, 1.0), (1.0, 0.5)]


async def test_a_warning_waits_for_no_other_thread(
    both: Both, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps, told = list[float](), list[float]()
    budget = Budget(1, warn_at=0.4, on_warn=lambda _, so_far: told.append(so_far))
    with ThreadPoolExecutor(1) as other, UsageStore(tmp_path / "u.db") as store:
        monkeypatch.setattr(store, "_wake_writer", lambda **_: None)  # its naps are its own

        def answer(request: httpx.Request) -> httpx.Response:
            # until the call has ended, another thread is in a transaction
            assert other.submit(store.database.lock.acquire).result()
            monkeypatch.setattr(time, "sleep", naps.append)
            return httpx.Response(200, json=ANSWER)

        with UsageLedger(store=store, budgets=[budget]):
            await both(both.client(answer).send(chat_request(HELLO, model="m")))
        other.submit(store.database.lock.release).result()
        monkeypatch.undo()
    assert told == [0.5]
    assert naps == []


async def test_many_tasks_and_a_thread_that_writes_leave_the_loop_alone(tmp_path: Path) -> None:
    with UsageStore(tmp_path / "u.db") as store:
        ledger = UsageLedger(store=store, budgets=[Budget(1)])
        client = async_client()
        with ledger:
            taken = await asyncio.to_thread(store.database.lock.acquire)
            assert taken  # by a thread of this process that is in a long transaction
            calls = [
                asyncio.create_task(client.send(chat_request(HELLO, model="m"))) for _ in range(5)
            ]
            await asyncio.sleep(0.05)
            assert not any(call.done() for call in calls)
            await release_lock(store)
            results = await asyncio.gather(*calls, return_exceptions=True)
    assert 1 <= sum(not isinstance(result, Exception) for result in results) <= 3


async def release_lock(store: UsageStore) -> None:
    """Nobody can release another thread's lock: put a new one in its place."""
    store.database.reset_after_fork()
    await asyncio.sleep(0)


@pytest.mark.parametrize("end", ["with", "stop"])
async def test_a_block_that_ends_on_a_loop_leaves_a_locked_file_to_the_writer(
    tmp_path: Path, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps: list[float] = []
    monkeypatch.setattr(time, "sleep", naps.append)
    with UsageStore(tmp_path / "u.db") as store:
        ledger = UsageLedger(store=store)
        monkeypatch.setattr(store, "_wake_writer", lambda **_: None)  # its naps are its own
        with locked(tmp_path / "u.db"):
            if end == "with":
                with ledger:
                    await async_client().send(chat_request(HELLO, model="m"))
            else:
                ledger.start()
                await async_client().send(chat_request(HELLO, model="m"))
                ledger.stop()
            assert store.has_pending
            assert not naps
        assert store.summary()[0]["calls"] == 1


def test_the_environments_store_is_opened_later_where_it_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    path = tmp_path / "u.db"
    UsageStore(path).close()
    monkeypatch.setenv("LUNOS_USAGE_DB", str(path))
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=ANSWER))
    config = Config(api_key="sk-test", base_url="https://wire.test")
    client = Client(config, http_client=httpx.Client(transport=transport))
    with locked(path):
        assert client.send(chat_request(HELLO, model="m")).text == "Hi"
    assert not [item for item in recwarn if "records nothing" in str(item.message)]
    with UsageStore(path) as store:
        for _ in range(200):
            rows: list[dict[str, Any]] = store.summary()
            if rows:
                break
            time.sleep(0.02)
    assert [row["calls"] for row in rows] == [1]
    assert LateStore.patience == 0


def test_after_one_wait_for_a_locked_file_refused_calls_wait_but_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(float(i) / 100 for i in range(10_000))
    with UsageStore(tmp_path / "u.db") as store:
        monkeypatch.setattr(store, "_wake_writer", lambda *, hurry: None)
        store.add(CallRecord("a", "m", "/c", 1, 0.1, None, None, None))
        with locked(tmp_path / "u.db"):
            monkeypatch.setattr("lunos_core.accounting.store.time.monotonic", lambda: next(clock))
            first = len(list(store.flushing()))
            assert not store.flush()
            later = len(list(store.flushing()))
        assert later < first / 2
        assert list(store.flushing()) == []
        assert not store.has_pending
