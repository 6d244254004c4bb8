"""The shared state of a job's workers: tables beside its calls and its pace, in the usage store.

An answer is stored as soon as it arrives, by a hash of its request, so that nothing is paid twice,
whenever a process is killed. A row without a value or error means that its owner is asking now; the
next run forgets errors that have an owner.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lunos_core.accounting.store import UsageStore
from lunos_core.errors import LunosConfigError

Answer = tuple[bytes | None, str | None]
"""The answer, or the error: its class, a colon, its message."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (key BLOB UNIQUE, owner TEXT, value BLOB, error TEXT);
CREATE INDEX IF NOT EXISTS owners ON answers (owner) WHERE owner IS NOT NULL;
CREATE INDEX IF NOT EXISTS errors ON answers (error) WHERE error IS NOT NULL;
CREATE TABLE IF NOT EXISTS workers (owner TEXT PRIMARY KEY, beat REAL);
CREATE TABLE IF NOT EXISTS blocks (name TEXT PRIMARY KEY, run TEXT, rows, size, new);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT)"""
_DEAD_AFTER, _LOCKED = 30.0, 60.0  # seconds without a sign of life, and for other writers


class State:
    """The shared state of one job; its folder is created if it is missing.

    Raises:
        LunosConfigError: its file can't be used.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder, self.owner = Path(folder), uuid.uuid4().hex
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LunosConfigError(f"{folder} can't be used: {error}") from None
        self.store = UsageStore(self.folder / "usage.db")
        for statement in _SCHEMA.split(";"):
            self.execute(statement)
        self.run = self.fact("run")

    def execute(self, sql: str, *values: Any) -> list[Any]:
        """Run one statement in a separate transaction, and return its rows."""
        work = lambda connection: connection.execute(sql, values).fetchall()  # noqa: E731
        return self.store.database.transact(work, wait=_LOCKED, reads_first=True)

    def fact(self, name: str, value: Any = None) -> Any:
        """Return a fact, which is first set to `value` if it is unknown."""
        if value is not None:
            self.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", name, json.dumps(value))
        rows = self.execute("SELECT value FROM facts WHERE name = ?", name)
        return json.loads(rows[0][0]) if rows else None

    def begin(self, job: str, *, forget: bool = False) -> None:
        """Start a run of the job with this identity; `forget` errors to repeat their requests.

        Raises:
            LunosConfigError: the folder is another job's.
        """
        if self.fact("job", job) != job:
            raise LunosConfigError(
                f"{self.folder} belongs to a job with another model, prompt, schema or setting: "
                "take another folder, or the same settings"
            )
        self.execute("DELETE FROM facts WHERE name = 'run'")
        for what in ("error", "owner") if forget else ("owner",):
            self.execute(f"DELETE FROM answers WHERE {what} IS NOT NULL")
        self.execute("DELETE FROM workers")
        self.run = self.fact("run", uuid.uuid4().hex)

    @property
    def stopped(self) -> str:
        """Why this run sends nothing more, or ""."""
        if self.fact("run") != self.run:
            return "another run has begun"
        return self.fact(f"stopped {self.run}") or ""

    def stop(self, why: str) -> None:
        """Make all workers of this run send nothing more; the first reason counts."""
        self.fact(f"stopped {self.run}", why)

    def claim(self, keys: Sequence[bytes] = ()) -> tuple[list[bytes], dict[bytes, Answer]]:
        """Show that this worker is alive, and claim the keys that no other worker has.

        Returns:
            The claimed keys, and the known answers.
        """

        def work(connection: Any) -> tuple[list[bytes], dict[bytes, Answer]]:
            now = time.time()
            connection.execute("INSERT OR REPLACE INTO workers VALUES (?, ?)", (self.owner, now))
            silent = "SELECT owner FROM workers WHERE beat < ?"
            sql = f"DELETE FROM answers WHERE owner IN ({silent})"
            connection.execute(sql, (now - _DEAD_AFTER,))
            marks = ", ".join("?" * len(keys))
            sql = f"SELECT key, value, error FROM answers WHERE key IN ({marks})"
            taken = {key: (value, error) for key, value, error in connection.execute(sql, keys)}
            mine = [key for key in keys if key not in taken]
            rows = [(key, self.owner) for key in mine]
            connection.executemany("INSERT INTO answers (key, owner) VALUES (?, ?)", rows)
            return mine, {key: taken[key] for key in taken if taken[key] != (None, None)}

        return self.store.database.transact(work, wait=_LOCKED)

    def keep(self, answers: Mapping[bytes, Answer], *, passing: bool = False) -> None:
        """Store answers permanently, or errors only for this run."""
        rows = [(key, self.owner if passing else None, *answers[key]) for key in answers]
        sql = "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)"
        self.store.database.transact(lambda c: c.executemany(sql, rows), wait=_LOCKED)
