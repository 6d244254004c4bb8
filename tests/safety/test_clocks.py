"""The machine's clock is set back or forward an hour while calls are made."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lunos_core import (
    Budget,
    LunosBudgetError,
    LunosRateLimitError,
    LunosTimeoutError,
    RateLimit,
    UsageLedger,
    UsageStore,
    chat_request,
    chat_stream_request,
)
from lunos_core.catalog.cache import ModelCache, _Entry
from lunos_core.wire.error_bodies import retry_after_seconds
from tests.core.raw_server import STALL, RawServer
from tests.core.wire_samples import HELLO, Wire, delta, reply, stored, stream

if TYPE_CHECKING:
    from tests.conftest import Both

SEND = chat_request(HELLO, model="m")
HOUR = 3600.0
JUMPS = (-HOUR, HOUR)


class Clock:
    """The time of day, which jumps with each look at it; the steady clock goes on."""

    def __init__(self, jump: float) -> None:
        self.jump, self.looks, self.real = jump, 0, time.time

    def __call__(self) -> float:
        self.looks += 1
        return self.real() + (self.jump if self.looks % 2 else 0)


@pytest.fixture(params=JUMPS, ids=["back", "forward"])
def clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Clock:
    jumping = Clock(request.param)
    monkeypatch.setattr(time, "time", jumping)
    return jumping


@pytest.mark.usefixtures("clock")
async def test_calls_retries_and_ledgers_work_on(both: Both) -> None:
    busy = reply({"error": {"message": "busy"}}, 503, retry_after_ms="1")
    parts = stream([delta("Hi", "stop"), "[DONE]"])
    client = both.client(Wire(busy, reply(stored("chat")), parts), total_timeout=30)
    with UsageLedger() as ledger:
        assert (await both(client.send(SEND))).text == "Hello there"
        assert await both.chunks(client, chat_stream_request(HELLO, model="m"))
    (row,) = ledger.rows()
    assert (row["calls"], row["retries"]) == (2, 1)
    assert 0 <= row["seconds"] < 60


@pytest.mark.usefixtures("clock")
async def test_a_deadline_is_kept(both: Both) -> None:
    begun = time.monotonic()
    with RawServer([STALL]) as server:
        client = both.client(base_url=server.url, total_timeout=0.3, max_retries=0)
        with pytest.raises(LunosTimeoutError):
            await both(client.send(SEND))
    assert 0.3 <= time.monotonic() - begun < 20  # the promise itself


@pytest.mark.parametrize("skew", JUMPS)
async def test_a_date_of_retry_after_is_read_by_the_servers_own_clock(
    both: Both, skew: float
) -> None:
    there = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=skew)
    headers = {
        "date": format_datetime(there, usegmt=True),
        "retry-after": format_datetime(there + timedelta(seconds=90), usegmt=True),
    }
    assert retry_after_seconds(headers) == 90
    busy = reply({"error": {"message": "busy"}}, 429, **headers)
    client = both.client(Wire(busy), max_retries=0)
    with pytest.raises(LunosRateLimitError) as caught:
        await both(client.send(SEND))
    assert caught.value.retry_after == 90


@pytest.mark.parametrize("jump", JUMPS)
async def test_a_rate_limit_holds_no_call_for_an_hour(
    both: Both, tmp_path: Path, jump: float
) -> None:
    now = [time.time()]
    client = both.client(Wire(reply(stored("chat"))))
    with UsageStore(tmp_path / "u.db", clock=lambda: now[0]) as store:
        limits = [RateLimit(requests=2, on_exceed="refuse")]
        with UsageLedger(limits=limits, store=store) as ledger:
            for _ in range(2):
                await both(client.send(SEND))
            now[0] += jump
            for _ in range(2):
                await both(client.send(SEND))
            with pytest.raises(LunosBudgetError):
                await both(client.send(SEND))
            assert ledger.rows()[0]["calls"] >= 4


@pytest.mark.parametrize("jump", JUMPS)
async def test_a_budget_for_all_time_forgets_nothing(
    both: Both, tmp_path: Path, jump: float
) -> None:
    now = [time.time()]
    body = {**stored("chat"), "usage": {"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.6}}
    client = both.client(Wire(reply(body)))
    store = UsageStore(tmp_path / "u.db", clock=lambda: now[0])
    with store, UsageLedger(budgets=[Budget(1.0)], store=store):
        await both(client.send(SEND))
        now[0] += jump
        await both(client.send(SEND))
        with pytest.raises(LunosBudgetError):
            await both(client.send(SEND))


def test_a_list_of_models_is_fresh_for_its_time_and_no_longer() -> None:
    now = [1_000_000.0]
    cache = ModelCache("https://lunos.test", None, 60, lambda: now[0])
    fetched = _Entry([], now[0])
    old = _Entry([], now[0] - HOUR, fresh_until=now[0] + 60)  # a refresh failed
    assert cache._is_fresh(fetched)
    assert cache._is_fresh(old)
    for jump in JUMPS:
        now[0] = 1_000_000.0 + jump
        assert not cache._is_fresh(fetched), "fetched again, whichever way the clock went"
    now[0] = 1_000_000.0 - 30 * HOUR
    assert not cache._is_fresh(old)
