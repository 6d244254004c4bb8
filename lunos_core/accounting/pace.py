"""One pace for all processes of a key: slower together after a 429, faster again after answers.

A request takes a ticket, its place in one queue. A virtual clock counts how many requests and
tokens may have started by now; a ticket's turn comes when the clock reaches its number. A caller
sleeps until its turn and looks again, so a change of the pace applies to everyone who waits.
`Retry-After` stops the clock for everyone. A 429 slows it down, once for all requests that were
sent before it was known. Answers make it faster again: quickly if it is far below the rate at which
the gateway last refused, slowly if it is near that rate.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass
from sqlite3 import Connection
from typing import Any, TypeVar

from lunos_core.accounting.observers import CallRecord, CallStart, Observer
from lunos_core.accounting.store import UsageStore
from lunos_core.errors import LunosConfigError, LunosError, LunosRateLimitError
from lunos_core.logs import log as _log

T = TypeVar("T")
_START, _LEAST = 10.0, 0.05  # requests per second, without a given limit
_MEMORY = 45.0  # seconds: remembers about a minute of answers, older ones less
# growth per second as a fraction of the rate: far below the last 429, and near it. With faster
# growth, a limit that counts a whole minute would be noticed too late
_GROWTH, _PROBE = 0.02, 0.0003
_CUT, _NEAR = 0.95, 0.97
# a growing pace brings a turn forward: look again halfway there
_LONGEST_SLEEP, _SURE = 5.0, 0.5
_MOST_PATIENCE = 60.0  # as for retries: a longer Retry-After is ignored
_LOCKED = 5.0  # seconds to wait for a file that others write


@dataclass(slots=True)
class Ticket:
    """A request's place in the queue: what is before it, and the `cuts` when its turn came."""

    number: float
    token_number: float
    tokens: int
    cuts: int
    waited: bool = False


@dataclass(slots=True)
class Pace:
    """Requests and tokens per second, as a value with pure functions of time.

    Attributes:
        most: the most requests per second, or `None`.
        most_tokens: the most tokens per second, or `None`.
        rate: requests per second now.
        ceiling: the rate at which the gateway last refused, or `None`.
        closed_until: until when nothing is sent because of `Retry-After`, in Unix time.
    """

    most: float | None = None
    most_tokens: float | None = None
    rate: float = 0.0
    ceiling: float | None = None
    closed_until: float = 0.0
    cuts: int = 0
    cut_at: float = 0.0
    seen: float = 0.0
    begun: float = 0.0
    begun_tokens: float = 0.0
    issued: float = 0.0
    issued_tokens: float = 0.0
    recent: float = 0.0

    def __post_init__(self) -> None:
        if self.most and (self.ceiling is None or self.rate > self.most):
            self.rate = self.most
        self.rate = self.rate or _START

    def take(self, now: float, tokens: int) -> Ticket:
        """Take a place in the queue."""
        self._advance(now)
        ticket = Ticket(self.issued, self.issued_tokens, tokens, self.cuts)
        self.issued += 1
        self.issued_tokens += tokens
        return ticket

    def seconds(self, now: float, ticket: Ticket) -> float:
        """Return how long to sleep before looking again; 0 if it is the ticket's turn."""
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
        """Note an answer and the tokens that it really took."""
        self._advance(now)
        self.recent += 1
        if tokens is not None:
            self.issued_tokens += tokens - ticket.tokens
        if not ticket.waited or ticket.cuts != self.cuts:
            return
        growth = _GROWTH  # of one answer, which is `1 / rate` of a second's growth
        if self.ceiling is not None and self.rate >= self.ceiling * _NEAR:
            # the longer since the last refusal, the more likely the gateway's limit has risen
            growth = min(_GROWTH, _PROBE * (1 + (now - self.cut_at) / 60) ** 2)
        self.rate = min(self.rate + growth, self.most or self.rate + growth)

    def refused(self, now: float, ticket: Ticket, retry_after: float | None) -> Ticket:
        """Note a 429, and return the ticket of the next attempt."""
        self._advance(now)
        wish = retry_after if retry_after and retry_after <= _MOST_PATIENCE else 0.0
        self.closed_until = max(self.closed_until, now + wish)
        if ticket.cuts == self.cuts:
            self.cuts, self.cut_at = self.cuts + 1, now
            # a limit per minute depends on the whole minute, however fast its last second was
            minute = self.recent / _MEMORY
            self.ceiling = max(self.rate, minute)
            self.rate = max(_LEAST, self.rate / 2, min(self.rate * _CUT, minute))
        return self.take(now, ticket.tokens)

    def _advance(self, now: float) -> None:
        """Let the clock run until now, but not ahead of the queue."""
        self.recent *= math.exp(-max(0.0, now - self.seen) / _MEMORY)
        passed = max(0.0, now - max(self.seen, self.closed_until))
        self.begun = min(self.begun + passed * self.rate, self.issued)
        tokens = self.begun_tokens + passed * (self.most_tokens or 0.0)
        self.begun_tokens = min(tokens, self.issued_tokens)
        self.seen = max(self.seen, now)


