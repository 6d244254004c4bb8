"""A part of `make chaos`: each fault once, with a call, a cut and a transport that a seed chose."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.chaos.__main__ import chosen, running_server
from tests.chaos.cases import Case, problems
from tests.chaos.faults import FAULTS
from tests.chaos.styles import STYLES

pytestmark = pytest.mark.socket

# what `make chaos` found, in the shapes in which it failed
FOUND = [
    "odd-reason:whole:core.asend:aiohttp:0",
    "chunk-size-huge:14:langchain.ainvoke:aiohttp:0",
    "chunk-size-word:14:core.astream:aiohttp:0",
]


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long the waits are is tested in core/transport/test_retries.py."""
    monkeypatch.setattr("lunos_core.transport.call.random.random", lambda: 0.0)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running_server() as port:
        yield port


@pytest.mark.parametrize(
    "fault",
    # every fourth without the slow tests
    [pytest.param(f, marks=pytest.mark.slow if i % 4 else ()) for i, f in enumerate(FAULTS)],
)
def test_a_fault_gives_the_right_answer_or_our_error(fault: str, port: int) -> None:
    case = chosen(random.Random(fault), fault)
    assert not problems(case, port), f"python -m tests.chaos --case '{case}'"


@pytest.mark.parametrize("style", STYLES)
def test_every_way_to_call_reads_an_answer_that_comes_byte_by_byte(style: str, port: int) -> None:
    assert not problems(Case("tiny-chunks", "dripped", style), port)


@pytest.mark.parametrize("case", FOUND)
def test_what_was_found_stays_mended(case: str, port: int) -> None:
    assert not problems(Case.read(case), port)


def test_there_are_as_many_faults_as_promised() -> None:
    assert len(FAULTS) >= 60
