"""The usage and cost of calls, by app id, model and endpoint.

A ledger observes the clients, not the adapters: it counts every call to Lunos, in both frameworks,
streamed or not.
"""

from __future__ import annotations

import asyncio
import copy
import os
import threading
from collections.abc import Generator, Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self, TypeVar

from lunos_core.accounting.budgets import Budget, RateLimit
from lunos_core.accounting.observers import (
    CallRecord,
    CallStart,
    Observer,
    begin_everywhere,
    begin_here,
    end_everywhere,
    end_here,
)
from lunos_core.accounting.totals import Totals
from lunos_core.accounting.usage import Usage
from lunos_core.errors import LunosBudgetError
from lunos_core.forks import reset_after_fork

if TYPE_CHECKING:
    from lunos_core.accounting.admission import Admissions
    from lunos_core.accounting.reservations import Key, Reservation
    from lunos_core.accounting.store import UsageStore
else:  # type hints can be read without SQLite
    Admissions = Key = Reservation = UsageStore = Any


class UsageLedger:
    """Counts calls: tokens, cost, retries, errors and time, per app id, model and endpoint.

    In a `with` block it counts the calls made inside, and in tasks that start there. Calls in a
    thread count if it runs in a copy of the block's context: `asyncio.to_thread` and both
    frameworks' executors make one, a bare `threading.Thread` doesn't. `start()` counts everywhere
    in the process, until `stop()`. A client accepts a ledger as `observers=[ledger]`. Even with all
    three, each call is counted once.

    Only requests to a model are counted, not for example the catalog.

    Args:
        budget: USD for all calls of all time, the same as `budgets=[Budget(budget)]`.
        budgets: for windows of time, app ids, users and tags. Before a call is sent, its possible
            cost is reserved, so that concurrent calls keep to the budget too; if a budget has no
            money for a call, a `LunosBudgetError` is raised before anything is sent.
        limits: on calls and tokens per minute; a call waits until there is room.
        store: a `UsageStore`, or the path of one, that keeps every call. Budgets and limits then
            apply to all processes that share it, and count the calls that it already has.
        on_unknown_cost: what to do with a budget if neither the gateway nor the catalog knows the
            cost of a model: "warn" once, with a `LunosCostWarning`, "refuse", or "ignore".

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument can't be used.
        LunosConfigError: the store can't be opened.

    Example:
        >>> from lunos_core import Budget, UsageLedger
        >>> with UsageLedger(budgets=[Budget(5, per="day", app="website")]) as ledger:
        ...     pass  # chain.invoke(…), index.as_query_engine().query(…)
        >>> ledger.rows()
        []
    """

    def __init__(
        self,
        *,
        budget: float | Decimal | str | None = None,
        budgets: Iterable[Budget] = (),
        limits: Iterable[RateLimit] = (),
        store: UsageStore | str | os.PathLike[str] | None = None,
        on_unknown_cost: str = "warn",
    ) -> None:
        self._total = None if budget is None else Budget(budget)
        self._budgets = _checked("budgets", budgets, Budget)
        self._limits = _checked("limits", limits, RateLimit)
        if on_unknown_cost not in _ON_UNKNOWN_COST:
            raise ValueError(
                f"on_unknown_cost must be one of {_ON_UNKNOWN_COST}, not {on_unknown_cost!r}"
            )
        self._on_unknown_cost = on_unknown_cost
        self._totals = Totals()
        self.store: UsageStore | None = _opened(store)
        self._owns_store = self.store is not store
        self._lock = threading.RLock()
        self._admissions = self._new_admissions()
        reset_after_fork(self)

    @property
    def budget(self) -> Decimal | None:
        """USD for all calls together, or `None`; it can be changed at any time."""
        return None if self._total is None else self._total.limit

    @budget.setter
    def budget(self, amount: float | Decimal | str | None) -> None:
        with self._lock:
            self._total = None if amount is None else Budget(amount)
            self._admissions = self._new_admissions()

    def _new_admissions(self, before: Admissions | None = None) -> Admissions | None:
        self._totals.heard = None  # in a forked child the locks of those before may be held
        self._totals.count()
        budgets = [*self._budgets, *([] if self._total is None else [self._total])]
        if not budgets and not self._limits:
            return None
        from lunos_core.accounting.admission import Admissions  # imports SQLite
        from lunos_core.accounting.memory import MemoryStore

        store: UsageStore | None = self.store
        if store is None:
            store = MemoryStore()
            _add_spent(store, self._totals)
        return Admissions(store, budgets, self._limits, self._on_unknown_cost, self._totals, before)

    def reset_after_fork(self) -> None:
        """Start with a new lock, which no thread of the parent holds, and nothing reserved."""
        # re-entrant: a garbage collection in here may close a forgotten stream, which is counted
        self._lock = threading.RLock()
        self._totals.reset_after_fork()
        self._admissions = self._new_admissions(vars(self).get("_admissions"))

    def __enter__(self) -> Self:
        begin_here(self)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop counting; the rows stay, and the store's are written.

        A file that others have locked doesn't block an event loop: the store's writer continues.
        """
        end_here(self)
        self._flush()

    def start(self) -> Self:
        """Count the calls of the whole process from now on, in any thread."""
        begin_everywhere(self)
        return self

    def stop(self) -> None:
        """Stop counting, after `start`."""
        end_everywhere(self)
        self._flush()

    def _flush(self) -> None:
        if self.store is not None:
            self.store.flush(wait=0 if _is_on_event_loop() else 0.25)

    def close(self) -> None:
        """Stop counting everywhere, and close the store if this ledger opened it."""
        self.stop()
        if self.store is not None and self._owns_store:
            self.store.close()

    @property
    def record(self) -> Self:
        """The ledger itself, as an observer of clients: `observers=[ledger.record]`."""
        return self

    @property
    def wants_prices(self) -> bool:
        """Whether clients should load their catalog's prices when they are first needed."""
        return self._total is not None or bool(self._budgets)

    def open_call(self, start: CallStart) -> Generator[float, None, Observer]:
        """Reserve the possible cost of a call: the clients' hook before they send.

        Raises:
            LunosBudgetError: a budget or limit has no room for it.
        """
        admissions = self._admissions
        if admissions is None or start.model is None:
            return self
        reservation = admissions.draw(start) or (yield from admissions.open(start))
        if reservation is None:
            return self
        reservation.count = self.count
        return reservation

    def call_refused(self, call: CallRecord) -> None:
        """Write a call that was refused to the store; it isn't counted here."""
        if self.store is not None:
            self.store.add(call)

    def __call__(self, call: CallRecord) -> None:
        """Count a finished call: the clients' hook."""
        self.count(call)

    def count(self, call: CallRecord, reservation: Reservation | None = None) -> None:
        """Count one call, and end its reservation."""
        if call.model is None:
            return
        admissions, store, settled = self._admissions, self.store, None
        keys: tuple[Key, ...] = ()
        is_unknown = call.usage is None or call.usage.cost is None
        if admissions is not None:
            store = admissions.store
            if reservation is not None:
                keys = reservation.keys
                settled = (reservation.id, reservation.part) if reservation.id else None
                if is_unknown:
                    call = admissions.estimated(call, reservation.cost)
        self._totals.add(call, keys)
        if store is not None:
            store.add(call, reservation=settled)
        if admissions is not None and (is_unknown or admissions.is_watchful):
            admissions.after(call, keys)

    @property
    def cost(self) -> float | None:
        """USD so far, or `None` if no call's cost is known."""
        spent = self._totals.spent()
        return None if spent is None else float(spent)

    def check_budget(self, *, app_id: str | None = None, model: str | None = None) -> None:
        """Raise once the budget is spent.

        Raises:
            LunosBudgetError: it is spent.
        """
        admissions, total = self._admissions, self._total
        if total is None or admissions is None or model is None:
            return
        spent = admissions.spent(total)
        if spent >= total.limit:
            raise LunosBudgetError(
                f"the budget of {total} is spent ({spent:f} USD so far): nothing was sent; raise "
                "ledger.budget, or begin a new ledger",
                model=model,
                app_id=app_id,
            )

    def merge(self, other: UsageLedger) -> None:
        """Add the counts of another ledger, such as a pickled one from a worker process.

        This ledger's budget stays, and the other's costs count towards it.

        Example:
            >>> import pickle
            >>> from lunos_core import UsageLedger
            >>> ledger, of_a_worker = UsageLedger(), UsageLedger()
            >>> ledger.merge(pickle.loads(pickle.dumps(of_a_worker)))
        """
        # a copy first: two ledgers that merge each other must not wait for each other's lock
        counted = copy.deepcopy(other._totals)
        self._totals.merge(counted)
        admissions = self._admissions
        if admissions is not None and admissions.store.in_memory:
            _add_spent(admissions.store, counted)

    def __getstate__(self) -> dict[str, Any]:
        """Return the current state without the lock; other threads may continue to count."""
        left = ("_lock", "_admissions")
        state = {name: value for name, value in vars(self).items() if name not in left}
        return copy.deepcopy(state)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.reset_after_fork()
        reset_after_fork(self)

    def rows(self) -> list[dict[str, Any]]:
        """Return one dict for each app id, model and endpoint, in the order of their first calls.

        `cost` is the sum of the known costs in USD, or `None` if none is known; `seconds` is the
        sum over the calls; `first_token_seconds` is the mean over the streams, or `None`.
        """
        return self._totals.rows()

    def history(self) -> dict[str, list[tuple[float, float, int]]]:
        """By app id: (Unix time, USD so far, tokens so far) after each call; thinned when long."""
        return self._totals.histories()

    def table(self) -> str:
        """Return the rows and their sums as text in columns."""
        from lunos_core.accounting.report import to_table

        return to_table(self.rows())

    def to_frame(self) -> Any:
        """Return the rows as a `DataFrame` of pandas, or of polars if pandas isn't installed.

        Raises:
            ImportError: neither is installed.
        """
        from lunos_core.accounting.report import to_frame

        return to_frame(self.rows())

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the rows as CSV with a header; unknown values are empty."""
        from lunos_core.accounting.report import write_csv

        write_csv(path, self.rows())

    def write_json(self, path: str | os.PathLike[str]) -> None:
        """Write `{"rows": […], "history": {app id: […]}}`, which `lunos usage FILE` shows."""
        from lunos_core.accounting.report import write_json

        write_json(path, self.rows(), self.history())

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Return each application's cost and tokens over time as a matplotlib `Figure`.

        Args:
            path: a file to which the figure is also saved.

        Raises:
            ImportError: matplotlib isn't installed.
        """
        from lunos_core.accounting.report import plot

        return plot(self.history(), path)


