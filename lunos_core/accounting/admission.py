"""Which calls budgets and limits let through: a reservation before each, settled after it.

All processes that share a store share its reservations. One is a short transaction; it ends when
the call's row is written, in the same transaction, so that money is counted once at any moment.
"""

from __future__ import annotations

import itertools
import os
import time
import uuid
import warnings
import weakref
from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from sqlite3 import Connection
from typing import Any

from lunos_core.accounting.budgets import Budget, LunosCostWarning, RateLimit, Scope
from lunos_core.accounting.estimates import Estimator, last_id_of
from lunos_core.accounting.observers import CallRecord, CallStart
from lunos_core.accounting.reservations import (
    LUMP_SECONDS,
    POLL,
    Key,
    Lump,
    Reservation,
    Verdict,
    lump_of,
    refusal_text,
    seconds_to_room,
)
from lunos_core.accounting.schema import (
    UNKNOWN_APP,
    dollars,
    picodollars,
    tags_of,
    user_of,
)
from lunos_core.accounting.store import UsageStore
from lunos_core.accounting.totals import amount_of
from lunos_core.accounting.usage import Usage
from lunos_core.errors import LunosBudgetError, LunosConfigError
from lunos_core.logs import log as _log

# seconds: of a reservation without total_timeout, and of a call that waits for others
_EXPIRY = 600.0
_LONGEST_WAIT = 60.0
_MOST_LUMPS = 1000
_PRUNE_EVERY = 10_000


