"""Several requests at once: up to a limit, in order, and stopped together when one fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from langchain_core.runnables.config import ContextThreadPoolExecutor

from lunos_core.transport.loop_cleanup import running_loop

A = TypeVar("A")
B = TypeVar("B")


def map_in_threads(work: Callable[[A], B], items: Sequence[A], limit: int) -> Iterator[B]:
    """Yield the results in the order of `items`, working on at most `limit` at a time.

    LangChain's executor copies the context, so that ledgers and callbacks see the calls.
    """
    if min(limit, len(items)) <= 1:
        yield from map(work, items)
        return
    # after a failure `map` starts nothing more, and leaving the block waits for running calls
    with ContextThreadPoolExecutor(max_workers=limit) as executor:
        yield from executor.map(work, items)


async def map_in_tasks(
    work: Callable[[A], Awaitable[B]], items: Iterable[A], limit: int
) -> list[B]:
    """Return the results in the order of `items`, working on at most `limit` at a time.

    The first failure is raised and the others are cancelled, as their results would be lost.
    """
    running_loop()  # raises a clear error if the loop isn't asyncio's
    bound = asyncio.Semaphore(limit)
    failed = False

    async def bounded(item: A) -> B:
        nonlocal failed
        async with bound:
            if failed:  # the failure is on its way to gather(), which cancels
                raise asyncio.CancelledError
            try:
                return await work(item)
            except BaseException:
                failed = True
                raise

    tasks = [asyncio.ensure_future(bounded(item)) for item in items]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
