"""What is made of an answer: blocks, tool calls, facts, and what is left of a broken one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.messages.tool import tool_call_chunk

from langchain_lunos import (
    ChatLunos,
    LunosError,
    LunosResponseError,
    LunosServerError,
    LunosStreamInterruptedError,
)
from langchain_lunos._results import Streamed, to_chunk
from lunos_core.endpoints.chat.types import Chunk, ChunkChoice, Delta, ToolCallDelta
from lunos_local import LocalGateway
from tests.langchain_adapter.wire import (
    STREAMED,
    WAYS,
    WHOLE,
    Wire,
    answer,
    ask,
    blocks,
    both_kinds,
    call,
    chat,
    chunks,
    delta,
    lines,
    raw,
    reply,
    stream,
    stream_of,
    streamed,
)

VERSIONS = pytest.mark.parametrize("version", [None, "v1"])
EVERY_WAY = pytest.mark.parametrize("way", WAYS)

TEXT = {"type": "text", "text": "Look."}
CALL_BLOCK = {"type": "tool_call", "id": "c1", "name": "weather", "args": {"city": "Rome"}}
IMAGES = [
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    {"type": "image_url", "image_url": {"url": "https://x.example/b.png"}},
]
NOTE = {
    "type": "url_citation",
    "url_citation": {
        "url": "https://a.example",
        "title": "A",
        "content": "said",
        "start_index": 0,
        "end_index": 4,
    },
}

MESSAGES: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "text": ({"content": "Look."}, [TEXT]),
    "text, then a tool call": ({"content": "Look.", "tool_calls": [call()]}, [TEXT, CALL_BLOCK]),
    "reasoning, text, two calls": (
        {"content": "Look.", "reasoning": "Hm.", "tool_calls": [call(), call(id="c2")]},
        [{"type": "reasoning", "reasoning": "Hm."}, TEXT, CALL_BLOCK, {**CALL_BLOCK, "id": "c2"}],
    ),
    "a call alone": ({"content": None, "tool_calls": [call()]}, [CALL_BLOCK]),
    "a call without arguments": (
        {"content": None, "tool_calls": [call("now", "")]},
        [{"type": "tool_call", "id": "c1", "name": "now", "args": {}}],
    ),
    "a line break in an argument": (
        {"content": None, "tool_calls": [call("note", '{"text":"a\nb"}')]},
        [{"type": "tool_call", "id": "c1", "name": "note", "args": {"text": "a\nb"}}],
    ),
    "images": (
        {"content": "Look.", "images": IMAGES},
        [
            TEXT,
            {"type": "image", "base64": "AAAA", "mime_type": "image/png"},
            {"type": "image", "url": "https://x.example/b.png"},
        ],
    ),
    "citations": (
        {"content": "Look.", "annotations": [NOTE]},
        [
            {
                **TEXT,
                "annotations": [
                    {
                        "type": "citation",
                        "url": "https://a.example",
                        "title": "A",
                        "cited_text": "said",
                        "start_index": 0,
                        "end_index": 4,
                    }
                ],
            }
        ],
    ),
    "speech": (
        {"content": None, "audio": {"id": "au1", "data": "QUJD", "transcript": "Hi"}},
        [{"type": "audio", "base64": "QUJD", "extras": {"id": "au1", "transcript": "Hi"}}],
    ),
}


@VERSIONS
@EVERY_WAY
@pytest.mark.parametrize("name", MESSAGES)
async def test_an_answer_has_the_same_blocks_in_every_way(
    name: str, way: str, version: str | None
) -> None:
    sent, expected = MESSAGES[name]
    wire = both_kinds(**sent)
    message = await ask(chat(wire, output_version=version), way)
    assert [_plain(block) for block in blocks(message)] == expected
    assert wire.bodies[0].get("stream", False) == (way in STREAMED)
    if version == "v1" and way not in ("v3", "av3"):
        assert message.content == message.content_blocks


def _plain(block: dict[str, Any]) -> dict[str, Any]:
    # v3 may say `extras: {}` or order keys otherwise; nothing else may differ
    return {name: value for name, value in block.items() if value is not None}


@VERSIONS
@EVERY_WAY
async def test_a_refusal_is_a_block_and_a_field(way: str, version: str | None) -> None:
    wire = both_kinds(content=None, refusal="I cannot.")
    message = await ask(chat(wire, output_version=version), way)
    (block,) = blocks(message)
    assert block.get("value", block) == {"type": "refusal", "refusal": "I cannot."}
    assert message.additional_kwargs["refusal"] == "I cannot."
    assert message.text == ""


@VERSIONS
@pytest.mark.parametrize("way", STREAMED)
async def test_text_and_interleaved_calls_do_not_run_into_each_other(
    way: str, version: str | None
) -> None:
    def piece(index: int, arguments: str, **more: Any) -> dict[str, Any]:
        function = {"arguments": arguments, **more.pop("function", {})}
        return {"tool_calls": [{"index": index, **more, "function": function}]}

    wire = Wire(
        streamed(
            {"role": "assistant", "content": "Lo"},
            {"content": "ok."},
            piece(0, "", id="c1", function={"name": "weather"}),
            piece(1, "", id="c2", function={"name": "time"}),
            piece(0, '{"city":'),
            piece(1, '{"zone":"'),
            piece(0, '"Rome"}'),
            piece(1, 'CET"}'),
            finish="tool_calls",
        )
    )
    message = await ask(chat(wire, output_version=version), way)
    assert blocks(message) == [
        TEXT,
        CALL_BLOCK,
        {"type": "tool_call", "id": "c2", "name": "time", "args": {"zone": "CET"}},
    ]
    assert [item["id"] for item in message.tool_calls] == ["c1", "c2"]


@VERSIONS
@EVERY_WAY
@pytest.mark.parametrize(
    ("arguments", "finish"),
    [
        ('{"city":"Ro', "length"),
        ('{"city":"Rome"', "length"),
        ("", "length"),
        ("{", "stop"),
        ("{city: Rome}", "tool_calls"),
        ("[1]", "tool_calls"),
        ('"Rome"', "tool_calls"),
    ],
)
async def test_arguments_that_are_no_json_object_are_never_a_call(
    way: str, version: str | None, arguments: str, finish: str
) -> None:
    wire = both_kinds(content=None, finish=finish, tool_calls=[call(arguments=arguments)])
    message = await ask(chat(wire, output_version=version), way)
    assert message.tool_calls == []
    (broken,) = message.invalid_tool_calls
    assert (broken["id"], broken["name"]) == ("c1", "weather")
    assert (broken["args"] or "").startswith(arguments)
    assert "tool_call" not in [block["type"] for block in blocks(message)]


@pytest.mark.parametrize("way", STREAMED)
async def test_a_broken_call_does_not_spoil_a_whole_one(way: str) -> None:
    calls = [call(), call("time", '{"zone":"C', id="c2")]
    wire = both_kinds(content="Look.", finish="length", tool_calls=calls)
    message = await ask(chat(wire), way)
    assert [(item["id"], item["args"]) for item in message.tool_calls] == [("c1", {"city": "Rome"})]
    assert [item["id"] for item in message.invalid_tool_calls] == ["c2"]


@settings(deadline=None, max_examples=50, suppress_health_check=list(HealthCheck))
@given(
    st.one_of(
        st.text(alphabet='{}[]",:\\ab1 \n'),
        st.builds(
            lambda value, cut: json.dumps(value)[:cut],
            st.dictionaries(st.text(max_size=4), st.text(max_size=4) | st.lists(st.integers())),
            st.integers(0, 30),
        ),
    )
)
@example('{"0": "", "": [')
@example('{"a": "\\')
@example('{"a": {"b": [{"c": "d')
@example("")
@example(" [ ]")
@example("[1")
def test_no_broken_arguments_are_ever_completed(arguments: str) -> None:
    wire = both_kinds(content=None, tool_calls=[call(arguments=arguments)])
    whole = chat(wire).invoke("Hello")
    parts = list(chat(wire).stream("Hello"))
    added = parts[0]
    for part in parts[1:]:
        added += part
    assert [item["args"] for item in added.tool_calls] == [
        item["args"] for item in whole.tool_calls
    ]
    assert len(added.invalid_tool_calls) == len(whole.invalid_tool_calls)


@EVERY_WAY
async def test_facts_are_in_the_metadata_and_floats_nowhere_else(way: str) -> None:
    message = await ask(chat(both_kinds()), way)
    known = {
        "model_provider": "lunos",
        "model_name": "served",
        "finish_reason": "stop",
        "id": "gen-1",
        "created": 1_700_000_000,
        "cost": 0.5,
    }
    assert known.items() <= message.response_metadata.items()
    assert message.usage_metadata == {"input_tokens": 9, "output_tokens": 3, "total_tokens": 12}


@EVERY_WAY
async def test_without_usage_nothing_is_invented(way: str) -> None:
    whole = {name: value for name, value in answer().items() if name != "usage"}
    parts = [delta("Hi"), delta(finish="stop"), "[DONE]"]
    wire = Wire(stream(parts) if way in STREAMED else reply(whole))
    message = await ask(chat(wire), way)
    assert message.usage_metadata is None


@pytest.mark.parametrize("way", WHOLE)
async def test_the_usage_of_several_answers_is_counted_once(way: str) -> None:
    value = answer()
    value["choices"] = [
        {"index": i, "message": {"content": text}, "finish_reason": "stop"}
        for i, text in enumerate("abc")
    ]
    llm = chat(Wire(reply(value)), n=3)
    asked = [HumanMessage("Hello")]
    result = llm.generate([asked]) if way == "invoke" else await llm.agenerate([asked])
    messages = [generation.message for generation in result.generations[0]]
    assert [message.text for message in messages] == ["a", "b", "c"]
    assert [bool(message.usage_metadata) for message in messages] == [True, False, False]
    assert [message.response_metadata["model_name"] for message in messages] == ["served"] * 3
    assert sum(message.response_metadata.get("cost", 0) for message in messages) == 0.5


@pytest.mark.parametrize("way", STREAMED)
async def test_a_whole_json_answer_to_a_stream_is_read(way: str) -> None:
    wire = Wire(reply(answer("Hi", tool_calls=[call()])))
    message = await ask(chat(wire), way)
    assert blocks(message) == [{"type": "text", "text": "Hi"}, CALL_BLOCK]
    assert message.response_metadata["model_name"] == "served"


@pytest.mark.parametrize("way", STREAMED)
@pytest.mark.parametrize("end", ["nothing more", "an error", "half an event"])
async def test_an_interrupted_stream_raises_with_what_had_come(way: str, end: str) -> None:
    fragment = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a":'}}
    events: list[Any] = [delta("Hel"), delta("lo"), delta()]
    events[2]["choices"][0]["delta"] = {"tool_calls": [fragment]}
    body = lines(events)
    if end == "an error":
        body += lines([{"error": {"code": 502, "message": "provider died"}}])
    if end == "half an event":
        body += b'data: {"choices": [{"ind'
    kind = LunosServerError if end == "an error" else LunosStreamInterruptedError
    with pytest.raises(kind) as caught:
        await ask(chat(Wire(stream_of(body))), way)
    partial = caught.value.partial
    assert type(partial) is AIMessage
    assert partial.text == "Hello"
    assert partial.tool_calls == []
    assert [item["id"] for item in partial.invalid_tool_calls] == ["c1"]


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_what_came_before_the_break_is_shown(way: str) -> None:
    llm = chat(Wire(stream([delta("Hel"), delta("lo")])))
    seen: list[str] = []

    async def read() -> None:
        if way == "stream":
            for chunk in llm.stream("Hello"):
                seen.append(chunk.text)  # noqa: PERF401 - what came before the error counts
        else:
            async for chunk in llm.astream("Hello"):
                seen.append(chunk.text)  # noqa: PERF401

    with pytest.raises(LunosStreamInterruptedError):
        await read()
    assert "".join(seen) == "Hello"


@pytest.mark.parametrize("way", STREAMED)
@pytest.mark.parametrize(
    "model", ["lunos/cut-stream", "lunos/stopped-stream", "lunos/error-in-stream"]
)
async def test_broken_streams_of_a_real_server_raise(
    way: str, model: str, gateway: LocalGateway
) -> None:
    llm = ChatLunos(model=model, api_key=gateway.api_key, base_url=gateway.base_url, max_retries=0)
    with pytest.raises(LunosError) as caught:
        await ask(llm, way)
    assert isinstance(caught.value.partial, AIMessage)
    assert caught.value.partial.text


@EVERY_WAY
@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"choices":[]}', b'{"choices":"no"}'])
async def test_an_answer_that_makes_no_sense_is_a_typed_error(way: str, body: bytes) -> None:
    wire = Wire(raw(body, content_type="application/json", x_request_id="r1"))
    with pytest.raises(LunosResponseError) as caught:
        await ask(chat(wire), way)
    assert len(wire.requests) == 1
    assert caught.value.request_id == "r1"


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_behind_invoke_streaming_gives_the_same_message(way: str) -> None:
    wire = both_kinds(content="Look.", tool_calls=[call()])
    llm = chat(wire, streaming=True)
    message = llm.invoke("Hello") if way == "stream" else await llm.ainvoke("Hello")
    assert wire.bodies[0]["stream"] is True
    assert blocks(message) == [TEXT, CALL_BLOCK]
    assert len(await chunks(llm, way)) > 1


@given(st.text() | st.from_regex(r"\s*[{\[\"0-9a-z,:}]{0,6}"))
@example("word ")
@example(' \n"b": 1}')
@example("5")
@example("null")
@example("[1]")
@example('"{}"')
@example(" {")
@example('{"a": 1}')
@example("\u00a0{}")
@example("}")
def test_a_piece_of_a_tool_call_is_what_langchain_makes_of_it(arguments: str) -> None:
    made = to_chunk(_piece(arguments), Streamed())
    assert made is not None
    ours = made.message
    theirs = AIMessageChunk(
        content="",
        tool_call_chunks=[tool_call_chunk(name=None, args=arguments, id=None, index=0)],
        response_metadata={"model_provider": "lunos"},
    )
    assert ours == theirs
    assert ours.model_dump() == theirs.model_dump()
    assert (ours + ours).model_dump() == (theirs + theirs).model_dump()


def _piece(arguments: str) -> Chunk:
    delta = Delta(tool_calls=[ToolCallDelta(0, None, None, arguments)])
    return Chunk([ChunkChoice(0, delta)])
