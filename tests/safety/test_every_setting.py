"""One setting, one place: each field of `Config` reaches every public class by itself."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, get_type_hints

import httpx
import pytest
from langchain_core.load import dumps

from langchain_lunos import ChatLunos
from langchain_lunos._settings import LunosConnection
from llama_index_lunos import Lunos
from llama_index_lunos._settings import Connection
from lunos_core import Config, LunosConfigError, chat_request, embedding_request, image_request
from lunos_core.config import ClientSettings, Settings
from tests.safety.every_class import CORE, EVERY, LANGCHAIN, LLAMA_INDEX

# a value that isn't the default, and one that is refused
VALUES: dict[str, tuple[Any, Any]] = {
    "api_key": ("another", "two\nlines"),
    "base_url": ("https://other.test/v1", "ftp://other.test"),
    "app_id": ("billing", "two\nlines"),
    "timeout": (7.5, 0),
    "max_retries": (5, -1),
    "total_timeout": (30.0, 0),
    "stream_idle_timeout": (4.0, -1),
    "retry_on_timeout": (True, 5),
    "max_response_bytes": (1000, 0),
    "transport": ("aiohttp", "smoke signals"),
    "tracing": (True, "sometimes"),
    "default_headers": ({"x-a": "1"}, {"a b": "c"}),
}
FIELDS = [field.name for field in dataclasses.fields(Config)]


def config_of(made: Any) -> Config:
    """The config that an object sends with."""
    if isinstance(made, Config):
        return made
    made = getattr(made, "_connection", made)
    client = getattr(made, "client", made)
    config: Config = client.config
    return config


def test_the_values_above_are_complete() -> None:
    assert sorted(VALUES) == sorted(FIELDS)


def test_what_type_checkers_know_is_what_config_has() -> None:
    assert {"api_key", *get_type_hints(Settings)} == set(FIELDS)
    for adapter in (LunosConnection, Connection):
        shared = {field.name for field in dataclasses.fields(ClientSettings)}
        assert shared <= adapter.model_fields.keys()
        assert shared <= get_type_hints(adapter).keys()


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("kind", EVERY)
def test_each_setting_reaches_the_client_of_each_class(kind: str, name: str) -> None:
    value = VALUES[name][0]
    config = config_of(EVERY[kind](**{"api_key": "k", name: value}))
    assert (config.key if name == "api_key" else getattr(config, name)) == value


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("kind", EVERY)
def test_each_class_refuses_a_wrong_value_of_each_setting(kind: str, name: str) -> None:
    named = "name for an HTTP header" if name == "default_headers" else name
    with pytest.raises((ValueError, TypeError), match=named):
        EVERY[kind](**{"api_key": "k", name: VALUES[name][1]})


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in ("api_key", "base_url")])
@pytest.mark.parametrize("kind", [kind for kind in EVERY if kind not in CORE or "Lunos" in kind])
def test_none_leaves_each_setting_at_its_default(kind: str, name: str) -> None:
    given = config_of(EVERY[kind](api_key="k", **{name: None}))
    default = getattr(Config(api_key="k"), name)
    if name == "tracing" and kind not in CORE:
        default = False  # the frameworks' tracers record each call
    assert getattr(given, name) == default


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in ("app_id", "timeout")])
@pytest.mark.parametrize("make", [chat_request, embedding_request, image_request])
def test_no_call_takes_a_setting_of_the_client(make: Any, name: str) -> None:
    content = [{"role": "user", "content": "Hello"}] if make is chat_request else "Hello"
    with pytest.raises(TypeError, match=f"'{name}' is an argument of the constructor"):
        make(content, model="m", **{name: VALUES[name][0]})


SHARED = [field.name for field in dataclasses.fields(ClientSettings)]


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize(
    "kind", [kind for kind in LANGCHAIN | LLAMA_INDEX if "ToolSpec" not in kind]
)
def test_each_setting_may_be_changed_and_copied(kind: str, name: str) -> None:
    value, wrong = VALUES[name]
    made = EVERY[kind](api_key="k")
    copied = made.model_copy(update={name: value})
    assert getattr(copied.client.config, name) == value
    assert getattr(made.client.config, name) != value
    setattr(made, name, value)
    assert getattr(made.client.config, name) == value
    with pytest.raises((ValueError, TypeError)):  # LlamaIndex' when it is used
        (setattr(made, name, wrong), made.client)


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ((5, 60), (5, 60, 60, None)),
        ((5, None), (5, None, None, None)),
        ((1, 2, 3, 4), (1, 2, 3, 4)),
        (httpx.Timeout(3, read=9), (3, 9, 3, 3)),
    ],
)
def test_a_timeout_may_be_given_in_parts(kind: str, given: Any, parts: Any) -> None:
    timeout: Any = config_of(EVERY[kind](api_key="k", timeout=given)).checked_timeout
    assert (timeout.connect, timeout.read, timeout.write, timeout.pool) == parts


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("wrong", [(), (1,), (1, 2, 3), (0, 1), (5, -1)])
def test_a_timeout_in_parts_that_cannot_work_is_refused(kind: str, wrong: Any) -> None:
    with pytest.raises(LunosConfigError, match=r"timeout must be.*\(connect, read\)"):
        EVERY[kind](api_key="k", timeout=wrong)


def test_a_timeout_in_parts_survives_a_save() -> None:
    data = Lunos("m", api_key="k", timeout=(5, 60)).to_dict()
    again = Lunos.from_dict(json.loads(json.dumps(data)), api_key="k")
    assert again.client.config.checked_timeout == (5, 60, 60, None)
    dumped = json.loads(dumps(ChatLunos(model="m", api_key="k", timeout=(5, 60))))
    assert ChatLunos(**{**dumped["kwargs"], "api_key": "k"}).client.config.checked_timeout == (
        *(5, 60, 60, None),
    )
