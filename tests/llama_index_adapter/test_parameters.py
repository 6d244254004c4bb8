"""Parameters: the gateway's own, options that are set in several places, OpenAILike's names."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index_instrumentation.dispatcher import instrument_tags
from pydantic import BaseModel

from llama_index_lunos import Lunos, LunosEmbedding
from lunos_core import UsageLedger, UsageStore
from tests.llama_index_adapter.wire import KEY, Way, Wire, answer, delta, reply, stream, text_answer

HELLO = [ChatMessage("Hello")]
METHODS = ["chat", "complete", "stream_chat", "stream_complete"]


def play(method: str) -> Any:
    return stream(delta("Hi"), delta(finish="stop")) if "stream" in method else answer()


def asked(method: str) -> Any:
    return HELLO if "chat" in method else "Hello"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("session_id", "s"),
        ("provider", {"order": ["a"]}),
        ("models", ["a", "b"]),
        ("service_tier", "flex"),
        ("prompt_cache_key", "k"),
        ("verbosity", "low"),
        ("prediction", {"type": "content", "content": "x"}),
        ("top_k", 5),
        ("min_p", 0.1),
    ],
)
@pytest.mark.parametrize("of_the_call", [False, True])
async def test_the_gateways_own_parameters_are_sent(
    way: Way, name: str, value: Any, of_the_call: bool
) -> None:
    wire = Wire(answer())
    llm = way.llm(wire, **({} if of_the_call else {name: value}))
    await way(llm, "chat", HELLO, **({name: value} if of_the_call else {}))
    assert wire.body[name] == value
    assert Lunos.model_fields[name].description


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("top_k", -1), ("min_p", 2), ("models", []), ("web_search", {"engin": "exa"})],
)
def test_wrong_values_of_them_raise_in_the_constructor(name: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=name):
        Lunos("m", api_key=KEY, **{name: wrong})


async def test_web_search_stands_beside_an_agents_tools(way: Way) -> None:
    tool = FunctionTool.from_defaults(lambda: "noon", name="now")
    wire = Wire(answer())
    llm = way.llm(wire, web_search={"max_results": 3})
    await way(llm, "chat_with_tools", [tool], "Hi")
    await way(llm, "chat", HELLO)
    search = {"type": "web_search", "parameters": {"max_results": 3}}
    assert [tool["type"] for tool in wire.bodies[0]["tools"]] == ["function", "web_search"]
    assert wire.bodies[1]["tools"] == [search]


async def test_one_switch_marks_the_prompt_for_the_cache(way: Way) -> None:
    wire = Wire(answer())
    llm = way.llm(wire, cache_control=True)
    await way(llm, "chat", [ChatMessage("Be brief", role="system"), *HELLO])
    marked = [message["content"][-1]["cache_control"] for message in wire.body["messages"]]
    assert marked == [{"type": "ephemeral"}] * 2
    assert "cache_control" not in wire.body


@pytest.mark.parametrize("method", METHODS)
async def test_extra_fields_are_merged_wherever_they_are_set(way: Way, method: str) -> None:
    wire = Wire(play(method))
    llm = way.llm(
        wire,
        extra_body={"a": 1, "b": 1, "c": 1},
        extra_query={"a": "1", "b": "1"},
        additional_kwargs={
            "extra_body": {"b": 2, "c": 2},
            "extra_query": {"b": "2"},
            "extra_headers": {"X-A": "1", "X-B": "1"},
        },
    )
    options = {
        "extra_body": {"c": 3, "d": 3},
        "extra_query": {"c": "3"},
        "extra_headers": {"X-B": "2"},
    }
    await way(llm, method, asked(method), **options)
    assert {name: wire.body.get(name) for name in "abcd"} == {"a": 1, "b": 2, "c": 3, "d": 3}
    assert dict(wire.request.url.params) == {"a": "1", "b": "2", "c": "3"}
    assert (wire.request.headers["x-a"], wire.request.headers["x-b"]) == ("1", "2")
    assert not {"extra_body", "extra_query", "extra_headers"} & wire.body.keys()
    assert llm.additional_kwargs["extra_body"] == {"b": 2, "c": 2}


async def test_extra_fields_of_structured_output_are_merged_too(way: Way) -> None:
    class Song(BaseModel):
        title: str

    wire = Wire(answer('{"title": "Tide"}'))
    llm = way.llm(wire, extra_body={"a": 1})
    kwargs = {"extra_body": {"b": 2}}
    await way(llm, "structured_predict", Song, PromptTemplate("x"), llm_kwargs=kwargs)
    assert (wire.body["a"], wire.body["b"]) == (1, 2)


@pytest.mark.parametrize("wrong", [[1], "x"])
async def test_extra_fields_of_a_wrong_type_raise_before_anything_is_sent(
    way: Way, wrong: Any
) -> None:
    wire = Wire(answer())
    for name in ("extra_body", "extra_query", "extra_headers"):
        with pytest.raises(TypeError):
            await way(way.llm(wire), "chat", HELLO, **{name: wrong})
    assert wire.requests == []


async def test_embeddings_send_extra_fields_and_extra_query(way: Way) -> None:
    vectors = reply({"data": [{"index": 0, "embedding": [1.0]}]})
    wire = Wire(vectors)
    embedding = way.embedding(wire, extra_body={"input_type": "query"}, extra_query={"v": "2"})
    for method, value in (("get_query_embedding", "a"), ("get_text_embedding", "a")):
        await way(embedding, method, value)
    await way(embedding, "get_text_embedding_array", ["a"])
    assert [body["input_type"] for body in wire.bodies] == ["query"] * 3
    assert [request.url.params["v"] for request in wire.requests] == ["2"] * 3


@pytest.mark.parametrize(("size", "valid"), [(0, False), (1, True), (2048, True), (2049, False)])
def test_a_batch_has_1_to_2048_texts(size: int, valid: bool) -> None:
    if valid:
        embedding = LunosEmbedding("e", api_key=KEY, embed_batch_size=size)
        assert embedding.embed_batch_size == size
        return
    with pytest.raises(ValueError, match="embed_batch_size"):
        LunosEmbedding("e", api_key=KEY, embed_batch_size=size)


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def count(words: dict[str, int]) -> int:
    """Count words."""
    return len(words)


@pytest.mark.parametrize("method", ["chat_with_tools", "stream_chat_with_tools"])
async def test_strict_tools_are_strict_where_their_schema_allows_it(way: Way, method: str) -> None:
    tools = [FunctionTool.from_defaults(add), FunctionTool.from_defaults(count)]
    wire = Wire(play(method))
    llm = way.llm(wire, strict=True)
    await way(llm, method, tools, "Hi")
    await way(llm, method, tools, "Hi", strict=False)
    await way(way.llm(wire), method, tools, "Hi")
    sent = [[tool["function"] for tool in body["tools"]] for body in wire.bodies]
    assert [[tool.get("strict") for tool in tools] for tools in sent] == [
        [True, None],
        [False, False],
        [None, None],
    ]
    assert sent[0][0]["parameters"]["additionalProperties"] is False
    assert all("strict" not in body for body in wire.bodies)


@pytest.mark.parametrize(("strict", "sent"), [(None, True), (True, True), (False, None)])
async def test_strict_structured_output_can_be_turned_off(
    way: Way, strict: bool | None, sent: bool | None
) -> None:
    class Song(BaseModel):
        title: str

    wire = Wire(answer('{"title": "Tide"}'))
    await way(way.llm(wire, strict=strict), "structured_predict", Song, PromptTemplate("x"))
    assert wire.body["response_format"]["json_schema"].get("strict") == sent


class Words:
    """A tokenizer that counts words."""

    def encode(self, text: str) -> list[str]:
        return text.split()


@pytest.mark.parametrize("method", ["complete", "chat"])
async def test_a_tokenizer_gives_text_completions_the_rest_of_the_window(
    way: Way, method: str
) -> None:
    wire = Wire(text_answer())
    llm = way.llm(wire, is_chat_model=False, tokenizer=Words(), context_window=10)
    await way(llm, "complete", "one two three")
    await way(llm, "complete", "one two three", max_tokens=2)
    assert [body["max_tokens"] for body in wire.bodies] == [7, 2]
    with pytest.raises(ValueError, match=r"has 1\d tokens"):
        await way(llm, method, "x " * 10 if method == "complete" else [ChatMessage("x " * 10)])
    assert len(wire.requests) == 2
    json.dumps(llm.to_dict())


async def test_chats_send_no_max_tokens_for_a_tokenizer(way: Way) -> None:
    wire = Wire(answer())
    await way(way.llm(wire, tokenizer=Words()), "chat", HELLO)
    assert "max_tokens" not in wire.body


async def test_a_tokenizers_name_needs_transformers(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    llm = way.llm(Wire(text_answer()), is_chat_model=False, tokenizer="gpt2")
    with pytest.raises(ImportError, match="pip install transformers"):
        await way(llm, "complete", "x")


@pytest.mark.parametrize("method", METHODS)
async def test_openailikes_ways_of_saying_nothing_are_taken(way: Way, method: str) -> None:
    wire = Wire(play(method))
    llm = way.llm(wire, max_retries=None, timeout=(5, 60), strict=None, tokenizer=None)
    await way(llm, method, asked(method), verbose=True, formatted=False)
    assert wire.body.keys() <= {"model", "messages", "stream", "stream_options"}
    assert Lunos.from_dict({**llm.to_dict(), "api_key": KEY}).timeout == llm.timeout


@pytest.mark.parametrize("streamed", [False, True])
async def test_facts_of_the_answer_are_where_tracers_look(way: Way, streamed: bool) -> None:
    usage = {
        "prompt_tokens": 11,
        "completion_tokens": 7,
        "total_tokens": 18,
        "input_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 3},
        "cost": 0.25,
        "cost_details": {"upstream_inference_cost": 0.2},
    }
    last = {"choices": [], "usage": usage, "model": "m"}
    ended = delta(finish="stop")
    ended["choices"][0]["native_finish_reason"] = "end_turn"
    ended["service_tier"] = "flex"
    played = (
        stream(delta("Hi"), ended, last)
        if streamed
        else answer(
            "Hi", usage=usage, service_tier="flex", choice={"native_finish_reason": "end_turn"}
        )
    )
    responses = await way(way.llm(Wire(played)), "stream_chat" if streamed else "chat", HELLO)
    response = responses[-1] if streamed else responses
    known = response.additional_kwargs
    assert (known["service_tier"], known["native_finish_reason"]) == ("flex", "end_turn")
    assert known["cost_details"] == {"upstream_inference_cost": 0.2}
    assert known["total_cost"] == known["cost"] == 0.25
    assert response.raw["usage"]["prompt_tokens_details"] == {"cached_tokens": 4}
    assert response.raw["usage"]["completion_tokens_details"] == {"reasoning_tokens": 3}
    assert response.raw["choices"][0]["finish_reason"] == "stop"
    if streamed:
        assert responses[0].raw["choices"][0]["delta"] == {"content": "Hi"}


@pytest.mark.parametrize("method", METHODS)
async def test_a_store_keeps_the_instrument_tags_that_its_tag_keys_name(
    way: Way, method: str, tmp_path: Path
) -> None:
    wire = Wire(play(method))
    with UsageStore(tmp_path / "usage.db", tag_keys=("team",)) as store, UsageLedger(store=store):
        with instrument_tags({"team": "red", "other": 1}):
            await way(way.llm(wire), method, asked(method))
            vectors = Wire(reply({"data": [{"embedding": [1.0]}]}))
            await way(way.embedding(vectors), "get_query_embedding", "a")
        rows = store.summary(by=("tag:team", "tag:other"))
    assert [(row["tag:team"], row["tag:other"], row["calls"]) for row in rows] == [("red", None, 2)]
    assert "red" not in wire.requests[0].content.decode()
