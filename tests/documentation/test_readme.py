"""The README's examples run, and what it says about this package is true."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable

import pytest

from tests.documentation.markdown_blocks import ROOT, blocks_of, run_block

__all__ = ["run_block"]

README = (ROOT / "README.md").read_text("utf-8")

PYTHON = blocks_of(README, "python")


@pytest.mark.parametrize("code", [code for _, code in PYTHON], ids=[name for name, _ in PYTHON])
def test_a_python_block_runs(code: str, run_block: Callable[[str], str]) -> None:
    assert run_block(code).strip()
    assert len([line for line in code.splitlines() if line.strip()]) <= 12, "too long to copy"


def test_the_commands_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    shell = "\n".join(code for _, code in blocks_of(README, "bash"))
    for target in re.findall(r"^make (\w+)", shell, re.MULTILINE):
        assert f"\n{target}:" in makefile
    extras = re.findall(rf"{project['name']}\[([\w-]+)\]", README)
    assert set(extras) == set(project["optional-dependencies"]) - {
        "test",
        "dev",
        "docs",
        "examples",
    }


def test_the_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_line_of_facts_is_true() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    tested = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert f"Python {tested[0]} to {tested[-1]} ·" in README
    assert re.findall(r"^[\w-]+", "\n".join(project["dependencies"]), re.MULTILINE) == ["httpx"]
    assert project["license"] == "MIT"
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert "-m mypy" in makefile
    assert "basedpyright" in makefile


def test_every_row_of_the_comparison_links_to_a_test_of_ours() -> None:
    rows = [line for line in README.splitlines() if line.startswith("|")][2:]
    assert len(rows) >= 10
    for row in rows:
        (target,) = re.findall(r"\]\((tests/\S+\.py)\) \|$", row)
        assert (ROOT / target).exists(), target
