"""Tool calls that a model got wrong: no tool runs on them, and the conversation goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, ToolCallBlock
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.tools import FunctionTool

from llama_index_lunos._messages import to_wire
from tests.llama_index_adapter.wire import Way, Wire, answer, delta, stream, tool_call

pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step"),
]

HALF = '{"a": 1, "b": '


def strict_object(text: str) -> Any:
    """What a strict server reads; it refuses NaN and anything but an object."""

    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} isn't JSON")

    value = json.loads(text, parse_constant=refuse)
    assert isinstance(value, dict)
    return value


def sent_arguments(body: Any) -> list[Any]:
    return [
        strict_object(call["function"]["arguments"])
        for message in body["messages"]
        for call in message.get("tool_calls", ())
    ]


def delete(path: str = "/") -> str:
    """Delete everything below a path."""
    raise AssertionError(f"deleted {path}")


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("arguments", [HALF, "{'path': '/tmp'}", "[1]", "3", "rm -rf", '{"path"'])
async def test_a_tool_with_defaults_does_not_run_on_broken_arguments(
    awaited: Way, streaming: bool, arguments: str
) -> None:
    call = tool_call("c1", "delete", arguments)
    piece = {"index": 0, **call}
    first = (
        stream(delta(tool_calls=[piece]), delta(finish="tool_calls"))
        if streaming
        else answer({"content": None, "tool_calls": [call]}, "tool_calls")
    )
    second = stream(delta("Sorry."), delta(finish="stop")) if streaming else answer("Sorry.")
    wire = Wire(first, second)
    agent = FunctionAgent(
        tools=[FunctionTool.from_defaults(delete)], llm=awaited.llm(wire), streaming=streaming
    )
    memory = ChatMemoryBuffer.from_defaults(token_limit=1000, tokenizer_fn=str.split)
    said = await agent.run("Clean up", memory=memory)
    assert str(said) == "Sorry."
    (result,) = said.tool_calls
    assert result.tool_output.is_error
    assert sent_arguments(wire.bodies[1]) == [{"INVALID_JSON": arguments}]
    assert "INVALID_JSON" in wire.bodies[1]["messages"][-1]["content"]

    await agent.run("And now?", memory=memory)
    assert sent_arguments(wire.bodies[2]) == [{"INVALID_JSON": arguments}]


async def test_not_a_number_is_handed_over_and_goes_back_as_null(awaited: Way) -> None:
    def double(a: float) -> float:
        """Double a number."""
        return a * 2

    call = {"index": 0, **tool_call("c1", "double", '{"a": NaN}')}
    wire = Wire(
        stream(delta(tool_calls=[call]), delta(finish="tool_calls")),
        stream(delta("No."), delta(finish="stop")),
    )
    agent = FunctionAgent(tools=[FunctionTool.from_defaults(double)], llm=awaited.llm(wire))
    await agent.run("Twice nothing?")
    assert sent_arguments(wire.bodies[1]) == [{"a": None}]


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        ('{"a": 1}', {"a": 1}),
        ({"a": 1}, {"a": 1}),
        ({}, {}),
        ("", {}),
        (" \n", {}),
        ("null", {}),
        (None, {}),
        (HALF, {"INVALID_JSON": HALF}),
        ('{"a": Infinity}', {"a": None}),
        ({"a": float("nan"), "b": [float("-inf")]}, {"a": None, "b": [None]}),
        ({"a": {1, 2}}, {"a": [1, 2]}),
        ({"a": "\ud83d\ude00"}, {"a": "😀"}),
        ({"a": "\ud83d"}, {"a": "�"}),
        ('{"a": "\ud83d"}', {"a": "�"}),
        ('{"a": "\\ud83d"}', {"a": "�"}),
        ('{"a": "x\ny"}', {"a": "x\ny"}),
        ('"{\\"a\\": 1}"', {"a": 1}),
        ("[1]", {"INVALID_JSON": "[1]"}),
        ("[" * 100_000, None),
    ],
)
def test_whatever_a_memory_holds_goes_back_as_an_object(stored: Any, sent: Any) -> None:
    class Function:
        name = "f"
        arguments = stored

    class Call:
        id = "c"
        function = Function()

    plain = {"name": "f", "arguments": stored}
    messages = [
        ChatMessage(
            role="assistant",
            additional_kwargs={"tool_calls": [{"id": "c", "function": plain}]},
        ),
        ChatMessage(role="assistant", additional_kwargs={"tool_calls": [Call()]}),
    ]
    if isinstance(stored, str | dict) and "\ud83d" not in stored:  # pydantic takes no such text
        block = ToolCallBlock(tool_call_id="c", tool_name="f", tool_kwargs=stored)
        messages.append(ChatMessage(role="assistant", blocks=[block]))
    for message in messages:
        (wire,) = to_wire([message])
        arguments = wire["tool_calls"][0]["function"]["arguments"]
        arguments.encode()
        assert sent is None or strict_object(arguments) == sent


def test_a_call_of_openais_responses_keeps_its_name_and_the_id_that_its_result_has() -> None:
    call = {
        "type": "function_call",
        "id": "fc",
        "call_id": "c",
        "name": "f",
        "arguments": '{"a":1}',
    }
    (wire,) = to_wire([ChatMessage(role="assistant", additional_kwargs={"tool_calls": [call]})])
    (sent,) = wire["tool_calls"]
    assert sent["id"] == "c"
    assert sent["function"] == {"name": "f", "arguments": '{"a":1}'}


@pytest.mark.parametrize("streaming", [True, False])
async def test_what_a_provider_wants_back_with_a_call_goes_back_with_it(
    awaited: Way, streaming: bool
) -> None:
    """Gemini answers 400 to a history without the signatures of its thoughts."""
    signed = {"extra_content": {"google": {"thought_signature": "abc"}}}
    calls = [{**tool_call("c1", "f", "{}"), **signed}, tool_call("c2", "f", "{}")]
    if streaming:
        first = stream(delta(None, "tool_calls", tool_calls=calls), "[DONE]")
        last = stream(delta("Done", "stop"), "[DONE]")
    else:
        first, last = answer({"content": None, "tool_calls": calls}, "tool_calls"), answer("Done")
    wire = Wire(first, last)
    tool = FunctionTool.from_defaults(lambda: "r", name="f", description="d")
    agent = FunctionAgent(tools=[tool], llm=awaited.llm(wire), streaming=streaming)
    assert str(await agent.run("?")) == "Done"
    sent = [
        call for message in wire.bodies[-1]["messages"] for call in message.get("tool_calls", ())
    ]
    assert sent == calls


@pytest.mark.parametrize("stored", [[None], ["x"], [{}], "x", 3])
def test_an_invalid_call_in_a_memory_is_ignored(stored: Any) -> None:
    said = ChatMessage(role="assistant", content="b", additional_kwargs={"tool_calls": stored})
    sent = to_wire([ChatMessage("a"), said, ChatMessage("c")])
    assert [message["content"] for message in sent] == ["a", "b", "c"]
    assert "tool_calls" not in sent[1]


def test_a_whole_object_goes_back_as_it_came() -> None:
    text = '{ "b":1,"a" : "ä" }'
    block = ToolCallBlock(tool_call_id="c", tool_name="f", tool_kwargs=text)
    (wire,) = to_wire([ChatMessage(role="assistant", blocks=[block])])
    assert wire["tool_calls"][0]["function"]["arguments"] == text


def test_a_memory_written_as_json_can_be_sent() -> None:
    block = ToolCallBlock(tool_call_id="c", tool_name="f", tool_kwargs=HALF)
    messages = [ChatMessage("?"), ChatMessage(role="assistant", blocks=[block])]
    stored = json.dumps([message.model_dump(mode="json") for message in messages])
    loaded = [ChatMessage.model_validate(item) for item in json.loads(stored)]
    memory = ChatMemoryBuffer.from_defaults(loaded, token_limit=1000, tokenizer_fn=str.split)
    assert sent_arguments({"messages": to_wire(memory.get())}) == [{"INVALID_JSON": HALF}]


def calling(*identifiers: str) -> ChatMessage:
    blocks = [ToolCallBlock(tool_call_id=name, tool_name="f") for name in identifiers]
    return ChatMessage(role="assistant", blocks=blocks)


def result(identifier: str | None, text: str = "4") -> ChatMessage:
    known = {} if identifier is None else {"tool_call_id": identifier}
    return ChatMessage(text, role="tool", additional_kwargs=known)


def test_every_call_of_a_history_has_a_result() -> None:
    """An agent that was stopped, or one of whose parallel calls returned directly, leaves some."""
    messages = [calling("a", "b"), result("a"), ChatMessage("So?"), calling("c"), ChatMessage("?")]
    sent = to_wire(messages)
    assert [message["role"] for message in sent] == [
        "assistant",
        "tool",
        "tool",
        "user",
        "assistant",
        "tool",
        "user",
    ]
    assert [message["tool_call_id"] for message in sent if message["role"] == "tool"] == [
        "a",
        "b",
        "c",
    ]


def test_two_calls_of_one_tool_without_ids_stay_distinct() -> None:
    by_name = ChatMessage("2", role="tool", additional_kwargs={"name": "f"})
    blocks = [ToolCallBlock(tool_name="f", tool_kwargs={"a": i}) for i in range(2)]
    messages = [ChatMessage(role="assistant", blocks=blocks), by_name, by_name]
    call, first, second = to_wire(messages)
    assert [item["id"] for item in call["tool_calls"]] == ["f", "f_2"]
    assert (first["tool_call_id"], second["tool_call_id"]) == ("f", "f_2")


def test_results_without_an_id_belong_to_the_calls_before_them() -> None:
    _, first, second = to_wire([calling("a", "b"), result(None, "1"), result(None, "2")])
    assert [(item["tool_call_id"], item["content"]) for item in (first, second)] == [
        ("a", "1"),
        ("b", "2"),
    ]


def test_what_an_answer_of_another_provider_holds_is_left_out_where_it_cannot_travel() -> None:
    blocks = [ImageBlock(), *ChatMessage("So.").blocks]
    (sent,) = to_wire([ChatMessage(role="assistant", blocks=blocks)])
    assert sent == {"role": "assistant", "content": "So."}


def test_a_trimmed_or_reordered_memory_is_one_that_strict_servers_take() -> None:
    def result(call: str) -> ChatMessage:
        return ChatMessage("42", role="tool", additional_kwargs={"tool_call_id": call})

    question, answered = ChatMessage("?"), ChatMessage("It's 42.", role="assistant")
    calls = [ToolCallBlock(tool_call_id="c1", tool_name="f", tool_kwargs={}) for _ in range(2)]
    asked = ChatMessage(role="assistant", blocks=list(calls[:1]))
    trimmed = to_wire([result("c0"), answered, question])
    assert [item["role"] for item in trimmed] == ["user", "assistant", "user"]
    late = to_wire([question, asked, question, result("c1")])
    assert [item["role"] for item in late] == ["user", "assistant", "tool", "user"]
    twice = ChatMessage(role="assistant", blocks=list(calls))
    sent = to_wire([question, twice, result("c1"), result("c1"), asked, result("c1")])
    ids = [item["tool_call_id"] for item in sent if item["role"] == "tool"]
    assert ids == ["c1", "c1_2", "c1_3"]
    assert [call["id"] for item in sent for call in item.get("tool_calls", ())] == ids
