"""A saved object names an address: the key of this process doesn't go there by itself."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import pytest
from langchain_core.load import dumpd, load

from langchain_lunos import ChatLunos, LunosLLM
from llama_index_lunos import Lunos, LunosAudioReader, LunosEmbedding
from lunos_core import LunosConfigError

SECRET = "sk-of-this-process"
FOREIGN = "https://collector.example/v1"
OURS = ["https://api.lunos.tech/v1", "http://127.0.0.1:8000/v1", "http://localhost:1/v1", None]

LOADERS = ["langchain_core.load.load", "langgraph.checkpoint.serde.jsonplus"]

langchain_classes = pytest.mark.parametrize("kind", [ChatLunos, LunosLLM])
llama_index_classes = pytest.mark.parametrize("kind", [Lunos, LunosEmbedding, LunosAudioReader])


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNOS_API_KEY", SECRET)
    monkeypatch.delenv("LUNOS_BASE_URL", raising=False)


def loaded(kind: Any, base_url: str | None, *, name: str = "base_url", **more: Any) -> Any:
    data = dumpd(kind(model="m", api_key="k"))
    data["kwargs"].pop("base_url", None)
    if base_url is not None:
        data["kwargs"][name] = base_url
    if not more.pop("with_key", True):
        data["kwargs"].pop("api_key", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # load is "beta"
        options: Any = {"allowed_objects": "all", "valid_namespaces": ["langchain_lunos"], **more}
        return load(data, **options)


@langchain_classes
@pytest.mark.parametrize("name", ["base_url", "api_base"])
@pytest.mark.parametrize(
    "more", [{}, {"with_key": False}, {"secrets_from_env": True}], ids=["named", "none", "env"]
)
def test_langchains_load_sends_the_environments_key_to_no_foreign_address(
    kind: Any, name: str, more: dict[str, Any]
) -> None:
    with pytest.raises(LunosConfigError, match=r"collector.*LUNOS_BASE_URL") as caught:
        loaded(kind, FOREIGN, name=name, **more)
    assert SECRET not in str(caught.value)


@langchain_classes
def test_a_subclass_that_is_allowed_by_name_cannot_bypass_the_check(kind: Any) -> None:
    with pytest.raises(LunosConfigError, match="collector"):
        loaded(kind, FOREIGN, allowed_objects=[kind])


@langchain_classes
@pytest.mark.parametrize("module", LOADERS)
def test_a_subclass_with_its_own_constructor_cannot_bypass_the_check(
    kind: Any, module: str
) -> None:
    class Own(kind):  # type: ignore[misc]  # a class by its value
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)

    loader: dict[str, Any] = {"__name__": module}
    exec("def make(kind, **settings): return kind(**settings)", loader)
    with pytest.raises(LunosConfigError, match="collector"):
        loader["make"](Own, model="m", base_url=FOREIGN)


@langchain_classes
@pytest.mark.parametrize("base_url", OURS)
@pytest.mark.parametrize("more", [{}, {"secrets_from_env": True}])
def test_langchains_load_uses_it_for_addresses_of_ours(
    kind: Any, base_url: str | None, more: dict[str, Any]
) -> None:
    assert loaded(kind, base_url, **more).client.config.key == SECRET


@langchain_classes
def test_an_address_in_code_is_trusted(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {"LUNOS_API_KEY": SECRET}
    assert loaded(kind, FOREIGN, secrets_map=secrets).client.config.key == SECRET
    assert kind(model="m", base_url=FOREIGN).client.config.key == SECRET  # a constructor is code
    monkeypatch.setenv("LUNOS_BASE_URL", "https://collector.example")
    assert loaded(kind, FOREIGN).client.config.base_url == FOREIGN


def as_dict(kind: Any, **changed: Any) -> dict[str, Any]:
    return {**kind("m", api_key="k").to_dict(), **changed}


@llama_index_classes
@pytest.mark.parametrize("name", ["api_base", "base_url"])
def test_from_dict_sends_the_environments_key_to_no_foreign_address(kind: Any, name: str) -> None:
    data = (
        as_dict(kind, api_base=None, **{name: FOREIGN})
        if name == "base_url"
        else as_dict(kind, api_base=FOREIGN)
    )
    with pytest.raises(LunosConfigError, match="collector") as caught:
        kind.from_dict(dict(data))
    assert SECRET not in str(caught.value)
    assert kind.from_dict(dict(data), api_key=SECRET).client.config.key == SECRET


@llama_index_classes
@pytest.mark.parametrize("base_url", OURS)
def test_from_dict_uses_it_for_addresses_of_ours(kind: Any, base_url: str | None) -> None:
    assert kind.from_dict(as_dict(kind, api_base=base_url)).client.config.key == SECRET


@llama_index_classes
def test_an_address_given_beside_the_dict_is_code(kind: Any) -> None:
    made = kind.from_dict(as_dict(kind), api_base=FOREIGN)
    assert (made.client.config.key, made.api_base) == (SECRET, FOREIGN)


@llama_index_classes
def test_a_pickle_brings_its_own_key_and_gets_no_other(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = kind("m", api_base=FOREIGN)  # in code, with the environment's key
    assert copy.deepcopy(made).client.config.key == SECRET
    data = pickle.dumps(made)
    monkeypatch.setenv("LUNOS_API_KEY", "sk-of-the-worker")
    assert pickle.loads(data).client.config.key == SECRET
    state = made.__getstate__()
    state["__dict__"]["api_key"] = None
    state["__pydantic_private__"] = None
    with pytest.raises(LunosConfigError, match="collector"):
        kind.__new__(kind).__setstate__(state)
