"""Parameters that are sent in another form than they are given, and the URL's query."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lunos_core import chat_request, chat_stream_request, completion_request, embedding_request
from lunos_core.accounting.usage import parse_usage
from tests.core.wire_samples import HELLO, Wire, reply, stored

if TYPE_CHECKING:
    from tests.conftest import Both

TOOLS = [{"type": "function", "function": {"name": name}} for name in "fg"]
MARK = {"type": "ephemeral"}
VECTORS = len(stored("embeddings")["data"])


def sent(*arguments: Any, **params: Any) -> dict[str, Any]:
    bodies = [
        json.loads(make(*arguments, model="m", **params).body)
        for make in (chat_request, chat_stream_request)
    ]
    stream = {name: bodies[1].pop(name) for name in ("stream", "stream_options")}
    assert stream["stream"] is True
    assert bodies[0] == bodies[1]
    value: dict[str, Any] = bodies[0]
    return value


@pytest.mark.parametrize("control", [True, MARK, {"type": "ephemeral", "ttl": "1h"}])
def test_one_switch_marks_what_a_prompt_cache_keeps(control: Any) -> None:
    messages = [
        {"role": "system", "content": "Rules."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ]
    body = sent(messages, tools=TOOLS, cache_control=control)
    mark = MARK if control is True else control
    assert [tool.get("cache_control") for tool in body["tools"]] == [None, mark]
    assert body["messages"][0]["content"] == [
        {"type": "text", "text": "Rules.", "cache_control": mark}
    ]
    parts = body["messages"][1]["content"]
    assert [part.get("cache_control") for part in parts] == [None, mark]
    assert "cache_control" not in body
    assert "cache_control" not in str([messages, TOOLS]), "the caller's own is not changed"


def test_without_the_switch_nothing_is_marked() -> None:
    assert sent(HELLO, cache_control=False) == sent(HELLO)
    empty = [*HELLO, {"role": "assistant", "content": None}]
    assert sent(empty, cache_control=True)["messages"] == empty


def test_a_mark_of_the_callers_own_stays() -> None:
    own = {"type": "ephemeral", "ttl": "1h"}
    part = {"type": "text", "text": "a", "cache_control": own}
    body = sent([{"role": "user", "content": [part]}], cache_control=True)
    assert body["messages"][0]["content"] == [part]


def test_web_search_is_a_tool_of_the_server() -> None:
    plain = {"type": "web_search"}
    assert sent(HELLO, web_search=True)["tools"] == [plain]
    body = sent(HELLO, web_search={"engine": "exa", "max_results": 3}, tools=TOOLS)
    assert body["tools"] == [
        *TOOLS,
        {**plain, "parameters": {"engine": "exa", "max_results": 3}},
    ]
    assert "web_search" not in body
    assert sent(HELLO, web_search=False) == sent(HELLO)


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        (chat_request(HELLO, model="m", extra_query={"a": "1 2", "b": [3, 4]}), "chat"),
        (completion_request("x", model="m", extra_query={"a": "1 2", "b": [3, 4]}), "completion"),
        (
            embedding_request(["x"] * VECTORS, model="m", extra_query={"a": "1 2", "b": [3, 4]}),
            "embeddings",
        ),
    ],
    ids=["chat", "completion", "embeddings"],
)
async def test_extra_query_goes_to_the_url(both: Both, request_: Any, name: str) -> None:
    wire = Wire(reply(stored(name)))
    await both(both.client(wire).send(request_))
    assert str(wire.requests[0].url).endswith("?a=1+2&b=3&b=4")
    assert b"extra_query" not in wire.requests[0].content


def test_a_query_that_is_not_a_mapping_is_refused() -> None:
    with pytest.raises(TypeError, match="extra_query"):
        chat_request(HELLO, model="m", extra_query="a=1")


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 9, "completion_tokens": 4, "prompt_cache_hit_tokens": 7},
        {"input_tokens": 2, "output_tokens": 4, "cache_read_input_tokens": 7},
        {"prompt_tokens": 9, "completion_tokens": 4, "cached_tokens": 7},
        {"input_tokens": 9, "output_tokens": 4, "input_tokens_details": {"cached_tokens": 7}},
        {"promptTokenCount": 9, "candidatesTokenCount": 4, "cachedContentTokenCount": 7},
    ],
)
def test_cached_tokens_are_read_in_every_providers_words(usage: dict[str, Any]) -> None:
    read = parse_usage(usage)
    assert read is not None
    assert (read.input_tokens, read.output_tokens, read.cached_tokens) == (9, 4, 7)
    assert read.total_tokens == 13


def test_other_facts_of_the_usage_are_read_in_every_providers_words() -> None:
    writes = parse_usage({"input_tokens": 9, "output_tokens": 4, "cache_creation_input_tokens": 5})
    thoughts = parse_usage({"promptTokenCount": 9, "thoughtsTokenCount": 3})
    assert writes is not None
    assert writes.cache_write_tokens == 5
    assert thoughts is not None
    assert thoughts.reasoning_tokens == 3
