"""`python -m benchmarks.bulk_pace`: 10,000 workers of a bulk job share one pace, simulated.

Discrete events, no clock and no network: workers use the core's `Pace`, and the gateway is a
limit that they don't know, in one of two kinds. It is printed how many requests were refused, how
many more than the limit were sent in the worst minute, and how much of the limit was used.
"""

from __future__ import annotations

import argparse
import heapq
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from lunos_core.accounting.pace import Pace, Ticket

Limit = Callable[[float], float]
_START = 4  # minutes in which workers that know no limit come near it


@dataclass
class Gateway:
    """A limit of requests a minute, kept as a bucket that refills or a window that slides."""

    limit: Limit
    window: bool
    level: float = 1e9
    seen: float = 0.0
    taken: deque[float] = field(default_factory=deque)

    def asks(self, now: float) -> float | None:
        """Take a request; else return `Retry-After`, in whole seconds as HTTP has it."""
        per_second = self.limit(now) / 60
        if self.window:
            while self.taken and self.taken[0] <= now - 60:
                self.taken.popleft()
            if len(self.taken) < per_second * 60:
                self.taken.append(now)
                return None
            return 1.0
        self.level = min(self.level + (now - self.seen) * per_second, max(1.0, per_second))
        self.seen = now
        if self.level >= 1:
            self.level -= 1
            return None
        return 1.0


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        sent: requests.
        refused: of them.
        overshoot: what the worst minute sent above its limit, as a part of it.
        used: answers as a part of what the limit would have allowed, after the first four minutes.
        worst: the same in the worst of those minutes.
    """

    sent: int
    refused: int
    overshoot: float
    used: float
    worst: float


def simulate(
    workers: int, limit: Limit, *, window: bool, minutes: int, told: float | None = None
) -> Outcome:
    """Let workers send one request after the other, for some minutes.

    Args:
        workers: how many.
        limit: the gateway's requests a minute, at a time in seconds.
        window: whether the gateway counts a sliding minute; else its bucket refills.
        minutes: how long.
        told: requests a minute that the workers know, or `None`.
    """
    dice = random.Random(7)
    pace = Pace(None if told is None else told / 60)
    gateway = Gateway(limit, window)
    order = count()
    events: list[tuple[float, int, str, Ticket | None]] = []
    sent, refused, answered = ([0] * (minutes + 2) for _ in range(3))

    def later(when: float, what: str, ticket: Ticket | None = None) -> None:
        heapq.heappush(events, (when, next(order), what, ticket))

    for _ in range(workers):
        later(dice.random() * 5, "begin")
    while events and events[0][0] < minutes * 60:
        now, _, what, ticket = heapq.heappop(events)
        minute = int(now // 60)
        if what == "begin":
            what, ticket = "look", pace.take(now, 100)
        assert ticket is not None
        if what == "look":
            wait = pace.seconds(now, ticket)
            if wait:
                later(now + wait, "look", ticket)
                continue
            what = "send"
        if what == "send":
            sent[minute] += 1
            says_no = gateway.asks(now)
            refused[minute] += says_no is not None
            later(now + dice.lognormvariate(-1.0, 0.4), "no" if says_no else "yes", ticket)
        elif what == "yes":
            answered[minute] += 1
            pace.answered(now, ticket)
            later(now, "begin")
        else:
            again = pace.refused(now, ticket, 1.0)
            # as in the client: the core sleeps once, and sends
            wait = max(1.0, pace.seconds(now, again))
            again.cuts = pace.cuts
            later(now + wait, "send", again)
    allowed = [limit(60.0 * i + 30) for i in range(minutes)]
    use = [answered[i] / allowed[i] for i in range(_START, minutes)]
    return Outcome(
        sum(sent),
        sum(refused),
        max(0.0, *(sent[i] / allowed[i] - 1 for i in range(minutes))),
        sum(answered[_START:minutes]) / sum(allowed[_START:]),
        min(use),
    )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=10_000)
    parser.add_argument("--minutes", type=int, default=30)
    asked = parser.parse_args()

    def steady(_: float) -> float:
        return 10_000.0

    def halved(now: float) -> float:
        return 5_000.0 if 600 <= now < 1200 else 10_000.0

    print(f"{asked.workers:,} workers, {asked.minutes} minutes")
    print("limit, gateway, told       sent   refused  overshoot  used  worst minute  took")
    for name, limit in (("steady", steady), ("halved", halved)):
        for window in (False, True):
            for told in (None, 10_000.0):
                began = time.perf_counter()
                out = simulate(
                    asked.workers, limit, window=window, minutes=asked.minutes, told=told
                )
                took = time.perf_counter() - began
                kind = "window" if window else "bucket"
                print(
                    f"{name} {kind} {'told' if told else 'untold':7} {out.sent:>10,} "
                    f"{out.refused:>8,} ({out.refused / out.sent:.2%}) {out.overshoot:.2%} "
                    f"{out.used:.1%} {out.worst:.1%} {took:.1f} s"
                )


if __name__ == "__main__":
    main()