class SharedPace:
    """An observer that gives all processes of a store one pace, which adapts to the gateway.

    `UsageLedger(limits=…)` enforces limits that you know; this finds the gateway's limit. Pass it
    to each client of the key: `observers=[pace]`, before a ledger with budgets.

    Args:
        store: a `UsageStore`, or the path of one.
        requests_per_minute: the most requests; by default it starts with 600 and adapts.
        tokens_per_minute: the most tokens of prompts and answers; by default without a limit.

    Raises:
        LunosConfigError: a limit isn't above 0, or the store can't be opened.

    Example:
        >>> import tempfile
        >>> from lunos_core import Lunos, SharedPace
        >>> pace = SharedPace(tempfile.mkdtemp() + "/usage.db", requests_per_minute=3000)
        >>> with Lunos(observers=[pace]) as lunos:
        ...     vectors = lunos.embeddings.create(model="lunos/scripted-embedding", input="Hello")
        >>> pace.rate
        3000.0
    """

    def __init__(
        self,
        store: UsageStore | str | os.PathLike[str],
        *,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
    ) -> None:
        limits = {"requests": requests_per_minute, "tokens": tokens_per_minute}
        for name, value in limits.items():
            if value is not None and not value > 0:
                raise LunosConfigError(f"{name}_per_minute must be above 0, not {value}")
        self.store = store if isinstance(store, UsageStore) else UsageStore(store)
        most, most_tokens = (value and value / 60 for value in limits.values())
        self._most: dict[str, Any] = {"most": most, "most_tokens": most_tokens}
        self._last = Pace(most, most_tokens)
        table = "CREATE TABLE IF NOT EXISTS pace (id INTEGER PRIMARY KEY, value TEXT NOT NULL)"
        self.store.database.transact(lambda connection: connection.execute(table), wait=_LOCKED)

    @property
    def rate(self) -> float:
        """Requests per minute now, of all processes together."""
        return self.step(lambda pace: pace.rate * 60)

    def __call__(self, call: CallRecord) -> None:
        """Ignore a call without a ticket, from which there is nothing to learn."""

    def open_call(self, start: CallStart) -> Generator[float, None, Observer]:
        """Wait for a call's turn: the clients' hook before they send."""
        if start.model is None:
            return self
        tokens, ticket = start.input_bytes // 4 + (start.max_tokens or 0), None
        while True:
            now = self.store.clock()

            def look(pace: Pace, now: float = now) -> float:
                nonlocal ticket
                ticket = ticket or pace.take(now, tokens)
                return pace.seconds(now, ticket)

            try:
                wait = yield from self.store.database.turns(self._shared(look), wait=_LOCKED)
            except LunosConfigError as error:
                wait = self._alone(look, error)
            if not wait and ticket is not None:
                return _PacedCall(self, ticket)
            yield wait

    def step(self, step: Callable[[Pace], T]) -> T:
        """Apply a function to the pace, and share the changed pace."""
        try:
            return self.store.database.transact(self._shared(step), wait=_LOCKED)
        except LunosConfigError as error:
            return self._alone(step, error)

    def _shared(self, step: Callable[[Pace], T]) -> Callable[[Connection], T]:
        def work(connection: Connection) -> T:
            row = connection.execute("SELECT value FROM pace").fetchone()
            values: dict[str, Any] = {} if row is None else json.loads(row[0])
            pace = Pace(**values | self._most)
            result = step(pace)
            value = json.dumps(asdict(pace))
            connection.execute("INSERT OR REPLACE INTO pace VALUES (0, ?)", (value,))
            self._last = pace
            return result

        return work

    def _alone(self, step: Callable[[Pace], T], error: LunosConfigError) -> T:
        _log.warning("the pace holds for this process alone for now: %s", error)
        return step(self._last)


class _PacedCall:
    def __init__(self, pace: SharedPace, ticket: Ticket) -> None:
        self._pace, self._ticket = pace, ticket

    def attempt_failed(self, error: LunosError, delay: float) -> float:
        """Queue again, and slow everyone down if the gateway asks for it."""
        now, ticket = self._pace.store.clock(), self._ticket
        is_asked = isinstance(error, LunosRateLimitError) or error.retry_after is not None

        def line_up(pace: Pace) -> float:
            if is_asked:
                self._ticket = pace.refused(now, ticket, error.retry_after)
            else:
                self._ticket = pace.take(now, ticket.tokens)
            wait = max(delay, pace.seconds(now, self._ticket))
            self._ticket.cuts = pace.cuts
            return wait

        return self._pace.step(line_up)

    def __call__(self, call: CallRecord) -> None:
        now, error, usage = self._pace.store.clock(), call.error, call.usage
        tokens = None if usage is None else usage.input_tokens + usage.output_tokens

        def hear(pace: Pace) -> None:
            if isinstance(error, LunosRateLimitError):
                pace.refused(now, self._ticket, error.retry_after)
            else:
                pace.answered(now, self._ticket, tokens)

        self._pace.step(hear)
