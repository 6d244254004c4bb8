"""Whether pytest collects the tests that the pages name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


COLLECTED = pytest.StashKey[frozenset[str]]()
"""The tests of this session, those that `-m` and `-k` leave out among them, without parameters."""


@cache
def _collected(files: tuple[str, ...]) -> frozenset[str]:
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
    return _with_parents({line.partition("[")[0] for line in done.stdout.splitlines()})


def _with_parents(tests: Iterable[str]) -> frozenset[str]:
    names: set[str] = set()
    for test in tests:
        parts = test.split("::")
        names.update("::".join(parts[:i]) for i in range(1, len(parts) + 1))
    return frozenset(names)


def missing(names: list[str], config: pytest.Config) -> list[str]:
    """Return those of `path::test` that pytest doesn't collect; a path alone needs any test.

    A whole session has collected them already; a part of one collects the files of the others.
    """
    unseen = set(names) - _with_parents(config.stash[COLLECTED])
    files = sorted({name.partition("::")[0] for name in unseen})
    there = tuple(file for file in files if (ROOT / file).exists())
    return sorted(unseen - _collected(there)) if there else sorted(unseen)
