"""Forks while threads make their first calls: no child hangs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_no_child_hangs_that_is_forked_while_threads_make_their_first_calls() -> None:
    command = [sys.executable, "-m", "tests.safety.forks_while_calling"]
    done = subprocess.run(
        [*command, "--rounds", "4", "--children", "6"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (0, "24 children, 0 failed\n"), done.stderr
