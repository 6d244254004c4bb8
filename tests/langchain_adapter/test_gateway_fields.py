"""The gateway's own parameters are fields: sent where they are set, and nowhere else."""

from __future__ import annotations

import inspect
import json
from typing import Any

import httpx
import pytest
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.runnables import ConfigurableField

from langchain_lunos import ChatLunos, _parameters
from tests.langchain_adapter.wire import WAYS, Wire, ask, both_kinds, chat, embeddings, reply

FIELDS: dict[str, Any] = {
    "session_id": "s1",
    "provider": {"order": ["azure"]},
    "models": ["a", "b"],
    "service_tier": "flex",
    "prompt_cache_key": "k",
    "verbosity": "low",
    "prediction": {"type": "content", "content": "x"},
    "top_k": 5,
    "min_p": 0.1,
}


def weather(city: str) -> str:
    """The weather in a city."""
    return city


@pytest.mark.parametrize("way", WAYS)
async def test_each_is_sent_where_it_is_set(way: str) -> None:
    wire = both_kinds()
    await ask(chat(wire, **FIELDS), way)
    await ask(chat(wire), way, **FIELDS)
    await ask(chat(wire).bind(**FIELDS), way)
    await ask(chat(wire), way)
    for body in wire.bodies[:3]:
        assert {name: body[name] for name in FIELDS} == FIELDS
    assert wire.bodies[3].keys() & {*FIELDS, "web_search", "cache_control", "tools"} == set()


@pytest.mark.parametrize("name", [*FIELDS, "web_search", "cache_control"])
def test_a_wrong_type_raises_before_the_network(name: str) -> None:
    wire = both_kinds()
    with pytest.raises((TypeError, ValueError), match=name):
        chat(wire).invoke("Hi", **{name: object()})
    assert not wire.requests


@pytest.mark.parametrize("name", [*FIELDS, "web_search", "cache_control"])
def test_each_is_documented(name: str) -> None:
    lines = inspect.getsource(_parameters).splitlines()
    (line,) = [i for i, text in enumerate(lines) if text.startswith(f"    {name}: ")]
    assert lines[line + 1].strip().startswith('"""')
    assert name in ChatLunos.model_fields


@pytest.mark.parametrize("way", WAYS)
async def test_the_servers_search_is_a_switch(way: str) -> None:
    wire = both_kinds()
    await ask(chat(wire, web_search=True), way)
    await ask(chat(wire, web_search={"max_results": 3}).bind_tools([weather]), way)
    assert wire.bodies[0]["tools"] == [{"type": "web_search"}]
    kinds = [item["type"] for item in wire.bodies[1]["tools"]]
    assert kinds == ["function", "web_search"]
    assert wire.bodies[1]["tools"][1]["parameters"] == {"max_results": 3}
    assert all("web_search" not in body for body in wire.bodies)


@pytest.mark.parametrize("way", WAYS)
async def test_prompt_caching_is_a_switch(way: str) -> None:
    wire = both_kinds()
    llm = chat(wire, cache_control=True).bind_tools([weather])
    await ask(llm, way, [SystemMessage("Be kind."), HumanMessage("Hi")])
    (body,) = wire.bodies
    mark = {"type": "ephemeral"}
    assert body["tools"][-1]["cache_control"] == mark
    for message in body["messages"]:
        assert message["content"][-1]["cache_control"] == mark
    assert "cache_control" not in body


@pytest.mark.parametrize("way", WAYS)
async def test_names_and_none_mean_what_they_mean_elsewhere(way: str) -> None:
    wire = both_kinds()
    llm: Any = chat(wire, max_retries=None, stream_usage=None, timeout=(5, 60))
    await ask(llm, way)
    streamed = wire.bodies[0].get("stream", False)
    assert wire.bodies[0].get("stream_options") == ({"include_usage": True} if streamed else None)


def test_the_models_name_is_configurable_by_either_name() -> None:
    wire = both_kinds()
    llm = chat(wire).configurable_fields(model_name=ConfigurableField(id="llm"))
    llm.invoke("Hi", {"configurable": {"llm": "other"}})
    assert wire.bodies[0]["model"] == "other"


@pytest.mark.parametrize("is_async", [False, True])
async def test_the_size_of_a_chunk_may_be_given_by_position(is_async: bool) -> None:
    def vectors(request: httpx.Request) -> httpx.Response:
        count = len(json.loads(request.content)["input"])
        items = [{"index": i, "embedding": [1.0]} for i in range(count)]
        return httpx.Response(200, json={"data": items})

    model = embeddings(vectors)
    texts = ["a", "b", "c"]
    made = await model.aembed_documents(texts, 2) if is_async else model.embed_documents(texts, 2)
    assert made == [[1.0]] * 3
    with pytest.raises(ValueError, match="chunk_size"):
        model.embed_documents(texts, 0)


async def test_only_chunks_of_the_given_size_are_sent() -> None:
    wire = Wire(reply({"data": [{"index": 0, "embedding": [1.0]}]}))
    embeddings(wire).embed_documents(["a", "b"], 1)
    assert sorted(body["input"][0] for body in wire.bodies) == ["a", "b"]
