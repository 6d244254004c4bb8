"""Run the examples as a user does, without a key, in this process: importing is most of a run."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.documentation.markdown_blocks import dropped_connections

ROOT = Path(__file__).parents[2]
RunExample = Callable[..., tuple[str, str]]


def without_key() -> dict[str, str]:
    """Return the environment of someone who has not set up anything."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LUNOS_")}


@pytest.fixture
def run_example(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunExample:
    """Run a program by its path; return what it printed and what it complained about."""
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(ROOT / "examples"))

    def run(path: str, *arguments: str) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", [path, *arguments])
        with dropped_connections():
            runpy.run_path(path, run_name="__main__")
        return capsys.readouterr()

    return run
