"""docs/faults.md and the rows that the tests run are one table; what pages name is collected."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.fault_rows import FAULTS, POOL_TIMEOUT, VECTOR_FAULTS, Fault

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "faults.md"
CORE = "tests/faults/test_faults_core.py"


def case_of(fault: Fault) -> str:
    """The test of a row: one of its cases by name, through the sync client of the core."""
    if fault is POOL_TIMEOUT:
        return "tests/faults/test_pool_timeout.py::test_a_pool_timeout_is_tried_again_and_reported"
    if fault in VECTOR_FAULTS:
        return f"{CORE}::test_vectors_that_make_no_sense_are_reported[sync-{fault.name}]"
    form = "streamed" if fault.whole is None else "whole"
    return f"{CORE}::test_a_fault_is_survived_or_reported[sync-{fault.name}, {form}]"


def line_of(fault: Fault) -> str:
    """A row as the page has it."""
    error = f"`{fault.error}`" if fault.error else "none: the answer is read"
    if fault.streamed_error:
        error += f" (streamed: `{fault.streamed_error}`)"
    carries = [f"`status` {fault.status}"] if fault.status else []
    carries += ["`partial`"] if fault.partial else []
    case = case_of(fault)
    tick = "``" if "`" in case else "`"  # as Markdown has it
    cells = (fault.name, fault.retried, error, ", ".join(carries) or "nothing", tick + case + tick)
    return f"| {' | '.join(cells)} |"


def test_the_page_has_the_rows_that_the_tests_run() -> None:
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    assert rows[1:] == [line_of(fault) for fault in (*FAULTS, POOL_TIMEOUT, *VECTOR_FAULTS)]


@pytest.mark.slow
def test_pytest_collects_each_test_that_a_promise_names() -> None:
    """By collection, with the case where the page names one: renamed cases are found out."""
    pages = [page.read_text("utf-8") for page in (PAGE, ROOT / "SECURITY.md")]
    quoted = r"(?<!`)(``?)(tests/[^`]+?::.+?)\1(?!`)"
    named = {name for page in pages for _, name in re.findall(quoted, page)}
    assert len(named) > len(FAULTS)
    files = sorted({name.partition("::")[0] for name in named})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    listed = subprocess.run(
        [*command, *files], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    collected = set(listed) | {line.partition("[")[0] for line in listed}
    assert named <= collected, named - collected


def test_each_section_of_the_page_names_a_test() -> None:
    sections = PAGE.read_text("utf-8").split("\n## ")
    assert len(sections) > 4
    assert not [text.splitlines()[0] for text in sections if "`tests/" not in text]
