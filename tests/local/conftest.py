"""One gateway for the folder, and a client that has its key."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lunos_local import LocalGateway
from tests.local.wire import Wire


@pytest.fixture(scope="session")
def gateway() -> Iterator[LocalGateway]:
    with LocalGateway() as running:
        yield running


@pytest.fixture
def wire(gateway: LocalGateway) -> Iterator[Wire]:
    gateway.clear()
    client = Wire(gateway)
    yield client
    client.http.close()


@pytest.fixture(scope="session")
def real_gateway() -> Iterator[LocalGateway]:
    with LocalGateway(real_models=True) as running:
        yield running


@pytest.fixture
def real(real_gateway: LocalGateway) -> Iterator[Wire]:
    client = Wire(real_gateway)
    yield client
    client.http.close()
