"""Split and embed a folder once; the second run finds everything in the cache.

Without LUNOS_API_KEY the local gateway answers; with it, the live service does.

python examples/llamaindex_ingestion.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from _gateway import connect, run
from llama_index.core import SimpleDirectoryReader
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter

from llama_index_lunos import LunosEmbedding
from lunos_core import UsageLedger

FOLDER = Path(__file__).parent / "docs"


def main() -> None:
    """Ingest twice, the second time from the cache on disk."""
    documents = SimpleDirectoryReader(FOLDER).load_data()
    with connect() as connection, tempfile.TemporaryDirectory() as folder:
        embedding = LunosEmbedding(
            "openai/text-embedding-3-small",
            api_base=connection.base_url,
            api_key=connection.api_key,
            app_id="ingestion",
            embed_batch_size=16,
        )
        cache_file = Path(folder) / "cache.json"
        for run in ("first", "second"):
            cache = IngestionCache.from_persist_path(str(cache_file)) if run == "second" else None
            pipeline = IngestionPipeline(
                transformations=[SentenceSplitter(chunk_size=100, chunk_overlap=0), embedding],
                cache=cache,
            )
            with UsageLedger() as ledger:
                nodes = pipeline.run(documents=documents)
            calls = sum(row["calls"] for row in ledger.rows())
            print(f"{run} run: {len(nodes)} nodes with vectors, {calls} requests")
            pipeline.cache.persist(str(cache_file))
        embedding.close()


if __name__ == "__main__":
    run(main)
