"""What processes that share a store know of each other; a second store is as another process."""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

import lunos_core
from lunos_core import (
    Budget,
    Client,
    Config,
    LunosBudgetError,
    ModelInfo,
    RateLimit,
    UsageLedger,
    UsageStore,
    chat_request,
)
from tests.core.wire_samples import HELLO

_HOLDS = """
import sys, time, httpx
from lunos_core import Budget, Client, Config, UsageLedger, chat_request
def wait(request):
    print("sent", flush=True)
    time.sleep(60)
config = Config(api_key="k", base_url="https://x.test", total_timeout=float(sys.argv[2]) or None)
client = Client(config, http_client=httpx.Client(transport=httpx.MockTransport(wait)))
ledger = UsageLedger(budgets=[Budget(1)], store=sys.argv[1], on_unknown_cost="ignore")
from tests.core.accounting.test_shared_store import priced
client.prices = priced
with ledger:
    client.send(chat_request([{"role": "user", "content": "Hi"}], model="m", max_tokens=900))
"""


def priced(model: str) -> ModelInfo:
    return ModelInfo(model, input_price=Decimal(0), output_price=Decimal("0.001"))


@contextlib.contextmanager
def answering(cost: float) -> Iterator[Client]:
    answer = {
        "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "cost": cost},
    }
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=answer))
    with httpx.Client(transport=transport) as http:
        config = Config(api_key="k", base_url="https://x.test")
        yield Client(config, http_client=http, prices=priced)


@pytest.mark.parametrize(("total_timeout", "seconds"), [(30.0, 30.0), (0.0, 600.0)])
def test_what_a_dead_process_held_is_free_after_its_timeout(
    tmp_path: Path, total_timeout: float, seconds: float
) -> None:
    path, later = str(tmp_path / "u.db"), [0.0]
    command = [sys.executable, "-c", _HOLDS, path, str(total_timeout)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline()
        holder.send_signal(signal.SIGKILL)
    request = chat_request(HELLO, model="m", max_tokens=300)  # 0.30 USD beside 0.90
    with (
        UsageStore(path, clock=lambda: time.time() + later[0]) as store,
        UsageLedger(budgets=[Budget(1)], store=store),
        answering(0.3) as client,
    ):
        for later[0] in (0.0, seconds - 10):
            with pytest.raises(LunosBudgetError, match="has no room for this call"):
                client.send(request)
        later[0] = seconds + 1
        client.send(request)


def test_a_locked_file_leaves_a_budget_to_what_this_process_knows_and_warns_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "u.db"
    request = chat_request(HELLO, model="m")
    with UsageStore(path) as store, answering(0.1) as client:
        with UsageLedger(budgets=[Budget("0.5")], store=store):
            client.send(request)
            store.flush()
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                for _ in range(4):
                    client.send(request)
                with pytest.raises(LunosBudgetError):
                    client.send(request)
                other.execute("ROLLBACK")
        assert store.summary()[0]["calls"] == 5
    told = [line for line in caplog.messages if "for this process alone" in line]
    assert len(told) == 1


def test_a_limit_counts_the_calls_of_all_processes(tmp_path: Path) -> None:
    limits = [RateLimit(requests=3, app="web", on_exceed="refuse")]
    path, request = tmp_path / "u.db", chat_request(HELLO, model="m", app_id="web")
    with UsageStore(path) as one, UsageStore(path) as other, answering(0.1) as client:
        ledgers = [UsageLedger(store=store, limits=limits) for store in (one, other)]
        for i in range(3):
            with ledgers[i % 2]:
                client.send(request)
        for ledger in ledgers:
            with ledger, pytest.raises(LunosBudgetError, match="requests=3, app='web' per minute"):
                client.send(request)


def test_a_week_begins_on_monday_and_each_window_warns_once(tmp_path: Path) -> None:
    now, told = [1_795_996_790.0], list[float]()  # Sunday, 2026-11-29T23:59:50 UTC
    budget = Budget("0.2", per="week", on_warn=lambda _, spent: told.append(spent))
    request = chat_request(HELLO, model="m")
    with (
        UsageStore(tmp_path / "u.db", clock=lambda: now[0]) as store,
        UsageLedger(store=store, budgets=[budget]),
        answering(0.1) as client,
    ):
        for end in "2026-11-30T00:00Z", "2026-12-07T00:00Z":
            client.send(request)
            client.send(request)
            with pytest.raises(LunosBudgetError, match=f"until {end}"):
                client.send(request)
            now[0] += 11
        assert [row["day"] for row in store.summary("day")] == ["2026-11-29", "2026-11-30"]
    assert told == [0.2, 0.2]


def test_no_module_takes_the_place_of_a_public_function() -> None:
    for module in pkgutil.walk_packages(lunos_core.__path__, "lunos_core."):
        if not module.name.endswith("aiohttp"):
            importlib.import_module(module.name)
    assert callable(lunos_core.app)
    assert callable(lunos_core.tags)
