"""docs/faults.md and the rows that the tests run are one table."""

from __future__ import annotations

from pathlib import Path

from tests.faults.fault_rows import FAULTS, POOL_TIMEOUT, VECTOR_FAULTS, Fault

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


def line_of(fault: Fault) -> str:
    """A row as the page has it."""
    error = f"`{fault.error}`" if fault.error else "none: the answer is read"
    if fault.streamed_error:
        error += f" (streamed: `{fault.streamed_error}`)"
    carries = [f"`status` {fault.status}"] if fault.status else []
    carries += ["`partial`"] if fault.partial else []
    return f"| {fault.name} | {fault.retried} | {error} | {', '.join(carries) or 'nothing'} |"


def test_the_page_has_the_rows_that_the_tests_run() -> None:
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    assert rows[1:] == [line_of(fault) for fault in (*FAULTS, POOL_TIMEOUT, *VECTOR_FAULTS)]
