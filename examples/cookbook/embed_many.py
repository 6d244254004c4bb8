"""Embed 5,000 texts with a progress bar, and keep the vectors as JSON lines.

python examples/cookbook/embed_many.py VECTORS.jsonl [TEXTS.txt]

The vectors are written after each request: the same command continues where it was interrupted.
"""

import json
import sys
from pathlib import Path

from tqdm import tqdm

from lunos_core import Lunos, UsageLedger

BATCH = 250  # texts in a request


def main(target: Path, texts: list[str]) -> None:
    """Embed the texts that the file doesn't have yet."""
    target.touch()
    finished = size = 0
    with target.open("rb+") as file:
        for line in file:
            if line.endswith(b"\n"):
                finished, size = finished + 1, size + len(line)
        file.truncate(size)  # a run that was killed may leave half a line
    bar = tqdm(total=len(texts), initial=finished, unit=" texts", mininterval=0.5)
    with (
        Lunos(app_id="embed-many") as lunos,
        target.open("a") as file,
        UsageLedger() as ledger,
        bar,
    ):
        for start in range(finished, len(texts), BATCH):
            batch = texts[start : start + BATCH]
            answer = lunos.embeddings.create(model="openai/text-embedding-3-small", input=batch)
            file.writelines(json.dumps(list(vector)) + "\n" for vector in answer.vectors)
            file.flush()
            bar.update(len(batch))
    print(f"{len(texts)} vectors in {target.name}, {finished} of them from before")
    for row in ledger.rows():
        print(f"{row['calls']} calls, {row['input_tokens']:,} tokens, {row['cost']:.6f} USD")


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(__doc__)
    lines = (
        Path(sys.argv[2]).read_text("utf-8").splitlines()
        if sys.argv[2:]
        else [f"Text number {number} of five thousand" for number in range(1, 5001)]
    )
    main(Path(sys.argv[1]), lines)
