"""The app id: where it may be given, what wins, and where it can be seen."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import ConfigurableField

from langchain_lunos import ChatLunos
from lunos_core import UsageLedger, app
from tests.langchain_adapter.wire import (
    STREAMED,
    WAYS,
    WHOLE,
    Wire,
    ask,
    both_kinds,
    chat,
    embeddings,
    llm,
    reply,
)


class Seen(BaseCallbackHandler):
    """Keeps what tracers are told when a run starts and fails."""

    def __init__(self) -> None:
        self.starts: list[dict[str, Any]] = []

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        self.starts.append(kwargs)

    def on_llm_start(self, serialized: Any, prompts: Any, **kwargs: Any) -> None:
        self.starts.append(kwargs)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self.starts.append(kwargs)


def _ids(wire: Wire) -> list[str | None]:
    return [request.headers.get("x-app-id") for request in wire.requests]


@pytest.mark.parametrize("way", WAYS)
async def test_the_call_wins_over_bound_over_constructor_over_environment(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = both_kinds()
    await ask(chat(wire), way)
    monkeypatch.setenv("LUNOS_APP_ID", "env")
    await ask(chat(wire), way)
    await ask(chat(wire, app_id="made"), way)
    await ask(chat(wire, app_id="made").bind(app_id="bound"), way)
    await ask(chat(wire, app_id="made").bind(app_id="bound"), way, app_id="call")
    await ask(chat(wire, app_id="made"), way, app_id=None)
    assert _ids(wire) == [None, "env", "made", "bound", "call", "made"]
    assert all("app_id" not in body for body in wire.bodies)


@pytest.mark.parametrize("way", WAYS)
async def test_the_block_around_a_call_wins_over_the_constructor(way: str) -> None:
    wire = both_kinds()
    with app("block"):
        await ask(chat(wire, app_id="made"), way)
        await ask(chat(wire, app_id="made"), way, app_id="call")
    await ask(chat(wire, app_id="made"), way)
    assert _ids(wire) == ["block", "call", "made"]


async def test_embeddings_follow_the_same_order() -> None:
    wire = Wire(reply({"data": [{"index": 0, "embedding": [1.0]}]}))
    model = embeddings(wire, app_id="made")
    with app("block"):
        model.embed_query("a")
        await model.aembed_query("a", app_id="call")
    await model.aembed_query("a")
    assert _ids(wire) == ["block", "call", "made"]


@pytest.mark.parametrize("way", WAYS)
async def test_bound_tools_and_forms_keep_it(way: str) -> None:
    wire = both_kinds('{"a": 1}')
    model = chat(wire, app_id="made")
    await ask(model.bind_tools([{"type": "web_search"}]).bind(app_id="bound"), way)
    await ask(model.bind_tools([{"type": "web_search"}], app_id="kw"), way)
    assert _ids(wire) == ["bound", "kw"]


def test_a_copy_with_another_app_id_sends_that_one() -> None:
    wire = both_kinds()
    made = chat(wire, app_id="made")
    made.model_copy(update={"app_id": "copied"}).invoke("Hello")
    made.invoke("Hello")
    made.app_id = "set"
    made.invoke("Hello")
    assert _ids(wire) == ["copied", "made", "set"]


def test_configurable_fields_carry_it() -> None:
    wire = both_kinds()
    model = chat(wire, app_id="made").configurable_fields(app_id=ConfigurableField(id="app"))
    model.invoke("Hello", config={"configurable": {"app": "chosen"}})
    model.invoke("Hello")
    assert _ids(wire) == ["chosen", "made"]


@pytest.mark.parametrize("bad", ["a\nb", "a\r\nX-Other: 1", "\x00", "ünïcode", "", "  "])
@pytest.mark.parametrize("make", [chat, llm, embeddings])
def test_an_app_id_that_cannot_travel_is_refused_and_nothing_is_sent(make: Any, bad: str) -> None:
    wire = both_kinds()
    with pytest.raises(ValueError, match="app_id"):
        make(wire, app_id=bad)
    model = make(wire)
    send = model.embed_query if make is embeddings else model.invoke
    with pytest.raises(ValueError, match="app_id"):
        send("Hello", app_id=bad)
    assert not wire.requests


@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
async def test_tracers_see_it_as_metadata_and_as_a_tag(way: str) -> None:
    seen = Seen()
    model = chat(both_kinds(), app_id="made", temperature=0.5)
    config: Any = {"callbacks": [seen], "tags": ["mine"], "metadata": {"k": "v"}}
    await ask(model, way, "Hello", config=config)
    await ask(model, way, "Hello", config=config, app_id="call", model="other")
    first, second = seen.starts
    assert first["metadata"]["app_id"] == "made"
    assert first["metadata"]["k"] == "v"
    assert first["metadata"]["ls_provider"] == "lunos"
    assert first["metadata"]["ls_model_name"] == "m"
    assert {"mine", "app_id:made"} <= set(first["tags"])
    assert second["metadata"]["app_id"] == "call"
    assert second["metadata"]["ls_model_name"] == "other"
    assert {"mine", "app_id:call"} <= set(second["tags"])
    assert "app_id:made" not in second["tags"]
    assert config["tags"] == ["mine"]


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
async def test_tracers_see_the_app_id_of_a_text_completion(way: str) -> None:
    seen = Seen()
    answer = {"model": "m", "choices": [{"text": "Hi", "index": 0, "finish_reason": "stop"}]}
    model = llm(Wire(reply(answer)), app_id="made")
    await _ask_text(model, way, {"callbacks": [seen], "tags": ["mine"]})
    await _ask_text(model, way, {"callbacks": [seen]}, app_id="call")
    first, second = seen.starts
    assert first["metadata"]["app_id"] == "made"
    assert {"mine", "app_id:made"} <= set(first["tags"])
    assert second["metadata"]["app_id"] == "call"
    assert second["tags"] == ["app_id:call"]


async def _ask_text(model: Any, way: str, config: Any, **kwargs: Any) -> None:
    if way == "invoke":
        model.invoke("Hello", config=config, **kwargs)
    elif way == "ainvoke":
        await model.ainvoke("Hello", config=config, **kwargs)
    elif way == "stream":
        list(model.stream("Hello", config=config, **kwargs))
    else:
        _ = [piece async for piece in model.astream("Hello", config=config, **kwargs)]


async def test_without_an_app_id_there_is_no_tag() -> None:
    seen = Seen()
    await ask(chat(both_kinds()), "invoke", "Hello", config={"callbacks": [seen]})
    assert "app_id" not in seen.starts[0]["metadata"]
    assert seen.starts[0]["tags"] == []


@pytest.mark.parametrize("way", WAYS)
async def test_a_ledger_counts_by_app_id(way: str) -> None:
    model = chat(both_kinds(), app_id="made")
    with UsageLedger() as ledger:
        await ask(model, way)
        await ask(model, way, app_id="call")
    counted = {row["app_id"]: row["input_tokens"] for row in ledger.rows()}
    assert counted == {"made": 9, "call": 9}
    assert {row["app_id"]: row["cost"] for row in ledger.rows()} == {"made": 0.5, "call": 0.5}


def test_batches_carry_it_in_every_thread() -> None:
    wire = both_kinds()
    chat(wire).batch(["a", "b", "c"], app_id="call")
    assert _ids(wire) == ["call"] * 3


def test_the_field_has_the_environments_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNOS_APP_ID", "env")
    monkeypatch.setenv("LUNOS_API_KEY", "k")
    monkeypatch.setenv("LUNOS_BASE_URL", "https://env.test/v1/")
    model = ChatLunos(model="m")
    assert (model.app_id, model.base_url) == ("env", "https://env.test/v1/")
