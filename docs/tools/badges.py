"""Draw the README's badges from what the repository itself says.

.venv/bin/python docs/tools/badges.py     writes docs/badges/*.svg

They are files here, since a badge of another host asks that host for each reader, and says what
that host believes.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "badges"
_BADGE = """<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img">
<title>{left}: {right}</title>
<rect width="{width}" height="20" rx="3" fill="#1b6e53"/>
<path d="M3 0h{left_width}v20H3a3 3 0 0 1-3-3V3a3 3 0 0 1 3-3" fill="#4a4f55"/>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="7" y="14" textLength="{left_text}">{left}</text>
<text x="{right_x}" y="14" textLength="{right_text}">{right}</text>
</g></svg>
"""


def facts() -> dict[str, tuple[str, str]]:
    """Return both halves of each badge, by the file's name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pythons = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    extras = project["optional-dependencies"]
    bound = {
        name: re.search(r">=([\d.]+),<([\d.]+)", extras[name][0])
        for name in ("langchain", "llama-index")
    }
    shown = {name: f"{found[1]} to <{found[2]}" for name, found in bound.items() if found}
    return {
        "python": ("Python", f"{pythons[0]} to {pythons[-1]}"),
        "langchain": ("langchain-core", shown["langchain"].replace("<", "&lt;")),
        "llama-index": ("llama-index-core", shown["llama-index"].replace("<", "&lt;")),
        "types": ("types", "mypy --strict"),
        "license": ("license", project["license"]),
    }


def badge(left: str, right: str) -> str:
    """Return a badge as SVG."""
    left_text, right_text = (round(6.6 * len(re.sub("&lt;", "<", text))) for text in (left, right))
    return _BADGE.format(
        left=left,
        right=right,
        left_text=left_text,
        right_text=right_text,
        left_width=left_text + 11,
        right_x=left_text + 21,
        width=left_text + right_text + 28,
    )


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    for name, (left, right) in facts().items():
        (FOLDER / f"{name}.svg").write_text(badge(left, right), "utf-8")


if __name__ == "__main__":
    main()
