"""Streams: cumulative messages, every habit of tool calls and reasoning, breaks and retries."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ThinkingBlock, ToolCallBlock

from lunos_core import (
    LunosAPIError,
    LunosError,
    LunosRateLimitError,
    LunosResponseError,
    LunosStreamInterruptedError,
)
from tests.llama_index_adapter.wire import (
    WIRE_FOLDER,
    Way,
    Wire,
    answer,
    delta,
    error,
    reply,
    stored_stream,
    stream,
    usage_event,
)

HELLO = [ChatMessage("Hello")]
STREAMS = sorted(path.stem for path in WIRE_FOLDER.glob("stream_*.json"))
TOOL_STREAMS = [name for name in STREAMS if name.startswith("stream_tools_")]


def calls_of(message: ChatMessage) -> list[tuple[str, Any]]:
    return [
        (item.tool_name, item.tool_kwargs)
        for item in message.blocks
        if isinstance(item, ToolCallBlock)
    ]


async def test_each_response_holds_what_is_new_and_the_whole_so_far(way: Way) -> None:
    wire = Wire(
        stream(
            delta(role="assistant"), delta("Hel"), delta("lo"), delta(finish="stop"), usage_event()
        )
    )
    responses = await way(way.llm(wire), "stream_chat", HELLO)
    assert [item.delta for item in responses] == ["Hel", "lo", ""]
    assert [item.message.content for item in responses] == ["Hel", "Hello", "Hello"]
    assert responses[-1].raw["usage"]["completion_tokens"] == 7
    assert responses[-1].additional_kwargs["finish_reason"] == "stop"
    assert "prompt_tokens" not in responses[0].additional_kwargs


async def test_what_was_yielded_before_does_not_change_later(way: Way) -> None:
    wire = Wire(stored_stream("stream_tools_interleaved"))
    responses = await way(way.llm(wire), "stream_chat", HELLO)
    calls = [item.message.additional_kwargs["tool_calls"] for item in responses]
    assert [len(item) for item in calls] != [len(calls[-1])] * len(calls)
    assert len({id(item) for item in calls}) == len(calls)
    assert len({id(item.message.blocks) for item in responses}) == len(responses)
    sizes = [sum(len(call["function"]["arguments"]) for call in item) for item in calls]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


@pytest.mark.parametrize("name", STREAMS)
async def test_the_last_response_is_what_the_deltas_add_up_to(way: Way, name: str) -> None:
    """For every habit of a provider that `tests/wire/` holds."""
    responses = await way(way.llm(Wire(stored_stream(name))), "stream_chat", HELLO)
    last = responses[-1]
    assert "".join(item.delta for item in responses) == (last.message.content or "")
    thoughts = "".join(item.additional_kwargs.get("thinking_delta", "") for item in responses)
    thinking = [item for item in last.message.blocks if isinstance(item, ThinkingBlock)]
    assert thoughts == "".join(item.content or "" for item in thinking)
    assert "usage" in last.raw
    json.dumps([item.raw for item in responses])
    json.dumps(last.message.model_dump(mode="json"))


@pytest.mark.parametrize("name", TOOL_STREAMS)
async def test_tool_calls_are_the_same_in_both_representations(way: Way, name: str) -> None:
    llm = way.llm(Wire(stored_stream(name)))
    responses = await way(llm, "stream_chat", HELLO)
    message = responses[-1].message
    plain = [
        (item["function"]["name"], item["function"]["arguments"])
        for item in message.additional_kwargs.get("tool_calls", [])
    ]
    assert plain == calls_of(message) != []
    assert all(isinstance(item, dict) for item in message.additional_kwargs["tool_calls"])
    for response in responses:  # agents ask on every chunk
        llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)


@pytest.mark.parametrize(
    "name",
    [
        "stream_tools_two_in_one_delta",
        "stream_tools_interleaved",
        "stream_tools_id_repeated",
        "stream_tools_name_repeated",
        "stream_tools_no_index",
        "stream_tools_index_always_0",
        "stream_tools_whole",
    ],
)
async def test_parallel_calls_survive_every_numbering(way: Way, name: str) -> None:
    llm = way.llm(Wire(stored_stream(name)))
    last = (await way(llm, "stream_chat", HELLO))[-1]
    selections = llm.get_tool_calls_from_response(last)
    assert {item.tool_name for item in selections} <= {"weather", "time"}
    assert len({item.tool_id for item in selections}) == len(selections)
    for item in selections:
        assert item.tool_kwargs


async def test_reasoning_in_the_first_delta_without_content_is_kept(way: Way) -> None:
    wire = Wire(
        stream(
            delta(reasoning_content="R1 "),
            delta(reasoning_content="R2 "),
            delta("A"),
            delta(finish="stop"),
        )
    )
    responses = await way(way.llm(wire), "stream_chat", HELLO)
    thoughts = [item.additional_kwargs.get("thinking_delta") for item in responses]
    assert thoughts[:2] == ["R1 ", "R2 "]
    block = responses[-1].message.blocks[0]
    assert isinstance(block, ThinkingBlock)
    assert block.content == "R1 R2 "


async def test_blocks_come_in_the_order_thinking_text_calls(way: Way) -> None:
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
    wire = Wire(
        stream(
            delta(tool_calls=[call]),
            delta("text"),
            delta(reasoning="why"),
            delta(finish="tool_calls"),
        )
    )
    last = (await way(way.llm(wire), "stream_chat", HELLO))[-1]
    assert [type(item) for item in last.message.blocks] == [ThinkingBlock, TextBlock, ToolCallBlock]


async def test_a_refusal_is_text_at_the_end_of_the_stream(way: Way) -> None:
    wire = Wire(stream(delta(refusal="I can"), delta(refusal="not."), delta(finish="stop")))
    responses = await way(way.llm(wire), "stream_chat", HELLO)
    assert responses[-1].message.content == responses[-1].delta == "I cannot."
    assert responses[-1].message.additional_kwargs["refusal"] == "I cannot."


@pytest.mark.parametrize("method", ["stream_chat", "stream_complete"])
async def test_a_stream_that_stops_early_raises_with_the_partial_message(
    way: Way, method: str
) -> None:
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a'}}
    wire = Wire(stream(delta("Half an ans"), delta(tool_calls=[call]), done=False))
    asked: Any = HELLO if "chat" in method else "Hello"
    with pytest.raises(LunosStreamInterruptedError) as caught:
        await way(way.llm(wire), method, asked)
    partial = caught.value.partial
    assert isinstance(partial, ChatMessage)
    assert partial.content == "Half an ans"
    assert calls_of(partial) == [("f", '{"a')]
    assert len(wire.requests) == 1


async def test_an_error_inside_a_stream_raises_with_what_had_come(way: Way) -> None:
    wire = Wire(stream(delta("Half"), {"error": {"message": "overloaded", "code": 503}}))
    with pytest.raises(LunosAPIError, match="overloaded") as caught:
        await way(way.llm(wire), "stream_chat", HELLO)
    assert caught.value.partial.content == "Half"


@pytest.mark.parametrize("method", ["chat", "complete", "stream_chat", "stream_complete"])
async def test_three_retries_make_four_requests_and_no_more(way: Way, method: str) -> None:
    wire = Wire(error(429, "slow down"))
    asked: Any = HELLO if "chat" in method else "Hello"
    with pytest.raises(LunosRateLimitError) as caught:
        await way(way.llm(wire, max_retries=3), method, asked)
    assert len(wire.requests) == 4
    assert caught.value.attempts == 4


async def test_a_stream_is_tried_again_until_its_first_event(way: Way) -> None:
    wire = Wire(error(503), stream(delta("Hi"), delta(finish="stop")))
    responses = await way(way.llm(wire), "stream_chat", HELLO)
    assert responses[-1].message.content == "Hi"
    assert len(wire.requests) == 2


async def test_what_keeps_a_stream_from_opening_is_raised_by_the_call_itself(way: Way) -> None:
    llm = way.llm(Wire(error(401, "no such key")))

    async def call() -> None:
        result = way.start(llm, "stream_chat", HELLO)
        if way.is_async:
            await result

    with pytest.raises(LunosAPIError, match="no such key"):
        await call()


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"error": {"message": "quota", "code": "rate_limit_exceeded"}}, LunosRateLimitError),
        ({"error": "Invalid secret key"}, LunosAPIError),
        ({"choices": []}, LunosResponseError),
        ({"id": "x"}, LunosResponseError),
        ([1], LunosResponseError),
    ],
)
async def test_success_without_an_answer_is_a_typed_error(
    way: Way, value: Any, kind: type[LunosError]
) -> None:
    with pytest.raises(kind):
        await way(way.llm(Wire(reply(value)), max_retries=0), "chat", HELLO)


async def test_a_stream_closed_early_gives_the_connection_back(way: Way) -> None:
    closed: list[bool] = []

    class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
        def __iter__(self) -> Any:
            yield b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
            yield b'data: {"choices":[{"index":0,"delta":{"content":"b"}}]}\n\n'

        async def __aiter__(self) -> Any:
            for part in self:
                yield part

        def close(self) -> None:
            closed.append(True)

        async def aclose(self) -> None:
            closed.append(True)

    wire = Wire(
        lambda: httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Body())
    )
    result = way.start(way.llm(wire), "stream_chat", HELLO)
    if way.is_async:
        responses = await result
        assert (await anext(responses)).delta == "a"
        await responses.aclose()
        del responses
        import asyncio
        import gc

        gc.collect()
        await asyncio.sleep(0.01)
    else:
        assert next(result).delta == "a"
        result.close()
    assert closed


async def test_a_server_that_does_not_stream_is_read_all_the_same(way: Way) -> None:
    responses = await way(way.llm(Wire(answer("whole"))), "stream_chat", HELLO)
    assert responses[-1].message.content == "whole"
    assert "".join(item.delta for item in responses) == "whole"


async def test_generated_images_arrive_once_each(way: Way) -> None:
    wire = Wire(stored_stream("stream_images"))
    responses = await way(way.llm(wire, modalities=["image", "text"]), "stream_chat", HELLO)
    assert wire.body["modalities"] == ["image", "text"]
    for response in responses[-2:]:
        images = [item for item in response.message.blocks if item.block_type == "image"]
        urls = [item.url or item.image for item in images]
        assert len(urls) == len(set(urls)) >= 1
