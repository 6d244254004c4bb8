"""Other providers' answers and saved conversations: what travels is sent, the rest is left out."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import (
    AIMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    messages_from_dict,
    messages_to_dict,
)
from langchain_core.runnables import Runnable
from langchain_core.tools import tool

from tests.langchain_adapter.wire import (
    STREAMED,
    WHOLE,
    Wire,
    answer,
    ask,
    both_kinds,
    call,
    chat,
    reply,
    sent_messages,
)

CALLS: Any = [{"name": "weather", "args": {"city": "Rome"}, "id": "c1", "type": "tool_call"}]
SENT_CALL = call("weather", '{"city":"Rome"}')

FOREIGN: dict[str, tuple[list[Any], str]] = {
    "OpenAI's Responses API": (
        [
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
            {"type": "text", "text": "Let me see.", "annotations": [], "id": "msg_1"},
            {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {}},
            {
                "type": "function_call",
                "name": "weather",
                "arguments": '{"city":"Rome"}',
                "call_id": "c1",
                "id": "fc_1",
                "status": "completed",
            },
        ],
        "openai",
    ),
    "Anthropic's": (
        [
            {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}},
            {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"a": 1}]},
            {"type": "text", "text": "Let me see.", "citations": [{"type": "x"}]},
            {"type": "container_upload", "file_id": "f"},
            {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Rome"}},
        ],
        "anthropic",
    ),
    "Gemini's": (
        [
            {"type": "executable_code", "executable_code": "1", "language": "PYTHON"},
            {"type": "code_execution_result", "outcome": 1, "code_execution_result": "1"},
            {"type": "text", "text": "Let me see.", "extras": {"signature": "abc"}},
            {"type": "function_call_signature", "signature": "abc", "index": 1},
        ],
        "google_genai",
    ),
    "LangChain's own of v1": (
        [
            {"type": "server_tool_call", "id": "s", "name": "web_search", "args": {}},
            {"type": "server_tool_result", "tool_call_id": "s", "status": "success"},
            {"type": "text", "text": "Let me see."},
            {"type": "non_standard", "value": {"type": "mystery"}},
            {"type": "tool_call", "id": "c1", "name": "weather", "args": {"city": "Rome"}},
        ],
        "somebody",
    ),
    "Bedrock's": ([{"guard_content": {}}, {"type": "text", "text": "Let me see."}], "bedrock"),
}


@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
@pytest.mark.parametrize("version", [None, "v0", "v1", "responses/v1"])
@pytest.mark.parametrize("name", FOREIGN)
async def test_another_providers_answer_goes_on_here(
    name: str, version: str | None, way: str
) -> None:
    content, provider = FOREIGN[name]
    metadata = {"model_provider": provider} | ({"output_version": version} if version else {})
    history = [
        HumanMessage("Weather?"),
        AIMessage(content=content, tool_calls=CALLS, response_metadata=metadata),
        ToolMessage("sunny", tool_call_id="c1"),
    ]
    wire = both_kinds()
    await ask(chat(wire), way, history)
    sent = sent_messages(wire)[1]
    assert sent["content"] == [{"type": "text", "text": "Let me see."}]
    assert sent["tool_calls"] == [SENT_CALL]
    assert sent.keys() <= {"role", "content", "tool_calls"}


async def test_calls_in_blocks_alone_are_sent_as_calls() -> None:
    content, _ = FOREIGN["OpenAI's Responses API"]
    wire = both_kinds()
    await ask(chat(wire), "invoke", [HumanMessage("Weather?"), AIMessage(content=content)])
    assert sent_messages(wire)[1]["tool_calls"] == [SENT_CALL]


@pytest.mark.parametrize(
    ("model", "field"),
    [
        ("anthropic/claude-sonnet-4", "reasoning_details"),
        ("claude-sonnet-4", "reasoning_details"),
        ("openai/gpt-4o", "reasoning"),
        ("google/gemini-2.5-pro", "reasoning"),
    ],
)
async def test_signed_reasoning_is_sent_to_the_models_that_signed_it(
    model: str, field: str
) -> None:
    wire = both_kinds()
    thought: Any = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    history = [HumanMessage("a"), AIMessage([thought, {"type": "text", "text": "b"}])]
    await ask(chat(wire, model=model), "invoke", [*history, HumanMessage("c")])
    sent = sent_messages(wire)[1]
    assert field in sent
    assert len(sent.keys() & {"reasoning", "reasoning_details"}) == 1


@pytest.mark.parametrize(
    "extra",
    [
        {"reasoning_content": {"type": "reasoning_text", "text": "x"}},
        {"reasoning_details": "x"},
        {"images": ["x"], "audio": "x", "refusal": None},
        {"tool_calls": ["x", {"id": "a"}], "function_call": {"name": "x", "arguments": ""}},
    ],
)
async def test_odd_fields_of_other_packages_are_left_out(extra: dict[str, Any]) -> None:
    wire = both_kinds()
    message = AIMessage("b", additional_kwargs=extra)
    await ask(chat(wire), "ainvoke", [HumanMessage("a"), message, HumanMessage("c")])
    assert sent_messages(wire)[1] == {"role": "assistant", "content": "b"}


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_fallback_takes_over_in_the_middle_of_a_conversation(is_async: bool) -> None:
    agents = pytest.importorskip("langchain.agents")
    content, provider = FOREIGN["OpenAI's Responses API"]

    class Foreign(GenericFakeChatModel):
        def bind_tools(self, tools: Any, **kwargs: Any) -> Runnable[Any, AIMessage]:
            return self

    def answers() -> Any:
        metadata = {"model_provider": provider, "output_version": "responses/v1"}
        yield AIMessage(content=content, tool_calls=CALLS, response_metadata=metadata)
        raise ValueError("the other provider is down")

    wire = Wire(reply(answer("Sunny.")))
    llm = Foreign(messages=answers()).with_fallbacks([chat(wire)])
    agent = agents.create_agent(llm, [weather])
    turn: Any = {"messages": [("user", "Weather in Rome?")]}
    result = await agent.ainvoke(turn) if is_async else agent.invoke(turn)
    assert result["messages"][-1].text == "Sunny."
    assert [message["role"] for message in sent_messages(wire)] == ["user", "assistant", "tool"]


@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
async def test_what_a_provider_wants_back_with_a_call_goes_back_with_it(way: str) -> None:
    """Gemini answers 400 to a history without the signatures of its thoughts."""
    signed = {"extra_content": {"google": {"thought_signature": "abc"}}}
    calls = [{**call(id="c1"), **signed}, call(id="c2")]
    said = await ask(chat(both_kinds(None, "tool_calls", tool_calls=calls)), way)
    results = [ToolMessage("r", tool_call_id=name) for name in ("c1", "c2")]
    saved = messages_from_dict(messages_to_dict([HumanMessage("a"), said, *results]))
    wire = both_kinds()
    await ask(chat(wire), "ainvoke", saved)
    assert sent_messages(wire)[1]["tool_calls"] == calls


async def test_a_call_that_was_never_answered_does_not_end_the_conversation() -> None:
    """An agent was stopped between the call and its result; strict servers refuse that history."""
    calls: Any = [{**CALLS[0], "id": name} for name in ("c1", "c2")]
    asked = AIMessage("", tool_calls=calls)
    result = ToolMessage("sunny", tool_call_id="c2")
    stopped = {"role": "tool", "tool_call_id": "c1", "content": "The tool wasn't run."}
    for rest, left in (([result], {"c1"}), ([HumanMessage("go on")], {"c1", "c2"}), ([], set())):
        wire = both_kinds()
        await ask(chat(wire), "ainvoke", [HumanMessage("a"), asked, *rest])
        sent = sent_messages(wire)
        made = [item for item in sent if item.get("content") == stopped["content"]]
        assert {item["tool_call_id"] for item in made} == left
        assert made[:1] in ([], [stopped])
        assert sent[2 : 2 + len(made)] == made, "right behind the call"


@pytest.mark.parametrize("odd", ["x", [1], {"c1": "x"}, {"c1": None}, {"other": {}}])
async def test_odd_extras_of_a_saved_call_are_left_out(odd: Any) -> None:
    message = AIMessage("", tool_calls=CALLS, additional_kwargs={"tool_call_extras": odd})
    wire = both_kinds()
    await ask(chat(wire), "ainvoke", [HumanMessage("a"), message])
    assert sent_messages(wire)[1]["tool_calls"] == [SENT_CALL]


ARGUMENTS: dict[str, tuple[Any, Any]] = {
    "NaN": ({"a": float("nan"), "b": [float("inf")]}, {"a": None, "b": [None]}),
    "half a character": ({"a\ud83d": "x\ud83d"}, {"a\ufffd": "x\ufffd"}),
    "two halves": ({"a": "\ud83d\ude00"}, {"a": "😀"}),
    "a date": ({"a": datetime.date(2026, 1, 2)}, {"a": "2026-01-02"}),
    "a set": ({"a": {1}}, {"a": [1]}),
    "keys that aren't text": ({1: {2: 3}}, {"1": {"2": 3}}),
    "a large number": ({"a": 10**30}, {"a": 10**30}),
    "nothing": ({}, {}),
}


@pytest.mark.parametrize("way", WHOLE)
@pytest.mark.parametrize("name", ARGUMENTS)
async def test_odd_arguments_can_be_sent_back(name: str, way: str) -> None:
    arguments, expected = ARGUMENTS[name]
    message = AIMessage("x\ud83d")
    message.tool_calls = [{"name": "f", "args": arguments, "id": "c1", "type": "tool_call"}]
    wire = both_kinds()
    history = [HumanMessage("a"), message, ToolMessage("r", tool_call_id="c1")]
    await ask(chat(wire), way, history)
    sent = sent_messages(wire)[1]
    assert json.loads(sent["tool_calls"][0]["function"]["arguments"]) == expected
    assert sent["content"] == "x\ufffd"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('{"a": 1, "b": ', {"INVALID_JSON": '{"a": 1, "b": '}),
        ('{"a": NaN}', {"a": None}),
        ('{"a": "x\ny"}', {"a": "x\ny"}),
        ("[1]", {"INVALID_JSON": "[1]"}),
        ('"x\ud83d"', {"INVALID_JSON": '"x\ufffd"'}),
        ("[" * 100_000, {"INVALID_JSON": "[" * 100_000}),
        ("null", {}),
        (" \n", {}),
        (None, {}),
    ],
)
async def test_broken_arguments_do_not_end_the_conversation(written: Any, expected: Any) -> None:
    broken: Any = {"name": "f", "args": written, "id": "c1", "error": None}
    by_hand = AIMessage("")
    by_hand.additional_kwargs["tool_calls"] = [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": written}}
    ]
    for message in (AIMessage("", invalid_tool_calls=[broken]), by_hand):
        wire = both_kinds()
        history = [HumanMessage("a"), message, ToolMessage("r", tool_call_id="c1")]
        await ask(chat(wire), "ainvoke", history)
        (sent,) = sent_messages(wire)[1]["tool_calls"]
        assert json.loads(sent["function"]["arguments"]) == expected


@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
@pytest.mark.parametrize("written", ["null", " ", "\n", "", "{}"])
async def test_empty_arguments_are_a_call_without_any(written: str, way: str) -> None:
    wire = both_kinds(None, "tool_calls", tool_calls=[call("f", written)])
    message = await ask(chat(wire), way)
    assert [(made["name"], made["args"]) for made in message.tool_calls] == [("f", {})]
    assert message.invalid_tool_calls == []


def test_a_block_that_has_only_a_text_is_text_in_every_message() -> None:
    """As Bedrock's and Google's models write it; an answer's was lost in silence."""
    text = [{"text": "hello"}]
    history = [
        SystemMessage(text),
        HumanMessage(text),
        AIMessage(text, tool_calls=[{"name": "f", "args": {}, "id": "c"}]),
        ToolMessage(text, tool_call_id="c"),
    ]
    wire = Wire(reply(answer()))
    chat(wire).invoke(history)
    for message in sent_messages(wire):
        assert message["content"] in ("hello", [{"type": "text", "text": "hello"}])


