"""From files to files: finished blocks, named by their contents, written whole or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lunos_bulk.inputs import Piece, Row, rows_of
from lunos_bulk.job import Job
from lunos_bulk.state import State
from lunos_bulk.worker import Stopped, Worker
from lunos_core.accounting.files import replacing
from lunos_core.errors import LunosConfigError

_BLOCKS_AT_ONCE = 8
Engine = Callable[["Files", Sequence[Piece]], None]
"""Runs `Files.work` for each piece in its own workers."""


@dataclass(frozen=True)
class Files:
    """A job from files to files.

    Args:
        job: the job.
        output: a folder on this machine for a Parquet file per block, with dead letters in `_dead`.
        keep: columns to write beside `id` and the answer.
        block: rows in a block.
        retry: repeat only the requests that failed.
    """

    job: Job
    output: Path
    keep: tuple[str, ...] = ()
    block: int = 1024
    retry: bool = False

    def run(self, pieces: Sequence[Piece], engine: Engine | None = None) -> str:
        """Do the unfinished part, in this process or on an engine.

        Returns:
            Why it stopped, or "" if everything is done.

        Raises:
            LunosConfigError: the folder belongs to another job, or another run is using it.
        """
        state = State(self.job.state)
        with state.store, _alone(state.folder):
            state.begin(self.job.identity, forget=self.retry)
            if engine is None:
                asyncio.run(self._in_this_process(pieces))
            elif pieces:
                engine(self, pieces)
            if not (stopped := state.stopped):
                self._move_stale(state)
        return stopped

    def dead(self) -> int:
        """Return the number of dead letters."""
        return sum(map(_rows_in, (self.output / "_dead").glob("*.parquet")))

    async def work(self, worker: Worker, pieces: Sequence[Piece]) -> None:
        """Write the unfinished blocks of pieces; end early if the job stops."""
        blocks, reading = self._blocks(pieces), asyncio.Lock()

        async def write() -> None:
            while True:
                async with reading:
                    block = await asyncio.to_thread(next, blocks, None)
                if block is None:
                    return
                await self._write(worker, *block)

        # an unreadable or unwritable block ends one of them, without losing another's answers
        writers = (write() for _ in range(_BLOCKS_AT_ONCE))
        for failure in await asyncio.gather(*writers, return_exceptions=True):
            if failure is not None and not isinstance(failure, Stopped):
                raise failure

    def _blocks(self, pieces: Sequence[Piece]) -> Iterator[tuple[str, str, list[Row]]]:
        for piece in pieces:
            rows, i = rows_of(piece), 0
            while some := list(islice(rows, self.block)):
                yield f"{piece.name.replace('/', '_')}-{piece.start:010}-{i:06}", piece.kind, some
                i += 1

    async def _write(self, worker: Worker, name: str, kind: str, rows: list[Row]) -> None:
        written = json.dumps(rows, sort_keys=True, default=str).encode("utf-8", "surrogatepass")
        digest = hashlib.sha256(self.job.identity.encode() + repr(self.keep).encode() + written)
        name = f"{name}-{digest.hexdigest()[:16]}.parquet"
        good, dead = self.output / name, self.output / "_dead" / name
        done = _rows_in(good) + _rows_in(dead) == len(rows)
        if dead.exists() if self.retry else not done:
            names = dict.fromkeys(("id", *self.job.columns, *self.keep))
            columns = pa.table({name: _column(rows, name) for name in names})
            table = await worker.answered(columns, rows)
            failed, texts = table["error"].is_valid(), {*self.job.columns} - {"id", *self.keep}
            answered = table.filter(pc.call_function("invert", [failed]))
            _save(good, answered.drop_columns(["error", *texts]))
            _save(dead, table.filter(failed).drop_columns([self.job.label]))
        size = len(rows) if kind == "parquet" else len(written)
        row = (name, worker.state.run, len(rows), size, not done)
        worker.state.execute("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?, ?)", *row)

    async def _in_this_process(self, pieces: Sequence[Piece]) -> None:
        async with contextlib.aclosing(Worker(self.job)) as worker:
            await self.work(worker, pieces)

    def _move_stale(self, state: State) -> None:
        """Move blocks away whose rows are no longer in the input."""
        for (name,) in state.execute("SELECT name FROM blocks WHERE run != ?", state.run):
            for path in (self.output / name, self.output / "_dead" / name):
                stale = state.folder / "stale" / path.relative_to(self.output)
                stale.parent.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(FileNotFoundError):
                    os.replace(path, stale)
            state.execute("DELETE FROM blocks WHERE name = ?", name)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other runs out of the folder with a lock that ends with this process."""
    with contextlib.closing(sqlite3.connect(folder / "run.db", timeout=0)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise LunosConfigError(f"another run is at work in {folder}: {error}") from None
        yield


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> Any:
    """Return a column of the input; one with several types becomes text."""
    values = [row.get(name) for row in rows]
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeError):
        texts = [None if v is None else str(v).encode("utf-8", "replace").decode() for v in values]
        return pa.array(texts)


def _save(path: Path, table: Any) -> None:
    if not table.num_rows:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        pq.write_table(table, file)


def _rows_in(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException):
        return 0
