"""The SQLite file of a usage store: its tables and versions, and this process's connection."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

from lunos_core.accounting.histograms import add_functions
from lunos_core.errors import LunosConfigError

T = TypeVar("T")
# in SQLite's header: distinguishes our files from other programs'
_APPLICATION_ID = 0x4C554E4F  # "LUNO"
_TURNS = 2.0
_CONFLICTS = 3
_NAP = 0.001
# the parent process's: closing one in a child would drop the parent's locks
_left_open: list[sqlite3.Connection | None] = []

# Each version adds to the one before. `PRAGMA user_version` is a file's version.
_VERSIONS = (
    """
CREATE TABLE calls (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL, app TEXT NOT NULL, user TEXT, model TEXT NOT NULL, served TEXT,
    endpoint TEXT NOT NULL, status TEXT NOT NULL, http_status INTEGER,
    retries INTEGER NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    cached_tokens INTEGER, cache_write_tokens INTEGER, reasoning_tokens INTEGER,
    audio_tokens INTEGER, cost INTEGER, cost_source TEXT,
    seconds REAL NOT NULL, first_token_seconds REAL, request_id TEXT, framework TEXT, tags TEXT
);
CREATE INDEX calls_at ON calls (at);
CREATE TABLE reservations (
    id TEXT PRIMARY KEY, at REAL NOT NULL, expires REAL NOT NULL,
    app TEXT NOT NULL, user TEXT, tags TEXT, model TEXT NOT NULL,
    cost INTEGER NOT NULL, tokens INTEGER NOT NULL, certain INTEGER NOT NULL
)""",
    # sums of calls by hour and by day, up to the call that `summed` names, and the ledgers' budgets
    # for the dashboard
    """
CREATE TABLE sums (
    span INTEGER NOT NULL, begin INTEGER NOT NULL,
    app TEXT NOT NULL, model TEXT NOT NULL, endpoint TEXT NOT NULL,
    calls INTEGER NOT NULL, errors INTEGER NOT NULL, retries INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL, reasoning_tokens INTEGER NOT NULL,
    cost_high INTEGER, cost_low INTEGER, estimated_high INTEGER,
    seconds BLOB NOT NULL, first_token_seconds BLOB NOT NULL,
    PRIMARY KEY (span, begin, app, model, endpoint)
) WITHOUT ROWID;
CREATE TABLE summed (id INTEGER NOT NULL);
INSERT INTO summed VALUES (0);
CREATE TABLE budgets (
    name TEXT PRIMARY KEY, amount TEXT NOT NULL, per TEXT, app TEXT, user TEXT,
    tag TEXT, tag_value TEXT, seen REAL NOT NULL
)""",
    # the same sums with all costs of estimates, and the times of calls by day, to be sorted: in
    # separate tables, because processes of the previous version may still write theirs
    """
