"""Settings: where they come from, and what bad ones get before anything is sent."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from lunos_core import (
    Config,
    LunosConfigError,
    Secret,
    chat_request,
    chat_stream_request,
)
from lunos_core.config import normalise_base_url
from tests.core.wire_samples import HELLO, Wire, reply, stored

if TYPE_CHECKING:
    from tests.conftest import Both


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://api.lunos.tech", "https://api.lunos.tech/v1"),
        ("https://api.lunos.tech/", "https://api.lunos.tech/v1"),
        ("https://api.lunos.tech/v1", "https://api.lunos.tech/v1"),
        ("https://api.lunos.tech/v1/", "https://api.lunos.tech/v1"),
        ("https://api.lunos.tech/v1//", "https://api.lunos.tech/v1"),
        ("https://api.lunos.tech/v1/chat/completions", "https://api.lunos.tech/v1"),
        (" https://api.lunos.tech/v1\n", "https://api.lunos.tech/v1"),
        ("HTTP://127.0.0.1:8080", "http://127.0.0.1:8080/v1"),
        ("http://[::1]:8080/", "http://[::1]:8080/v1"),
        ("https://proxy.example/lunos/", "https://proxy.example/lunos/v1"),
        ("https://proxy.example/v10", "https://proxy.example/v10/v1"),
    ],
)
def test_a_base_url_is_taken_with_and_without_v1_and_slash(given: str, used: str) -> None:
    config = Config(base_url=given)
    assert config.base_url == used
    assert config.root_url == used.removesuffix("/v1")
    httpx.URL(config.base_url)


@pytest.mark.parametrize(
    "url",
    ["", " ", "api.lunos.tech", "/v1", "ftp://h", "http://", "http:///v1", "http://h:port",
     "http://h:99999", "http://h:0", "http://[::1", "http://user:pw@h", "http://@h", "http://h?a=1",
     "http://h#x", "http://ex ample.com", "http://h/a b", "http://h/\x01", "http://h\n/v1", None, 7,
     "file:///etc", "http://\x7f", "http://h\udcff/v1", "http://h/\udcff"],
)  # fmt: skip
def test_a_base_url_that_cannot_work_is_refused(url: Any) -> None:
    with pytest.raises(LunosConfigError, match="base_url") as caught:
        Config(api_key="sk-hush", base_url=url)
    assert "sk-hush" not in str(caught.value)
    assert "pw" not in str(caught.value)


def test_every_base_url_that_is_taken_is_one_that_httpx_takes() -> None:
    for i in range(0x20, 0x7F):
        for url in (f"http://h{chr(i)}x", f"http://h/{chr(i)}x"):
            try:
                config = Config(base_url=url)
            except LunosConfigError:
                continue
            httpx.URL(config.base_url)


@pytest.mark.parametrize(
    "settings",
    [
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": float("nan")},
        {"timeout": float("inf")},
        {"timeout": 1e12},
        {"timeout": "60"},
        {"timeout": True},
        {"timeout": None},
        {"max_retries": -1},
        {"max_retries": 1.5},
        {"max_retries": "2"},
        {"max_retries": True},
        {"api_key": 5},
        {"api_key": "sk\n1"},
        {"api_key": "sk-\u20281"},
        {"api_key": "sk-ключ"},
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(settings: dict[str, Any]) -> None:
    (name,) = settings
    with pytest.raises(LunosConfigError, match=name):
        Config(**{"api_key": "k", **settings})


def test_an_httpx_timeout_is_taken_as_it_is() -> None:
    timeout = httpx.Timeout(5, connect=1)
    assert Config(timeout=timeout).timeout is timeout


def test_the_environment_is_read_and_arguments_win(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Config.from_env() == Config()
    monkeypatch.setenv("LUNOS_API_KEY", " sk-env\n")
    monkeypatch.setenv("LUNOS_BASE_URL", "https://env.example/")
    monkeypatch.setenv("LUNOS_APP_ID", "env")
    config = Config.from_env(max_retries=0)
    assert (config.key, config.base_url, config.app_id) == (
        "sk-env",
        "https://env.example/v1",
        "env",
    )
    assert config.max_retries == 0
    config = Config.from_env(api_key="sk-arg", base_url="https://arg.example", app_id="arg")
    assert (config.key, config.base_url, config.app_id) == (
        "sk-arg",
        "https://arg.example/v1",
        "arg",
    )
    assert Config.from_env(api_key=None, app_id=None).app_id == "env"


def test_empty_variables_count_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LUNOS_API_KEY", "LUNOS_BASE_URL", "LUNOS_APP_ID"):
        monkeypatch.setenv(name, "")
    assert Config.from_env() == Config()


@pytest.mark.parametrize("key", [None, "", "  \n"])
async def test_a_missing_key_names_the_variable_and_the_argument_and_nothing_is_sent(
    both: Both, key: str | None
) -> None:
    wire = Wire(reply(stored("chat")))
    client = both.client(wire, api_key=key)
    for call in (
        lambda: client.send(chat_request(HELLO, model="m")),
        lambda: client.stream(chat_stream_request(HELLO, model="m")),
    ):
        with pytest.raises(LunosConfigError, match=r"api_key=.*LUNOS_API_KEY"):
            await both(call())
    assert wire.requests == []


BAD_APP_IDS = ["", "  ", "a\nb", "a\r\nX-Evil: 1", "a\n", "\na", "a\x00", "a\x7f", "a\tb", "ü",
               "a\u2028b", "a\x85"]  # fmt: skip


@pytest.mark.parametrize("app_id", BAD_APP_IDS)
def test_an_app_id_that_cannot_travel_is_a_value_error_before_any_request(app_id: str) -> None:
    with pytest.raises(ValueError, match="app_id"):
        Config(app_id=app_id)
    with pytest.raises(ValueError, match="app_id"):
        chat_request(HELLO, model="m", app_id=app_id)


def test_an_app_id_is_a_text_without_surrounding_spaces() -> None:
    assert Config(app_id=" billing v2 ").app_id == "billing v2"
    for make in (lambda: Config(app_id=5), lambda: chat_request(HELLO, model="m", app_id=5)):  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="app_id"):
            make()


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({"a b": "c"}, ValueError),
        ({"": "c"}, ValueError),
        ({"a:": "c"}, ValueError),
        ({"a\n": "c"}, ValueError),
        ({"a": "hush\nc"}, ValueError),
        ({"a": "hush ü"}, ValueError),
        ({"a": 5}, TypeError),
        ({5: "a"}, TypeError),
        ([("a", "b")], TypeError),
        ("a: b", TypeError),
        (7, TypeError),
    ],
)
def test_headers_that_cannot_travel_are_refused_without_their_value(
    headers: Any, kind: type[Exception]
) -> None:
    with pytest.raises(kind) as caught:
        Config(default_headers=headers)
    assert "hush" not in str(caught.value)
    with pytest.raises(kind):
        chat_request(HELLO, model="m", extra_headers=headers)


def test_a_config_can_be_changed_only_into_another_one_that_is_checked_too() -> None:
    config = Config(api_key=Secret("k"), app_id="a")
    other = dataclasses.replace(config, app_id="b", base_url="https://h/")
    assert (other.key, other.app_id, other.base_url) == ("k", "b", "https://h/v1")
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.app_id = "c"  # type: ignore[misc]


def test_the_defaults_of_a_config() -> None:
    own = {item.name: getattr(Config(), item.name) for item in dataclasses.fields(Config)}
    assert own == {
        "app_id": None,
        "timeout": 60.0,
        "max_retries": 2,
        "total_timeout": None,
        "stream_idle_timeout": None,
        "retry_on_timeout": False,
        "max_response_bytes": 256 * 1024 * 1024,
        "transport": "httpx",
        "tracing": None,
        "api_key": None,
        "base_url": "https://api.lunos.tech/v1",
        "default_headers": {},
    }


@pytest.mark.parametrize(
    ("words", "tracing"),
    [(" 1 true True ON yes", True), ("0 false False OFF no", False), ("\t", None)],
)
def test_the_words_for_on_and_off_are_the_usual_ones(
    monkeypatch: pytest.MonkeyPatch, words: str, tracing: bool | None
) -> None:
    for word in words.split(" "):
        monkeypatch.setenv("LUNOS_TRACING", word)
        assert Config.from_env().tracing is (tracing if word.strip() else None)


@pytest.mark.parametrize("name", ["max_response_bytes", "total_timeout", "stream_idle_timeout"])
def test_a_limit_of_nothing_is_refused_and_the_smallest_is_taken(name: str) -> None:
    with pytest.raises(LunosConfigError, match=name):
        Config(**{name: 0})
    assert getattr(Config(**{name: 1}), name) == 1


async def test_a_key_may_come_from_a_function_asked_once_a_call(both: Both) -> None:
    keys = iter(["first", "second"])
    wire = Wire(reply({"choices": [{"message": {"content": "Hello"}}]}))
    client = both.client(wire, api_key=lambda: next(keys))
    for _ in range(2):
        await both(client.send(chat_request(HELLO, model="m")))
    sent = [request.headers["authorization"] for request in wire.requests]
    assert sent == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize("key", ["", None, "two\nlines"])
async def test_a_function_that_gives_no_key_fails_before_anything_is_sent(
    both: Both, key: Any
) -> None:
    wire = Wire(reply({}))
    client = both.client(wire, api_key=lambda: key)
    with pytest.raises(LunosConfigError):
        await both(client.send(chat_request(HELLO, model="m")))
    assert not wire.requests


async def test_each_step_has_a_timeout_of_a_minute_by_default(both: Both) -> None:
    wire = Wire(reply(stored("chat")))
    await both(both.client(wire).send(chat_request(HELLO, model="m")))
    assert wire.sent.extensions["timeout"] == {
        "connect": 60.0,
        "read": 60.0,
        "write": 60.0,
        "pool": None,
    }


@pytest.mark.parametrize("given", [(5, 60), (5.0, 60.0, 60.0, None)])
async def test_a_timeout_in_parts_is_what_the_connection_waits(both: Both, given: Any) -> None:
    wire = Wire(reply(stored("chat")))
    parts = {"connect": 5, "read": 60, "write": 60, "pool": None}
    await both(both.client(wire, timeout=given).send(chat_request(HELLO, model="m")))
    assert wire.sent.extensions["timeout"] == parts
    wire = Wire(reply(stored("chat")))
    await both(both.client(wire).send(chat_request(HELLO, model="m", timeout=given)))
    assert wire.sent.extensions["timeout"] == parts


async def test_an_async_function_gives_the_key_of_async_calls(both: Both) -> None:
    keys = iter(["first", "second"])

    async def get_key() -> str:
        return next(keys)

    wire = Wire(reply(stored("chat")))
    client = both.client(wire, api_key=get_key)
    if not both.is_async:
        with pytest.raises(LunosConfigError, match=r"async function.*async methods"):
            client.send(chat_request(HELLO, model="m"))
        with pytest.raises(LunosConfigError, match="async function"):
            client.stream(chat_stream_request(HELLO, model="m"))
        assert not wire.requests
        return
    await client.send(chat_request(HELLO, model="m"))
    await both.chunks(client, chat_stream_request(HELLO, model="m"))
    sent = [request.headers["authorization"] for request in wire.requests]
    assert sent[:2] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://h/v1/chat/completions", "https://h/v1"),
        ("https://h/v1/chat/completions/", "https://h/v1"),
        ("https://h/v1/completions", "https://h/v1"),
        ("https://h/v1/embeddings", "https://h/v1"),
        ("https://h/v1/chat", "https://h/v1"),
        ("https://h/api/chat/completions", "https://h/api/v1"),
        ("https://h/chat", "https://h/chat/v1"),  # may be a proxy's own path
        ("https://h/embeddings/v1//", "https://h/embeddings/v1"),
    ],
)
def test_the_address_of_an_endpoint_leads_to_its_base_url(given: str, used: str) -> None:
    assert normalise_base_url(given) == used
