"""Splits a corpus of JSON lines into blocks, each with the file for its vectors."""

from __future__ import annotations

import hashlib
import json
from itertools import islice
from pathlib import Path
from typing import Any


def blocks_of(corpus: Path, folder: Path, model: str, size: int) -> list[dict[str, Any]]:
    """Return each block of `size` lines: its position in the corpus, in bytes, and its file.

    The file is named by a hash of the block and the model, so a change makes another file.
    """
    blocks: list[dict[str, Any]] = []
    start = 0
    with corpus.open("rb") as lines:
        while block := b"".join(islice(lines, size)):
            content = hashlib.sha256(b"\n".join((model.encode(), block))).hexdigest()
            path = folder / f"{len(blocks):06}-{content[:16]}.parquet"
            blocks.append({"path": str(path), "start": start, "length": len(block)})
            start += len(block)
    return blocks


def read_block(corpus: Path, start: int, length: int) -> list[dict[str, Any]]:
    """Read the rows of one block only."""
    with corpus.open("rb") as file:
        file.seek(start)
        return [json.loads(line) for line in file.read(length).splitlines()]
