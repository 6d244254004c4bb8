"""Settings: names, checks, copies, pickles, and what must never show."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import subprocess
import sys
from typing import Any

import httpx
import pytest
from llama_index.core import Settings
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.embeddings.loading import load_embed_model
from llama_index.core.indices.prompt_helper import PromptHelper
from llama_index.core.llms.loading import load_llm
from llama_index.core.memory import ChatMemoryBuffer
from pydantic import ValidationError

from llama_index_lunos import Lunos, LunosEmbedding
from lunos_core import LunosConfigError
from lunos_local import LocalGateway
from tests.llama_index_adapter.wire import KEY, Way, Wire, answer

BOTH = pytest.mark.parametrize("kind", [Lunos, LunosEmbedding])
SECRETS = ("sk-test", "hush-hush")


def made(kind: Any, **settings: Any) -> Any:
    return kind("m", **{"api_key": KEY, **settings})


def shows_nothing(text: str) -> bool:
    return not any(secret in text for secret in SECRETS)


# names


@BOTH
def test_the_spellings_of_other_integrations_are_taken(kind: Any) -> None:
    item = kind(model="m", api_key=KEY, api_base="https://a.test")
    other = kind(model_name="m", api_key=KEY, base_url="https://a.test/v1/")
    assert item.to_dict() == other.to_dict()
    assert item.api_base == "https://a.test/v1"


@BOTH
def test_a_setting_that_does_not_exist_raises_and_names_a_close_one(kind: Any) -> None:
    with pytest.raises(TypeError, match=r"no argument 'max_retry': did you mean 'max_retries'"):
        made(kind, max_retry=3)


@BOTH
def test_one_setting_under_two_names_raises(kind: Any) -> None:
    with pytest.raises(TypeError, match="same setting"):
        made(kind, api_base="https://a.test", base_url="https://b.test")


def test_a_model_is_needed() -> None:
    with pytest.raises(ValidationError, match="model"):
        Lunos(api_key=KEY)


# checks


@BOTH
def test_a_missing_key_raises_at_once_with_a_remedy(kind: Any) -> None:
    with pytest.raises(LunosConfigError, match=r"api_key=.*LUNOS_API_KEY"):
        kind("m")
    with pytest.raises(LunosConfigError, match="LUNOS_API_KEY"):
        kind("m", api_key="")


@BOTH
def test_the_environment_fills_what_was_not_given(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUNOS_API_KEY", KEY)
    monkeypatch.setenv("LUNOS_BASE_URL", "https://env.test")
    assert kind("m").api_base == "https://env.test/v1"
    assert kind("m", api_base="https://given.test").api_base == "https://given.test/v1"


async def test_a_function_may_give_the_key_anew_for_each_call(way: Way) -> None:
    keys = iter(["one", "two"])
    wire = Wire(answer())
    llm = way.llm(wire, api_key=lambda: next(keys))
    await way(llm, "chat", [ChatMessage("Hello")])
    await way(llm, "chat", [ChatMessage("Hello")])
    assert [item.headers["authorization"] for item in wire.requests] == ["Bearer one", "Bearer two"]


@BOTH
def test_keys_of_other_vendors_are_never_used(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")
    with pytest.raises(LunosConfigError):
        kind("m", api_base="https://third.party")


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"temperature": 2.5}, ValueError),
        ({"top_p": 1.5}, ValueError),
        ({"presence_penalty": -3}, ValueError),
        ({"top_logprobs": 30}, ValueError),
        ({"logit_bias": {"1": 200}}, ValueError),
        ({"max_tokens": 0}, ValueError),
        ({"additional_kwargs": {"n": 0}}, ValueError),
        ({"max_retries": -1}, LunosConfigError),
        ({"timeout": 0}, LunosConfigError),
        ({"api_base": "ftp://x"}, LunosConfigError),
        ({"app_id": "a\nb"}, ValueError),
        ({"default_headers": {"a b": "c"}}, ValueError),
        ({"context_window": 0}, ValidationError),
    ],
)
def test_values_that_cannot_work_raise_at_construction(
    wrong: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        made(Lunos, **wrong)


@pytest.mark.parametrize("wrong", [{"dimensions": 0}, {"embed_batch_size": 0}, {"num_workers": 0}])
def test_an_embedding_checks_its_values_too(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        made(LunosEmbedding, **wrong)


@BOTH
def test_an_error_in_another_setting_does_not_print_the_key(kind: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        made(kind, callback_manager="none", default_headers={"x": 1, "a": "hush-hush"})
    assert shows_nothing(str(caught.value) + repr(caught.value))


# copies


@BOTH
def test_no_form_of_it_shows_the_key_or_the_headers(kind: Any) -> None:
    it = made(kind, default_headers={"Authorization": "hush-hush"})
    forms = (repr(it), str(it), str(it.to_dict()), it.to_json(), str(it.to_payload()))
    forms += (str(it.model_dump()), f"{it.client.config!r}", str(it.model_dump(mode="json")))
    for form in forms:
        assert shows_nothing(form)


@BOTH
def test_it_comes_back_from_its_dict_with_every_setting(kind: Any) -> None:
    given: dict[str, Any] = {
        "app_id": "x",
        "timeout": 7,
        "max_retries": 5,
        "api_base": "https://a.test",
    }
    given |= (
        {
            "temperature": 0.5,
            "stop": "END",
            "reasoning": {"effort": "low"},
            "context_window": 9,
            "is_chat_model": False,
            "additional_kwargs": {"min_p": 1},
            "system_prompt": "s",
            "structured_output": "prompt",
            "plugins": [{"id": "p"}],
        }
        if kind is Lunos
        else {"dimensions": 3, "embed_batch_size": 2, "num_workers": 2, "encoding_format": "float"}
    )
    it = made(kind, **given)
    again = kind.from_dict(it.to_dict(), api_key=KEY)
    assert again.to_dict() == it.to_dict()
    assert kind.from_json(it.to_json(), api_key=KEY).to_dict() == it.to_dict()
    assert {name: again.to_dict()[name] for name in given if name != "api_base"} == {
        name: value for name, value in given.items() if name != "api_base"
    }


def test_a_timeout_of_httpx_is_kept_as_its_seconds() -> None:
    it = made(Lunos, timeout=httpx.Timeout(3, read=9))
    assert it.client.config.timeout.read == 9
    assert Lunos.from_dict(json.loads(it.to_json()), api_key=KEY).timeout == 9


@BOTH
@pytest.mark.parametrize(
    "copied",
    [
        lambda it: pickle.loads(pickle.dumps(it)),
        copy.deepcopy,
        copy.copy,
        lambda it: it.model_copy(),
    ],
)
def test_copies_have_the_settings_and_the_key(kind: Any, copied: Any) -> None:
    it = made(kind, default_headers={"x-a": "1"}, app_id="x", timeout=7, max_retries=5)
    again = copied(it)
    assert again.to_dict() == it.to_dict()
    assert again.client.config == it.client.config
    assert again.client.config.key == KEY


async def test_deep_copies_share_the_http_client_and_pickles_say_that_they_cannot(
    way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    wire = Wire(answer())
    llm = way.llm(wire)
    await way(copy.deepcopy(llm), "chat", [ChatMessage("Hello")])
    assert len(wire.requests) == 1
    with caplog.at_level(logging.WARNING):
        again = pickle.loads(pickle.dumps(llm))
    assert "http_client" in caplog.text
    assert again.to_dict() == llm.to_dict()


async def test_settings_may_be_changed_afterwards(way: Way) -> None:
    wire = Wire(answer())
    llm = way.llm(wire, app_id="first")
    await way(llm, "chat", [ChatMessage("Hello")])
    other = llm.model_copy(update={"app_id": "second", "model": "n"})
    await way(other, "chat", [ChatMessage("Hello")])
    llm.app_id = "third"
    llm.temperature = 0.5
    await way(llm, "chat", [ChatMessage("Hello")])
    assert [item.headers["x-app-id"] for item in wire.requests] == ["first", "second", "third"]
    assert [item["model"] for item in wire.bodies] == ["m", "n", "m"]
    assert wire.bodies[2]["temperature"] == 0.5


def test_llama_index_loads_both_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNOS_API_KEY", KEY)
    llm, embedding = made(Lunos, temperature=0.5), made(LunosEmbedding, dimensions=3)
    assert llm.class_name() == "LunosLLM"
    assert embedding.class_name() == "LunosEmbedding"
    assert load_llm(llm.to_dict()).to_dict() == llm.to_dict()
    assert load_embed_model(embedding.to_dict()).to_dict() == embedding.to_dict()


@pytest.mark.slow
def test_the_names_of_llama_index_own_packages_work_as_well() -> None:
    code = (
        "from llama_index.llms.lunos import Lunos as A;"
        "from llama_index.embeddings.lunos import LunosEmbedding as B;"
        "import llama_index.core;"
        "from llama_index_lunos import Lunos, LunosEmbedding;"
        "assert A is Lunos and B is LunosEmbedding"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_llama_index_the_import_names_the_package_to_install() -> None:
    code = (
        "import sys, importlib.util\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = "
        "lambda name, *a: None if name.startswith('llama_index') and 'lunos' not in name "
        "else real(name, *a)\n"
        "import llama_index_lunos"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 'pip install "lunos-integrations[llama-index]"' in done.stderr


def test_importing_the_package_alone_imports_no_framework() -> None:
    code = "import sys, llama_index_lunos; assert 'llama_index.core.llms' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_settings_take_both() -> None:
    before = Settings._llm, Settings._embed_model
    Settings.llm, Settings.embed_model = made(Lunos), made(LunosEmbedding)
    assert isinstance(Settings.llm, Lunos)
    assert isinstance(Settings.embed_model, LunosEmbedding)
    Settings._llm, Settings._embed_model = before


# metadata


def test_an_unknown_model_has_sane_metadata_and_no_one_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import socket

    def no_network(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("metadata went to the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    metadata = made(Lunos).metadata
    assert (metadata.model_name, metadata.context_window, metadata.num_output) == ("m", 128_000, -1)
    assert metadata.is_chat_model
    assert metadata.is_function_calling_model


def test_everything_in_the_metadata_can_be_set_by_hand() -> None:
    metadata = made(
        Lunos,
        context_window=4096,
        max_tokens=100,
        is_chat_model=False,
        is_function_calling_model=False,
    ).metadata
    assert (metadata.context_window, metadata.num_output) == (4096, 100)
    assert not metadata.is_chat_model
    assert not metadata.is_function_calling_model
    assert not made(Lunos, is_chat_model=False).metadata.is_function_calling_model


def test_the_catalogs_facts_are_used_and_settings_win(monkeypatch: pytest.MonkeyPatch) -> None:
    from llama_index_lunos import llm as module
    from llama_index_lunos._metadata import ModelFacts

    facts = ModelFacts(context_window=8192, is_chat_model=True, tools=False, json_schema=False)
    monkeypatch.setattr(module, "facts_of", lambda model, catalog: facts)
    metadata = made(Lunos).metadata
    assert (metadata.context_window, metadata.is_function_calling_model) == (8192, False)
    assert made(Lunos)._way() == "prompt"
    assert made(Lunos, is_function_calling_model=True)._way() == "function_calling"
    assert made(Lunos, context_window=5).metadata.context_window == 5


def test_prompts_and_memory_have_room() -> None:
    llm = made(Lunos)
    assert PromptHelper.from_llm_metadata(llm.metadata).context_window == 128_000
    assert ChatMemoryBuffer.from_defaults(llm=llm).token_limit == 96_000


async def test_a_chat_engine_works(way: Way) -> None:
    wire = Wire(answer("Hi there"))
    llm = way.llm(wire)
    memory = ChatMemoryBuffer.from_defaults(llm=llm)
    engine = SimpleChatEngine.from_defaults(llm=llm, memory=memory, system_prompt="Be brief.")
    assert str(await way(engine, "chat", "Hello")) == "Hi there"
    assert [item["role"] for item in wire.body["messages"]] == ["system", "user"]


def test_a_call_carries_no_setting_of_the_client(gateway: LocalGateway) -> None:
    llm = Lunos("lunos/scripted", api_key=gateway.api_key, api_base=gateway.base_url)
    gateway.clear()
    for name in ("api_key", "api_base", "max_retries"):
        with pytest.raises(TypeError, match=name):
            llm.complete("Hello", **{name: "sk-secret"})
    with pytest.raises(TypeError, match="api_key"):
        Lunos(
            "lunos/scripted",
            api_key=gateway.api_key,
            api_base=gateway.base_url,
            additional_kwargs={"api_key": "sk-secret"},
        ).complete("Hello")
    assert not gateway.requests()
    llm.close()


def test_a_key_function_that_cannot_be_pickled_is_named_by_the_error() -> None:
    llm = Lunos("m", api_key=lambda: "key")
    with pytest.raises(TypeError, match="top of a module"):
        pickle.dumps(llm)


def test_a_setting_under_two_names_is_named_by_both() -> None:
    with pytest.raises(TypeError, match="'base_url' and 'api_base'"):
        Lunos("m", api_key="k", base_url="https://a.test", api_base="https://b.test")


def test_a_wrong_encoding_is_refused_when_the_object_is_made() -> None:
    with pytest.raises(ValueError, match="encoding_format"):
        LunosEmbedding("m", api_key="k", encoding_format="zzz")
