"""Embed a Daft frame with the workers of lunos_bulk: the same state, pace and budget as on Ray.

Daft (`pip install daft`) runs an asynchronous class on its own threads or cluster; the class holds
a worker. Without LUNOS_API_KEY the local gateway answers.

python examples/bulk_daft.py state/
"""

from __future__ import annotations

import os
import sys

import daft
import numpy as np
from _gateway import connect, run

from lunos_bulk import Job
from lunos_bulk.worker import Worker, begin


def embed(frame: daft.DataFrame, job: Job, dimensions: int) -> daft.DataFrame:
    """Return the frame with a column of vectors; null where a text can't be embedded."""

    @daft.cls(max_concurrency=4)
    class Embed:
        def __init__(self) -> None:
            self.worker = Worker(job)

        @daft.method.batch(
            return_dtype=daft.DataType.fixed_size_list(daft.DataType.float32(), dimensions),
            batch_size=1024,
        )
        async def __call__(self, texts: daft.Series) -> list:
            answers = await self.worker.answers([{job.column: text} for text in texts.to_pylist()])
            return [value and np.frombuffer(value, "<f4") for value, _ in answers]

    begin(job)
    return frame.with_column("vector", Embed()(frame[job.column]))


def main() -> None:
    """Print how long each vector is."""
    with connect() as connection:
        os.environ["LUNOS_BASE_URL"] = connection.base_url
        os.environ["LUNOS_API_KEY"] = connection.api_key
        model = "openai/text-embedding-3-small"
        job = Job(sys.argv[1] if len(sys.argv) > 1 else "bulk-state", model, budget=1)
        texts = ["The harbour opens at six.", "Two ferries leave.", "The harbour opens at six.", ""]
        frame = embed(daft.from_pydict({"text": texts}), job, dimensions=1536)
        for row in frame.to_pylist():
            print(row["text"], None if row["vector"] is None else len(row["vector"]))


if __name__ == "__main__":
    run(main)
