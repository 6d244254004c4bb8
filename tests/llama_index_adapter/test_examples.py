"""Each example as a user runs it: without a key, against the gateway that it starts."""

from __future__ import annotations

import re

import pytest

from tests.documentation.example_runs import ROOT, RunExample, run_example

pytestmark = pytest.mark.subprocess

__all__ = ["run_example"]

SAID = {
    "rag": [
        r"A: .*X-App-ID",
        r"A: .*(two times|request)",
        r"\[1\] (app-ids|retries|errors)\.md: ",
        r"rag-answer +2 +[1-9]\d+ +0\.000[1-9]",  # calls, tokens, cost
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


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LlamaIndex's own workflows
@pytest.mark.parametrize("name", SAID)
def test_an_example_runs_without_a_key(run_example: RunExample, name: str) -> None:
    said, _ = run_example(f"examples/llamaindex_{name}.py")
    for expected in SAID[name]:
        assert re.search(expected, said), said


def test_every_example_is_tried_here_and_is_short() -> None:
    page = (ROOT / "docs" / "examples.md").read_text("utf-8")  # tests/examples tries those
    value = sorted((ROOT / "examples").glob("llamaindex_*.py"))
    paths = [path for path in value if f"python examples/{path.name}" not in page]
    assert [path.stem.removeprefix("llamaindex_") for path in paths] == sorted(SAID)
    for path in paths:
        assert len(path.read_text("utf-8").splitlines()) < 80, path.name