SOUND = {"type": "audio", "base64": "A" * 5000, "mime_type": "audio/ogg"}


@pytest.mark.parametrize("way", ["invoke", "av3"])
@pytest.mark.parametrize("spelling", ["tool", "function", "tool_result"])
@pytest.mark.parametrize(
    ("block", "seen"),
    [
        ({"type": "search_result", "title": "Rome", "source": "s"}, '"title": "Rome"'),
        ({"type": "json", "json": {"a": [1]}}, '"json": {"a": [1]}'),
        ({"type": "file", "file_id": "f"}, '"file_id": "f"'),
        ({"type": "image", "url": "file:///x.png"}, "file:///x.png"),
        ({"type": "mystery", "inner": [SOUND]}, "(5000 characters)"),
        (SOUND, "(5000 characters)"),
        ({"a": 1}, '{"a": 1}'),
    ],
)
async def test_whatever_a_tool_returned_the_conversation_goes_on(
    block: Any, seen: str, spelling: str, way: str
) -> None:
    """LangChain's own tools return search results and JSON, which the API has no parts for."""
    content: Any = ["sunny", block]
    results: dict[str, Any] = {
        "tool": ToolMessage(content, tool_call_id="c1"),
        "function": FunctionMessage(content, name="c1"),
        "tool_result": HumanMessage(
            [{"type": "tool_result", "tool_use_id": "c1", "content": content}]
        ),
    }
    wire = both_kinds()
    await ask(chat(wire), way, ["Hi", AIMessage("", tool_calls=CALLS), results[spelling]])
    first, second = sent_messages(wire)[2]["content"]
    assert (first["text"], second["type"]) == ("sunny", "text")
    assert seen in second["text"]
    assert len(second["text"]) < 200


