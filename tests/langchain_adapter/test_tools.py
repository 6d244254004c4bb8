"""Tools and their choice, as they are sent; agents that use them."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessageChunk
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from langchain_lunos import ChatLunos
from lunos_local import LocalGateway
from tests.langchain_adapter.wire import WAYS, ask, beta, both_kinds, chat


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


class Weather(BaseModel):
    """The weather in a city."""

    city: str = Field(description="which")


class WeatherDict(TypedDict):
    """The weather in a city."""

    city: Annotated[str, ..., "which"]


def plain(city: str) -> str:
    """The weather in a city."""
    return city


SCHEMA = {
    "title": "schema",
    "description": "The weather in a city.",
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
FUNCTION = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object", "properties": {}}},
}
ANTHROPIC = {"name": "anthropic", "description": "d", "input_schema": SCHEMA}
SEARCH = {"type": "web_search"}

KINDS: dict[str, tuple[Any, str]] = {
    "a tool": (weather, "weather"),
    "a pydantic class": (Weather, "Weather"),
    "a TypedDict": (WeatherDict, "WeatherDict"),
    "a function": (plain, "plain"),
    "a JSON schema": (SCHEMA, "schema"),
    "OpenAI's dict": (FUNCTION, "f"),
    "Anthropic's dict": (ANTHROPIC, "anthropic"),
    "Anthropic's dict with its type": ({"type": "custom", **ANTHROPIC}, "anthropic"),
    "the dict of OpenAI's Responses": ({"type": "function", **FUNCTION["function"]}, "f"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_tool_is_sent_beside_web_search(kind: str, way: str) -> None:
    given, name = KINDS[kind]
    wire = both_kinds()
    await ask(chat(wire).bind_tools([given, SEARCH]), way)
    first, second = wire.bodies[0]["tools"]
    assert first["type"] == "function"
    assert first["function"]["name"] == name
    assert first["function"]["parameters"]["type"] == "object"
    assert second == SEARCH
    assert "tool_choice" not in wire.bodies[0]
    assert "parallel_tool_calls" not in wire.bodies[0]


NAMED = {"type": "function", "function": {"name": "weather"}}


@pytest.mark.parametrize("way", ["invoke", "astream"])
@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (None, None),
        (False, None),
        (True, "required"),
        ("any", "required"),
        ("required", "required"),
        ("auto", "auto"),
        ("none", "none"),
        ("weather", NAMED),
        (NAMED, NAMED),
        ({"type": "tool", "name": "weather"}, NAMED),
        ({"type": "any"}, "required"),
        ({"type": "auto"}, "auto"),
        ("web_search", SEARCH),
        (SEARCH, SEARCH),
    ],
)
async def test_every_spelling_of_tool_choice_is_the_wires(choice: Any, sent: Any, way: str) -> None:
    wire = both_kinds()
    await ask(chat(wire).bind_tools([weather, SEARCH], tool_choice=choice), way)
    assert wire.bodies[0].get("tool_choice") == sent


@pytest.mark.parametrize(("choice", "error"), [("wether", ValueError), (7, TypeError)])
def test_an_invalid_tool_choice_raises_at_once(choice: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="tool_choice"):
        chat(None).bind_tools([weather], tool_choice=choice)


@pytest.mark.parametrize("strict", [None, True, False])
@pytest.mark.parametrize("parallel", [None, True, False])
def test_strict_and_parallel_are_sent_as_given(strict: bool | None, parallel: bool | None) -> None:
    wire = both_kinds()
    bound = chat(wire).bind_tools([weather], strict=strict, parallel_tool_calls=parallel)
    bound.invoke("Hello")
    (body,) = wire.bodies
    assert body["tools"][0]["function"].get("strict") is strict
    assert body.get("parallel_tool_calls") is parallel
    assert "strict" not in body


@pytest.mark.parametrize("way", WAYS)
async def test_an_empty_list_of_tools_is_not_sent(way: str) -> None:
    wire = both_kinds()
    bound = chat(wire, parallel_tool_calls=True).bind_tools([], tool_choice="any")
    await ask(bound, way)
    await ask(chat(wire), way, tools=[])
    for body in wire.bodies:
        assert not {"tools", "tool_choice", "parallel_tool_calls"} & body.keys()


@pytest.mark.parametrize("way", ["invoke", "astream"])
async def test_tools_and_a_response_format_go_together(way: str) -> None:
    wire = both_kinds('{"city": "Rome"}')
    bound = chat(wire).bind_tools([weather], response_format=Weather, strict=True)
    await ask(bound, way)
    (body,) = wire.bodies
    assert body["tools"][0]["function"]["name"] == "weather"
    assert body["response_format"]["type"] == "json_schema"
    assert body["response_format"]["json_schema"]["name"] == "Weather"
    assert body["response_format"]["json_schema"]["strict"] is True


def test_the_given_tools_are_left_as_they_are() -> None:
    given = {**FUNCTION, "function": dict(FUNCTION["function"])}  # type: ignore[call-overload]
    chat(both_kinds()).bind_tools([given], strict=True).invoke("Hello")
    assert given == FUNCTION


def _real(gateway: LocalGateway, **more: Any) -> ChatLunos:
    settings = {"model": "lunos/scripted", "app_id": "agent", **more}
    return ChatLunos(api_key=gateway.api_key, base_url=gateway.base_url, **settings)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("version", [None, "v1"])
async def test_an_agent_calls_its_tool_and_answers(
    gateway: LocalGateway, is_async: bool, streaming: bool, version: str | None
) -> None:
    model = _real(gateway, streaming=streaming, output_version=version)
    agent = create_agent(model, [weather])
    asked: Any = {"messages": [("user", "What is the weather in 'Rome'?")]}
    state = await agent.ainvoke(asked) if is_async else agent.invoke(asked)
    _, called, result, last = state["messages"]
    assert [call["args"] for call in called.tool_calls] == [{"city": "Rome"}]
    assert result.content == "sunny in Rome"
    assert "sunny in Rome" in last.text
    assert gateway.requests()[-1]["app_id"] == "agent"


@pytest.mark.parametrize("strategy", [ProviderStrategy, ToolStrategy])
@pytest.mark.parametrize("tools", [[], [weather]])
async def test_an_agent_answers_in_a_form(
    gateway: LocalGateway, strategy: Any, tools: list[Any]
) -> None:
    agent = create_agent(_real(gateway), tools, response_format=strategy(Weather))
    asked: Any = {"messages": [("user", "What is the weather in 'Rome'?")]}
    state = await agent.ainvoke(asked)
    assert state["structured_response"] == Weather(city="Rome")
    assert all(request["status"] == 200 for request in gateway.requests()[-1:])
    body = gateway.requests()[-1]["body"]
    assert body.get("tools") != []


@pytest.mark.parametrize("is_async", [False, True])
async def test_langgraph_streams_the_tokens_of_an_agent(
    gateway: LocalGateway, is_async: bool
) -> None:
    agent = create_agent(_real(gateway), [weather])
    asked: Any = {"messages": [("user", "What is the weather in 'Rome'?")]}
    if is_async:
        items = [item async for item in agent.astream(asked, stream_mode="messages")]
    else:
        items = list(agent.stream(asked, stream_mode="messages"))
    said = [item[0] for item in items if isinstance(item[0], AIMessageChunk)]
    assert len([message for message in said if message.text]) > 1
    assert "sunny in Rome" in "".join(message.text for message in said)
    assert [
        piece["name"] for message in said for piece in message.tool_call_chunks if piece["name"]
    ]


@pytest.mark.parametrize("is_async", [False, True])
async def test_langgraphs_v3_streaming_keeps_text_and_calls_apart(
    gateway: LocalGateway, is_async: bool
) -> None:
    agent = create_agent(_real(gateway), [weather])
    asked: Any = {"messages": [("user", "What is the weather in 'Rome'?")]}
    with beta():
        if is_async:
            run = await agent.astream_events(asked, version="v3")
            state = await run.output()
        else:
            state = agent.stream_events(asked, version="v3").output
    _, called, _, last = state["messages"]
    assert [call["args"] for call in called.tool_calls] == [{"city": "Rome"}]
    assert "sunny in Rome" in last.text
