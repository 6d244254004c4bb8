"""A pytest plugin: tests of your own application against the local gateway, or from recordings.

Installed with `pip install "lunos-integrations[testing]"`, it gives every test the fixtures
`lunos_gateway`, `lunos_requests`, `assert_cost_below` and `lunos_cassette`, and the markers
`lunos_fault` and `lunos_cassette`.

    @pytest.mark.lunos_fault("429", times=2)
    def test_a_busy_service_is_retried(lunos_gateway, lunos_requests, assert_cost_below):
        assert my_app.answer("Hello")  # it reads LUNOS_API_KEY and LUNOS_BASE_URL
        assert [request["status"] for request in lunos_requests()] == [429, 429, 200]
        assert_cost_below(0.01)

    @pytest.mark.lunos_cassette
    def test_the_real_model_knows_the_rules(lunos_cassette):
        assert "14 days" in my_app.answer("May I send it back?")
        assert lunos_cassette.requests[0].headers["x-app-id"] == "my-app"

The first run of the second test calls Lunos with your key and keeps the conversation in
`cassettes/<module>/<test>.yaml`, beside the test's file; later runs replay it, without a key and
without the network. `pytest --lunos-record` records again; `pytest --lunos-replay`, for CI, never
records.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Generator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from lunos_local.cassettes import LunosCassette
    from lunos_local.server import LocalGateway

Requests = Callable[[], list[dict[str, Any]]]

_LONGEST_NAME = 150


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the two options for cassettes."""
    group = parser.getgroup("lunos")
    group.addoption(
        "--lunos-record",
        action="store_true",
        help="record the tests' cassettes again: needs LUNOS_API_KEY, and calls Lunos",
    )
    group.addoption(
        "--lunos-replay",
        action="store_true",
        help="record nothing: a test without a cassette fails (for CI)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    config.addinivalue_line(
        "markers",
        'lunos_fault(name, times=1, model=None): the next requests fail, with a status ("429") or '
        'a fault ("cut-stream"); times=None means all',
    )
    config.addinivalue_line(
        "markers",
        "lunos_cassette(name=None): record the test's conversation with Lunos once, then replay "
        "it; tests with the same name share a recording",
    )
    if config.getoption("--lunos-record") and config.getoption("--lunos-replay"):
        raise pytest.UsageError("--lunos-record and --lunos-replay exclude each other: use one")


def _needs(fixture: str, error: ImportError) -> pytest.UsageError:
    hint = 'pip install "lunos-integrations[testing]"'
    return pytest.UsageError(f"{fixture} needs {error.name!r}: {hint}")


@pytest.fixture(scope="session")
def _lunos_server() -> Iterator[LocalGateway]:
    try:
        from lunos_local.server import LocalGateway
    except ImportError as error:
        raise _needs("lunos_gateway", error) from None

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
    # the closest marker comes first
    for marker in reversed(list(request.node.iter_markers("lunos_fault"))):
        try:
            _lunos_server.fail(*marker.args, **marker.kwargs)
        except (TypeError, ValueError) as error:
            raise pytest.UsageError(f"lunos_fault(name, times=1, model=None): {error}") from None
    yield _lunos_server
    _lunos_server.clear()


@pytest.fixture
def lunos_requests(lunos_gateway: LocalGateway) -> Requests:
    """Call it to get the requests so far: model, app_id, status, body, tokens, cost."""
    return lunos_gateway.requests


@pytest.fixture
def assert_cost_below(lunos_gateway: LocalGateway) -> Callable[[float], None]:
    """Call it with an amount in USD: the requests so far must have cost less."""

    def check(usd: float) -> None:
        __tracebackhide__ = True
        if isinstance(usd, bool) or not isinstance(usd, int | float | Decimal) or not usd > 0:
            raise ValueError(f"assert_cost_below needs an amount in USD above 0, not {usd!r}")
        costs = {
            request["request_id"]: request["cost"] or 0.0 for request in lunos_gateway.requests()
        }
        total = sum(costs.values())
        if total >= usd:
            pytest.fail(f"{len(costs)} requests cost {total:.6f} USD, not less than {usd:.6f}")

    return check


