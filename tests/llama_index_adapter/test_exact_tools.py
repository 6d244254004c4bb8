"""Tools by exact values: what is printed, which call is kept, what is said of failures."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ToolCallBlock
from llama_index.core.tools import FunctionTool

from llama_index_lunos import Lunos
from llama_index_lunos._tools import keep_first_call, read_react_step, with_user_message
from lunos_core import LunosError
from tests.llama_index_adapter.wire import Way, Wire, answer, delta, stream, tool_call


def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


def fail(a: int) -> int:
    """Always fail."""
    raise RuntimeError(f"cannot {a}")


ADD = FunctionTool.from_defaults(add)
FAIL = FunctionTool.from_defaults(fail)
FIRST = tool_call("c1", "add", '{"a": 1, "b": 2}')
SECOND = tool_call("c2", "add", '{"a": 3}')


def called(*calls: Any, content: str | None = None) -> Any:
    return answer({"content": content, "tool_calls": list(calls)}, "tool_calls")


@pytest.mark.parametrize("verbose", [True, False])
async def test_calls_are_printed_where_that_was_asked(
    way: Way, verbose: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    llm = way.llm(Wire(called(FIRST)))
    result = await way(llm, "predict_and_call", [ADD], "?", verbose=verbose)
    assert result.response == "3"
    assert ("add" in capsys.readouterr().out) == verbose


async def test_nothing_is_printed_by_default(way: Way, capsys: pytest.CaptureFixture[str]) -> None:
    await way(way.llm(Wire(called(FIRST))), "predict_and_call", [ADD], "?")
    assert capsys.readouterr().out == ""


async def test_one_call_is_made_unless_several_are_allowed(way: Way) -> None:
    llm = way.llm(Wire(called(FIRST, SECOND)))
    result = await way(llm, "predict_and_call", [ADD], "?")
    assert (result.response, len(result.sources)) == ("3", 1)
    result = await way(llm, "predict_and_call", [ADD], "?", allow_parallel_tool_calls=True)
    assert (result.response, len(result.sources)) == ("3\n\n4", 2)


def test_a_chat_with_tools_forbids_several_calls_by_itself() -> None:
    llm = Lunos("m", api_key="k")
    prepared = llm._prepare_chat_with_tools([ADD], "?")
    assert prepared["parallel_tool_calls"] is False
    prepared = llm._prepare_chat_with_tools([ADD], "?", allow_parallel_tool_calls=True)
    assert "parallel_tool_calls" not in prepared


@pytest.mark.parametrize("user_msg", ["And?", ChatMessage("And?")])
async def test_the_question_comes_behind_the_history(way: Way, user_msg: Any) -> None:
    wire = Wire(called(FIRST))
    history = [ChatMessage("Be brief", role="system")]
    await way(way.llm(wire), "predict_and_call", [ADD], user_msg, chat_history=history, seed=5)
    assert wire.body["messages"] == [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": "And?"},
    ]
    assert (wire.body["seed"], wire.body["parallel_tool_calls"]) == (5, False)
    assert history == [ChatMessage("Be brief", role="system")]
    assert with_user_message(None, None) == []


async def test_no_call_is_an_error_unless_it_may_be_missing(way: Way) -> None:
    llm = way.llm(Wire(answer("I would rather not.")))
    with pytest.raises(ValueError, match=r"called no tool; it said: 'I would rather not\.'"):
        await way(llm, "predict_and_call", [ADD], "?")
    result = await way(llm, "predict_and_call", [ADD], "?", error_on_no_tool_call=False)
    assert (result.response, result.sources) == ("I would rather not.", [])
    silent = way.llm(Wire(answer({"content": None})))
    with pytest.raises(ValueError, match="it said: 'nothing'"):
        await way(silent, "predict_and_call", [ADD], "?")


async def test_a_failing_tool_is_an_error_where_that_was_asked(way: Way) -> None:
    llm = way.llm(Wire(called(tool_call("c1", "fail", '{"a": 1}'))))
    result = await way(llm, "predict_and_call", [FAIL], "?")
    assert result.sources[0].is_error
    assert "cannot 1" in result.response
    with pytest.raises(ValueError, match="cannot 1"):
        await way(llm, "predict_and_call", [FAIL], "?", error_on_tool_error=True)
    good = way.llm(Wire(called(FIRST)))
    result = await way(good, "predict_and_call", [ADD], "?", error_on_tool_error=True)
    assert result.response == "3"


async def test_a_tool_that_is_not_there_is_named_with_those_that_are(way: Way) -> None:
    llm = way.llm(Wire(called(tool_call("c1", "subtract", "{}"))))
    with pytest.raises(ValueError, match="'subtract', which isn't one of the tools: add, fail"):
        await way(llm, "predict_and_call", [ADD, FAIL], "?")


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_first_call_is_kept_beside_everything_else(way: Way, streamed: bool) -> None:
    calls = [{"index": i, **call} for i, call in enumerate((FIRST, SECOND))]
    played = (
        stream(delta("Let me.", tool_calls=calls), delta(finish="tool_calls"))
        if streamed
        else called(FIRST, SECOND, content="Let me.")
    )
    method = "stream_chat_with_tools" if streamed else "chat_with_tools"
    result = await way(way.llm(Wire(played)), method, [ADD], "?")
    message = (result[-1] if streamed else result).message
    assert message.content == "Let me."
    blocks = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
    assert [block.tool_call_id for block in blocks] == ["c1"]
    assert message.additional_kwargs["tool_calls"] == [FIRST]


@pytest.mark.parametrize("in_blocks", [True, False])
def test_a_response_of_one_call_is_the_same_object(in_blocks: bool) -> None:
    block = ToolCallBlock(tool_call_id="c1", tool_name="add", tool_kwargs={})
    blocks = [block] if in_blocks else []
    extra = {} if in_blocks else {"tool_calls": [FIRST]}
    message = ChatMessage(role="assistant", blocks=blocks, additional_kwargs=extra)
    response = ChatResponse(message=message)
    assert keep_first_call(response) is response
    twice = ChatMessage(
        role="assistant", blocks=[*blocks, *(block.model_copy() for block in blocks)]
    )
    if in_blocks:
        kept = keep_first_call(ChatResponse(message=twice))
        assert len(kept.message.blocks) == 1
        assert len(twice.blocks) == 2


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("The sky is blue.", "The sky is blue."),
        ("Thought: I know.\nAnswer: Blue.", "Blue."),
    ],
)
def test_a_model_without_tools_may_just_answer(text: str, step: str) -> None:
    assert read_react_step(text) == step


def test_a_model_without_tools_calls_by_its_words() -> None:
    text = 'Thought: I add.\nAction: add\nAction Input: {"a": 1, "b": 2}'
    step: Any = read_react_step(text)
    assert (step.tool_id, step.tool_name, step.tool_kwargs) == ("react_1", "add", {"a": 1, "b": 2})


async def test_a_model_without_tools_gets_no_field_of_tools(way: Way) -> None:
    text = 'Thought: I add.\nAction: add\nAction Input: {"a": 1, "b": 2}'
    wire = Wire(answer(text))
    llm = way.llm(wire, is_function_calling_model=False)
    given = {"tool_choice": "add", "tool_required": True, "memory": None, "seed": 5}
    result = await way(llm, "predict_and_call", [ADD], "What is 1 + 2?", **given)
    assert result.response == "3"
    assert wire.body.keys() == {"model", "messages", "seed"}
    assert "Add two numbers." in wire.body["messages"][0]["content"]
    assert wire.body["messages"][-1] == {"role": "user", "content": "What is 1 + 2?"}


@pytest.mark.parametrize("strict", [None, True, False])
async def test_strict_of_a_call_wins_over_the_setting(way: Way, strict: bool | None) -> None:
    wire = Wire(called(FIRST))
    for setting in (None, True, False):
        await way(way.llm(wire, strict=setting), "chat_with_tools", [ADD], "?", strict=strict)
        wanted = setting if strict is None else strict
        assert wire.bodies[-1]["tools"][0]["function"].get("strict") == wanted


async def test_tools_of_the_model_itself_need_no_other(way: Way) -> None:
    wire = Wire(answer("Hi"))
    llm = way.llm(wire, additional_kwargs={"tools": [{"type": "web_search"}]})
    await way(llm, "chat_with_tools", [], "?", tool_required=True)
    assert wire.body.keys() == {"model", "messages", "tools"}
    assert wire.body["tools"] == [{"type": "web_search"}]


def test_a_response_is_checked_for_one_call_by_itself() -> None:
    message = ChatMessage(role="assistant", additional_kwargs={"tool_calls": [FIRST, SECOND]})
    response, llm = ChatResponse(message=message), Lunos("m", api_key="sk-x")
    kept = llm._validate_chat_with_tools_response(response, [ADD])
    assert kept.message.additional_kwargs["tool_calls"] == [FIRST]
    several = llm._validate_chat_with_tools_response(response, [ADD], True)
    assert several is response


async def test_of_a_broken_stream_the_first_choice_is_kept(way: Way) -> None:
    other = delta("Bye")
    other["choices"][0]["index"] = 1
    broken = stream(delta("Hel"), other, delta("lo"), {"error": {"message": "gone"}})
    with pytest.raises(LunosError) as caught:
        await way(way.llm(Wire(broken)), "stream_chat", [ChatMessage("?")])
    assert caught.value.partial.content == "Hello"
