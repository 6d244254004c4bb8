"""Embed and extract in a Ray Data pipeline: one pace and one budget for all workers.

The dataset is Ray's own, from wherever Ray reads. Run it again with the same state folder, after
any end: what was answered is not asked again. For files in and files out, without a pipeline of
your own, there is `lunos bulk`.

Without LUNOS_API_KEY the local gateway answers; its vectors are hashed words, its answers scripted.

python examples/bulk_embed.py state/
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import ray
from _gateway import connect, run

from lunos_bulk import complete, embed

TEXTS = [
    "The harbour opens at six.",
    "Two ferries leave before noon.",
    "The harbour opens at six.",
    "",
    "The last ferry leaves at nine.",
]
SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}


def main() -> None:
    """Print each row with the length of its vector and what was extracted, or what is wrong."""
    state = Path(sys.argv[1] if len(sys.argv) > 1 else "bulk-state")
    with connect() as connection:
        # the workers take the key from their environment: it is in no argument
        os.environ["LUNOS_BASE_URL"] = connection.base_url
        os.environ["LUNOS_API_KEY"] = connection.api_key
        vectors, chat = "openai/text-embedding-3-small", "openai/gpt-4o-mini"
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        rows = ray.data.from_items([{"id": i, "text": text} for i, text in enumerate(TEXTS)])
        settings = {"app_id": "bulk-example", "rpm": 3000, "budget": 1, "workers": 1}
        embedded = embed(rows, model=vectors, state=str(state / "vectors"), **settings)
        answered = complete(
            embedded.drop_columns(["error"]),
            "Where is this? {text}",
            schema=SCHEMA,
            model=chat,
            state=str(state / "places"),
            **settings,
        )
        for row in sorted(answered.take_all(), key=lambda row: row["id"]):
            length = None if row["vector"] is None else len(row["vector"])
            print(row["id"], length, row["answer"] or row["error"])
        ray.shutdown()


if __name__ == "__main__":
    run(main)