_CASSETTE = pytest.StashKey["LunosCassette"]()


@pytest.fixture(autouse=True)
def _lunos_by_marker(request: pytest.FixtureRequest) -> None:
    """Start what a marker asks for before other fixtures, which may call Lunos."""
    for marker, fixture in (("lunos_cassette", "lunos_cassette"), ("lunos_fault", "lunos_gateway")):
        if request.node.get_closest_marker(marker):
            request.getfixturevalue(fixture)


@pytest.fixture
def lunos_cassette(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LunosCassette]:
    """The test's conversation with Lunos: recorded in the first run, replayed from then on.

    It is in `requests` and `responses`. The file contains neither the key nor any header except
    X-App-ID and the content type. The test fails if a request isn't in the file, or if a recorded
    call isn't made any more.
    """
    try:
        from lunos_local.cassettes import playing
    except ImportError as error:
        raise _needs("lunos_cassette", error) from None

    options, node = request.config.option, request.node
    path = _cassette_path(node)
    with playing(
        path,
        record=options.lunos_record,
        replay_only=options.lunos_replay,
        remedy=f"To record it again: pytest {node.nodeid!r} --lunos-record",
    ) as cassette:
        # a list of models cached by an earlier run would be used without a request
        monkeypatch.setenv("LUNOS_CACHE_DIR", str(tmp_path_factory.mktemp("lunos-cache")))
        if cassette.is_replay and not os.environ.get("LUNOS_API_KEY"):
            monkeypatch.setenv("LUNOS_API_KEY", "replayed-without-a-key")
        node.stash[_CASSETTE] = cassette
        yield cassette


def _cassette_path(node: pytest.Item) -> Path:
    """Return `cassettes/<module>/<test>.yaml` beside the test's file, relative if possible."""
    marker = node.get_closest_marker("lunos_cassette")
    try:
        given = None if marker is None else _checked(*marker.args, **marker.kwargs)
    except (TypeError, ValueError) as error:
        said = str(error).replace("_checked()", "the marker")
        raise pytest.UsageError(f"lunos_cassette(name=None): {said}") from None
    if given is None:
        # with the class, without characters that some file systems refuse
        given = node.nodeid.partition("::")[2].replace("::", ".")
        given = re.sub(r"[^\w.\[\]-]+", "-", given)
        if len(given) > _LONGEST_NAME:
            given = f"{given[:_LONGEST_NAME]}-{hashlib.sha256(given.encode()).hexdigest()[:8]}"
    path = node.path.parent / "cassettes" / node.path.stem / f"{given}.yaml"
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _checked(name: str | None = None) -> str | None:
    if name is None:
        return None
    if re.fullmatch(r"\w[\w ./\[\]-]*", str(name)) and ".." not in str(name):
        return str(name)
    raise ValueError(f"{name!r} can't be a file's name: letters, digits, spaces and . _ - [ ] /")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Save the recording of a test that passed; fail one that departed from its cassette."""
    cassette = item.stash.get(_CASSETTE, None)
    try:
        result = yield
    except BaseException:
        if cassette is not None and cassette.dirty:
            text = f"{cassette.path} isn't written, since the test that should record it failed"
            item.add_report_section("call", "lunos_cassette", text)
        raise
    if cassette is None:
        return result
    if cassette.missing:  # and the application caught the error
        pytest.fail("\n".join(cassette.missing) + f"\n{cassette.remedy}", pytrace=False)
    if cassette.is_replay and (unplayed := cassette.unplayed()):
        pytest.fail(
            f"the cassette {cassette.path} holds calls that the test doesn't make any more: "
            f"{', '.join(unplayed)}. {cassette.remedy}",
            pytrace=False,
        )
    cassette.save()
    return result
