"""What the tests of the faults share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long the waits are is tested by itself."""
    monkeypatch.setattr("lunos_core.transport.call.random.random", lambda: 0.0)
