"""Ray Data: the worker as an async callable of `map_batches`, in a pool of actors."""

from __future__ import annotations

from typing import Any

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
    import ray

    node = ray.get_runtime_context().get_node_id()  # the state is here
    return dataset.map_batches(
        _Actor,
        fn_constructor_args=(job,),
        batch_size=block,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=0.1,  # a worker mostly waits
        label_selector={"ray.io/node-id": node},
    )


def complete(dataset: Any, prompt: str, *, block: int = 256, **settings: Any) -> Any:
    """Return a Ray dataset with the columns "answer" (text, JSON with a schema) and "error".

    Args:
        dataset: a `ray.data.Dataset`; see `embed` for what is raised.
        prompt: the prompt; `{column}` stands for a row's text.
        block: rows in a block.
        **settings: as in `embed`, and `schema`, the schema of the answers.
    """
    return embed(dataset, prompt=prompt, block=block, **settings)


class _Actor:
    def __init__(self, job: Job) -> None:
        self._worker = Worker(job)

    async def __call__(self, table: Any) -> Any:
        return await self._worker.answered(table)
