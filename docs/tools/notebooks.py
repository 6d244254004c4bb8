"""Run the notebooks of docs/notebooks/, each in a fresh kernel.

.venv/bin/python docs/tools/notebooks.py     runs all, and writes what they printed into them
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"


def executed(path: Path) -> Any:
    """Execute a notebook and return it, without anything that differs from run to run.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3", record_timing=False).execute()
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.execution_count = None
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = None
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def main() -> None:
    """Write the outputs."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        path.write_text(nbformat.writes(executed(path)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