CREATE TABLE rollups (
    span INTEGER NOT NULL, begin INTEGER NOT NULL,
    app TEXT NOT NULL, model TEXT NOT NULL, endpoint TEXT NOT NULL,
    calls INTEGER NOT NULL, errors INTEGER NOT NULL, retries INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL, reasoning_tokens INTEGER NOT NULL,
    cost_high INTEGER, cost_low INTEGER, estimated_high INTEGER, estimated_low INTEGER,
    seconds BLOB NOT NULL, first_token_seconds BLOB NOT NULL,
    PRIMARY KEY (span, begin, app, model, endpoint)
) WITHOUT ROWID;
CREATE TABLE times (
    begin INTEGER NOT NULL,
    app TEXT NOT NULL, model TEXT NOT NULL, endpoint TEXT NOT NULL,
    seconds BLOB NOT NULL, first_token_seconds BLOB NOT NULL
);
CREATE INDEX times_begin ON times (begin);
CREATE TABLE rolled_up (id INTEGER NOT NULL);
INSERT INTO rolled_up VALUES (0);
DELETE FROM sums;
UPDATE summed SET id = 0""",
)


class Database:
    """One connection to the file for all threads of this process.

    Raises:
        LunosConfigError: the file can't be opened or written, isn't a usage store, or is newer
            than this package.
    """

    def __init__(self, path: str, *, patience: float = 5.0) -> None:
        self.path = path
        self.connection: sqlite3.Connection | None = None
        # re-entrant, as in the ledger
        self.lock = threading.RLock()
        self.closed = False
        try:
            self.connection = _open(path, patience)
        except sqlite3.Error as error:
            if patience or not _is_locked(error):
                raise _unusable(path, str(error)) from None

    def reset_after_fork(self) -> None:
        """Leave the parent's connection alone; the first use opens another."""
        _left_open.append(self.connection)
        self.connection = None
        self.lock = threading.RLock()

    def __del__(self) -> None:
        if self.connection is not None:  # Python 3.13 warns of one that is left open
            self.connection.close()

    def close(self) -> None:
        """Close the file."""
        with self.lock:
            self.closed = True
            if self.connection is not None:
                self.connection.close()
                self.connection = None

    def transact(
        self,
        work: Callable[[sqlite3.Connection], T],
        *,
        wait: float = 0.25,
        reads_first: bool = False,
    ) -> T:
        """Run a function in a write transaction: see `turns`."""
        turns = self.turns(work, wait=wait, reads_first=reads_first)
        while True:
            try:
                time.sleep(next(turns))
            except StopIteration as end:
                result: T = end.value
                return result

    def turns(
        self,
        work: Callable[[sqlite3.Connection], T],
        *,
        wait: float = 0.25,
        reads_first: bool = False,
    ) -> Generator[float, None, T]:
        """Run a function in a write transaction; yield seconds to wait while others write.

        Args:
            work: the function; it may run several times, and only the last run counts.
            wait: seconds to wait for a locked file; 0 for one attempt.
            reads_first: lock the file only when the function writes, which it may not do.

        Raises:
            LunosConfigError: the file stays locked, can't be written, or the store is closed.
        """
        tries, end, locked_until = 0, time.monotonic() + (_TURNS if wait else 0.0), None
        while True:
            # not held while anyone waits: an event loop's tasks share one thread
            if self.lock.acquire(blocking=False):
                try:
                    immediately = not reads_first or tries >= _CONFLICTS
                    return self._transact(work, "BEGIN IMMEDIATE" if immediately else "BEGIN")
                except sqlite3.Error as error:
                    if not _is_locked(error):
                        raise self._trouble(error) from None
                    # SQLite's own wait sleeps longer each time, so that some never get the lock
                    tries, reason = tries + 1, str(error)
                    end = locked_until = locked_until or time.monotonic() + wait
                finally:
                    self.lock.release()
            else:  # threads take turns of a millisecond: wait longer than for a locked file
                reason = "other threads write into it"
            if time.monotonic() >= end:
                raise self._trouble(reason)
            yield _NAP

    def _transact(self, work: Callable[[sqlite3.Connection], T], begin: str) -> T:
        connection = self._connected()
        if connection.in_transaction:  # a garbage collection in it closed a stream
            raise self._trouble("it is busy")
        try:
            connection.execute(begin)
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            raise
        return result

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield a separate connection to one state of the file, for queries that may take long.

        Raises:
            LunosConfigError: the file can't be read, or the store is closed.
        """
        if self.closed:
            raise self._trouble("it is closed")
        try:
            connection = sqlite3.connect(
                self.path, timeout=5.0, isolation_level=None, check_same_thread=False
            )
            try:
                add_functions(connection)
                connection.execute("BEGIN")
                yield connection
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise self._trouble(error) from None

    def _connected(self) -> sqlite3.Connection:
        if self.closed:
            raise self._trouble("it is closed")
        if self.connection is None:  # in a forked child, or if the file was locked before
            self.connection = _open(self.path, 0.0)
        return self.connection

    def _trouble(self, reason: object) -> LunosConfigError:
        return LunosConfigError(f"the usage store {self.path!r}: {reason}")


def checked_path(path: str | os.PathLike[str]) -> str:
    """Return the real path of a file that can be a store.

    Raises:
        TypeError: `path` isn't a str or a path.
        LunosConfigError: no file can have this path.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be a str or a path, not {type(path).__name__}")
    text = os.fspath(path)
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise LunosConfigError(f"path={text!r} can't be used as a usage store: name a file")
    return os.path.realpath(os.path.expanduser(text))


def _open(path: str, patience: float) -> sqlite3.Connection:
    # autocommit: only the code begins and ends transactions
    connection = sqlite3.connect(
        path, timeout=patience, isolation_level=None, check_same_thread=False
    )
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    add_functions(connection)
    connection.execute("PRAGMA journal_mode = WAL")
    # a killed process loses nothing that was committed; a power failure may lose the last second
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("BEGIN IMMEDIATE")  # only one of several processes creates the tables
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if tables and application != _APPLICATION_ID:
            raise _unusable(path, "it is the database of another program")
        if version > len(_VERSIONS):
            raise _unusable(
                path, f"version {version} was written by a newer lunos-integrations: upgrade it"
            )
        if version < len(_VERSIONS):
            statements = ";".join(_VERSIONS[version:]).split(";")
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {len(_VERSIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("PRAGMA busy_timeout = 0")  # from now on the callers wait by themselves


def _unusable(path: str, reason: str) -> LunosConfigError:
    return LunosConfigError(f"path={path!r} can't be used as a usage store: {reason}")


def _is_locked(error: BaseException) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
