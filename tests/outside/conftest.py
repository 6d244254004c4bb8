"""Other people's packages, each run with our class and with the peer's on the same gateway."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lunos_local import LocalGateway

MODEL = "lunos/scripted"
_RESULTS: dict[str, dict[str, str]] = {}


def _langchain(gateway: LocalGateway, side: str) -> Any:
    settings: dict[str, Any] = {"api_key": gateway.api_key, "base_url": gateway.base_url}
    if side == "ours":
        from langchain_lunos import ChatLunos

        return ChatLunos(model=MODEL, **settings)
    peer = pytest.importorskip("langchain_openai")
    return peer.ChatOpenAI(model=MODEL, stream_usage=True, **settings)


def _llama_index(gateway: LocalGateway, side: str) -> Any:
    if side == "ours":
        from llama_index_lunos import Lunos

        return Lunos(MODEL, api_key=gateway.api_key, base_url=gateway.base_url)
    peer = pytest.importorskip("llama_index.llms.openai_like")
    return peer.OpenAILike(
        model=MODEL,
        api_key=gateway.api_key,
        api_base=gateway.base_url,
        is_chat_model=True,
        is_function_calling_model=True,
    )


@pytest.fixture(params=["ours", "peer"])
def side(request: pytest.FixtureRequest) -> str:
    """Whose class the program runs with."""
    return str(request.param)


@pytest.fixture
def chat(gateway: LocalGateway, side: str) -> Callable[[], Any]:
    """Make a LangChain chat model: `ChatLunos`, or `ChatOpenAI` on the same gateway."""
    return lambda: _langchain(gateway, side)


@pytest.fixture
def llm(gateway: LocalGateway, side: str) -> Callable[[], Any]:
    """Make a LlamaIndex LLM: `Lunos`, or `OpenAILike` on the same gateway."""
    return lambda: _llama_index(gateway, side)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Note each result for the table."""
    report: Any = yield
    marker = item.get_closest_marker("package")
    if marker is not None and (report.when == "call" or report.skipped):
        name = f"{marker.args[0]} ({item.name.partition('[')[0].removeprefix('test_')})"
        whose = "peer" if "peer" in item.name else "ours"
        _RESULTS.setdefault(name, {})[whose] = report.outcome
    return report


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line("markers", "package(name): the package whose program a test is")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table: package, version, ours, the peer's."""
    if not _RESULTS:
        return
    terminalreporter.write_line("| package (program) | version | ours | the peer's |")
    terminalreporter.write_line("|---|---|---|---|")
    for name, sides in sorted(_RESULTS.items()):
        try:
            version = importlib.metadata.version(name.partition(" ")[0])
        except importlib.metadata.PackageNotFoundError:
            version = "not installed"
        ours, peers = sides.get("ours", "-"), sides.get("peer", "-")
        terminalreporter.write_line(f"| {name} | {version} | {ours} | {peers} |")
