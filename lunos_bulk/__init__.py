"""Bulk work: millions of texts through one key, resumable, at one pace, in budget.

`embed` and `complete` add a column to a Ray dataset; `lunos bulk` works from files to files. What
is paid is kept in the state's folder from the moment it comes.
"""

from __future__ import annotations

from typing import Any

from lunos_bulk.job import Job as Job

__all__ = ["Job", "complete", "embed"]


def embed(
    dataset: Any, *, model: str, state: str, workers: int = 2, block: int = 1024, **settings: Any
) -> Any:
    """Return a Ray dataset with the columns "vector" (float32) and "error".

    It runs when it is consumed. When it stops (the budget is spent, say), the same again goes on.

    Args:
        dataset: a `ray.data.Dataset`.
        model: the model's id.
        state: a folder on this machine, where the workers are.
        workers: processes; each takes the key from its environment.
        block: rows that a worker takes at a time; it takes four at once.
        **settings: those of `Job`: `column`, `rpm`, `budget`, `on_long`, …

    Raises:
        LunosConfigError: a setting or a column can't be.
    """
    from lunos_bulk.ray_data import ask

    return ask(dataset, Job(state, model, **settings), workers=workers, block=block)


def complete(
    dataset: Any,
    prompt: str,
    *,
    model: str,
    state: str,
    schema: Any = None,
    workers: int = 2,
    block: int = 256,
    **settings: Any,
) -> Any:
    """Return a Ray dataset with the columns "answer" (text, JSON with a schema) and "error".

    Args:
        dataset: a `ray.data.Dataset`.
        prompt: what to ask; `{column}` stands for a row's text.
        model: the model's id.
        state: a folder on this machine, where the workers are.
        schema: a pydantic model or a JSON schema; what doesn't fit is asked once more.
        workers: processes.
        block: rows that a worker takes at a time.
        **settings: those of `Job`.

    Raises:
        LunosConfigError: a setting or a column can't be.
    """
    from lunos_bulk.ray_data import ask

    job = Job(state, model, prompt=prompt, schema=schema, **settings)
    return ask(dataset, job, workers=workers, block=block)
