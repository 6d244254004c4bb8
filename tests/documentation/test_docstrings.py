"""Every example in a docstring runs and prints what it says, and all public names have one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import langchain_lunos
import llama_index_lunos
import lunos_cli
import lunos_core
import lunos_local

if TYPE_CHECKING:
    from lunos_local import LocalGateway

PACKAGES = (lunos_core, langchain_lunos, llama_index_lunos, lunos_local, lunos_cli)
MODULES = [
    name
    for package in PACKAGES
    for name in (
        package.__name__,
        *(
            module.name
            for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        ),
    )
    if not name.endswith("__main__")
]
PUBLIC = [
    pytest.param(getattr(package, name), id=f"{package.__name__}.{name}")
    for package in PACKAGES
    for name in getattr(package, "__all__", ())
]
# They are made by what has an example, and are shown there.
RESULTS = {
    "Balance",
    "CallRecord",
    "Chunk",
    "Completion",
    "EmbeddingArray",
    "Embeddings",
    "GeneratedImage",
    "Images",
    "Message",
    "ModelInfo",
    "Request",
    "Speech",
    "VideoJob",
    "StreamRequest",
    "ToolCall",
    "Transcription",
}


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # an example need not close its client
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LlamaIndex's own workflows
def test_the_examples_of_a_module_are_true(
    name: str, gateway: LocalGateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As printed: with a key and a base URL set, in an empty folder, without our names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LUNOS_API_KEY", gateway.api_key)
    monkeypatch.setenv("LUNOS_BASE_URL", gateway.base_url)
    module = importlib.import_module(name)
    result = doctest.testmod(module, globs={"__name__": "__main__"})
    assert result.failed == 0


@pytest.mark.parametrize("public", PUBLIC)
def test_what_is_public_is_documented_with_an_example(public: Any) -> None:
    assert inspect.getdoc(public)
    is_error = inspect.isclass(public) and issubclass(public, Exception)
    if not is_error and public.__name__ not in RESULTS:
        # its own: the one of a base class shows another thing
        assert doctest.DocTestParser().get_examples(public.__doc__ or "")


@pytest.mark.parametrize(
    "public",
    [case for case in PUBLIC if inspect.isfunction(case.values[0])],
)
def test_every_argument_of_a_public_function_is_described(public: Any) -> None:
    told = inspect.getdoc(public) or ""
    for argument in inspect.signature(public).parameters:
        assert f"{argument}:" in told or f"`{argument}`" in told, argument
