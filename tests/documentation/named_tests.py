"""Whether pytest collects the tests that the pages name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FILE = re.compile(r"tests/[\w/]+\.py")


@cache
def _collected() -> frozenset[str]:
    """Return what pytest collects of the files that any page names: files, classes and tests."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    named = {name for page in pages for name in _FILE.findall(page.read_text("utf-8"))}
    files = sorted(name for name in named if (ROOT / name).exists())
    collection = ("--collect-only", "-q", "-p", "no:cacheprovider", "-p", "no:xdist")
    # the variables by which pytest-cov and pytest-xdist would take the child for one of their own
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("COV_", "PYTEST_"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *collection, *files],
        cwd=ROOT,
        env=inherited,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    names: set[str] = set()
    for line in done.stdout.splitlines():
        path, *parts = line.partition("[")[0].split("::")
        names |= {"::".join((path, *parts[:i])) for i in range(len(parts) + 1)}
    return frozenset(names)


def missing(names: list[str]) -> list[str]:
    """Return those of `path::test` that pytest doesn't collect; a path alone needs any test."""
    return [name for name in names if name not in _collected()]
