"""Measure how long questions to a large store take: `python -m benchmarks.store_questions`.

A store is filled with calls of 50 apps, 12 models and 2000 users over 29 days. Then each question
is asked three times; the figures are those of the quickest: seconds, and seconds of CPU.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial

from lunos_core import Budget, CallRecord, Usage, UsageLedger, UsageStore
from lunos_core.accounting.dashboard.facts import dashboard_facts

_DAYS = 29
_GROUPS = (
    *("", "app", "model", "day", "app,day", "app,model,endpoint,day", "hour", "user"),
    "tag:feature",
)
_BUDGETS = (Budget(5, per="day"), Budget(100, per="month", app="*"), Budget(1000))


def calls(count: int, now: float) -> Iterator[CallRecord]:
    """Yield calls in the order of their times."""
    choose = random.Random(1)
    for i in range(count):
        yield CallRecord(
            app_id=f"app-{int(choose.random() ** 2 * 50)}",
            model=f"model-{choose.randrange(12)}",
            endpoint="/chat/completions" if choose.random() < 0.9 else "/embeddings",
            attempts=1,
            seconds=choose.lognormvariate(0, 0.8),
            first_token_seconds=choose.choice([None, choose.random()]),
            usage=Usage(choose.randrange(4000), choose.randrange(1000), cost=choose.random() / 100),
            error=None,
            user=f"user-{choose.randrange(2000)}",
            tags={"feature": f"feature-{choose.randrange(20)}"},
            time=now - _DAYS * 86_400 * (1 - i / count),
        )


def measured(name: str, ask: Callable[[], object]) -> str:
    """Return a row of the table."""
    times = []
    for _ in range(3):
        begun, worked = time.perf_counter(), time.process_time()
        ask()
        times.append((time.perf_counter() - begun, time.process_time() - worked))
    seconds, cpu = min(times)
    return f"| {name} | {seconds:.2f} | {cpu:.2f} |"


def main() -> None:
    """Fill a store, ask and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, UsageStore(f"{folder}/usage.db") as store:
        records = calls(asked.calls, store.clock())
        begun = time.perf_counter()
        while store.add_many(record for _, record in zip(range(50_000), records, strict=False)):
            pass
        print(f"{asked.calls:,} calls written in {time.perf_counter() - begun:.1f} s\n")
        print("| | s | CPU s |\n|---|---|---|")
        for by in _GROUPS:
            groups = by.split(",") if by else []
            print(measured(f"by {by or 'nothing'}", partial(store.summary, groups)))
        ledger = partial(UsageLedger, store=store, budgets=_BUDGETS)
        print(measured("a ledger with 3 budgets", ledger))
        for since in ("30d", "7d", "2d"):
            facts = partial(dashboard_facts, store, since=since)
            print(measured(f"the dashboard, {since}", facts))


if __name__ == "__main__":
    main()
