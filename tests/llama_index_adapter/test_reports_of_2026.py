"""Public reports of 2025 and 2026 about LlamaIndex and agents over gateways, tried on ours.

A number alone is an issue of run-llama/llama_index.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentStream, AgentWorkflow, FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ToolCallBlock
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from langchain_lunos import ChatLunos
from llama_index_lunos import Lunos, LunosStructuredOutputError
from lunos_local import LocalGateway
from tests.llama_index_adapter.wire import Way, Wire, answer, delta, stream, tool_call, usage_event


class City(BaseModel):
    """A city."""

    name: str


# LlamaIndex's agents, not this package
pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step"),
    pytest.mark.filterwarnings("ignore:Skipping serialization of known unserializable key"),
]
PROMPT = PromptTemplate("A city")
HELLO = [ChatMessage("Hello")]


def adder() -> tuple[FunctionTool, list[int]]:
    """A tool, and what it was called with."""
    ran: list[int] = []

    def add(a: int) -> str:
        """Add."""
        ran.append(a)
        return "R"

    return FunctionTool.from_defaults(add), ran


def fragments(*pieces: dict[str, Any]) -> Any:
    return stream(*(delta(tool_calls=[piece]) for piece in pieces), delta(finish="tool_calls"))


def called(identifier: str, said: str | None = None) -> Any:
    return answer({"content": said, "tool_calls": [tool_call(identifier, "add", '{"a": 1}')]})


@pytest.mark.parametrize("played", [stream(delta(finish="stop")), stream(delta("", "stop"))])
async def test_an_empty_stream_is_an_error_with_a_reason(way: Way, played: Any) -> None:
    """23134: core's own raises UnboundLocalError."""
    with pytest.raises(LunosStructuredOutputError, match="has no JSON for a City"):
        await way(way.llm(Wire(played)), "stream_structured_predict", City, PROMPT)


async def test_ids_that_come_again_in_a_later_turn_stay_distinct(awaited: Way) -> None:
    """charmbracelet/crush 1009: Kimi counts each turn's calls from 0; Claude wants ids once."""
    first = called("functions.add:0")
    wire = Wire(first, answer("one"), first, answer("two"), answer("three"))
    tool, _ = adder()
    agent = FunctionAgent(tools=[tool], llm=awaited.llm(wire), streaming=False)
    memory = ChatMemoryBuffer.from_defaults(token_limit=10_000, tokenizer_fn=str.split)
    for question in "abc":
        await agent.run(question, memory=memory)
    messages = wire.bodies[-1]["messages"]
    calls = [call["id"] for message in messages for call in message.get("tool_calls", ())]
    results = [message["tool_call_id"] for message in messages if message["role"] == "tool"]
    assert calls == results
    assert len(set(calls)) == 2


@pytest.mark.parametrize("said", ["", " ", "\n\n", None])
async def test_blank_text_beside_a_call_does_not_go_back(way: Way, said: str | None) -> None:
    """18449: "The text field in the ContentBlock object is blank"."""
    wire = Wire(called("c", said), answer("ok"))
    llm = way.llm(wire)
    response = await way(llm, "chat", HELLO)
    result = ChatMessage(role="tool", content="2", additional_kwargs={"tool_call_id": "c"})
    blocks = [TextBlock(text=" "), TextBlock(text="Then."), ToolCallBlock(tool_name="add")]
    mixed = ChatMessage(role="assistant", blocks=blocks)
    await way(llm, "chat", [*HELLO, response.message, result, mixed])
    sent = [item for item in wire.bodies[1]["messages"] if item["role"] == "assistant"]
    assert [item["content"] for item in sent] == [None, "Then."]


def test_blank_text_beside_a_call_does_not_go_back_from_langchain_either() -> None:
    messages = pytest.importorskip("langchain_core.messages")
    wire = pytest.importorskip("langchain_lunos._messages")
    call = {"name": "add", "args": {}, "id": "c"}
    for content in (" ", [{"type": "text", "text": "\n"}], ["\n", " "]):
        history = [
            messages.AIMessage(content, tool_calls=[call]),
            messages.ToolMessage("2", tool_call_id="c"),
        ]
        assert wire.to_wire(history)[0]["content"] is None


