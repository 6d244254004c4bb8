"""The notebooks run from top to bottom, and print what is stored in them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tests.documentation.markdown_blocks import ROOT

pytestmark = [pytest.mark.subprocess, pytest.mark.slow]
pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
SPEC = importlib.util.spec_from_file_location("notebooks", ROOT / "docs" / "tools" / "notebooks.py")
assert SPEC
assert SPEC.loader
notebooks = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(notebooks)


def printed(notebook: Any) -> list[str]:
    return [
        "".join(output.get("text", "") for output in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def test_there_is_one_for_each_framework() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["langchain", "llamaindex"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_prints_what_is_stored_in_it(path: Path) -> None:
    stored = printed(nbformat.read(path, as_version=4))
    assert len([text for text in stored if text]) >= 5
    assert printed(notebooks.executed(path)) == stored


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_no_folder_no_port_and_no_time(path: Path) -> None:
    text = path.read_text("utf-8")
    for unwanted in ("/home/", "/tmp/", "/root/", "127.0.0.1:", "iopub", 'execution_count": 1'):
        assert unwanted not in text
