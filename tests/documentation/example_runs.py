"""Run the examples as a user does: without a key, each in its own process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


def without_key() -> dict[str, str]:
    """Return the environment of someone who has not set up anything."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LUNOS_")}


@contextmanager
def started(paths: Iterable[str]) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """Start all of them at once, since importing takes most of their time; yield them by path."""
    processes = {
        path: subprocess.Popen(
            [sys.executable, path],
            cwd=ROOT,
            env=without_key(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for path in paths
    }
    try:
        yield processes
    finally:
        for process in processes.values():
            if process.poll() is None:
                process.kill()
                process.communicate()