async def sent_history(*messages: Any, way: str = "ainvoke") -> list[dict[str, Any]]:
    wire = both_kinds()
    await ask(chat(wire), way, [HumanMessage("a"), *messages, HumanMessage("go on")])
    return sent_messages(wire)


@pytest.mark.parametrize(
    "block",
    [
        {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}},
        {"type": "function_call", "id": "fc", "call_id": "c1", "name": "f", "arguments": '{"a":1}'},
        {"toolUse": {"toolUseId": "c1", "name": "f", "input": {"a": 1}}},
        {"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}},
        {"type": "tool-call", "toolCallId": "c1", "toolName": "f", "input": {"a": 1}},
        {
            "type": "non_standard",
            "value": {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}},
        },
        {"type": "invalid_tool_call", "id": "c1", "name": "f", "args": '{"a":1}'},
    ],
)
async def test_a_call_that_is_only_a_block_of_an_answer_keeps_its_result(block: Any) -> None:
    message = AIMessage("")
    message.content = [{"type": "text", "text": "Let me see."}, block]
    _, asked, result, _ = await sent_history(message, ToolMessage("r", tool_call_id="c1"))
    assert asked["content"] == [{"type": "text", "text": "Let me see."}]
    arguments = {"name": "f", "arguments": '{"a":1}'}
    assert asked["tool_calls"] == [{"id": "c1", "type": "function", "function": arguments}]
    assert result == {"role": "tool", "tool_call_id": "c1", "content": "r"}


