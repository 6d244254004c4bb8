"""Embed a corpus on Ray Data with many workers and one rate limit, paying for each text once.

The corpus is JSON lines, {"id": ..., "text": ...} each, split into blocks. A block whose file is in
the output folder is finished: after a crash, the same command continues, and only the blocks in
progress are embedded again. When a text, the model or the block size changes, the blocks concerned
are embedded anew.

Without LUNOS_API_KEY the local gateway answers with scripted responses; its vectors are
hashed words.

python examples/bulk_embed.py corpus.jsonl vectors/ --workers 4 --rate 20
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import pickle
import time
from pathlib import Path
from typing import Any

# read by Ray when it is imported: no reports about this machine to its makers, and no word from its
# inside on an actor whose arguments it keeps itself
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")

import pyarrow as pa
import pyarrow.parquet as pq
import ray
from _blocks import blocks_of, read_block
from _gateway import connect, run
from tqdm import tqdm

from langchain_lunos import LunosEmbeddings
from lunos_core import UsageLedger


@ray.remote(num_cpus=0)
class Rate:
    """One for all workers, whichever machine they are on: gives each request its turn."""

    def __init__(self, per_second: float) -> None:
        self._interval = 1 / per_second
        self._next = 0.0

    async def turn(self) -> None:
        """Return when the next request may be sent."""
        now = time.monotonic()
        self._next = max(self._next + self._interval, now)
        await asyncio.sleep(self._next - now)


class Embedder:
    """A worker: embeds the blocks that it is given, writes each, and says what that took."""

    def __init__(self, corpus: Path, settings: dict[str, Any], size: int, rate: Any) -> None:
        self._corpus = corpus
        self._embeddings = LunosEmbeddings(**settings)
        self._size = size
        self._rate = rate

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """One block; a ledger comes back in place of the vectors, which stay on disk."""
        (path,), (start,), (length,) = (batch[name] for name in ("path", "start", "length"))
        rows = read_block(self._corpus, start, length)
        vectors: list[list[float]] = []
        with UsageLedger() as ledger:
            for i in range(0, len(rows), self._size):
                if self._rate is not None:
                    ray.get(self._rate.turn.remote())
                texts = [row["text"] for row in rows[i : i + self._size]]
                vectors += self._embeddings.embed_documents(texts)
        table = pa.table(
            {
                "id": [row["id"] for row in rows],
                "vector": pa.array(vectors, pa.list_(pa.float32())),
            }
        )
        # under its own name only when it is whole: a killed worker leaves no half of a block
        pq.write_table(table, f"{path}.part")
        os.replace(f"{path}.part", path)
        return {"length": [length], "ledger": [pickle.dumps(ledger)]}


def embed(args: argparse.Namespace, service: dict[str, Any]) -> UsageLedger:
    """Embed what is not there yet; the ledger says what this run used."""
    args.output.mkdir(parents=True, exist_ok=True)
    corpus = args.corpus.resolve()
    blocks = blocks_of(corpus, args.output.resolve(), args.model, args.block)
    todo = [block for block in blocks if not Path(block["path"]).exists()]
    print(f"{len(blocks)} blocks, {len(blocks) - len(todo)} of them finished before")
    ledger = UsageLedger()
    if not todo:
        return ledger
    ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False  # ours counts texts
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    settings = {"model": args.model, "app_id": "bulk-embed", **service}
    rate = Rate.remote(args.rate) if args.rate else None
    # one block at a time and worker: what a crash can cost is workers x block
    done = ray.data.from_items(todo, override_num_blocks=len(todo)).map_batches(
        Embedder,
        fn_constructor_args=(corpus, settings, args.texts_per_request, rate),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=args.workers),
        num_cpus=args.cpus_per_worker,
    )
    with tqdm(total=sum(block["length"] for block in todo), unit="B", unit_scale=True) as bar:
        for row in done.iter_rows():
            bar.update(row["length"])
            ledger.merge(pickle.loads(row["ledger"]))
    ray.shutdown()
    return ledger


def parse_arguments() -> argparse.Namespace:
    """What to embed, and how."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path, help="JSON lines with id and text")
    parser.add_argument("output", type=Path, help="a folder; one Parquet file for each block")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rate", type=float, help="requests a second, of all workers together")
    parser.add_argument("--model", help="the embedding model")
    parser.add_argument("--block", type=int, default=1024, help="texts in a block (1024)")
    parser.add_argument("--texts-per-request", type=int, default=64)
    # a worker waits for the network nearly all the time
    parser.add_argument("--cpus-per-worker", type=float, default=0.1)
    return parser.parse_args()


def main() -> None:
    """Ray starts on this machine, or joins the cluster that RAY_ADDRESS names."""
    args = parse_arguments()
    with connect() as connection:
        if args.model is None:
            local = "lunos/scripted-embedding"
            args.model = "openai/text-embedding-3-small" if connection.live else local
        service = {"base_url": connection.base_url, "api_key": connection.api_key}
        started = time.monotonic()
        ledger = embed(args, service)
        print(f"{time.monotonic() - started:.1f} s\n{ledger.table()}")


if __name__ == "__main__":
    run(main)
