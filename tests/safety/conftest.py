"""What the tests of this folder share."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long the waits are is tested in core/transport/test_retries.py."""
    monkeypatch.setattr("lunos_core.transport.call.random.random", lambda: 0.0)


@dataclass(frozen=True)
class LoadServer:
    """The server of `benchmarks/load_server.py`, under a name whose counts begin at zero."""

    port: int
    name: str

    def url(self, kind: str) -> str:
        return f"http://127.0.0.1:{self.port}/{self.name}/{kind}"

    def counts(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{self.name}") as answer:
            return dict(json.load(answer))


@pytest.fixture(scope="session")
def _load_server_port() -> Iterator[int]:
    command = [sys.executable, "-m", "benchmarks.load_server"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.kill()


@pytest.fixture
def load_server(_load_server_port: int, request: pytest.FixtureRequest) -> LoadServer:
    return LoadServer(_load_server_port, f"test{id(request.node)}")
