"""Ray Data: the worker as an async callable of `map_batches`, in a pool of actors."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from lunos_bulk.files import Files
from lunos_bulk.inputs import Piece
from lunos_bulk.job import Job
from lunos_bulk.worker import Worker, begin


def embed(
    dataset: Any, *, model: str, state: str, workers: int = 2, block: int = 1024, **settings: Any
) -> Any:
    """Return a Ray dataset with the columns "vector" (float32) and "error".

    It runs when it is consumed, and fails with `Stopped` if, for example, the budget is spent; the
    same call then continues from there. The workers run on the driver's machine, as the state does.

    Args:
        dataset: a `ray.data.Dataset`.
        model: the model's id.
        state: a folder on this machine.
        workers: the number of processes; each reads the key from its environment.
        block: rows in a block; a worker processes four blocks at once.
        **settings: those of `Job`: `column`, `rpm`, `budget`, `on_long`, …

    Raises:
        LunosConfigError: a setting or column can't be used, or the state is another job's.
    """
    job, schema = Job(state, model, **settings), dataset.schema()
    there = dict(zip(schema.names, schema.types, strict=True))
    job.check_columns(there, *({job.label, "error"} & {*there}))
    begin(job)
    return _mapped(dataset, job, Worker.answered, workers, batch_size=block, batch_format="pyarrow")


def complete(
    dataset: Any,
    prompt: str,
    *,
    model: str,
    state: str,
    workers: int = 2,
    block: int = 256,
    **settings: Any,
) -> Any:
    """Return a Ray dataset with the columns "answer" (text, JSON with a schema) and "error".

    Args:
        dataset: a `ray.data.Dataset`.
        prompt: the prompt; `{column}` stands for a row's text.
        model: the model's id.
        state: a folder on this machine, as in `embed`.
        workers: the number of processes, as in `embed`.
        block: rows in a block.
        **settings: those of `Job`; `schema` is the schema of the answers.

    Raises:
        LunosConfigError: as in `embed`.
    """
    asked = {"prompt": prompt, **settings}
    return embed(dataset, model=model, state=state, workers=workers, block=block, **asked)


def run_pieces(files: Files, pieces: Sequence[Piece], *, workers: int) -> None:
    """Write the blocks of an input with Ray's workers: the engine of `Files.run`."""

    async def write(worker: Worker, batch: Any) -> Any:
        await files.work(worker, [pieces[i] for i in batch["id"]])
        return batch

    ray = _ray()
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False  # ours counts rows
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    dataset = ray.data.range(len(pieces), override_num_blocks=len(pieces))
    workers = min(workers, len(pieces))
    for _ in _mapped(dataset, files.job, write, workers, batch_size=1).iter_rows():
        pass


def _ray() -> Any:
    # Ray reads these when it is imported: no reports about this machine, no internal logs
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    return ray


def _mapped(dataset: Any, job: Job, work: Callable[..., Any], workers: int, **settings: Any) -> Any:
    ray = _ray()
    node = ray.get_runtime_context().get_node_id()  # this machine: the state is here
    return dataset.map_batches(
        _Actor,
        fn_constructor_args=(job, work),
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=0.1,  # a worker almost always waits for the network
        label_selector={"ray.io/node-id": node},
        **settings,
    )


class _Actor:
    def __init__(self, job: Job, work: Callable[[Worker, Any], Awaitable[Any]]) -> None:
        self._worker, self._work = Worker(job), work

    async def __call__(self, batch: Any) -> Any:
        return await self._work(self._worker, batch)
