"""examples/bulk_embed.py on a small corpus: all of it, once, also when it is killed in between."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from lunos_local import LocalGateway

pytestmark = pytest.mark.slow
pytest.importorskip("ray")
pq = pytest.importorskip("pyarrow.parquet")
ROOT = Path(__file__).parents[2]
BLOCKS, BLOCK, PER_REQUEST = 8, 6, 3


def start(corpus: Path, output: Path, gateway: LocalGateway, *more: str) -> subprocess.Popen[str]:
    size = ("--block", str(BLOCK), "--texts-per-request", str(PER_REQUEST), "--workers", "2")
    service = {"LUNOS_BASE_URL": gateway.base_url, "LUNOS_API_KEY": gateway.api_key}
    return subprocess.Popen(
        [
            *(sys.executable, "examples/bulk_embed.py", str(corpus), str(output)),
            *("--model", "lunos/scripted-embedding", *size, *more),
        ],
        cwd=ROOT,
        env={**os.environ, **service},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def texts_asked_for(gateway: LocalGateway) -> Counter[str]:
    return Counter(text for request in gateway.requests() for text in request["body"]["input"])


def ids_in(output: Path) -> Counter[int]:
    return Counter(
        item for path in output.glob("*.parquet") for item in pq.read_table(path)["id"].to_pylist()
    )


def test_what_was_finished_when_it_was_killed_is_not_paid_again(tmp_path: Path) -> None:
    corpus, output = tmp_path / "corpus.jsonl", tmp_path / "vectors"
    texts = [f"text number {number} of the sea" for number in range(BLOCKS * BLOCK)]
    rows = [json.dumps({"id": number, "text": text}) for number, text in enumerate(texts)]
    corpus.write_text("\n".join(rows) + "\n", "utf-8")
    with LocalGateway() as gateway:
        # slow enough to be killed in the middle
        first = start(corpus, output, gateway, "--rate", "2")
        deadline = time.monotonic() + 300
        while len(finished := list(output.glob("*.parquet"))) < 2:
            assert first.poll() is None, first.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()
        # its workers may still write what they have: wait until they have gone with their driver
        quiet = None
        while quiet != (quiet := (len(gateway.requests()), ids_in(output))):
            time.sleep(2)
        finished = list(output.glob("*.parquet"))
        assert 2 <= len(finished) < BLOCKS
        kept = ids_in(output)
        gateway.clear()

        again = start(corpus, output, gateway)
        said, complained = again.communicate(timeout=300)
        assert again.returncode == 0, complained
        asked = texts_asked_for(gateway)
        requests = len(gateway.requests())

    assert f"{BLOCKS} blocks, {len(finished)} of them finished before" in said
    # all that was missing, once, and nothing else
    assert asked == Counter(text for number, text in enumerate(texts) if number not in kept)
    assert requests == (BLOCKS - len(finished)) * BLOCK // PER_REQUEST
    # every text has its vector, once
    assert ids_in(output) == Counter(range(len(texts)))
    vectors = pq.read_table(next(output.glob("*.parquet")))["vector"].to_pylist()
    assert {len(vector) for vector in vectors} == {256}
    # the ledgers of both workers are one table, with every request of this run
    assert re.search(
        rf"^bulk-embed +lunos/scripted-embedding +/embeddings +{requests} ", said, re.M
    )
    assert "100%" in complained  # the progress bar


def test_a_changed_text_makes_its_own_block_new_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    from _blocks import blocks_of, read_block

    corpus = tmp_path / "corpus.jsonl"
    rows = [json.dumps({"id": number, "text": "s\u00e9a" * number}) for number in range(7)]
    corpus.write_text("\n".join(rows), "utf-8")  # no newline at its end
    blocks = blocks_of(corpus, tmp_path, "m", 3)
    read = [read_block(corpus, block["start"], block["length"]) for block in blocks]
    assert [row["id"] for block in read for row in block] == list(range(7))
    assert blocks_of(corpus, tmp_path, "m", 3) == blocks

    paths = [block["path"] for block in blocks]
    assert not set(paths) & {block["path"] for block in blocks_of(corpus, tmp_path, "n", 3)}
    rows[4] = json.dumps({"id": 4, "text": "new"})
    corpus.write_text("\n".join(rows), "utf-8")
    after = [block["path"] for block in blocks_of(corpus, tmp_path, "m", 3)]
    assert [old == new for old, new in zip(paths, after, strict=True)] == [True, False, True]
