"""Whether a test that a page names is there, as pytest would collect it."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


@cache
def _tests_in(path: str) -> frozenset[str]:
    file = ROOT / path
    if not file.exists():
        return frozenset()
    return frozenset(
        node.name
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and node.name.lower().startswith("test")
    )


def missing(names: list[str]) -> list[str]:
    """Return those of `path::test` that no file has; a path alone needs any test at all."""
    return [
        name
        for name in names
        for path, _, test in [name.partition("::")]
        if not _tests_in(path) or (test and test not in _tests_in(path))
    ]