_ON_UNKNOWN_COST = ("warn", "refuse", "ignore")
T = TypeVar("T")


def _checked(name: str, items: Iterable[T], kind: type[T]) -> tuple[T, ...]:
    if isinstance(items, (kind, str)) or not isinstance(items, Iterable):
        raise TypeError(f"{name} must be a list of {kind.__name__}, not {type(items).__name__}")
    checked = tuple(items)
    for item in checked:
        if not isinstance(item, kind):
            raise TypeError(f"{name} must hold {kind.__name__}, not {type(item).__name__}")
    return checked


def _is_on_event_loop() -> bool:
    try:
        return asyncio.get_running_loop() is not None
    except RuntimeError:
        return False


def _opened(store: UsageStore | str | os.PathLike[str] | None) -> UsageStore | None:
    if store is None:
        return None
    from lunos_core.accounting.store import UsageStore  # imports SQLite

    if isinstance(store, str | os.PathLike):
        return UsageStore(store)
    if not isinstance(store, UsageStore):
        raise TypeError(f"store must be a UsageStore or its path, not {type(store).__name__}")
    return store


def _add_spent(store: UsageStore, totals: Totals) -> None:
    spent = totals.spent()
    if spent:
        usage = Usage(cost=float(spent))
        store.add(CallRecord(None, "merged", "", 1, 0.0, None, usage, None))
