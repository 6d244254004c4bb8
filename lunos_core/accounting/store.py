"""An SQLite file of all calls, written in batches by a separate thread."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import sqlite3
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Self, TypeVar

from lunos_core.accounting import sums
from lunos_core.accounting.database import Database, checked_path
from lunos_core.accounting.observers import CallRecord
from lunos_core.accounting.schema import INSERT, Settled, row_of, settle
from lunos_core.accounting.writer import Writer
from lunos_core.errors import LunosConfigError
from lunos_core.forks import reset_after_fork
from lunos_core.logs import log as _log

Moment = str | float | datetime | None
T = TypeVar("T")
_Pending = tuple[CallRecord, float, Settled | None]

BATCH = 100
_MOST_PENDING = 100_000
_TURNS = 2.0
_OTHERS = 5.0
_MOMENT = 0.5


class UsageStore:
    """The calls of any number of processes, in one SQLite file. No prompt or answer is kept.

    A `UsageLedger(store=…)` writes into it, or, without any code, the environment variable
    `LUNOS_USAGE_DB`. A thread writes the rows within half a second, or as soon as there are 100.
    After construction no problem with the file (locked, full disk) fails or slows a call: up to
    100,000 rows wait in memory.

    Args:
        path: the file, which is created if it doesn't exist.
        tag_keys: keys of the frameworks' metadata to keep as tags.
        clock: returns the Unix time of rows; for tests.

    Raises:
        LunosConfigError: the file can't be used.

    Example:
        >>> import tempfile
        >>> from lunos_core import UsageLedger, UsageStore
        >>> with UsageStore(tempfile.mkdtemp() + "/usage.db") as store:
        ...     with UsageLedger(store=store):
        ...         pass  # chain.invoke(…)
        ...     store.summary(by=("app", "day"), since="7d")
        []
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        tag_keys: Iterable[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        if isinstance(tag_keys, str) or not isinstance(tag_keys, Iterable):
            raise TypeError(f"tag_keys must be several str, not a {type(tag_keys).__name__}")
        if not callable(clock):
            raise TypeError(f"clock must be callable, not a {type(clock).__name__}")
        self.path = checked_path(path)
        self.tag_keys = tuple(tag_keys)
        if not all(isinstance(key, str) for key in self.tag_keys):
            raise TypeError(f"tag_keys must be str, not {self.tag_keys!r}")
        self.clock = clock
        self.closed = True
        self._forget()
        self.database = Database(self.path, patience=self.patience)
        self.closed = False
        _open[id(self)] = self
        reset_after_fork(self)

    in_memory = False
    patience = 5.0  # seconds to wait for a locked file when it is opened

    @property
    def has_pending(self) -> bool:
        """Whether a call or the end of a reservation hasn't been written yet."""
        return bool(self._pending or self._ended)

    def _forget(self) -> None:
        # re-entrant, as in the ledger
        self._flushing = threading.RLock()
        self._pending: deque[_Pending] = deque()
        self._ended: deque[Settled] = deque()
        # they know which of their reservations have expired
        self._holders: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self._written: deque[CallRecord] = deque(maxlen=32)
        self._writer = Writer(self)
        self._trouble: str | None = None
        self._is_behind = False  # whether many calls are in no sum yet
        self._lost = 0

    def reset_after_fork(self) -> None:
        """Start with nothing to write: pending calls belong to the parent."""
        self.database.reset_after_fork()
        self._forget()

    def add(self, call: CallRecord, *, reservation: Settled | None = None) -> None:
        """Add a finished call, which is written soon. Never raises.

        Args:
            call: the call; one that has just been added isn't added again.
            reservation: its reservation, which ends when the call is written: at once, unless it is
                part of a shared one.
        """
        is_full = len(self._pending) >= _MOST_PENDING
        if call.model is None or self.closed or is_full:
            self._lost += is_full
            if reservation is not None:
                self.end_reservation(*reservation)
            return
        self._pending.append((call, self.clock(), reservation))
        is_whole = reservation is not None and reservation[1] is None
        hurry = is_whole or len(self._pending) >= BATCH
        if hurry or not self._writer.is_awake:
            self._wake_writer(hurry=hurry)

    def _wake_writer(self, *, hurry: bool) -> None:
        self._writer.wake(hurry=hurry)

    @property
    def pending(self) -> list[CallRecord]:
        """The calls that haven't been written yet."""
        return [call for call, _ in self._unwritten(self._pending.copy())]

    def _unwritten(self, batch: Iterable[_Pending]) -> Iterator[tuple[CallRecord, float]]:
        # several ledgers may share the store: each adds the same record
        seen = {id(call) for call in self._written}
        for call, now, _ in batch:
            if id(call) not in seen:
                seen.add(id(call))
                yield call, now

    def end_reservation(self, reservation: str, amount: int | None = None) -> None:
        """End a reservation without a call. Never waits: a garbage collection may call it.

        Args:
            reservation: its id.
            amount: the part that ends, in picodollars, if several calls share it.
        """
        self._ended.append((reservation, amount))
        self._wake_writer(hurry=amount is None)  # others wait for a part, and don't refuse

    def watch(self, holder: Any) -> None:
        """Call `holder.end_old(now)` at each write, at least twice a second while it `holds`."""
        self._holders[id(holder)] = holder
        self._wake_writer(hurry=False)

    @property
    def holds(self) -> bool:
        """Whether money is reserved for future calls."""
        return any(holder.holds for holder in _alive(self._holders))

    def add_many(self, records: Iterable[CallRecord]) -> int:
        """Write many calls at once, and return how many; for imports.

        Raises:
            TypeError: one of them isn't a `CallRecord`, or has a field of the wrong type.
            ValueError: the time of one can't be a Unix time.
            LunosConfigError: the file can't be written, or the store is closed.
        """
        calls = list(records)
        if not all(isinstance(call, CallRecord) for call in calls):
            raise TypeError("records must be CallRecord, each of them")
        rows = [row_of(call, self.clock(), self.tag_keys) for call in calls]
        self.database.transact(
            lambda connection: connection.executemany(INSERT, rows), wait=_OTHERS
        )
        self._carry_on(math.inf)
        return len(rows)

    def flush(self, *, wait: float = 0.25) -> bool:
        """Write pending calls, and return whether all have been written.

        Args:
            wait: seconds to wait for a locked file; 0 for one attempt, which leaves the rest to the
                writer.
        """
        if not self._flushing.acquire(timeout=_TURNS if wait else 0):
            return False
        try:
            for holder in _alive(self._holders):
                holder.end_old(self.clock())
            while self._pending or self._ended:
                batch = [self._pending[i] for i in range(min(len(self._pending), 1000))]
                ended = [self._ended[i] for i in range(len(self._ended))]
                rows = self._rows(batch)
                settled = [*ended, *(item for *_, item in batch if item is not None)]
                work = functools.partial(self._write, rows, settled, bool(wait))
                self.database.transact(work, wait=wait)
                self._written.extend(self._pending.popleft()[0] for _ in batch)
                for _ in ended:
                    self._ended.popleft()
        except (LunosConfigError, IndexError) as error:
            if wait:
                self._warn(str(error))
            return False
        finally:
            self._flushing.release()
        self._trouble = None
        if self._lost:
            _log.warning("%d calls weren't recorded: too many waited", self._lost)
            self._lost = 0
        if self._is_behind and wait:
            with contextlib.suppress(LunosConfigError):
                self._is_behind = self.database.transact(sums.carry_on)
            self._wake_writer(hurry=False)
        return True

    def _rows(self, batch: Iterable[_Pending]) -> list[tuple[Any, ...]]:
        rows = []
        for call, now in self._unwritten(batch):
            try:
                rows.append(row_of(call, now, self.tag_keys))
            except (TypeError, ValueError) as error:  # a record that somebody made by hand
                _log.warning("a call wasn't recorded: %s", error)
        return rows

    def flushing(self) -> Generator[float]:
        """Write pending calls; yield seconds to wait while others write."""
        # of a file that was locked just now, no further call waits long
        end = time.monotonic() + (0.25 if self._trouble is None else 0.02)
        while self.has_pending and not self.flush(wait=0) and time.monotonic() < end:
            yield 0.001

    def _write(
        self,
        rows: Sequence[Any],
        settled: Sequence[Settled],
        add_up: bool,
        connection: sqlite3.Connection,
    ) -> None:
        connection.executemany(INSERT, rows)
        if add_up and not self.in_memory:
            sums.carry_on(connection)
        settle(connection, settled, self.clock())

    def close(self) -> None:
        """Write pending calls and close the file; later calls aren't recorded."""
        if self.closed:
            return
        self.flush()
        self.closed = True
        self._wake_writer(hurry=True)
        self.database.close()

    def prune(self, older_than: Moment = "90d") -> int:
        """Delete the calls before a point in time ("90d", a date, …), and return how many.

        Raises:
            ValueError: `older_than` isn't a point in time.
            LunosConfigError: the file can't be written, or the store is closed.
        """
        from lunos_core.accounting.questions import moment

        before = moment(older_than, "older_than", self.clock())
        return self.database.transact(
            lambda connection: sums.prune(connection, before), wait=_OTHERS
        )

    def summary(
        self,
        by: str | Sequence[str] = ("app",),
        *,
        since: Moment = None,
        until: Moment = None,
        app: str | None = None,
        model: str | None = None,
        user: str | None = None,
    ) -> list[dict[str, Any]]:
        """Add up the calls in groups, after writing this process's pending calls.

        Args:
            by: "app", "user", "model", "endpoint", "day", "hour" (both in UTC), "tag:NAME"; a
                `str` may contain several, separated by commas.
            since: "7d", "12h", an ISO date, a `datetime` or a Unix time.
            until: the same; only calls before it.
            app: only this app id.
            model: only this requested model.
            user: only this user.

        Returns:
            For each group its names, `calls`, `errors`, `retries`, tokens, `cost` in USD (`None` if
            unknown), `estimated_cost` (the part of it that is an estimate), `p50_seconds`,
            `p95_seconds`, `p99_seconds` and `first_token_p50_seconds`. Groups by time are in the
            order of time, others begin with the most expensive. Refused calls don't count.

        Raises:
            ValueError: an argument isn't one of these.
            LunosConfigError: the file can't be read, or the store is closed.
        """
        from lunos_core.accounting.questions import Question

        question = Question.of(
            by, since=since, until=until, app=app, model=model, user=user, now=self.clock()
        )
        self.settle()
        with self.database.reading() as connection, self.database.reading() as other:
            return question.ask(connection, other)

    def settle(self) -> None:
        """Write this process's pending calls and update the sums, before queries."""
        for store in _alive(_open):
            if store.path == self.path and not store.closed:
                store.flush()
        with contextlib.suppress(LunosConfigError):  # without it queries are only slower
            self._carry_on(_MOMENT)

    def _carry_on(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        work = functools.partial(sums.carry_on, most=sums.LARGE_CHUNK)
        self._is_behind = self.database.transact(work)
        while self._is_behind and time.monotonic() < end:
            self._is_behind = self.database.transact(work)
        if self._is_behind:  # many calls, as of an upgraded file: the writer adds them up
            self._wake_writer(hurry=False)

    def write_html(self, path: str | os.PathLike[str], *, since: Moment = "30d") -> None:
        """Write the current dashboard as one self-contained HTML page.

        Args:
            path: the file to write.
            since: how far to look back, as in `summary`.

        Raises:
            OSError: the page can't be written.
            ValueError: `since` isn't a point in time.
            LunosConfigError: the store can't be read, or is closed.
        """
        from lunos_core.accounting.dashboard.page import write_page

        write_page(self, path, since=since)

    def _warn(self, reason: str) -> None:
        if self._trouble is None:
            self._trouble = reason
            _log.warning("calls can't be recorded for now, they wait in memory: %s", reason)

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        """Write pending calls, except at the interpreter's end, when that has been done."""
        # nobody reads one in memory that is dropped, as in a forked child
        if hasattr(self, "database") and not self.in_memory and not is_finalizing():
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(type(self), tag_keys=self.tag_keys), (self.path,)


# this process's stores: a query of one first writes the pending calls of all with its file
_open: weakref.WeakValueDictionary[int, UsageStore] = weakref.WeakValueDictionary()


def _alive(items: weakref.WeakValueDictionary[int, T]) -> list[T]:
    """Return the items that still exist, safe while other threads add some."""
    return [item for ref in items.valuerefs() if (item := ref()) is not None]
