"""From files to files: finished blocks, named by what is in them, whole or not there at all."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lunos_bulk.inputs import Piece, Row, rows_of
from lunos_bulk.job import Job
from lunos_bulk.state import Answer, State
from lunos_bulk.worker import Stopped, Worker, begin
from lunos_core.errors import LunosConfigError

DEAD, AGAIN = "_dead", ".again"
_BLOCKS_AT_ONCE = 8
Engine = Callable[["Files", Sequence[Piece]], None]
"""Lets workers of its own do `Files.work` for each piece."""


@dataclass(frozen=True)
class Files:
    """A job from files to files.

    Args:
        job: what to ask.
        output: a folder on this machine: a Parquet file for each block; dead letters in `_dead`.
        keep: columns to write beside `id` and the answer.
        block: rows in a block.
    """

    job: Job
    output: Path
    keep: tuple[str, ...] = ()
    block: int = 1024

    def run(self, pieces: Sequence[Piece], engine: Engine | None = None) -> str:
        """Do what isn't done, in this process, or on an engine.

        Returns:
            Why it stopped, or "" where everything is done.

        Raises:
            LunosConfigError: the folder belongs to another job, or a run is at work in it.
        """
        retried = any(piece.name.endswith(AGAIN) for piece in pieces)
        with contextlib.closing(State(self.job.state)) as state, _alone(state.path):
            begin(self.job, forget=retried)
            if engine is None:
                asyncio.run(_in_this_process(self, pieces))
            elif pieces:
                engine(self, pieces)
            with state.pace() as pace:
                stopped = pace.stopped
            if not stopped and not retried:
                self._move_stale({name for name, *_ in state.blocks()}, state.path.parent)
        return stopped

    def dead(self) -> list[Piece]:
        """Return the dead letters, as an input."""
        paths = sorted((self.output / DEAD).glob("*.parquet"))
        return [Piece(p.stem + AGAIN, "parquet", (str(p),), _rows_in(p)) for p in paths]

    async def work(self, worker: Worker, piece: Piece) -> None:
        """Write the blocks of a piece that aren't finished; end early once the job has stopped."""
        places, rows = asyncio.Semaphore(_BLOCKS_AT_ONCE), rows_of(piece)
        tasks: list[asyncio.Task[None]] = []
        while some := await asyncio.to_thread(lambda: list(islice(rows, self.block))):
            await places.acquire()
            if any(task.done() and task.exception() for task in tasks):
                break
            name = f"{piece.name.replace('/', '_')}-{piece.start:010}-{len(tasks):06}"
            tasks.append(asyncio.create_task(self._write(worker, name, piece.kind, some)))
            tasks[-1].add_done_callback(lambda _: places.release())
        failures = [item for item in await asyncio.gather(*tasks, return_exceptions=True) if item]
        if any(not isinstance(failure, Stopped) for failure in failures):
            raise next(failure for failure in failures if not isinstance(failure, Stopped))
        if not failures and piece.name.endswith(AGAIN):
            os.unlink(piece.paths[0])  # its rows are written anew

    async def _write(self, worker: Worker, name: str, kind: str, rows: list[Row]) -> None:
        written = json.dumps(rows, sort_keys=True, default=str).encode("utf-8", "surrogatepass")
        digest = hashlib.sha256(self.job.identity.encode() + repr(self.keep).encode() + written)
        name = f"{name}-{digest.hexdigest()[:16]}"
        path, dead = self.output / f"{name}.parquet", self.output / DEAD / f"{name}.parquet"
        size = len(rows) if kind == "parquet" else len(written)
        # a block without a row that succeeded has no file but this
        empty = worker.state.path.parent / f"{name}.empty"
        done = path.exists() or empty.exists()
        if done:
            count = _rows_in(dead) if dead.exists() else 0
        else:
            answers = await worker.answers(rows)
            failed = [i for i, (value, _) in enumerate(answers) if value is None]
            good = [i for i, (value, _) in enumerate(answers) if value is not None]
            count = len(failed)
            if failed:
                names = ("id", *self.job.columns, *self.keep)
                columns = _columns([rows[i] for i in failed], names)
                _save(dead, {**columns, "error": pa.array([answers[i][1] for i in failed])})
            if good:
                columns = _columns([rows[i] for i in good], ("id", *self.keep))
                label, values = column_of(self.job, [answers[i] for i in good])
                _save(path, {**columns, label: values})
            else:
                empty.touch()
        worker.state.finished(name, len(rows), count, size, new=not done)

    def _move_stale(self, names: set[str], folder: Path) -> None:
        """Move away blocks of rows that the input no longer has."""
        for path in [*self.output.glob("*.parquet"), *(self.output / DEAD).glob("*.parquet")]:
            if path.stem.partition(AGAIN)[0] not in names:
                stale = folder / "stale" / path.relative_to(self.output)
                stale.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, stale)


def column_of(job: Job, answers: Sequence[Answer], length: int = 1) -> tuple[str, Any]:
    """Return name and values of the column of answers; null where there is none.

    Args:
        job: vectors are fixed-size lists of float32, texts are text.
        answers: of its rows.
        length: of a vector, where none has come.
    """
    values = [value for value, _ in answers]
    if job.prompt is not None:
        return "answer", pa.array([value and value.decode() for value in values], pa.string())
    size = max((len(value) for value in values if value), default=length * 4)
    flat = pa.py_buffer(b"".join(value or bytes(size) for value in values))
    floats = pa.Array.from_buffers(pa.float32(), len(values) * size // 4, [None, flat])
    missing = pa.array([value is None for value in values], pa.bool_())
    return "vector", pa.FixedSizeListArray.from_arrays(floats, size // 4, mask=missing)


async def _in_this_process(files: Files, pieces: Sequence[Piece]) -> None:
    async with contextlib.aclosing(Worker(files.job)) as worker:
        for piece in pieces:
            await files.work(worker, piece)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other runs out of the folder; a lock that dies with this process."""
    lock = sqlite3.connect(path.with_name("run.db"), timeout=0, isolation_level=None)
    try:
        lock.execute("BEGIN EXCLUSIVE")
        yield
    except sqlite3.OperationalError as error:
        raise LunosConfigError(f"another run is at work in {path.parent}: {error}") from None
    finally:
        lock.close()


def _columns(rows: Sequence[Row], names: Sequence[str]) -> dict[str, Any]:
    """Return columns of the input; one that holds several types becomes text."""
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        try:
            columns[name] = pa.array(values)
        except (pa.ArrowException, OverflowError):
            columns[name] = pa.array([None if v is None else str(v) for v in values])
    return columns


def _save(path: Path, columns: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    pq.write_table(pa.table(columns), part)
    os.replace(part, path)


def _rows_in(path: Path) -> int:
    return int(pq.read_metadata(path).num_rows)
