"""A pytest plugin: tests of your own application against the local gateway.

Installed with `pip install "lunos-integrations[testing]"`, it gives every test the fixtures
`lunos_gateway`, `lunos_requests` and `assert_cost_below`, and the marker `lunos_fault`. The web
server is imported by the first test that uses them.

    @pytest.mark.lunos_fault("429", times=2)
    def test_a_busy_service_is_asked_again(lunos_gateway, lunos_requests, assert_cost_below):
        assert my_app.answer("Hello")  # it reads LUNOS_API_KEY and LUNOS_BASE_URL
        assert [request["status"] for request in lunos_requests()] == [429, 429, 200]
        assert_cost_below(0.01)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    try:
        from lunos_local.server import LocalGateway
    except ImportError as error:
        hint = 'pip install "lunos-integrations[testing]"'
        raise pytest.UsageError(f"lunos_gateway needs {error.name!r}: {hint}") from None

Requests = Callable[[], list[dict[str, Any]]]


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        'lunos_fault(name, times=1, model=None): the next requests fail, with a status ("429") or '
        'a fault ("cut-stream"); times=None means all',
    )


@pytest.fixture(scope="session")
def _lunos_server() -> Iterator[LocalGateway]:
    from lunos_local.server import LocalGateway

    with LocalGateway() as gateway:
        yield gateway


@pytest.fixture
def lunos_gateway(
    _lunos_server: LocalGateway, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[LocalGateway]:
    """A local gateway with an empty log; `LUNOS_API_KEY` and `LUNOS_BASE_URL` point to it."""
    _lunos_server.clear()
    monkeypatch.setenv("LUNOS_API_KEY", _lunos_server.api_key)
    monkeypatch.setenv("LUNOS_BASE_URL", _lunos_server.base_url)
    # the closest marker is the first
    for marker in reversed(list(request.node.iter_markers("lunos_fault"))):
        _lunos_server.fail(*marker.args, **marker.kwargs)
    yield _lunos_server
    _lunos_server.clear()


@pytest.fixture
def lunos_requests(lunos_gateway: LocalGateway) -> Requests:
    """Call it for what was sent so far: model, app_id, status, body, tokens, cost."""
    return lunos_gateway.requests


@pytest.fixture
def assert_cost_below(lunos_gateway: LocalGateway) -> Callable[[float], None]:
    """Call it with USD: what was sent so far must have cost less."""

    def check(usd: float) -> None:
        __tracebackhide__ = True
        costs = {
            request["request_id"]: request["cost"] or 0.0 for request in lunos_gateway.requests()
        }
        total = sum(costs.values())
        if total >= usd:
            pytest.fail(f"{len(costs)} requests cost {total:.6f} USD, not less than {usd:.6f}")

    return check
