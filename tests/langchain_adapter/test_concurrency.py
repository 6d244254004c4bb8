"""Several requests of one call: where they run, in which order, and what a failure ends."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from langchain_lunos.embeddings import map_in_tasks, map_in_threads


class FirstFailure(Exception):
    """What the first piece of work raises."""


@pytest.mark.parametrize(("items", "limit"), [([1], 4), ([1, 2, 3], 1), ([], 4)])
def test_what_needs_no_thread_runs_in_the_callers(items: list[int], limit: int) -> None:
    seen: list[threading.Thread] = []

    def work(item: int) -> int:
        seen.append(threading.current_thread())
        return item * 2

    assert list(map_in_threads(work, items, limit)) == [item * 2 for item in items]
    assert set(seen) <= {threading.current_thread()}


def test_two_items_run_at_once_where_two_may() -> None:
    meeting = threading.Barrier(2)

    def work(item: int) -> int:
        meeting.wait(timeout=5)
        return item

    assert list(map_in_threads(work, [1, 2], 2)) == [1, 2]


def test_a_failure_starts_nothing_more_and_waits_for_what_runs() -> None:
    started, ended = [], []
    running = threading.Event()

    def work(item: int) -> None:
        started.append(item)
        if item == 0:
            running.wait(timeout=5)
            raise FirstFailure
        running.set()
        time.sleep(0.02)
        ended.append(item)

    with pytest.raises(FirstFailure):
        list(map_in_threads(work, range(1000), 2))
    assert len(started) < 1000
    assert sorted(ended) == sorted(item for item in started if item)


async def test_a_failure_cancels_the_others_and_waits_until_they_are() -> None:
    ended = []

    async def work(item: int) -> None:
        if item == 0:
            await asyncio.sleep(0)
            raise FirstFailure
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.001)  # a connection is given back
            ended.append(item)

    with pytest.raises(FirstFailure):
        async with asyncio.timeout(5):
            await map_in_tasks(work, range(3), 3)
    assert sorted(ended) == [1, 2]


@pytest.mark.parametrize("limit", [1, 2])
async def test_a_failure_lets_nothing_begin_that_waited_for_its_turn(limit: int) -> None:
    started = []

    async def work(item: int) -> None:
        started.append(item)
        await asyncio.sleep(0)
        if item == 0:
            raise FirstFailure
        await asyncio.sleep(1)

    with pytest.raises(FirstFailure):
        await map_in_tasks(work, range(4), limit)
    assert started == [*range(limit)]


async def test_results_come_in_the_order_of_the_items() -> None:
    under_way = most = 0

    async def work(item: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001 * (4 - item))
        under_way -= 1
        return item

    assert await map_in_tasks(work, range(4), 2) == [0, 1, 2, 3]
    assert most == 2
