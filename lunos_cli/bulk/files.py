"""From files to files: finished blocks, named by their contents, written whole or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lunos_bulk.job import Job
from lunos_bulk.state import State
from lunos_bulk.worker import Stopped, Worker
from lunos_cli.bulk.inputs import Piece, Row, rows_of
from lunos_core.accounting.files import replacing
from lunos_core.errors import LunosConfigError

_BLOCKS_AT_ONCE = 8


@dataclass(frozen=True)
class Files:
    """A job from files to files: a Parquet file per block in `output`, dead letters in `_dead`.

    `keep` are columns to write beside `id` and the answer, `block` the rows of a block; `retry`
    repeats only the requests that failed.
    """

    job: Job
    output: Path
    keep: tuple[str, ...] = ()
    block: int = 1024
    retry: bool = False

    def run(self, pieces: Sequence[Piece], workers: int = 1) -> str:
        """Do what isn't done, here or in several processes; return why it stopped, or "".

        Raises:
            LunosConfigError: the folder belongs to another job, or another run is using it.
        """
        state = State(self.job.state)
        with state.store, _alone(state.folder):
            state.begin(self.job.identity, forget=self.retry)
            if workers == 1:
                self._work(pieces)
            else:
                self._work_in_processes(pieces, workers, state)
            if not (stopped := state.stopped):
                self._move_stale(state)
        return stopped

    def dead(self) -> int:
        """Return the number of dead letters."""
        return sum(map(_rows_in, (self.output / "_dead").glob("*.parquet")))

    def _work_in_processes(self, pieces: Sequence[Piece], workers: int, state: State) -> None:
        spawn = get_context("spawn")
        ours: Any = {"target": self._work, "args": [pieces], "daemon": True}  # they end with us
        processes = [spawn.Process(**ours) for _ in range(workers)]
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # workers keep what they have asked
        for process in processes:
            process.start()
        signal.signal(signal.SIGINT, handler)
        try:
            for process in processes:
                process.join()
        except KeyboardInterrupt:
            state.stop("interrupted")
            for process in processes:
                process.join()
            raise
        if any(process.exitcode for process in processes):
            state.stop("one of the worker processes was killed")

    def _work(self, pieces: Sequence[Piece]) -> None:
        asyncio.run(self._write_all(pieces))

    async def _write_all(self, pieces: Sequence[Piece]) -> None:
        async def write() -> None:
            while True:
                async with reading:
                    block = await asyncio.to_thread(next, blocks, None)
                if block is None:
                    return
                await self._write(worker, *block)

        async with contextlib.aclosing(Worker(self.job)) as worker:
            blocks, reading = self._blocks(worker.state, pieces), asyncio.Lock()
            # what can't be read or written ends one of them: no other's answer is lost
            writers = (write() for _ in range(_BLOCKS_AT_ONCE))
            writing = asyncio.gather(*writers, return_exceptions=True)
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:  # Ctrl-C: what was sent is kept
                worker.state.stop("interrupted")
                await writing
                raise
            for failure in writing.result():
                if isinstance(failure, LunosConfigError | OSError):
                    worker.state.stop(str(failure))
                elif failure is not None and not isinstance(failure, Stopped):
                    raise failure

    def _blocks(self, state: State, pieces: Sequence[Piece]) -> Iterator[Any]:
        for number, piece in enumerate(pieces):
            if state.fact(f"{state.run} reads {number}", state.owner) != state.owner:
                continue
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
            is_good, texts = pc.field("error").is_null(), {*self.job.columns} - {"id", *self.keep}
            _save(good, table.filter(is_good).drop_columns(["error", *texts]))
            _save(dead, table.filter(~is_good).drop_columns([self.job.label]))
        size = len(rows) if kind == "parquet" else len(written)
        row = (name, worker.state.run, len(rows), size, not done)
        worker.state.execute("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?, ?)", *row)

    def _move_stale(self, state: State) -> None:
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
    values = [row.get(name) for row in rows]
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeError):  # of several types
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
