"""The shared pace: one line of tickets, slower together after a 429, faster again after answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.bulk_pace import simulate
from lunos_bulk.pace import Pace
from lunos_bulk.state import State
from lunos_core import LunosConfigError


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


@pytest.mark.parametrize("window", [False, True])
@pytest.mark.parametrize("told", [None, 10_000.0])
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


def test_the_state_belongs_to_one_job_and_gives_a_key_to_one_worker(tmp_path: Path) -> None:
    one, two = State(tmp_path), State(tmp_path)
    one.begin("job", 60, None)
    with pytest.raises(LunosConfigError, match="another model"):
        two.begin("other", None, None)
    assert one.claim([b"a", b"b"]) == ([b"a", b"b"], {})
    assert two.claim([b"a", b"c"]) == ([b"c"], {})
    one.keep({b"a": (b"1", None), b"b": (None, "ValueError: no")})
    assert two.claim([b"a", b"b"]) == ([], {b"a": (b"1", None), b"b": (None, "ValueError: no")})
    two.release([b"c"])
    assert one.claim([b"c"])[0] == [b"c"]
    with one.pace() as pace:
        pace.stopped = "enough"
    with two.pace() as pace:
        assert pace.stopped == "enough"
    two.begin("job", None, None)  # the next run: nothing is being asked, what is known stays
    assert two.claim([b"c", b"a"]) == ([b"c"], {b"a": (b"1", None)})
    one.close()
    two.close()


def test_what_a_silent_worker_was_asking_is_free_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = State(tmp_path), State(tmp_path)
    now = [1000.0]
    monkeypatch.setattr("lunos_bulk.state.time.time", lambda: now[0])
    assert one.claim([b"a"])[0] == [b"a"]
    now[0] += 29
    assert two.claim([b"a"])[0] == []
    one.claim()  # a sign of life
    now[0] += 29
    assert two.claim([b"a"])[0] == []
    now[0] += 29
    assert two.claim([b"a"])[0] == [b"a"]
    one.close()
    two.close()