async def test_a_complex_prompt_reaches_the_model_unchanged(awaited: Way) -> None:
    """19487: JSON, tags and braces in the user's message."""
    text = json.dumps({"x": ["<a>{b}</a>", "{{c}}", "%s", "\\n", "é"]}) + "<xml>{z}</xml>"
    wire = Wire(answer("ok"))
    agent = FunctionAgent(tools=[], llm=awaited.llm(wire), system_prompt="{s}", streaming=False)
    await agent.run(user_msg=ChatMessage(role="user", blocks=[TextBlock(text=text)]))
    assert [item["content"] for item in wire.body["messages"]] == ["{s}", text]


async def test_a_call_that_is_streamed_twice_runs_once(awaited: Way) -> None:
    """19095, agno-agi/agno 2336: the whole call comes again, before or after the end."""
    whole = {"index": 0, "id": "c", "function": {"name": "add", "arguments": '{"a": 1}'}}
    again = delta(tool_calls=[whole])
    for events in (
        [again, again, delta(finish="tool_calls")],
        [again, delta(finish="stop"), again],
    ):
        tool, ran = adder()
        wire = Wire(stream(*events), stream(delta("ok", "stop")))
        await FunctionAgent(tools=[tool], llm=awaited.llm(wire)).run("q")
        assert ran == [1]


@pytest.mark.parametrize(
    "message", [{"content": None}, {"reasoning_content": "Hm."}, {"content": "", "tool_calls": []}]
)
async def test_every_event_of_an_agent_can_be_written_as_json(
    awaited: Way, message: dict[str, Any]
) -> None:
    """19852: "1 validation error for AgentStream"."""
    wire = Wire(stream(delta(**message), delta(finish="stop")))
    handler = FunctionAgent(tools=[], llm=awaited.llm(wire)).run("q")
    events = [event async for event in handler.stream_events() if isinstance(event, AgentStream)]
    await handler
    assert all(event.model_dump_json() for event in events)


ODD_FRAGMENTS = {
    "danny-avila/LibreChat 13987: the arguments come at another index": [
        {"index": 0, "id": "c", "type": "function", "function": {"name": "add", "arguments": ""}},
        {"index": 1, "function": {"arguments": '{"a": '}},
        {"index": 1, "function": {"arguments": "1}"}},
    ],
    "strands-agents 271: LiteLLM's arguments come without id and name, at index 0": [
        {"index": 1, "id": "c", "function": {"name": "add", "arguments": ""}},
        {"index": 0, "id": None, "function": {"name": None, "arguments": '{"a": 1}'}},
    ],
    "langchain 34654: no index, and names of no letters": [
        {"index": None, "id": "c", "function": {"name": "add", "arguments": ""}},
        {"index": None, "id": "c", "function": {"name": "", "arguments": ""}},
        {"index": None, "id": "", "function": {"name": "", "arguments": '{"a": '}},
        {"index": None, "id": "", "function": {"name": None, "arguments": "1}"}},
    ],
}


@pytest.mark.parametrize("pieces", ODD_FRAGMENTS.values(), ids=ODD_FRAGMENTS.keys())
async def test_odd_fragments_are_one_call(way: Way, pieces: list[dict[str, Any]]) -> None:
    tool, _ = adder()
    llm = way.llm(Wire(fragments(*pieces)))
    last = (await way(llm, "stream_chat_with_tools", [tool], "q"))[-1]
    (call,) = llm.get_tool_calls_from_response(last)
    assert (call.tool_name, call.tool_kwargs) == ("add", {"a": 1})


async def test_two_fragments_of_a_call_in_one_event(way: Way) -> None:
    """openai/openai-python 3241."""
    first = {"index": 0, "id": "c", "function": {"name": "add", "arguments": '{"a"'}}
    second = {"index": 0, "function": {"arguments": ": 1}"}}
    played = stream(delta(tool_calls=[first, second]), delta(finish="tool_calls"))
    tool, _ = adder()
    llm = way.llm(Wire(played))
    last = (await way(llm, "stream_chat_with_tools", [tool], "q"))[-1]
    assert [call.tool_kwargs for call in llm.get_tool_calls_from_response(last)] == [{"a": 1}]


