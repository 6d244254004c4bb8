"""Draw the first part of the output of `make demo` as docs/demo.svg.

.venv/bin/python docs/tools/demo_picture.py     runs the demo and draws its real output
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[2]
COLUMNS = 100
# a browser's own font: rich's template asks another host for one
FONT = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"


def picture(output: str, width: int = COLUMNS) -> str:
    """Return the output as SVG, without the gateway's port, which is another each time.

    Args:
        output: what the demo printed.
        width: columns of the terminal that is drawn.
    """
    shown = re.sub(r"(?<=127\.0\.0\.1:)\d+", "…", output).rstrip()
    console = Console(record=True, width=width, file=io.StringIO())
    console.print(Text("$ make demo", style="bold"))
    for line in shown.splitlines():
        style = "bold cyan" if line.startswith(("Q:", "Agent:")) else ""
        console.print(Text(line, style=style or ("dim" if line.startswith("  ") else "")))
    svg = console.export_svg(title="make demo", unique_id="demo")
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    return re.sub(r"font-family: [^;]+;", f"font-family: {FONT};", svg)


def main() -> None:
    """Run the demo's first half and write the picture."""
    done = subprocess.run(
        [sys.executable, "examples/quickstart.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    (ROOT / "docs" / "demo.svg").write_text(picture(done.stdout), encoding="utf-8")


if __name__ == "__main__":
    main()
