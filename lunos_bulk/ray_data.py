"""Ray Data: the worker as an asynchronous callable of `map_batches`, in a pool of actors."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Sequence
from typing import Any

# read by Ray when it is imported: no reports about this machine, no word from its inside
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")

import pyarrow as pa
import ray

from lunos_bulk.files import Files, column_of
from lunos_bulk.inputs import Piece
from lunos_bulk.job import Job
from lunos_bulk.worker import Worker, begin


def ask(dataset: Any, job: Job, *, workers: int = 2, block: int = 1024) -> Any:
    """Return a Ray dataset with a column of answers, and `error` where there is none.

    It runs when it is consumed, and fails with `Stopped` when the budget is spent; the same again
    goes on from there. The workers are on the driver's machine, where the state is.

    Args:
        dataset: a `ray.data.Dataset` with the job's columns.
        job: what to ask.
        workers: processes.
        block: rows that a worker takes at a time; it takes four at once.

    Raises:
        LunosConfigError: a column is missing, or the state is another job's.
    """
    job.check_columns(dataset.columns())
    begin(job)
    return _mapped(dataset, _Rows, job, workers, block, batch_format="pyarrow")


def run_pieces(files: Files, pieces: Sequence[Piece], *, workers: int) -> None:
    """Let workers write the blocks of an input: the engine of `Files.run`."""
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False  # ours counts rows
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    rows = [{"piece": pickle.dumps(piece)} for piece in pieces]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    for _ in _mapped(dataset, _Pieces, files, min(workers, len(rows)), 1).iter_rows():
        pass


def _mapped(dataset: Any, kind: type, job: Any, workers: int, block: int, **settings: Any) -> Any:
    node = ray.get_runtime_context().get_node_id()  # this machine: the state is here
    return dataset.map_batches(
        kind,
        fn_constructor_args=(job,),
        batch_size=block,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=0.1,  # a worker waits for the network nearly all the time
        label_selector={"ray.io/node-id": node},
        **settings,
    )


class _Rows:
    def __init__(self, job: Job) -> None:
        self._worker = Worker(job)

    async def __call__(self, table: Any) -> Any:
        job = self._worker.job
        answers = await self._worker.answers(table.select(job.columns).to_pylist())
        name, values = column_of(job, answers, self._worker.state.fact("length") or 1)
        errors = pa.array([error for _, error in answers], pa.string())
        return table.append_column(name, values).append_column("error", errors)


class _Pieces:
    def __init__(self, files: Files) -> None:
        self._files, self._worker = files, Worker(files.job)

    async def __call__(self, batch: Any) -> dict[str, list[int]]:
        await self._files.work(self._worker, pickle.loads(batch["piece"][0]))  # noqa: S301 - run_pieces made it
        return {"done": [1]}
