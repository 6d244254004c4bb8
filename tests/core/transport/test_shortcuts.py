"""What was made fast gives what the plain way gives."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import httpx
import pytest

from lunos_core.transport.pool import IDLE, WIDTH, AsyncClientPool, Shards
from lunos_core.wire.sse import SSEDecoder


def test_one_whole_event_is_read_as_in_pieces() -> None:
    for event in (
        b"data: a\n\n",
        b"data:  a\n\n",
        b"data: \n\n",
        b"data: a\r\n\n",
        b"data: a: b\n\n",
    ):
        whole, pieces = SSEDecoder(), SSEDecoder()
        for _ in range(2):
            result = [data for i in range(len(event)) for data in pieces.feed(event[i : i + 1])]
            assert whole.feed(event) == result


def test_places_are_taken_from_the_first_client_with_room_and_given_back() -> None:
    made: list[object] = []

    def make() -> object:
        made.append(object())
        return made[-1]

    shards = Shards(make)
    taken = [shards.acquire()[0] for _ in range(WIDTH + 1)]
    assert [shard.http for shard in taken] == [made[0]] * WIDTH + [made[1]]
    taken[0].release()
    assert shards.acquire()[0].http is made[0]
    assert list(shards.drain()) == made[::-1]
    assert shards.acquire()[0].http is made[2]


def test_a_client_that_only_a_rush_needed_is_handed_out_to_be_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    shards = Shards(object)
    for place in [shards.acquire()[0] for _ in range(2 * WIDTH + 1)]:
        place.release()

    now += IDLE - 1
    first, unneeded = shards.acquire()
    assert unneeded is None

    now += 2
    unneeded = [shards.acquire()[1] for _ in range(WIDTH - 1)]
    assert [item is not None for item in unneeded] == [True, True, False]
    assert list(shards.drain()) == [first.http], "a client with calls under way is never closed"


def test_many_threads_get_no_more_clients_than_they_need() -> None:
    shards = Shards(object)
    together = threading.Barrier(WIDTH)

    def some() -> None:
        together.wait()
        for _ in range(200):
            shards.acquire()[0].release()

    threads = [threading.Thread(target=some) for _ in range(WIDTH)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(shards.drain())) == 1


def test_a_place_may_be_given_back_while_another_is_taken() -> None:
    """A garbage collection inside may close a forgotten stream, in the same thread."""
    shards: Shards[object]
    places: list[Any] = []

    def make() -> object:
        for place in places:
            place.release()  # with a plain lock this would wait for ever
        places.clear()
        return object()

    shards = Shards(make)
    places += [shards.acquire()[0] for _ in range(WIDTH)]
    taken, _ = shards.acquire()
    assert taken.under_way == 1


async def test_a_call_that_is_cancelled_while_an_idle_client_closes_leaks_no_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clients = AsyncClientPool("httpx")
    places = [await clients.acquire() for _ in range(WIDTH + 1)]
    for place in places:
        place.release()
    (own,) = clients._loops.values()
    first, last = own.shards._shards
    last.idle_since -= 2 * IDLE

    async def never(self: httpx.AsyncClient) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(httpx.AsyncClient, "aclose", never)
        with pytest.raises(asyncio.CancelledError):
            await clients.acquire()
    assert first.under_way == 0
    await clients.close()
