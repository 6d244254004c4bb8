"""Money held for the next calls at once: how much, for how long, and what is given back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lunos_core import UsageStore
from lunos_core.accounting import reservations as module
from lunos_core.accounting.reservations import Lump, Lumps, lump_of


class Noting(UsageStore):
    """A store that notes what it is asked, at a time of its own."""

    def __init__(self, path: Path) -> None:
        self.now, self.ended, self.watched = 100.0, list[Any](), list[Any]()
        super().__init__(path, clock=lambda: self.now)

    def end_reservation(self, reservation: str, amount: int | None = None) -> None:
        self.ended.append((reservation, amount))

    def watch(self, holder: Any) -> None:
        self.watched.append(holder)


@pytest.fixture
def store(tmp_path: Path) -> Noting:
    return Noting(tmp_path / "usage.db")


def kept(lumps: Lumps, store: UsageStore, kind: tuple[Any, ...], name: str, left: int) -> Lump:
    lump = Lump(left, store.clock() + 2, name)
    lumps.keep(kind, lump)
    return lump


@pytest.mark.parametrize(
    ("room", "cost", "left"),
    [(1000, 20, None), (1001, 20, 20), (10_000, 20, 200), (50_049, 20, 1000), (99_999, 20, 1000)],
)
def test_a_lump_is_a_fiftieth_of_the_room_or_fifty_calls(
    room: int, cost: int, left: int | None
) -> None:
    lump = lump_of(room, cost, 7.0)
    assert (lump and (lump.left, lump.expires, lump.id, lump.keys)) == (
        left and (left, 9.0, "", ())
    )


def test_a_call_draws_what_it_costs_until_the_lump_is_used_up_or_old(store: Noting) -> None:
    lumps = Lumps(store)
    lump = kept(lumps, store, ("m",), "a", 100)
    store.now = 101.999
    assert lumps.draw(("m",), 60) is lump
    assert lump.left == 40
    assert lumps.draw(("m",), 40) is lump
    assert lumps.draw(("m",), 0) is lump
    assert lumps.draw(("m",), 1) is None
    assert store.ended == [("a", 0)]
    assert lumps.draw(("m",), 0) is None, "after its end"
    kept(lumps, store, ("m",), "b", 100)
    store.now += 2.0
    assert lumps.draw(("m",), 1) is None
    assert store.ended == [("a", 0), ("b", 100)]


@pytest.mark.parametrize(
    ("cost", "now", "drawn"), [(60, 100.0, True), (101, 100.0, False), (60, 102.0, False)]
)
def test_a_lump_that_cannot_serve_a_call_is_ended(
    store: Noting, cost: int, now: float, drawn: bool
) -> None:
    lumps = Lumps(store)
    assert not lumps.holds
    assert lumps.draw(("m",), cost) is None
    lump = kept(lumps, store, ("m",), "a", 100)
    store.now = now
    assert lumps.draw(("n",), cost) is None
    assert lumps.draw(("m",), cost) is (lump if drawn else None)
    assert (lumps.holds, store.ended) == ((True, []) if drawn else (False, [("a", 100)]))


def test_a_kinds_next_lump_takes_the_place_of_the_one_before(store: Noting) -> None:
    lumps = Lumps(store)
    kept(lumps, store, ("m",), "a", 100)
    kept(lumps, store, ("n",), "b", 100)
    kept(lumps, store, ("m",), "c", 100)
    assert store.ended == [("a", 100)]
    assert store.watched == [lumps] * 3  # the writer hears of each, so that it wakes


def test_lumps_end_when_they_are_old_or_when_all_have_to(store: Noting) -> None:
    lumps = Lumps(store)
    lumps.end_old(None)
    kept(lumps, store, ("m",), "a", 100)
    store.now = 101.0
    kept(lumps, store, ("n",), "b", 100)
    lumps.end_old(101.999)
    assert store.ended == []
    lumps.end_old(102.0)
    assert (store.ended, lumps.holds) == ([("a", 100)], True)
    lumps.end_old(None)
    assert (store.ended, lumps.holds) == ([("a", 100), ("b", 100)], False)


def test_kinds_without_end_do_not_pile_up(store: Noting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 2)
    lumps = Lumps(store)
    for name in "abc":
        kept(lumps, store, (name,), name, 100)
        assert bool(store.ended) == (name == "c")
    assert store.ended == [("a", 100), ("b", 100)]
    kept(lumps, store, ("c",), "d", 100)
    assert store.ended[2:] == [("c", 100)]
