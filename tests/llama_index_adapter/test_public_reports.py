"""What users of LlamaIndex's other gateways and servers reported, tried on ours.

The numbers are issues and pull requests of run-llama/llama_index.
"""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import (
    ChatMessage,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.program import FunctionCallingProgram
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel, Field

from llama_index_lunos import LunosStructuredOutputError
from llama_index_lunos._messages import to_wire
from tests.llama_index_adapter.wire import Way, Wire, answer, delta, stream, tool_call, usage_event

pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step"),
]
HELLO = [ChatMessage("Hello")]


@pytest.fixture
async def awaited() -> Any:
    case = Way("async")
    yield case
    await case.close()


@pytest.mark.parametrize(
    "message",
    [
        ChatMessage(role="assistant", blocks=[]),
        ChatMessage(None, role="assistant"),
        ChatMessage(role="assistant", blocks=[TextBlock(text="")]),
        ChatMessage("", role="assistant", additional_kwargs={"tool_calls": []}),
        ChatMessage("", role="assistant", additional_kwargs={"tool_calls": None}),
    ],
)
def test_an_empty_answer_goes_back_as_an_empty_text(message: ChatMessage) -> None:
    """17555, 17921: a server refuses `content: null` without calls, and an empty `tool_calls`."""
    assert to_wire([message]) == [{"role": "assistant", "content": ""}]


@pytest.mark.parametrize("returned", [None, "", [], {}])
async def test_a_tool_that_returns_nothing_has_a_text_as_its_result(
    awaited: Way, returned: Any
) -> None:
    """17555."""

    def nothing() -> Any:
        """Return nothing."""
        return returned

    call = {"index": 0, **tool_call("c", "nothing", "{}")}
    wire = Wire(
        stream(delta(tool_calls=[call]), delta(finish="tool_calls")),
        stream(delta("Done."), delta(finish="stop")),
    )
    agent = FunctionAgent(tools=[FunctionTool.from_defaults(nothing)], llm=awaited.llm(wire))
    assert str(await agent.run("Go")) == "Done."
    assert isinstance(wire.bodies[1]["messages"][-1]["content"], str)


@pytest.mark.parametrize("arguments", [None, "", "null", " "])
@pytest.mark.parametrize("streaming", [True, False])
async def test_a_call_without_arguments_runs_its_tool(
    awaited: Way, streaming: bool, arguments: Any
) -> None:
    """18230: some models send null for the arguments of a tool that has none."""
    call = tool_call("c", "now", arguments)
    wire = (
        Wire(
            stream(delta(tool_calls=[{"index": 0, **call}]), delta(finish="tool_calls")),
            stream(delta("Noon."), delta(finish="stop")),
        )
        if streaming
        else Wire(answer({"content": None, "tool_calls": [call]}, "tool_calls"), answer("Noon."))
    )
    tool = FunctionTool.from_defaults(lambda: "noon", name="now")
    agent = FunctionAgent(tools=[tool], llm=awaited.llm(wire), streaming=streaming)
    said = await agent.run("The time?")
    assert said.tool_calls[0].tool_output.raw_output == "noon"
    assert wire.bodies[1]["messages"][-2]["tool_calls"][0]["function"]["arguments"] == "{}"


