"""The shared pace: one line of tickets, slower together after a 429, faster again after answers."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from benchmarks.bulk_pace import simulate
from lunos_core import AsyncLunos, Lunos, LunosConfigError, LunosServerError, UsageStore
from lunos_core.accounting.observers import CallStart
from lunos_core.accounting.pace import Pace, SharedPace


def test_turns_come_at_the_rate_and_in_order() -> None:
    pace = Pace(most=10.0)
    tickets = [pace.take(0.0, 1) for _ in range(5)]
    assert [pace.seconds(0.0, ticket) for ticket in tickets] == pytest.approx(
        [0, 0.1, 0.2, 0.3, 0.4]
    )
    assert [pace.seconds(0.25, ticket) == 0 for ticket in tickets] == [True] * 3 + [False] * 2


def test_an_idle_hour_is_not_saved_up() -> None:
    pace = Pace(most=10.0)
    pace.take(0.0, 1)
    first, second = pace.take(3600.0, 1), pace.take(3600.0, 1)
    assert pace.seconds(3600.0, first) == 0
    assert pace.seconds(3600.0, second) == pytest.approx(0.1)


def test_tokens_have_a_pace_too_and_what_was_really_used_counts() -> None:
    pace = Pace(most=1000.0, most_tokens=100.0)
    first = pace.take(0.0, 100)
    second = pace.take(0.0, 100)
    assert pace.seconds(0.0, first) == 0
    assert pace.seconds(0.0, second) == pytest.approx(0.5)  # half of the second that it is
    pace.answered(0.1, first, 300)
    third = pace.take(0.1, 1)
    assert third.token_number == 400


def test_retry_after_stops_all_and_one_429_of_many_slows_once() -> None:
    pace = Pace(most=10.0)
    tickets = [pace.take(0.0, 1) for _ in range(4)]
    for ticket in tickets:
        assert pace.seconds(1.0, ticket) == 0
    for ticket in tickets:
        pace.refused(1.0, ticket, 7.0)
    assert pace.cuts == 1
    assert 5.0 <= pace.rate < 10.0
    late = pace.take(1.5, 1)
    assert pace.seconds(1.5, late) > 0
    assert pace.seconds(7.9, late) > 0


def test_answers_make_it_faster_again_up_to_the_limit() -> None:
    pace = Pace(most=10.0)
    now = 0.0
    ticket = pace.take(now, 1)
    pace.refused(now, ticket, None)
    slow = pace.rate
    for _ in range(5000):
        ticket = pace.take(now, 1)
        while wait := pace.seconds(now, ticket):
            now += wait
        pace.answered(now, ticket)
    assert slow < pace.rate <= 10.0
    assert pace.rate > 9.9


@pytest.mark.slow
@pytest.mark.parametrize("window", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("told", [None, pytest.param(10_000.0, marks=pytest.mark.slow)])
def test_many_workers_neither_overshoot_a_limit_nor_collapse(
    window: bool, told: float | None
) -> None:
    out = simulate(1000, lambda now: 10_000.0, window=window, minutes=12, told=told)
    assert out.overshoot <= 0.02
    assert out.used >= 0.9


def test_a_retry_after_of_a_day_is_not_believed() -> None:
    pace = Pace(most=10.0)
    pace.refused(0.0, pace.take(0.0, 1), 86_400.0)
    assert pace.closed_until <= 60.0


ANSWER = {"model": "m", "choices": [{"index": 0, "message": {"content": "Hi"}}]}
USAGE = {"usage": {"prompt_tokens": 600, "completion_tokens": 400, "total_tokens": 1000}}
ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


def gateway(*statuses: int, **headers: str) -> httpx.MockTransport:
    """It answers with these statuses, and then with 200."""
    left = list(statuses)
    names = {name.replace("_", "-"): value for name, value in headers.items()}

    def answer(_: httpx.Request) -> httpx.Response:
        status = left.pop(0) if left else 200
        return httpx.Response(status, json=ANSWER | USAGE, headers=names)

    return httpx.MockTransport(answer)


def shared(path: Path, now: list[float], **limits: float) -> SharedPace:
    return SharedPace(UsageStore(path, clock=lambda: now[0]), **limits)


@pytest.mark.parametrize("is_async", [False, True])
async def test_processes_that_share_a_store_wait_for_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_async: bool
) -> None:
    now, slept = [1000.0], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    async def asleep(seconds: float) -> None:
        sleep(seconds)

    # the names there, not `time.sleep` itself, by which other tests' threads sleep, too
    monkeypatch.setattr("lunos_core.transport.client.time", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr("lunos_core.transport.client.asyncio", SimpleNamespace(sleep=asleep))
    for _ in range(3):  # a client each, as processes have
        pace = shared(tmp_path / "usage.db", now, requests_per_minute=60)
        if is_async:
            alunos = AsyncLunos(
                api_key="k",
                observers=[pace],
                http_client=httpx.AsyncClient(transport=gateway()),
            )
            await alunos.chat.completions.create(**ASK)
        else:
            lunos = Lunos(
                api_key="k", observers=[pace], http_client=httpx.Client(transport=gateway())
            )
            lunos.chat.completions.create(**ASK)
    assert sum(slept) == pytest.approx(2)


def test_tokens_that_were_really_used_hold_the_next_call_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, slept = [1000.0], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr("lunos_core.transport.client.time", SimpleNamespace(sleep=sleep))
    pace = shared(tmp_path / "usage.db", now, tokens_per_minute=6000)
    lunos = Lunos(api_key="k", observers=[pace], http_client=httpx.Client(transport=gateway()))
    for _ in range(2):
        lunos.chat.completions.create(**ASK)
    assert sum(slept) == pytest.approx(10, abs=0.5), "1,000 tokens, at 100 a second"


def test_a_429_in_one_process_slows_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, slept = [1000.0], list[float]()
    monkeypatch.setattr("lunos_core.transport.client.time.sleep", slept.append)
    one = shared(tmp_path / "usage.db", now)
    two = shared(tmp_path / "usage.db", now)
    refusing = httpx.Client(transport=gateway(429, retry_after="7"))
    lunos = Lunos(api_key="k", observers=[one], http_client=refusing)
    assert two.rate == 600
    lunos.chat.completions.create(**ASK)
    assert two.rate < 600
    (wait,) = slept
    assert wait >= 7
    another = two.open_call(CallStart(None, "m", "/chat/completions"))
    assert next(another) > 0


def test_a_retry_after_of_another_error_holds_all_back_too(tmp_path: Path) -> None:
    now = [1000.0]
    pace = shared(tmp_path / "usage.db", now)
    call = next_observer(pace)
    error = LunosServerError("busy", status=503)
    error.retry_after = 9.0
    assert call.attempt_failed(error, 9.0) == 9.0
    assert next(pace.open_call(CallStart(None, "m", "/x"))) > 0


def next_observer(pace: SharedPace) -> Any:
    with pytest.raises(StopIteration) as ended:
        next(pace.open_call(CallStart(None, "m", "/x")))
    return ended.value.value


def test_a_file_that_stays_locked_stops_no_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace = SharedPace(tmp_path / "usage.db")
    monkeypatch.setattr("lunos_core.accounting.pace._LOCKED", 0.01)
    other = sqlite3.connect(tmp_path / "usage.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    lunos = Lunos(api_key="k", observers=[pace], http_client=httpx.Client(transport=gateway()))
    assert lunos.chat.completions.create(**ASK).text == "Hi"
    other.close()


def test_the_catalog_takes_no_place_in_the_line(tmp_path: Path) -> None:
    pace = SharedPace(tmp_path / "usage.db", requests_per_minute=0.001)
    for _ in range(3):
        with pytest.raises(StopIteration) as ended:
            next(pace.open_call(CallStart(None, None, "/models")))
        assert ended.value.value is pace


@pytest.mark.parametrize("limit", [{"requests_per_minute": 0}, {"tokens_per_minute": -1}])
def test_an_impossible_limit_is_refused(tmp_path: Path, limit: dict[str, float]) -> None:
    (name,) = limit
    with pytest.raises(LunosConfigError, match=f"{name} must be above 0"):
        SharedPace(tmp_path / "usage.db", **limit)
