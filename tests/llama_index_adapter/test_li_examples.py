"""Each example as a user runs it: without a key, against the gateway that it starts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAID = {
    "rag": [
        r"A: .*X-App-ID",
        r"A: .*(two times|request)",
        r"\[1\] (app-ids|retries|errors)\.md: ",
        r"rag-answer .* /chat/completions +2 +0 +0",
    ],
    "agents": [
        r"multiply\(\{'a': 128, 'b': 46\}\) = 5888",
        r"says: .*5888",
        r"ReAct agent: .*\n +multiply\(.*\) = 5888\n +says: .*5888",
        r"\nreact ",
    ],
    "workflow": [r"handoff\(.*'to_agent': 'buyer'", r"buyer: ", r"\nclerk .* 1 +0 +0", r"\nbuyer "],
    "extraction": [
        r"whole: +Invoice\(customer='Ada Lovelace', item='difference engine', quantity=3\)",
        r"growing: +FlexibleInvoice",
        r"growing: +Invoice\(",
        r"as a LLM: Invoice\(",
    ],
    "ingestion": [
        r"first run: (\d+) nodes with vectors, [1-9]\d* requests",
        r"second run: (\d+) nodes with vectors, 0 requests",
    ],
    "evaluation": [r"A: .*X-App-ID", r"borne out by its sources: (True|False)", r"\njudge .* 2 +0"],
}


@pytest.fixture(scope="module")
def running() -> Iterator[dict[str, subprocess.Popen[str]]]:
    """All of them at once: most of their time is Python importing."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LUNOS_")}
    started = {
        name: subprocess.Popen(
            [sys.executable, f"examples/llamaindex_{name}.py"],
            cwd=ROOT,
            env=clean,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for name in SAID
    }
    yield started
    for process in started.values():
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.mark.parametrize("name", SAID)
def test_an_example_runs_without_a_key(
    running: dict[str, subprocess.Popen[str]], name: str
) -> None:
    said, complained = running[name].communicate(timeout=300)
    assert running[name].returncode == 0, complained
    for expected in SAID[name]:
        assert re.search(expected, said), said


def test_every_example_is_tried_here_and_is_short() -> None:
    paths = sorted((ROOT / "examples").glob("llamaindex_*.py"))
    assert [path.stem.removeprefix("llamaindex_") for path in paths] == sorted(SAID)
    for path in paths:
        assert len(path.read_text("utf-8").splitlines()) < 80, path.name