async def test_fields_of_a_call_may_be_null_on_its_first_or_later_fragments(way: Way) -> None:
    """17927: vLLM's first fragment has no arguments, and its later ones no id or name."""
    fragments: list[dict[str, Any]] = [
        {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": None}},
        {"index": 0, "id": None, "function": {"name": None, "arguments": '{"a": '}},
        {"index": 0, "id": None, "type": None, "function": {"arguments": "1}"}},
    ]
    pieces = [delta(role="assistant", content="", tool_calls=None)]
    pieces += [delta(tool_calls=[fragment]) for fragment in fragments]
    llm = way.llm(Wire(stream(*pieces, delta(finish="tool_calls"))))
    last = (await way(llm, "stream_chat", HELLO))[-1]
    (call,) = llm.get_tool_calls_from_response(last)
    assert (call.tool_id, call.tool_name, call.tool_kwargs) == ("c", "f", {"a": 1})


@pytest.mark.parametrize("model", ["gpt-5.4-2099-01-01", "openai/o9", "qwen-max", "a/b/c:free"])
async def test_an_unknown_model_is_asked_as_it_is(way: Way, model: str) -> None:
    """20981, 21124, 18463: no table of names decides what is sent or what a model can do."""
    wire = Wire(answer())
    llm = way.llm(wire, model=model, reasoning_effort="low", temperature=0.3)
    assert llm.metadata.is_function_calling_model
    await way(llm, "chat", HELLO)
    assert (wire.body["reasoning_effort"], wire.body["temperature"]) == ("low", 0.3)


async def test_text_before_a_call_is_kept_with_it(way: Way) -> None:
    """18363: what a model says before it calls belongs to the same message."""
    call = {"index": 0, **tool_call("c", "f", "{}")}
    wire = Wire(
        stream(delta("Let me see."), delta(tool_calls=[call]), delta(finish="tool_calls")),
        answer(),
    )
    llm = way.llm(wire)
    last = (await way(llm, "stream_chat", HELLO))[-1]
    result = ChatMessage("1", role="tool", additional_kwargs={"tool_call_id": "c"})
    await way(llm, "chat", [*HELLO, last.message, result])
    sent = wire.bodies[1]["messages"][1]
    assert (sent["content"], len(sent["tool_calls"])) == ("Let me see.", 1)


async def test_a_finish_reason_stop_with_calls_keeps_the_calls(way: Way) -> None:
    """18313: servers that say "stop" where they mean "tool_calls"."""
    played = answer({"content": "", "tool_calls": [tool_call("c", "f", "{}")]}, "stop")
    llm = way.llm(Wire(played))
    response = await way(llm, "chat", HELLO)
    assert len(llm.get_tool_calls_from_response(response)) == 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_reasoning_in_parts_is_a_block_and_is_sent_back(way: Way, streamed: bool) -> None:
    """20063, 20349, 21220: reasoning in any spelling, Mistral's and the Responses API's too."""
    for part in (
        {"type": "reasoning", "text": "why"},
        {"type": "thinking", "thinking": [{"type": "text", "text": "why"}]},
        {"type": "thinking", "thinking": "why"},
    ):
        text = {"type": "text", "text": "So."}
        played = (
            stream(delta(content=[part]), delta(content=[text]), delta(finish="stop"))  # type: ignore[arg-type]  # parts, as some servers stream them
            if streamed
            else answer({"content": [part, text]})
        )
        wire = Wire(played, answer())
        llm = way.llm(wire)
        responses = await way(llm, "stream_chat" if streamed else "chat", HELLO)
        message = (responses[-1] if streamed else responses).message
        assert [type(block) for block in message.blocks] == [ThinkingBlock, TextBlock]
        assert (message.blocks[0].content, message.content) == ("why", "So.")
        if streamed:
            assert responses[0].additional_kwargs["thinking_delta"] == "why"
        await way(llm, "chat", [*HELLO, message, *HELLO])
        sent = wire.bodies[1]["messages"][1]
        assert sent["content"] == "So."
        assert "why" in str(sent)


def test_several_reasoning_texts_of_one_answer_are_separate_lines() -> None:
    blocks = [ThinkingBlock(content="one"), ThinkingBlock(), ThinkingBlock(content="two")]
    (sent,) = to_wire([ChatMessage(role="assistant", blocks=[*blocks, TextBlock(text="So.")])])
    assert sent == {"role": "assistant", "content": "So.", "reasoning": "one\ntwo"}


def test_signed_reasoning_keeps_its_order() -> None:
    blocks = [
        ThinkingBlock(content=text, additional_information={"signature": f"s-{text}"})
        for text in ("one", "two")
    ]
    (sent,) = to_wire([ChatMessage(role="assistant", blocks=blocks)])
    assert [item["signature"] for item in sent["reasoning_details"]] == ["s-one", "s-two"]


async def test_an_object_is_found_where_a_thinking_model_puts_it(way: Way) -> None:
    class Song(BaseModel):
        title: str

    for message in (
        {"content": '<think>\n{"title": 1}\n</think>\n\n{"title": "Tide"}'},
        {"content": '{"title": "Tide"}', "reasoning_content": '{"title": "Draft"}'},
        {"content": None, "tool_calls": [tool_call("c", "Song", '{"title": "Tide"}')]},
    ):
        llm = way.llm(Wire(answer(message)))
        value = await way(llm, "structured_predict", Song, PromptTemplate("x"))
        assert value == Song(title="Tide")


async def test_usage_and_choices_are_on_the_last_chunk_of_a_stream(way: Way) -> None:
    """15079 and others: token counters and tracers look at the last response."""
    wire = Wire(stream(delta("Hi"), delta(finish="stop"), usage_event()))
    responses = await way(way.llm(wire), "stream_chat", HELLO)
    assert responses[-1].raw["usage"]["total_tokens"] == 18
    assert responses[-1].raw["choices"][0]["finish_reason"] == "stop"


def test_calls_in_both_representations_go_back_once() -> None:
    call = tool_call("c", "f", "{}")
    message = ChatMessage(
        role="assistant",
        blocks=[ToolCallBlock(tool_call_id="c", tool_name="f", tool_kwargs={})],
        additional_kwargs={"tool_calls": [call]},
    )
    (sent,) = to_wire([message])
    assert sent["tool_calls"] == [call]


class Keywords(BaseModel):
    names: list[str] = Field(default_factory=list)


@pytest.mark.parametrize("how", ["json_schema", "function_calling", "prompt"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_class_of_one_field_with_a_default_is_filled(
    way: Way, streamed: bool, how: Any
) -> None:
    """21024: LiteLLM gives the default, silently."""
    text = '{"names": ["a", "b"]}'
    message: dict[str, Any] = {"content": text}
    if how == "function_calling":
        message = {"content": None, "tool_calls": [{"index": 0, **tool_call("c", "K", text)}]}
    played = stream(delta(**message), delta(finish="stop")) if streamed else answer(message)
    llm = way.llm(Wire(played), structured_output=how)
    method = "stream_structured_predict" if streamed else "structured_predict"
    values = await way(llm, method, Keywords, PromptTemplate("x"))
    assert (values[-1] if streamed else values) == Keywords(names=["a", "b"])


async def test_llama_index_own_program_fills_it_too(way: Way) -> None:
    played = answer(
        {"content": None, "tool_calls": [tool_call("c", "Keywords", '{"names": ["a"]}')]}
    )
    program = FunctionCallingProgram.from_defaults(
        output_cls=Keywords, llm=way.llm(Wire(played)), prompt=PromptTemplate("x")
    )
    value = await program.acall() if way.is_async else program()
    assert value == Keywords(names=["a"])


async def test_an_invalid_object_raises_and_is_not_returned_as_text(way: Way) -> None:
    """17649: core's program returns the error's text in the place of the object."""

    class Pair(BaseModel):
        people: list[str] = Field(min_length=2, max_length=2)

    call = tool_call("c", "Pair", '{"people": ["a"]}')
    llm = way.llm(
        Wire(answer({"content": None, "tool_calls": [call]})),
        structured_output="function_calling",
    )
    with pytest.raises(LunosStructuredOutputError, match="people: List should have at least 2"):
        await way(llm, "structured_predict", Pair, PromptTemplate("x"))
