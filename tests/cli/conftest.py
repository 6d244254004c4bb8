"""The command line against the local gateway."""

from __future__ import annotations

import pytest

from lunos_local import LocalGateway


@pytest.fixture
def service(gateway: LocalGateway, monkeypatch: pytest.MonkeyPatch) -> LocalGateway:
    gateway.clear()
    monkeypatch.setenv("LUNOS_API_KEY", gateway.api_key)
    monkeypatch.setenv("LUNOS_BASE_URL", gateway.base_url)
    return gateway