async def test_a_thought_of_googles_is_not_sent_as_the_answer() -> None:
    message = AIMessage([{"thought": True, "text": "hm"}, {"text": "hello"}])
    assert (await sent_history(message))[1]["content"] == [{"type": "text", "text": "hello"}]


@pytest.mark.parametrize("provider", ["google_genai", "google_vertexai", "anthropic", None])
@pytest.mark.parametrize(
    "block",
    [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "reasoning", "reasoning": "hm", "extras": {"signature": "s"}},
    ],
)
async def test_only_claudes_signatures_are_sent_as_claudes(block: Any, provider: Any) -> None:
    metadata = {"model_provider": provider} if provider else {}
    sent = (await sent_history(AIMessage([block, "hi"], response_metadata=metadata)))[1]
    if provider in ("google_genai", "google_vertexai"):
        assert (sent["reasoning"], "reasoning_details" in sent) == ("hm", False)
    else:
        (detail,) = sent["reasoning_details"]
        assert (detail["text"], detail["signature"]) == ("hm", "s")


async def test_anthropics_result_in_a_tool_message_is_unwrapped() -> None:
    block = {"type": "tool_result", "tool_use_id": "c1", "content": "42", "is_error": True}
    sent = await sent_history(
        AIMessage("", tool_calls=CALLS), ToolMessage([block], tool_call_id="c1")
    )
    assert sent[2] == {"role": "tool", "tool_call_id": "c1", "content": "42"}


async def test_a_trimmed_or_reordered_history_is_one_that_strict_servers_take() -> None:
    """As `trim_messages` and an interrupted graph leave it."""
    call = AIMessage("", tool_calls=CALLS)
    result = ToolMessage("42", tool_call_id="c1")
    roles = [item["role"] for item in await sent_history(result, AIMessage("It's 42."))]
    assert roles == ["user", "user", "assistant", "user"]
    late = await sent_history(call, HumanMessage("Well?"), result)
    assert [item["role"] for item in late] == ["user", "assistant", "tool", "user", "user"]
    twice = AIMessage("", tool_calls=[*CALLS, *CALLS])
    sent = await sent_history(twice, result, result)
    assert [call["id"] for call in sent[1]["tool_calls"]] == ["c1", "c1_2"]
    assert [item["tool_call_id"] for item in sent[2:4]] == ["c1", "c1_2"]
