"""The shared pace as a pure function of time: the exact numbers of each step."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from lunos_core import LunosConfigError, LunosRateLimitError, LunosServerError, Usage, UsageStore
from lunos_core.accounting.observers import CallRecord, CallStart
from lunos_core.accounting.pace import Pace, SharedPace, Ticket


@pytest.mark.parametrize(
    ("given", "rate"),
    [
        ({}, 10.0),
        ({"rate": 3.0}, 3.0),
        ({"most": 5.0}, 5.0),
        ({"most": 5.0, "rate": 3.0}, 5.0),
        ({"most": 5.0, "rate": 3.0, "ceiling": 4.0}, 3.0),
        ({"most": 5.0, "rate": 7.0, "ceiling": 4.0}, 5.0),
    ],
)
def test_a_pace_begins_at_its_limit_unless_the_gateway_has_refused(
    given: dict[str, Any], rate: float
) -> None:
    state = asdict(Pace(**given))
    none = dict.fromkeys(("most", "most_tokens", "ceiling"))
    assert state == dict.fromkeys(state, 0) | none | given | {"rate": rate}


def test_a_ticket_is_what_was_issued_before_it() -> None:
    pace = Pace(issued=2.0, issued_tokens=7.0, cuts=3)
    assert pace.take(0.0, 5) == Ticket(2.0, 7.0, 5, 3, waited=False)
    assert (pace.issued, pace.issued_tokens) == (3.0, 12.0)


@pytest.mark.parametrize(
    ("given", "now", "begun", "begun_tokens", "seen"),
    [
        ({}, 55.0, 91.0, 181.0, 55.0),
        ({"issued": 5.0, "issued_tokens": 6.0}, 55.0, 5.0, 6.0, 55.0),
        ({"closed_until": 40.0}, 55.0, 31.0, 61.0, 55.0),
        ({"closed_until": 60.0}, 55.0, 1.0, 1.0, 55.0),
        ({}, 4.0, 1.0, 1.0, 10.0),  # a clock that was set back
        ({"most_tokens": None}, 55.0, 91.0, 1.0, 55.0),
    ],
)
def test_the_clock_runs_at_the_rate_up_to_the_end_of_the_line(
    given: dict[str, Any], now: float, begun: float, begun_tokens: float, seen: float
) -> None:
    state = {"rate": 2.0, "most_tokens": 4.0, "seen": 10.0, "begun": 1.0, "begun_tokens": 1.0}
    pace = Pace(**state | {"issued": 100.0, "issued_tokens": 500.0, "recent": 3.0} | given)
    pace.take(now, 1)
    assert (pace.begun, pace.begun_tokens, pace.seen) == (begun, begun_tokens, seen)
    assert pace.recent == pytest.approx(3 * math.exp(-1) if now == 55 else 3)


@pytest.mark.parametrize(
    ("number", "token_number", "closed_until", "sleep"),
    [
        (1e-6, 0.0, 0.0, 0.0),  # the rest of a division is no reason to sleep
        (2e-6, 0.0, 0.0, 2e-6),
        (0.3, 0.0, 0.0, 0.3),
        (0.9, 0.0, 0.0, 0.5),
        (4.0, 0.0, 0.0, 2.0),
        (20.0, 0.0, 0.0, 5.0),
        (0.1, 0.6, 0.0, 0.3),
        (0.3, 0.2, 0.0, 0.3),
        (0.0, 0.0, 0.25, 0.25),
        (0.125, 0.0, 0.25, 0.375),
        (-3.0, 0.0, 4.0, 2.0),  # its turn has come, and the gate is closed
    ],
)
def test_a_sleep_is_half_of_the_wait_within_bounds(
    number: float, token_number: float, closed_until: float, sleep: float
) -> None:
    pace = Pace(rate=1.0, most_tokens=2.0, cuts=7, closed_until=closed_until)
    ticket = Ticket(number, token_number, 1, 0)
    assert pace.seconds(0.0, ticket) == sleep
    assert (ticket.waited, ticket.cuts) == ((True, 0) if sleep else (False, 7))


@pytest.mark.parametrize(
    ("given", "ticket", "rate"),
    [
        ({}, {}, 9.72),
        ({}, {"waited": False}, 9.7),  # the line was empty: it says nothing about the limit
        ({}, {"cuts": 0}, 9.7),  # sent before the pace was cut
        ({"most": 9.71}, {}, 9.71),
        ({"ceiling": 11.0}, {}, 9.72),
        ({"ceiling": 10.0, "cut_at": 100.0}, {}, 9.7003),
        ({"ceiling": 10.0, "cut_at": 40.0}, {}, 9.7012),
        ({"ceiling": 10.0, "cut_at": -20.0}, {}, 9.7027),
        ({"ceiling": 10.0, "cut_at": -10_000.0}, {}, 9.72),
        ({"ceiling": 10.0, "most": 9.7001}, {}, 9.7001),
    ],
)
def test_an_answer_makes_it_faster_little_by_little(
    given: dict[str, Any], ticket: dict[str, Any], rate: float
) -> None:
    pace = Pace(**{"rate": 9.7, "ceiling": 1e9, "cuts": 1, "seen": 100.0, "recent": 2.0} | given)
    if "ceiling" not in given:
        pace.ceiling = None
    pace.answered(
        100.0,
        Ticket(
            **{"number": 0.0, "token_number": 0.0, "tokens": 3}
            | {"cuts": 1, "waited": True}
            | ticket
        ),
        10,
    )
    assert pace.rate == pytest.approx(rate, abs=1e-9)
    assert (pace.recent, pace.issued_tokens) == (3.0, 7.0)
    pace.answered(100.0, Ticket(0.0, 0.0, 3, 0))
    assert (pace.recent, pace.issued_tokens) == (4.0, 7.0)


@pytest.mark.parametrize(
    ("retry_after", "closed_until"),
    [(None, 100.0), (0.0, 100.0), (7.0, 107.0), (60.0, 160.0), (61.0, 100.0)],
)
def test_a_refusal_closes_the_gate_for_as_long_as_is_believed(
    retry_after: float | None, closed_until: float
) -> None:
    pace = Pace(rate=10.0, closed_until=50.0, seen=100.0)
    again = pace.refused(100.0, Ticket(0.0, 0.0, 9, 0), retry_after)
    assert pace.closed_until == closed_until
    assert again == Ticket(0.0, 0.0, 9, 1)
    pace.refused(100.0, Ticket(0.0, 0.0, 9, 0), 3.0)
    assert pace.closed_until == max(closed_until, 103.0)


@pytest.mark.parametrize(
    ("rate", "recent", "ceiling", "after"),
    [
        (10.0, 360.0, 10.0, 8.0),  # what the last minute held
        (10.0, 900.0, 20.0, 9.5),
        (10.0, 45.0, 10.0, 5.0),
        (0.06, 0.0, 0.06, 0.05),
    ],
)
def test_a_refusal_slows_everyone_down_once(
    rate: float, recent: float, ceiling: float, after: float
) -> None:
    pace = Pace(rate=rate, recent=recent, seen=100.0, cuts=2, cut_at=1.0)
    pace.refused(100.0, Ticket(0.0, 0.0, 1, 1), None)
    assert (pace.rate, pace.ceiling, pace.cuts, pace.cut_at) == (rate, None, 2, 1.0)
    pace.refused(100.0, Ticket(0.0, 0.0, 1, 2), None)
    assert (pace.rate, pace.ceiling, pace.cuts, pace.cut_at) == (after, ceiling, 3, 100.0)


@pytest.fixture
def clock() -> list[float]:
    return [1000.0]


@pytest.fixture
def shared(tmp_path: Path, clock: list[float]) -> SharedPace:
    return SharedPace(UsageStore(tmp_path / "usage.db", clock=lambda: clock[0]))


def opened(pace: SharedPace, clock: list[float], **start: Any) -> Any:
    opening = pace.open_call(CallStart(None, "m", "/x", **start))
    while True:
        try:
            clock[0] += next(opening)
        except StopIteration as end:
            return end.value


def test_a_call_takes_its_prompts_bytes_and_its_answers_limit_as_tokens(
    shared: SharedPace, clock: list[float]
) -> None:
    opened(shared, clock, input_bytes=43, max_tokens=5)
    assert shared.step(lambda pace: pace.issued_tokens) == 15
    opened(shared, clock, input_bytes=8)
    assert shared.step(lambda pace: (pace.issued, pace.issued_tokens)) == (2, 17)


def test_the_store_keeps_one_pace_and_each_process_its_own_limits(
    shared: SharedPace, tmp_path: Path
) -> None:
    second = SharedPace(tmp_path / "usage.db", requests_per_minute=90, tokens_per_minute=30)
    assert second.step(lambda pace: (pace.most, pace.most_tokens, pace.rate)) == (1.5, 0.5, 1.5)
    assert shared.step(lambda pace: (pace.most, pace.most_tokens, pace.rate)) == (None, None, 1.5)
    assert shared.rate == 90
    rows = shared.store.database.transact(
        lambda connection: connection.execute("SELECT id, value FROM pace").fetchall()
    )
    assert [(row[0], json.loads(row[1])["rate"]) for row in rows] == [(0, 1.5)]


@pytest.mark.parametrize(
    ("error", "cuts", "closed_for", "wait"),
    [
        (LunosRateLimitError("slow down", retry_after=7.0), 1, 7.0, 3.8),
        (LunosRateLimitError("slow down"), 1, 0.0, 0.5),
        (LunosServerError("busy", retry_after=7.0), 1, 7.0, 3.8),
        (LunosServerError("busy"), 0, None, 0.3),
    ],
)
def test_an_attempt_that_failed_lines_up_again(
    shared: SharedPace,
    clock: list[float],
    error: Any,
    cuts: int,
    closed_for: float | None,
    wait: float,
) -> None:
    call = opened(shared, clock, input_bytes=40)
    opened(shared, clock, input_bytes=4)
    clock[0] = 2000.0
    shared.step(lambda pace: [pace.take(2000.0, 1) for _ in range(3)])
    assert call.attempt_failed(error, 0.01) == pytest.approx(wait)
    pace = shared.step(lambda pace: pace)
    assert (pace.cuts, pace.issued, pace.issued_tokens) == (cuts, 6, 24)
    assert pace.closed_until == (0 if closed_for is None else 2000 + closed_for)
    assert call.attempt_failed(error, 9.0) == 9.0


@pytest.mark.parametrize(
    ("error", "usage", "tokens", "cuts"),
    [
        (None, Usage(30, 12, 42), 42, 0),
        (None, None, 10, 0),
        (LunosServerError("busy"), None, 10, 0),
        (LunosRateLimitError("slow down", retry_after=7.0), None, 20, 1),
    ],
)
def test_the_end_of_a_call_informs_the_pace(
    shared: SharedPace, clock: list[float], error: Any, usage: Any, tokens: int, cuts: int
) -> None:
    call = opened(shared, clock, input_bytes=40)
    call(CallRecord(None, "m", "/x", 1, 0.1, None, usage, error))
    pace = shared.step(lambda pace: pace)
    assert (pace.issued_tokens, pace.cuts, pace.closed_until) == (tokens, cuts, 1007.0 * cuts)


def test_a_limit_that_cannot_be_is_named_with_its_value(tmp_path: Path) -> None:
    with pytest.raises(LunosConfigError, match=r"^tokens_per_minute must be above 0, not -0\.5$"):
        SharedPace(tmp_path / "usage.db", tokens_per_minute=-0.5)


def test_where_the_store_cannot_be_used_the_last_pace_goes_on(
    shared: SharedPace,
    clock: list[float],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    opened(shared, clock)

    def locked(*_: Any, **__: Any) -> Any:
        raise LunosConfigError("the file is locked")

    for name in ("transact", "turns"):
        monkeypatch.setattr(shared.store.database, name, locked)
    assert shared.step(lambda pace: pace.issued) == 1
    assert next(shared.open_call(CallStart(None, "m", "/x"))) == pytest.approx(0.1)
    assert (
        caplog.record_tuples
        == [
            (
                "lunos_core",
                logging.WARNING,
                "the pace holds for this process alone for now: the file is locked",
            )
        ]
        * 2
    )
