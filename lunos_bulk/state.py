"""What the workers of a job share: one SQLite file in the job's folder, of one machine.

It holds each answer from the moment it came, by a hash of what was asked, so that nothing is paid
twice, whatever is killed when; who is asking what; the pace; and which blocks are finished.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lunos_bulk.pace import Pace
from lunos_core.errors import LunosConfigError

Answer = tuple[bytes | None, str | None]
"""The answer, or what went wrong for good: the error's class, a colon, its message."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (key BLOB UNIQUE, owner TEXT, value BLOB, error TEXT);
CREATE INDEX IF NOT EXISTS owners ON answers (owner) WHERE owner IS NOT NULL;
CREATE INDEX IF NOT EXISTS errors ON answers (error) WHERE error IS NOT NULL;
CREATE TABLE IF NOT EXISTS workers (owner TEXT PRIMARY KEY, beat REAL);
CREATE TABLE IF NOT EXISTS blocks (name TEXT PRIMARY KEY, run TEXT, rows, dead, size, new);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT);
"""
_DEAD_AFTER = 30.0  # seconds without a sign of life
# what a later run may not meet again
_PASSING = ("LunosConnectionError", "LunosTimeoutError", "LunosServerError", "LunosRateLimitError")


class State:
    """The shared state of one job; `folder` is made where it is missing.

    Raises:
        LunosConfigError: its file can't be used.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / "state.db"
        self.owner = uuid.uuid4().hex
        self._lock = threading.RLock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self.path, timeout=60, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            # a killed process loses nothing that was committed
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise LunosConfigError(f"{self.path} can't be used: {error}") from None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A short write transaction."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise

    def fact(self, name: str, value: Any = None) -> Any:
        """Return a fact; one that isn't known yet becomes `value` first."""
        with self.transaction() as connection:
            if value is not None:
                row = (name, json.dumps(value))
                connection.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", row)
            return _fact(connection, name)

    def begin(
        self, job: str, rpm: float | None, tpm: float | None, *, forget: bool = False
    ) -> None:
        """Begin a run: what the last one was asking when it ended is free again.

        Args:
            job: what its answers depend on, as text.
            rpm: requests a minute.
            tpm: tokens a minute.
            forget: whether to ask again what went wrong.

        Raises:
            LunosConfigError: the folder is another job's.
        """
        if self.fact("job", job) != job:
            raise LunosConfigError(
                f"{self.path.parent} belongs to a job with another model, prompt, schema or "
                "setting: take another folder, or the same settings"
            )
        with self.transaction() as connection:
            passing = ", ".join(f"'{name}'" for name in _PASSING)
            connection.execute(
                "DELETE FROM answers WHERE owner IS NOT NULL OR (error IS NOT NULL AND "
                f"(? OR substr(error, 1, instr(error, ':') - 1) IN ({passing})))",
                (forget,),
            )
            connection.execute("DELETE FROM workers")
            pace = Pace(**(_fact(connection, "pace") or {}))
            pace = pace.begin(uuid.uuid4().hex, rpm and rpm / 60, tpm and tpm / 60)
            _set(connection, "pace", asdict(pace))
            _set(connection, "run", pace.run)

    @contextlib.contextmanager
    def pace(self) -> Iterator[Pace]:
        """The shared pace, to read and change."""
        with self.transaction() as connection:
            pace = Pace(**(_fact(connection, "pace") or {}))
            yield pace
            _set(connection, "pace", asdict(pace))

    def claim(self, keys: Sequence[bytes] = ()) -> tuple[list[bytes], dict[bytes, Answer]]:
        """Take over what nobody asks; even without keys it shows that this worker is alive.

        Returns:
            The keys that are the caller's to ask, and the answers that are known. Another worker
            asks the rest.
        """
        with self.transaction() as connection:
            now = time.time()
            connection.execute("INSERT OR REPLACE INTO workers VALUES (?, ?)", (self.owner, now))
            connection.execute(
                "DELETE FROM answers WHERE owner IN (SELECT owner FROM workers WHERE beat < ?)",
                (now - _DEAD_AFTER,),
            )
            marks = ", ".join("?" * len(keys))
            sql = f"SELECT key, owner, value, error FROM answers WHERE key IN ({marks})"
            taken = {key: rest for key, *rest in connection.execute(sql, keys)}
            mine = [key for key in keys if key not in taken]
            rows = [(key, self.owner) for key in mine]
            connection.executemany("INSERT INTO answers (key, owner) VALUES (?, ?)", rows)
        return mine, {k: (value, error) for k, (owner, value, error) in taken.items() if not owner}

    def keep(self, answers: Mapping[bytes, Answer]) -> None:
        """Keep answers for good."""
        with self.transaction() as connection:
            connection.executemany(
                "INSERT INTO answers (key, value, error) VALUES (?, ?, ?) ON CONFLICT (key) DO "
                "UPDATE SET owner = NULL, value = excluded.value, error = excluded.error",
                [(key, value, error) for key, (value, error) in answers.items()],
            )

    def release(self, keys: Sequence[bytes]) -> None:
        """Give back what was claimed and not answered."""
        with self.transaction() as connection:
            rows = [(key, self.owner) for key in keys]
            connection.executemany("DELETE FROM answers WHERE key = ? AND owner = ?", rows)

    def finished(self, name: str, rows: int, dead: int, size: int, *, new: bool) -> None:
        """Note a block whose files are written: of this many rows, from this many bytes."""
        with self.transaction() as connection:
            row = (name, _fact(connection, "run"), rows, dead, size, new)
            connection.execute("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?, ?, ?)", row)

    def blocks(self) -> list[tuple[str, int, int, int, bool]]:
        """Return this run's finished blocks: name, rows, dead, bytes, and whether it is new."""
        with self.transaction() as connection:
            sql = "SELECT name, rows, dead, size, new FROM blocks WHERE run = ?"
            return connection.execute(sql, (_fact(connection, "run"),)).fetchall()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


def _fact(connection: sqlite3.Connection, name: str) -> Any:
    row = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return None if row is None else json.loads(row[0])


def _set(connection: sqlite3.Connection, name: str, value: Any) -> None:
    connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))
