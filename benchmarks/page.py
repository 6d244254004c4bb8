"""Write the figures of a run into the page about performance, table and picture.

python -m benchmarks.page    from benchmarks/out/results.json
"""

# ruff: noqa: RUF001 - the dash is meant

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.figures import Figures

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
_CLIENTS = ("ChatLunos", "Lunos", "ChatOpenAI", "OpenAILike", "ChatMistralAI")
_ROWS = (
    ("one call", "call", "quietest", ""),
    ("one async call", "async call", "quietest", ""),
    ('with `transport="aiohttp"`', "async call", "quietest", "+aiohttp"),
    ("a chunk of 2,000 at once", "stream 2000", "seconds", ""),
    ("CPU of a chunk, one every 2 ms", "paced 250", "cpu", ""),
    ("a fragment of a tool call, of 2,000", "tool 2000", "seconds", ""),
    ("CPU of a call, 100 at once", "concurrent 100", "cpu", ""),
    ('the same with `transport="aiohttp"`', "concurrent 100", "cpu", "+aiohttp"),
    ("CPU of a call, 500 at once", "concurrent 500", "cpu", ""),
    ('the same with `transport="aiohttp"`', "concurrent 500", "cpu", "+aiohttp"),
    ("2,048 vectors as lists", "embed", "seconds", ""),
)


def table(figures: Figures) -> Iterator[str]:
    """Yield the lines of the table: ratios to plain httpx, of what was measured."""
    yield f"| | {' | '.join(_CLIENTS)} |"
    yield "|---" * (len(_CLIENTS) + 1) + "|"
    for title, measure, key, suffix in _ROWS:
        ratios = [figures.ratio(measure, f"{name}{suffix}", "httpx", key) for name in _CLIENTS]
        if any(ratio is not None for ratio in ratios):
            yield f"| {title} | {' | '.join(map(_short, ratios))} |"


def write(results: dict[str, Any], about: Mapping[str, Any], picture: Path) -> None:
    """Replace the table and the picture, and what is said of the run."""
    text = PAGE.read_text("utf-8")
    lines = "\n".join(table(Figures(results)))
    text = re.sub(r"(?m)(^\|.*\n)+", lambda _: f"{lines}\n", text, count=1)
    run = f"Measured on {about['machine']}, Python {about['Python']}, {about['packages']}."
    text = re.sub(r"(?m)^Measured on .*$", lambda _: run, text, count=1)
    PAGE.write_text(text, "utf-8")
    if picture.exists():
        shutil.copy(picture, PAGE.with_suffix(".png"))


def _short(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.3g}"


def main() -> None:
    """Write the page."""
    source = Path(sys.argv[1] if len(sys.argv) > 1 else "benchmarks/out/results.json")
    run = json.loads(source.read_text("utf-8"))
    write(run["results"], run["about"], source.with_suffix(".png"))


if __name__ == "__main__":
    main()
