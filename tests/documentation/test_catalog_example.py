"""`examples/catalog_shapes.py` as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_four_shapes_are_shown_side_by_side_and_their_prices_are_equal() -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LUNOS_")}
    done = subprocess.run(
        [sys.executable, "examples/catalog_shapes.py"],
        cwd=ROOT,
        env=clean,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split("|") for line in done.stdout.splitlines() if line[:1] == "|"]
    table = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}
    assert table["id"] == ["lunos/scripted-priced"] * 4
    assert table["input_price"] == ["0.0000025"] * 3 + ["-"]
    assert table["output_price"] == ["0.00001"] * 3 + ["-"]
    assert table["context_window"] == ["-", "131072", "131072", "-"]
    assert table["capabilities"][3] == "-"
