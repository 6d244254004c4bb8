"""Which calls budgets and limits admit: each is reserved before it is sent, and settled after it.

All processes that share a store share its reservations. Making one is a short transaction. It ends
in the transaction that writes the call's row, so that money is counted exactly once at any time.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import threading
import time
import uuid
import warnings
import weakref
from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from sqlite3 import Connection
from typing import Any

from lunos_core.accounting import schema
from lunos_core.accounting.budgets import Budget, LunosCostWarning, RateLimit, Scope
from lunos_core.accounting.observers import CallRecord, CallStart
from lunos_core.accounting.pricing import EXACT
from lunos_core.accounting.reservations import (
    POLL,
    Key,
    Kind,
    Lump,
    Lumps,
    Reservation,
    Verdict,
    lump_of,
    refusal_text,
    seconds_to_room,
)
from lunos_core.accounting.schema import GUESS, SHARED, dollars, picodollars
from lunos_core.accounting.spending import Estimator, Facts, Spending, covering, facts_of
from lunos_core.accounting.store import UsageStore
from lunos_core.accounting.totals import Totals
from lunos_core.accounting.usage import Usage
from lunos_core.errors import LunosBudgetError, LunosConfigError
from lunos_core.logs import log as _log

# seconds: a reservation without total_timeout, and the longest wait for other calls
_EXPIRY = 600.0
_LONGEST_WAIT = 60.0
_PRUNE_EVERY = 10_000
# seconds to wait for a file that was locked just now
_SOON = 0.02
# seconds after which budgets are written into the store again, for its dashboard
_SHOW_EVERY = 86_400.0
_HELD: Facts = {}  # of a call that draws from a lump: the lump knows its budgets


class Admissions:
    """Budgets and limits of one ledger, over a store.

    Args:
        store: contains the calls and reservations; it may be shared with other processes.
        budgets: all budgets that cover a call must have money for it.
        limits: all limits that cover a call must have room for it.
        on_unknown_cost: "warn", "refuse" or "ignore".
        totals: the ledger's, from which they learn.
        before: those of the parent process, which has already added up the same store.
    """

    def __init__(
        self,
        store: UsageStore,
        budgets: Sequence[Budget],
        limits: Sequence[RateLimit],
        on_unknown_cost: str,
        totals: Totals | None = None,
        before: Admissions | None = None,
    ) -> None:
        self.store = store
        self.budgets = list(budgets)
        self.limits = list(limits)
        self._estimator = Estimator(on_unknown_cost)
        self._is_watched = any(budget.on_warn is not None for budget in self.budgets)
        self.is_watchful = self._is_watched or store.in_memory  # whether each call needs `after`
        self._spending = Spending(store)
        if totals is not None and self.budgets:
            totals.heard, self._spending.drain = self.hear, totals.count
        if before is not None and before.store is store:
            self._spending.go_on_from(before._spending)
        elif not store.in_memory:
            self._spending.add_up(self.budgets)
        # for each window: the money that other processes last held
        self._others: dict[Key, int] = {}
        self._told: set[tuple[Any, ...]] = set()
        # weak: a cancelled call drops its reservation, which then releases its money
        self._held: weakref.WeakValueDictionary[str, Reservation] = weakref.WeakValueDictionary()
        self._finished = itertools.count(1)
        self._ids = f"{os.getpid():x}-{uuid.uuid4().hex[:12]}"
        self._numbers = itertools.count()
        self._in_trouble = False
        # re-entrant, as in the ledger
        self._lock = threading.RLock()
        self._lumps = Lumps(store)
        self._shown = float("-inf")

    def draw(self, start: CallStart) -> Reservation | None:
        """Reserve the possible cost of a call from a lump, or return `None` if none has it."""
        kind = self._kind(start)
        if kind not in self._lumps.by_kind:
            return None
        cost, certain = self._estimator.cost(start, None)
        lump = self._lumps.draw(kind, cost) if certain else None
        if lump is None:
            return None
        return Reservation(self.store, _HELD, cost, 0, True, lump.id, cost, False, lump.keys)

    def _kind(self, start: CallStart) -> Kind:
        if not start.tags and not self.store.tag_keys:  # as most calls; three times as fast
            return (start.model, start.total_timeout, start.app_id, start.user)
        tags = schema.tags_of(start.tags, start.metadata, self.store.tag_keys)
        user = schema.user_of(start.tags, start.user)
        return (start.model, start.total_timeout, start.app_id, user, *sorted(tags.items()))

    def open(self, start: CallStart) -> Generator[float, None, Reservation | None]:
        """Reserve the possible cost of a call, or return `None` if nothing covers it.

        Yields seconds to wait.

        Raises:
            LunosBudgetError: a budget or limit refuses it.
        """
        facts = facts_of(self.store, start)
        if not any(item.scope(facts) for items in (self.budgets, self.limits) for item in items):
            return None
        approved: set[Budget] = set()
        begun = time.monotonic()
        while True:
            patient = time.monotonic() - begun < min(start.total_timeout or 1e9, _LONGEST_WAIT)
            turn = functools.partial(self._try, start, facts, approved, patient)
            reservation, verdict = yield from turn()
            if not verdict.fits and not self._in_trouble:
                # this process's finished calls cost less than was reserved
                self._lumps.end_old(None)
                if self.store.has_pending:
                    yield from self.store.flushing()
                    reservation, verdict = yield from turn()
            self._warn(verdict.warn)
            if verdict.fits:
                return reservation
            if verdict.exceeded:
                for exceeded in verdict.exceeded:
                    self._exceeded(*exceeded, start)
                    approved.add(exceeded[0])
            elif verdict.limit is not None and verdict.limit.on_exceed == "refuse":
                raise _refusal(f"the limit of {verdict.limit} is reached: nothing was sent", start)
            elif verdict.wait is not None:
                yield verdict.wait

    def estimated(self, call: CallRecord, cost: int) -> CallRecord:
        """Return an answered call of unknown cost with the cost that was reserved for it."""
        self._spending.drain()
        self._estimator.learn(call)
        if not cost or call.error is not None:
            return call
        # such as a stream that was closed early: the price is known, the usage isn't
        usage = replace(call.usage or Usage(), cost=float(dollars(cost)), cost_source="estimate")
        return call._replace(usage=usage)

    def hear(self, call: CallRecord, keys: Iterable[Key]) -> None:
        """Learn from a finished call, some time later."""
        if call.usage is not None and call.usage.cost_source != "estimate":
            self._estimator.learn(call)
        self._spending.note(call, keys)

    def after(self, call: CallRecord, keys: Iterable[Key]) -> None:
        """Warn of unknown costs and nearly spent budgets, and delete old rows in memory."""
        try:
            if self.budgets:
                self._estimator.tell_unknown(call)
                if self._is_watched:
                    self._warn(self._nearly_spent(keys))
            if self.store.in_memory and next(self._finished) % _PRUNE_EVERY == 0:
                self._spending.forget_old_rows(self.limits)
        except LunosConfigError:
            pass  # the next call does it

    def spent(self, budget: Budget, **facts: Any) -> Decimal:
        """Return the cost of the calls in a budget's window that have these facts."""
        scope = budget.scope({"app": None, "user": None, "tags": {}, **facts}) or Scope()
        begin, _ = budget.window(self.store.clock())
        key = (budget, scope, begin)
        return dollars(self._spending.exact(key))

    def _try(
        self,
        start: CallStart,
        facts: Facts,
        approved: set[Budget],
        patient: bool,
    ) -> Generator[float, None, tuple[Reservation, Verdict]]:
        self._spending.drain()
        now = self.store.clock()

        def judge(connection: Connection) -> tuple[Reservation, Verdict, Lump | None]:
            reservation = self._reservation(start, facts, connection)
            verdict, lump = self._judge(connection, now, reservation, approved, patient), None
            if verdict.fits:
                if now - self._shown > _SHOW_EVERY and not self.store.in_memory:
                    connection.executemany(
                        schema.SHOW, [budget.row(now) for budget in self.budgets]
                    )
                self._hold(connection, start, reservation, now, int(reservation.certain))
                if reservation.certain and not self.limits and not approved:
                    lump = lump_of(verdict.room, reservation.cost, now)
                if lump is not None:
                    more = replace(reservation, cost=lump.left, tokens=0, settled=True)
                    self._hold(connection, start, more, now, SHARED)
                    lump.id, lump.keys = more.id, reservation.keys
            return reservation, verdict, lump

        try:
            reservation, verdict, lump = yield from self.store.database.turns(
                judge, wait=_SOON if self._in_trouble else 0.25, reads_first=True
            )
            self._in_trouble = False
            if verdict.fits and now - self._shown > _SHOW_EVERY:
                self._shown = now
            if lump is not None:
                self._lumps.keep(self._kind(start), lump)
        except LunosConfigError as error:  # locked or full: decide by what this process knows
            if not self._in_trouble:
                self._in_trouble = True
                _log.warning("budgets hold for this process alone for now: %s", error)
            with self._lock:
                reservation = self._reservation(start, facts, None)
                verdict = self._judge_alone(now, reservation, approved, patient)
                if verdict.fits:  # under the lock, so that the next call sees it
                    reservation.id = f"{self._ids}-{next(self._numbers)}"
                    self._held[reservation.id] = reservation
        if verdict.fits:
            self._held[reservation.id] = reservation
        return reservation, verdict

    def _hold(
        self, connection: Connection, start: CallStart, held: Reservation, now: float, certain: int
    ) -> None:
        name = f"{self._ids}-{next(self._numbers)}"
        facts, expires = held.facts, now + (start.total_timeout or _EXPIRY)
        row = (
            *(name, now, expires, facts["app"], facts["user"], json.dumps(facts["tags"])),
            *(start.model, held.cost, held.tokens, certain),
        )
        connection.execute(schema.RESERVE, row)
        held.id = name  # last: without a row there is nothing to release

    def _reservation(
        self, start: CallStart, facts: Facts, connection: Connection | None
    ) -> Reservation:
        if not self.budgets:
            return Reservation(self.store, facts, 0, self._estimator.tokens(start), certain=True)
        cost, certain = self._estimator.cost(start, connection)
        tokens = self._estimator.tokens(start) if self.limits else 0
        reservation = Reservation(self.store, facts, cost, tokens, certain)
        covered = covering(self.budgets, facts, self.store.clock())
        reservation.keys = tuple(key for *_, key in covered)
        return reservation

    def _judge(
        self,
        connection: Connection,
        now: float,
        wanted: Reservation,
        approved: set[Budget],
        patient: bool,
    ) -> Verdict:
        verdict = Verdict()
        for limit in self.limits:
            scope = limit.scope(wanted.facts)
            wait = scope and seconds_to_room(connection, now, limit, scope, wanted.tokens)
            if wait:
                verdict.wait, verdict.limit = max(verdict.wait or 0.0, wait), limit
        if not self.budgets:
            return verdict
        pending = self._spending.pending()
        for budget, scope, end, key in covering(self.budgets, wanted.facts, now, approved):
            spent = self._spending.total(connection, key, pending)
            held, guessed, shared = connection.execute(
                f"SELECT COALESCE(SUM(cost), 0), COALESCE(SUM(certain = {GUESS}), 0), "
                f"COALESCE(SUM(certain = {SHARED}), 0) FROM reservations "
                f"WHERE expires > ?{scope.condition}",
                (now, *scope.values),
            ).fetchone()
            self._others[key] = max(held - self._held_here(budget, scope), 0)
            # part of it may also be held, or written meanwhile; if it matters, it is written first
            held += self._spending.unwritten(key, pending)
            limit_cost = picodollars(budget.limit) or 0
            if self._is_nearly_spent(spent, key):
                verdict.warn.append((budget, float(dollars(spent))))
            verdict.room = min(verdict.room, limit_cost - spent - held - wanted.cost)
            is_spent = spent >= limit_cost
            if not is_spent and guessed and patient and not wanted.certain:
                verdict.wait = max(verdict.wait or 0.0, POLL)  # their cost will be known soon
            elif is_spent or (held and spent + held + wanted.cost > limit_cost):
                if not is_spent and (guessed or shared) and patient:
                    verdict.wait = max(verdict.wait or 0.0, POLL)
                    continue
                used = (dollars(spent), dollars(wanted.cost if is_spent else held + wanted.cost))
                verdict.exceeded.append((budget, *used, end, key))
        return verdict

    def _judge_alone(
        self, now: float, wanted: Reservation, approved: set[Budget], patient: bool
    ) -> Verdict:
        verdict = Verdict()
        for budget, scope, end, key in covering(self.budgets, wanted.facts, now, approved):
            spent = self._spending.known(key)
            held = self._others.get(key, 0) + self._held_here(budget, scope)
            limit_cost = picodollars(budget.limit) or 0
            guessed = any(not (item.certain or item.settled) for item in self._under_way())
            if guessed and patient and not wanted.certain and spent < limit_cost:
                verdict.wait = POLL
            elif spent >= limit_cost or (held and spent + held + wanted.cost > limit_cost):
                more = wanted.cost if spent >= limit_cost else held + wanted.cost
                verdict.exceeded.append((budget, dollars(spent), dollars(more), end, key))
        return verdict

    def _under_way(self) -> list[Reservation]:
        # safe while other threads reserve
        return [item for ref in self._held.valuerefs() if (item := ref()) is not None]

    def _held_here(self, budget: Budget, scope: Scope) -> int:
        return sum(
            item.cost
            for item in self._under_way()
            if not item.settled and budget.scope(item.facts) == scope
        )

    def _exceeded(
        self,
        budget: Budget,
        spent: Decimal,
        estimate: Decimal,
        end: float | None,
        key: Key,
        start: CallStart,
    ) -> None:
        if callable(budget.on_exceed):
            if budget.on_exceed(budget, float(spent), float(estimate)) is True:
                return
        elif budget.on_exceed == "warn":
            if ("exceed", *key) not in self._told:
                self._told.add(("exceed", *key))
                text = f"the budget of {budget} is spent ({spent:f} USD so far)"
                warnings.warn(text, LunosCostWarning, stacklevel=2)
            return
        raise _refusal(refusal_text(budget, spent, estimate, end), start)

    def _is_nearly_spent(self, spent: int, key: Key) -> bool:
        """Return whether to call `on_warn`, which happens once per window."""
        budget = key[0]
        if budget.on_warn is None or budget.warn_at is None or ("warn", *key) in self._told:
            return False
        if not self._is_near(budget, spent):
            return False
        self._told.add(("warn", *key))
        return True

    def _is_near(self, budget: Budget, spent: int) -> bool:
        return dollars(spent) >= EXACT.multiply(budget.limit, Decimal(str(budget.warn_at)))

    def _warn(self, budgets: Iterable[tuple[Budget, float]]) -> None:
        for budget, spent in budgets:
            try:
                if budget.on_warn is not None:
                    budget.on_warn(budget, spent)
            except Exception:  # the call continues
                _log.exception("on_warn of the budget of %s failed", budget)

    def _nearly_spent(self, keys: Iterable[Key]) -> list[tuple[Budget, float]]:
        nearly = []
        for key in keys:
            budget = key[0]
            if budget.on_warn is None or ("warn", *key) in self._told:
                continue
            if self._is_near(budget, self._spending.known(key)):
                try:
                    spent = self._spending.exact(key, wait=0)
                except LunosConfigError:  # no call waits for a warning
                    spent = self._spending.known(key)
                if self._is_nearly_spent(spent, key):
                    nearly.append((budget, float(dollars(spent))))
        return nearly


def _refusal(text: str, start: CallStart) -> LunosBudgetError:
    return LunosBudgetError(text, model=start.model, app_id=start.app_id)
