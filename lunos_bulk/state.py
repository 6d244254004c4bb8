"""The shared state of a job's workers: tables beside its calls and its pace, in the usage store.

An answer is stored as soon as it arrives, by a hash of its request, so that nothing is paid twice,
whenever a process is killed. A row without a value or error means that its owner is asking now; the
next run forgets errors that have an owner.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

from lunos_core.accounting.store import UsageStore
from lunos_core.errors import LunosConfigError

Answer = tuple[bytes | None, str | None]
"""The answer, or the error: its class, a colon, its message."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (key BLOB UNIQUE, owner TEXT, beat REAL, value BLOB, error TEXT);
CREATE INDEX IF NOT EXISTS owners ON answers (owner) WHERE owner IS NOT NULL;
CREATE INDEX IF NOT EXISTS errors ON answers (error) WHERE error IS NOT NULL;
CREATE TABLE IF NOT EXISTS blocks (name TEXT PRIMARY KEY, run TEXT, rows, size, new);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value)"""
_CLAIM = """
INSERT INTO answers (key, owner, beat) VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET owner = excluded.owner, beat = excluded.beat
WHERE value IS NULL AND error IS NULL AND beat < ?"""
_DEAD_AFTER, _LOCKED = 30.0, 60.0  # seconds: without a sign of life; of waiting for other writers


class State:
    """The shared state of one job, in a folder that is made if it is missing."""

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
        """Run one statement in a transaction, and return its rows."""
        work = lambda connection: connection.execute(sql, values).fetchall()  # noqa: E731
        return self.store.database.transact(work, wait=_LOCKED, reads_first=True)

    def fact(self, name: str, value: Any = None) -> Any:
        """Return a fact, or `None`; one that isn't known yet becomes `value` first."""
        if value is not None:
            self.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", name, value)
        rows = self.execute("SELECT value FROM facts WHERE name = ?", name)
        return rows[0][0] if rows else None

    def begin(self, job: str, *, forget: bool = False) -> None:
        """Start a run of the job with this identity; `forget` errors to repeat their requests."""
        if self.fact("job", job) != job:
            raise LunosConfigError(
                f"{self.folder} belongs to a job with another model, prompt, schema or setting: "
                "take another folder, or the same settings"
            )
        for what in ("error", "owner") if forget else ("owner",):
            self.execute(f"DELETE FROM answers WHERE {what} IS NOT NULL")
        self.execute("DELETE FROM facts WHERE name NOT IN ('job', 'length')")
        self.run = self.fact("run", uuid.uuid4().hex)

    @property
    def stopped(self) -> str:
        """Why this run sends nothing more, or ""."""
        if (parent := parent_process()) and not parent.is_alive():
            return "the process that began it has ended"
        if self.fact("run") != self.run:
            return "another run has begun"
        return self.fact(f"stopped {self.run}") or ""

    def stop(self, why: str) -> None:
        """Make all workers of this run send nothing more; the first reason counts."""
        self.fact(f"stopped {self.run}", why)

    def claim(self, keys: Sequence[bytes] = ()) -> tuple[list[bytes], dict[bytes, Answer]]:
        """Show that this worker is alive; return keys that are now its own, and known answers."""

        def work(connection: Any) -> tuple[list[bytes], dict[bytes, Answer]]:
            now, mine, known = time.time(), [], {}
            sql = "UPDATE answers SET beat = ? WHERE owner = ? AND error IS NULL"
            connection.execute(sql, (now, self.owner))
            for key in keys:
                if connection.execute(_CLAIM, (key, self.owner, now, now - _DEAD_AFTER)).rowcount:
                    mine.append(key)
                    continue
                sql = "SELECT value, error FROM answers WHERE key = ?"
                if (answer := connection.execute(sql, (key,)).fetchone()) != (None, None):
                    known[key] = answer
            return mine, known

        return self.store.database.transact(work, wait=_LOCKED)

    def keep(self, answers: Mapping[bytes, Answer], *, passing: bool = False) -> None:
        """Keep answers for good, or errors for this run alone."""
        owner = self.owner if passing else None
        rows = [(key, owner, *answer) for key, answer in answers.items()]
        sql = "INSERT OR REPLACE INTO answers (key, owner, value, error) VALUES (?, ?, ?, ?)"
        self.store.database.transact(lambda c: c.executemany(sql, rows), wait=_LOCKED)
