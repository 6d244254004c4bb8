"""The pace of a job: a value that all workers share, and a pure function of time.

A request takes a ticket: its place in one line. A virtual clock counts how many requests, and how
many tokens, may have begun by now; a ticket's turn is when the clock has come to its number. So a
worker sleeps until its turn and looks again, and a change of the pace holds for all who wait.
`Retry-After` stops the clock for everyone. A 429 slows it down, once for all requests that were
sent before anyone knew; answers make it faster again: soon when it is far below the rate at which
the gateway last refused, slowly when it is near.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_START, _LEAST = 10.0, 0.05  # requests a second, where no limit is given
_BUCKETS, _BUCKET_SECONDS = 12, 5.0  # the last minute
# growth, as a part of the rate in a second: far below the last 429, and near it. Faster, a limit
# that counts a whole minute would be noticed too late
_GROWTH, _PROBE = 0.02, 0.0003
_CUT, _NEAR = 0.95, 0.97
# a pace that grows brings a turn forward: look again half way there
_LONGEST_SLEEP, _SURE = 5.0, 0.5
_MOST_PATIENCE = 60.0  # as in the core: who asks for more is not believed


@dataclass(slots=True)
class Ticket:
    """A request's place in the line: what is before it, and the `cuts` when its turn came."""

    number: float
    token_number: float
    tokens: int
    cuts: int
    waited: bool = False


@dataclass(slots=True)
class Pace:
    """Requests and tokens a second of all workers together, and the totals of a run.

    Attributes:
        most: requests a second, at most; `None` where nobody said.
        most_tokens: tokens a second, at most; `None` where nobody said.
        rate: requests a second now.
        ceiling: the rate at which the gateway last refused, or `None`.
        closed_until: nothing is sent before, as `Retry-After` asked; a Unix time, as all times.
        run: its id: workers of an earlier one send nothing more.
        stopped: why nothing more is sent, or "".
        requests: sent in this run, with retries; so `tokens` and `cost` (USD).
        failures: requests that failed for good since the last answer.
    """

    most: float | None = None
    most_tokens: float | None = None
    rate: float = 0.0
    ceiling: float | None = None
    closed_until: float = 0.0
    run: str = ""
    stopped: str = ""
    requests: int = 0
    tokens: int = 0
    cost: float = 0.0
    failures: int = 0
    answered_any: bool = False
    cuts: int = 0
    cut_at: float = 0.0
    seen: float = 0.0
    begun: float = 0.0
    begun_tokens: float = 0.0
    issued: float = 0.0
    issued_tokens: float = 0.0
    answers: list[int] = field(default_factory=lambda: [0] * _BUCKETS)
    bucket: int = 0

    def __post_init__(self) -> None:
        self.rate = self.rate or self.most or _START

    def begin(self, run: str, most: float | None, most_tokens: float | None) -> Pace:
        """Return the pace of a new run: the line is empty, what the gateway bears is known."""
        rate = min(self.rate, most) if most and self.ceiling else most or self.rate
        return Pace(
            most, most_tokens, rate, self.ceiling, self.closed_until, run, cut_at=self.cut_at
        )

    def take(self, now: float, tokens: int) -> Ticket:
        """Take a place in the line."""
        self._advance(now)
        ticket = Ticket(self.issued, self.issued_tokens, tokens, self.cuts)
        self.issued += 1
        self.issued_tokens += tokens
        return ticket

    def seconds(self, now: float, ticket: Ticket) -> float:
        """Return for how long to sleep before the next look; 0 when it is the ticket's turn."""
        self._advance(now)
        wait = (ticket.number - self.begun) / self.rate
        if self.most_tokens:
            wait = max(wait, (ticket.token_number - self.begun_tokens) / self.most_tokens)
        wait += max(0.0, self.closed_until - now)
        if wait <= 1e-6:
            ticket.cuts = self.cuts
            return 0.0
        ticket.waited = True
        return min(wait, max(wait / 2, _SURE), _LONGEST_SLEEP)

    def answered(self, now: float, ticket: Ticket, tokens: int | None = None) -> None:
        """Hear of an answer, and of the tokens that it really took."""
        self._count(now, 1)
        self._advance(now)
        if tokens is not None:
            self.issued_tokens += tokens - ticket.tokens
        if not ticket.waited or ticket.cuts != self.cuts:
            return
        growth = _GROWTH  # by one answer, which is `1 / rate` of a second's
        if self.ceiling is not None and self.rate >= self.ceiling * _NEAR:
            # the longer the gateway has refused nothing, the more likely its limit has risen
            growth = min(_GROWTH, _PROBE * (1 + (now - self.cut_at) / 60) ** 2)
        self.rate = min(self.rate + growth, self.most or self.rate + growth)

    def refused(self, now: float, ticket: Ticket, retry_after: float | None) -> Ticket:
        """Hear of a 429, and return the ticket of the next attempt."""
        self._advance(now)
        wish = retry_after if retry_after and retry_after <= _MOST_PATIENCE else 0.0
        self.closed_until = max(self.closed_until, now + wish)
        if ticket.cuts == self.cuts:
            self.cuts, self.cut_at = self.cuts + 1, now
            self._count(now, 0)
            # a limit per minute is met by what a minute held, however fast its last second was
            minute = sum(self.answers) / (_BUCKETS * _BUCKET_SECONDS)
            self.ceiling = max(self.rate, minute)
            self.rate = max(_LEAST, self.rate / 2, min(self.rate * _CUT, minute))
        return self.take(now, ticket.tokens)

    def _advance(self, now: float) -> None:
        """Let the clock run until now; it does not run ahead of the line."""
        passed = max(0.0, now - max(self.seen, self.closed_until))
        self.begun = min(self.begun + passed * self.rate, self.issued)
        tokens = self.begun_tokens + passed * (self.most_tokens or 0.0)
        self.begun_tokens = min(tokens, self.issued_tokens)
        self.seen = max(self.seen, now)

    def _count(self, now: float, answers: int) -> None:
        bucket = int(now / _BUCKET_SECONDS)
        for i in range(self.bucket + 1, min(bucket, self.bucket + _BUCKETS) + 1):
            self.answers[i % _BUCKETS] = 0
        self.bucket = max(self.bucket, bucket)
        self.answers[bucket % _BUCKETS] += answers