class Admissions:
    """Budgets and limits of one ledger, over a store.

    Args:
        store: holds the calls and reservations; of this process alone, or shared.
        budgets: all of those that cover a call must have money for it.
        limits: all of those that cover a call must have room for it.
        on_unknown_cost: "warn", "refuse" or "ignore".
    """

    def __init__(
        self,
        store: UsageStore,
        budgets: Sequence[Budget],
        limits: Sequence[RateLimit],
        on_unknown_cost: str,
    ) -> None:
        self.store = store
        self.budgets = list(budgets)
        self.limits = list(limits)
        self._estimator = Estimator(on_unknown_cost)
        self._sums: dict[Key, tuple[int, int]] = {}
        self._told: set[tuple[Any, ...]] = set()
        # weakly: a call that was cancelled drops its reservation, which then gives back
        self._held: weakref.WeakValueDictionary[str, Reservation] = weakref.WeakValueDictionary()
        # calls of this process that are over, as long as their rows may not be written
        self._unwritten: list[tuple[CallRecord, Reservation]] = []
        self._finished = itertools.count(1)
        self._ids = f"{os.getpid():x}-{uuid.uuid4().hex[:12]}"
        self._numbers = itertools.count()
        self._in_trouble = False
        self._lumps: dict[tuple[Any, ...], Lump] = {}

    def open(self, start: CallStart) -> Generator[float, None, Reservation | None]:
        """Reserve what a call may cost; yields seconds to wait. `None` where nothing covers it.

        Raises:
            LunosBudgetError: a budget or limit refuses it.
        """
        facts = self._facts(start.app_id, start.user, start)
        covering = [budget.scope(facts) for budget in self.budgets]
        covering += [limit.scope(facts) for limit in self.limits]
        if not any(covering):
            return None
        kind = (start.model, facts["app"], facts["user"], *sorted(facts["tags"].items()))
        lump = self._lumps.get(kind)
        if lump is not None:
            reservation = self._reservation(start, facts, None)
            if reservation.certain and lump.draw(reservation.cost, self.store.clock()):
                return reservation
            self._lumps.pop(kind, None)
        approved: set[Budget] = set()
        begun = time.monotonic()
        while True:
            patient = time.monotonic() - begun < min(start.total_timeout or 1e9, _LONGEST_WAIT)
            reservation, verdict = self._try(start, facts, approved, patient=patient)
            if not verdict.fits and self.store.has_pending and self.store.flush():
                # what this process has just spent less than it held
                reservation, verdict = self._try(start, facts, approved, patient=patient)
            self._warn(verdict.warn)
            if verdict.fits:
                if verdict.lump is not None:
                    if len(self._lumps) > _MOST_LUMPS:
                        self._lumps.clear()
                    self._lumps[kind] = verdict.lump
                return reservation
            if verdict.exceeded:
                for budget, spent, estimate, end, key in verdict.exceeded:
                    self._exceeded(budget, spent, estimate, end, key, start)
                    approved.add(budget)
            elif verdict.limit is not None and verdict.limit.on_exceed == "refuse":
                raise _refusal(f"the limit of {verdict.limit} is reached: nothing was sent", start)
            elif verdict.wait is not None:
                yield verdict.wait

    def finish(self, call: CallRecord, reservation: Reservation) -> CallRecord:
        """Settle a reservation, and return the call as it is to be recorded."""
        reservation.settled = True
        if not self.budgets:
            return call
        if self._estimator.learn(call) is None and call.error is None and reservation.cost:
            # a stream that was left early, say: the price is known, the usage is not
            amount = float(dollars(reservation.cost))
            usage = replace(call.usage or Usage(), cost=amount, cost_source="estimate")
            call = call._replace(usage=usage)
        return call

    def after(self, call: CallRecord, reservation: Reservation | None) -> None:
        """Tell those who want to hear that a budget is nearly spent, and tidy up."""
        if self.budgets and reservation is not None:
            self._unwritten.append((call, reservation))
        if self.budgets:
            self._estimator.tell_unknown(call)
        try:
            if any(self._may_warn(budget) for budget in self.budgets):
                self.store.flush()
                self._warn(self._look_again(self._facts(call.app_id, call.user, call)))
            if self.store.in_memory and next(self._finished) % _PRUNE_EVERY == 0:
                self._forget_old_rows()
        except LunosConfigError:
            pass  # with the next call

    def spent(self, budget: Budget, **facts: Any) -> Decimal:
        """Return what the calls in a budget's window cost, those with the same facts."""
        self.store.flush()
        scope = budget.scope({"app": None, "user": None, "tags": {}, **facts}) or Scope()
        with self.store.transaction() as connection:
            begin, _ = budget.window(self.store.clock())
            return dollars(self._sum(connection, (budget, scope, begin), last_id_of(connection)))

    def _facts(self, app_id: str | None, user: str | None, call: Any) -> dict[str, Any]:
        return {
            "app": app_id or UNKNOWN_APP,
            "user": user_of(call.tags, user),
            "tags": tags_of(call.tags, call.metadata, self.store.tag_keys),
        }

    def _try(
        self, start: CallStart, facts: dict[str, Any], approved: set[Budget], *, patient: bool
    ) -> tuple[Reservation, Verdict]:
        now = self.store.clock()
        try:
            with self.store.transaction() as connection:
                reservation = self._reservation(start, facts, connection)
                verdict = self._judge(connection, now, reservation, approved, patient)
                if verdict.fits:
                    self._hold(connection, start, reservation, now)
                    if reservation.certain and not self.limits and not approved:
                        verdict.lump = lump_of(verdict, reservation.cost, now)
                    if verdict.lump is not None:
                        more = replace(reservation, cost=verdict.lump.left, tokens=0)
                        self._hold(connection, start, more, now, LUMP_SECONDS)
                        more.settled = True  # it ends by itself
            self._in_trouble = False
        except LunosConfigError as error:  # locked or full: on what this process knows
            if not self._in_trouble:
                self._in_trouble = True
                _log.warning("budgets hold for this process alone for now: %s", error)
            reservation = self._reservation(start, facts, None)
            verdict = self._judge_alone(now, reservation, approved)
            if verdict.fits:
                reservation.id = f"{self._ids}-{next(self._numbers)}"
        if verdict.fits:
            self._held[reservation.id] = reservation
        return reservation, verdict

    def _hold(
        self,
        connection: Connection,
        start: CallStart,
        reservation: Reservation,
        now: float,
        seconds: float | None = None,
    ) -> None:
        reservation.id = f"{self._ids}-{next(self._numbers)}"
        facts, expires = reservation.facts, now + (seconds or start.total_timeout or _EXPIRY)
        self.store.reserve(
            connection,
            (
                *(reservation.id, now, expires, facts["app"], facts["user"], facts["tags"]),
                *(start.model, reservation.cost, reservation.tokens, reservation.certain),
            ),
        )

    def _reservation(
        self, start: CallStart, facts: dict[str, Any], connection: Connection | None
    ) -> Reservation:
        if not self.budgets:
            return Reservation(self.store, facts, 0, self._estimator.tokens(start), certain=True)
        cost, certain = self._estimator.cost(start, connection)
        return Reservation(self.store, facts, cost, self._estimator.tokens(start), certain)

    def _judge(
        self,
        connection: Connection,
        now: float,
        wanted: Reservation,
        approved: set[Budget],
        patient: bool,
    ) -> Verdict:
        verdict = Verdict()
        last_id = last_id_of(connection)
        # the store's lock is ours: what is pending now is written after this
        pending = {id(call) for call in self.store.pending}
        for item in self._unwritten.copy():
            if id(item[0]) not in pending:
                self._unwritten.remove(item)
        for limit in self.limits:
            scope = limit.scope(wanted.facts)
            wait = scope and seconds_to_room(connection, now, limit, scope, wanted.tokens)
            if wait:
                verdict.wait, verdict.limit = max(verdict.wait or 0.0, wait), limit
        for budget in self.budgets:
            scope = budget.scope(wanted.facts)
            if scope is None or budget in approved:
                continue
            begin, end = budget.window(now)
            key = (budget, scope, begin)
            spent = self._sum(connection, key, last_id)
            held, guessed = connection.execute(
                "SELECT COALESCE(SUM(cost), 0), COALESCE(SUM(NOT certain), 0) FROM reservations "
                f"WHERE expires > ?{scope.condition}",
                (now, *scope.values),
            ).fetchone()
            for call, reservation in self._unwritten.copy():
                if budget.scope(reservation.facts) == scope:  # it is known what it cost
                    held += _cost_of(call) - (reservation.cost if reservation.id else 0)
                    guessed -= bool(reservation.id) and not reservation.certain
            limit_cost = picodollars(budget.limit) or 0
            if self._is_nearly_spent(spent, key):
                verdict.warn.append((budget, float(dollars(spent))))
            verdict.room = min(verdict.room, limit_cost - spent - held - wanted.cost)
            is_spent = spent >= limit_cost
            if not is_spent and guessed and patient and not wanted.certain:
                verdict.wait = max(verdict.wait or 0.0, POLL)  # soon it is known what they cost
            elif is_spent or (held and spent + held + wanted.cost > limit_cost):
                if not is_spent and guessed and patient:
                    verdict.wait = max(verdict.wait or 0.0, POLL)
                    continue
                used = (dollars(spent), dollars(wanted.cost if is_spent else held + wanted.cost))
                verdict.exceeded.append((budget, *used, end, key))
        return verdict

    def _judge_alone(self, now: float, wanted: Reservation, approved: set[Budget]) -> Verdict:
        verdict = Verdict()
        for budget in self.budgets:
            scope = budget.scope(wanted.facts)
            if scope is None or budget in approved:
                continue
            begin, end = budget.window(now)
            key = (budget, scope, begin)
            spent = self._sums.get(key, (0, 0))[1] + sum(
                _cost_of(call)
                for call, reservation in self._unwritten.copy()
                if budget.scope(reservation.facts) == scope
            )
            held = sum(
                item.cost for item in list(self._held.values()) if budget.scope(item.facts) == scope
            )
            limit_cost = picodollars(budget.limit) or 0
            if spent >= limit_cost or (held and spent + held + wanted.cost > limit_cost):
                verdict.exceeded.append((budget, dollars(spent), dollars(held), end, key))
        return verdict

    def _sum(self, connection: Connection, key: Key, last_id: int) -> int:
        """Add up the calls of a window, and remember how far: only new rows are read."""
        budget, scope, begin = key
        seen, total = self._sums.get(key, (0, 0))
        if seen < last_id:
            # in two parts, as in questions: the whole may be too large for SQLite's integers
            high, low = connection.execute(
                "SELECT COALESCE(SUM(cost / 1000000), 0), COALESCE(SUM(cost % 1000000), 0) "
                f"FROM calls WHERE id > ? AND id <= ? AND at >= ?{scope.condition}",
                (seen, last_id, begin, *scope.values),
            ).fetchone()
            total += high * 1_000_000 + low
            if key not in self._sums:
                # windows that are over count no more
                over = [k for k in self._sums if k[0] is budget and k[2] != begin]
                for old in over:
                    del self._sums[old]
            self._sums[key] = (last_id, total)
        return total

    def _exceeded(
        self,
        budget: Budget,
        spent: Decimal,
        estimate: Decimal,
        end: float | None,
        key: Key,
        start: CallStart,
    ) -> None:
        """Refuse, warn or ask.

        Raises:
            LunosBudgetError: the budget refuses.
        """
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

    def _may_warn(self, budget: Budget) -> bool:
        """Whether a budget may be nearly spent, as far as this process knows."""
        if budget.on_warn is None or budget.warn_at is None:
            return False
        known = max((sum_ for key, (_, sum_) in self._sums.items() if key[0] is budget), default=0)
        known += sum(_cost_of(item) for item, _ in self._unwritten.copy())
        return dollars(known) >= budget.limit * Decimal(str(budget.warn_at))

    def _is_nearly_spent(self, spent: int, key: Key) -> bool:
        """Whether `on_warn` is to be called, which is once per window."""
        budget = key[0]
        if budget.on_warn is None or budget.warn_at is None or ("warn", *key) in self._told:
            return False
        if dollars(spent) < budget.limit * Decimal(str(budget.warn_at)):
            return False
        self._told.add(("warn", *key))
        return True

    def _warn(self, budgets: Iterable[tuple[Budget, float]]) -> None:
        for budget, spent in budgets:
            try:
                if budget.on_warn is not None:
                    budget.on_warn(budget, spent)
            except Exception:  # the call that it watches goes on
                _log.exception("on_warn of the budget of %s failed", budget)

    def _look_again(self, facts: dict[str, Any]) -> list[tuple[Budget, float]]:
        """Return the budgets that the last call has nearly spent."""
        nearly = []
        with self.store.transaction() as connection:
            last_id, now = last_id_of(connection), self.store.clock()
            for budget in self.budgets:
                scope = budget.scope(facts)
                if scope is not None and budget.on_warn is not None:
                    key = (budget, scope, budget.window(now)[0])
                    spent = self._sum(connection, key, last_id)
                    if self._is_nearly_spent(spent, key):
                        nearly.append((budget, float(dollars(spent))))
        return nearly

    def _forget_old_rows(self) -> None:
        """Drop the rows of a store in memory, once they are added up."""
        with self.store.transaction() as connection:
            last_id = last_id_of(connection)
            for key in list(self._sums):
                self._sum(connection, key, last_id)
        longest = max((limit.seconds for limit in self.limits), default=0.0)
        self.store.prune(self.store.clock() - longest)


def _cost_of(call: CallRecord) -> int:
    return (call.usage and picodollars(amount_of(call.usage.cost))) or 0


def _refusal(text: str, start: CallStart) -> LunosBudgetError:
    return LunosBudgetError(text, model=start.model, app_id=start.app_id)