async def test_an_empty_list_of_calls_does_not_go_back(way: Way) -> None:
    """vllm-project/vllm 13978: chat templates fail on `tool_calls: []`."""
    wire = Wire(answer({"content": "Hi", "tool_calls": []}))
    llm = way.llm(wire)
    response = await way(llm, "chat", HELLO)
    await way(llm, "chat", [*HELLO, response.message, *HELLO])
    assert "tool_calls" not in wire.bodies[1]["messages"][1]


@pytest.mark.parametrize("path", ["/chat", "/chat/completions", "/chat/completions/", "/", ""])
async def test_the_address_of_an_endpoint_is_a_base_url(gateway: LocalGateway, path: str) -> None:
    """16634: what a console shows is pasted."""
    llm = Lunos("lunos/scripted", api_base=gateway.base_url + path, api_key=gateway.api_key)
    assert llm.complete("Hi").text
    llm.close()


async def test_stream_options_of_the_model_are_not_sent_for_a_whole_answer(way: Way) -> None:
    """15548: "stream_options can only be set along with stream=true"."""
    options = {"stream_options": {"include_usage": True}}
    wire = Wire(answer(), stream(delta("Hi", "stop"), usage_event()))
    llm = way.llm(wire, additional_kwargs=options)
    await way(llm, "chat", HELLO)
    await way(llm, "stream_chat", HELLO)
    assert [body.get("stream_options") for body in wire.bodies] == [None, {"include_usage": True}]


def test_stream_options_of_langchains_model_neither(gateway: LocalGateway) -> None:
    settings: Any = {
        "model": "lunos/scripted",
        "api_key": gateway.api_key,
        "base_url": gateway.base_url,
    }
    options = {"stream_options": {"include_usage": True}}
    assert ChatLunos(**settings, model_kwargs=options).invoke("Hi").text
    assert ChatLunos(**settings).bind(**options).invoke("Hi").text


async def test_a_stream_is_counted_by_the_servers_usage(way: Way) -> None:
    """17673, 19740, langfuse/langfuse 3952: 0 tokens after a stream."""
    counter = TokenCountingHandler(tokenizer=str.split)
    wire = Wire(stream(delta("one two three"), delta(finish="stop"), usage_event()))
    llm = way.llm(wire, callback_manager=CallbackManager([counter]))
    for method, asked in (("stream_chat", HELLO), ("stream_complete", "Hello")):
        await way(llm, method, asked)
    used = json.loads(stream(usage_event())().read().split(b"data: ")[1])["usage"]
    assert counter.prompt_llm_token_count == 2 * used["prompt_tokens"]
    assert counter.completion_llm_token_count == 2 * used["completion_tokens"]


def test_one_model_serves_one_event_loop_after_another(gateway: LocalGateway) -> None:
    """20433: "Event loop is closed"."""
    llm = Lunos("lunos/scripted", api_base=gateway.base_url, api_key=gateway.api_key)
    for _ in range(4):
        assert asyncio.run(llm.acomplete("Hi")).text
    llm.close()


async def test_without_tools_nothing_about_tools_is_sent(awaited: Way) -> None:
    """17920, 19114."""
    wire = Wire(stream(delta("ok", "stop")))
    llm = awaited.llm(wire)
    assert str(await AgentWorkflow.from_tools_or_functions([], llm=llm).run("q")) == "ok"
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & wire.body.keys()


async def test_no_model_name_adds_a_parameter(way: Way) -> None:
    """paperless-ngx/paperless-ngx 13440, 17733: `reasoning_effort` was added beside tools."""
    tool, _ = adder()
    wire = Wire(called("c"))
    await way(way.llm(wire, model="openai/gpt-5.6-luna"), "chat_with_tools", [tool], "q")
    assert wire.body.keys() == {"model", "messages", "tools", "parallel_tool_calls"}


@pytest.mark.parametrize(
    "said", ["functions.add", "default_api.add", "default_api:add", "functions.add:0", " add\n"]
)
async def test_a_name_with_a_namespace_finds_its_tool(awaited: Way, said: str) -> None:
    """9688 and Kimi's and Gemini's habits."""
    tool, ran = adder()
    call = {"content": None, "tool_calls": [tool_call("c", said, '{"a": 1}')]}
    wire = Wire(answer(call, "tool_calls"), answer("ok"))
    await FunctionAgent(tools=[tool], llm=awaited.llm(wire), streaming=False).run("q")
    assert ran == [1]
