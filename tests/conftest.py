"""What every test may use: the local gateway, a clean environment, and both clients."""

from __future__ import annotations

import gc
import inspect
import os
import signal
import socket
import subprocess
import types
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import settings

from lunos_core import AsyncClient, AsyncStream, Client, Config
from lunos_local import LocalGateway
from tests.documentation.named_tests import COLLECTED

pytest_plugins = ["tests.coverage_bars"]

KEY = "sk-test-4f9a1c"


# what a test uses that talks over a loopback socket: names in its module, and fixtures
SERVERS = {"LocalGateway", "RawServer", "AnsweringServer", "socket"}
RUNNING = {"gateway", "singular_gateway", "real_gateway", "server", "load_server"}

# how many inputs a property is tried with, where it names no number: fewer without the slow tests
settings.register_profile("quick", max_examples=30, deadline=None)
settings.register_profile("thorough", max_examples=150, deadline=None)


def pytest_configure(config: pytest.Config) -> None:
    """Choose how often a property is tried, let Ctrl-C work, and let nothing walk the tests."""
    is_quick = "not slow" in config.getoption("markexpr", "")
    settings.load_profile("quick" if is_quick else "thorough")
    # what a shell starts in the background ignores SIGINT, and so would all that the tests start
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.disable()  # until the collection has ended: nearly all that it makes stays


@pytest.hookimpl(tryfirst=True)  # before `-m` and `-k` take tests away
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test as `unit`, `socket` or `subprocess` by what its module and fixtures use.

    A mark that a test or its module has stays; `_unit_means_alone` holds the `unit` ones to it.
    Coverage isn't measured in `slow` tests: it can triple their time, and others cover the code.
    """
    config.stash[COLLECTED] = frozenset(item.nodeid.partition("[")[0] for item in items)
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker("no_cover")
        if any(map(item.get_closest_marker, ("socket", "subprocess"))):
            continue
        names = vars(getattr(item, "module", None) or types.SimpleNamespace())
        fixtures = set(getattr(item, "fixturenames", ()))
        if "subprocess" in names or "multiprocessing" in names:
            item.add_marker("subprocess")
        elif SERVERS & names.keys() or RUNNING & fixtures:
            item.add_marker("socket")
        else:
            item.add_marker("unit")


def pytest_collection_finish() -> None:
    """Keep the frameworks' and the tests' own objects out of every later collection.

    There are a million of them: walking them takes most of a second.
    """
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_sessionfinish() -> None:
    """Let hypothesis, which is asked then, look at who refers to whom."""
    gc.unfreeze()


@pytest.fixture(scope="session")
def gateway() -> Iterator[LocalGateway]:
    """Run the local gateway with its scripted and misbehaving models."""
    with LocalGateway() as running:
        yield running


@pytest.fixture
def singular_gateway() -> Iterator[LocalGateway]:
    """Run a gateway that has the singular image path alone."""
    with LocalGateway(image_path="/image/generations") as running:
        yield running


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("LUNOS_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _unit_means_alone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold a test marked `unit` to it: no connection, no server, no other process."""
    is_recording = request.config.getoption("--record-mode", None) not in (None, "none")
    if request.node.get_closest_marker("unit") and not is_recording:
        for owner, name in ((socket.socket, "connect"), (socket.socket, "bind"), (os, "fork")):
            monkeypatch.setattr(owner, name, _refused)
        monkeypatch.setattr(subprocess.Popen, "__init__", _refused)


@pytest.fixture(autouse=True)
def _nothing_ends_deep_in_the_stack(request: pytest.FixtureRequest) -> None:
    """Collect what earlier tests left before JSON is read down to the recursion limit.

    A collection down there would run their finalizers, which fail without room in the stack.
    """
    if "nested" in request.node.name:
        gc.collect()


def _refused(*arguments: Any, **options: Any) -> None:
    pytest.fail("a test marked `unit` opens a socket or starts a process: see tests/conftest.py")


@pytest.fixture(autouse=True)
def _names_in_docstrings(request: pytest.FixtureRequest) -> None:
    # `pytest --doctest-modules`; `test_docstrings.py` gives the same name by itself
    if isinstance(request.node, pytest.DoctestItem):
        names = request.getfixturevalue("doctest_namespace")
        names["gateway"] = request.getfixturevalue("gateway")


class Both:
    """One case through `Client` and through `AsyncClient`: the test awaits either."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.is_async = kind == "async"
        self._to_close: list[Any] = []

    def client(self, wire: Any = None, **settings: Any) -> Any:
        """Return a client whose requests `wire`, a callable, or a real server answers."""
        own = {name: settings.pop(name) for name in ("errors", "observers") if name in settings}
        if wire is not None:
            own["http_client"] = self.http_client(wire)
        config = Config(**{"api_key": KEY, "base_url": "https://lunos.test", **settings})
        return self.closing((AsyncClient if self.is_async else Client)(config, **own))

    def http_client(self, wire: Any) -> Any:
        kind = httpx.AsyncClient if self.is_async else httpx.Client
        return self.closing(kind(transport=httpx.MockTransport(wire)))

    def closing(self, client: Any) -> Any:
        """Close the client when the test is over."""
        self._to_close.append(client)
        return client

    async def __call__(self, result: Any) -> Any:
        """`await both(client.send(request))`."""
        return await result if inspect.isawaitable(result) else result

    async def each(self, stream: Any) -> AsyncIterator[Any]:
        """`async for chunk in both.each(stream)`."""
        if isinstance(stream, AsyncStream):
            async for chunk in stream:
                yield chunk
        else:
            for chunk in stream:
                yield chunk

    async def chunks(self, client: Any, request: Any) -> list[Any]:
        """Return all the chunks of a stream."""
        stream = await self(client.stream(request))
        return [chunk async for chunk in self.each(stream)]

    async def close(self) -> None:
        for client in reversed(self._to_close):
            await self(client.aclose() if hasattr(client, "aclose") else client.close())


@pytest.fixture(params=["sync", "async"])
async def both(request: pytest.FixtureRequest) -> AsyncIterator[Both]:
    """Run the test twice, once through each client."""
    case = Both(request.param)
    yield case
    await case.close()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave `tests/outside` to `make test-outside`, which installs what it needs."""
    asked = any("outside" in argument for argument in config.args)
    return True if collection_path.name == "outside" and not asked else None
