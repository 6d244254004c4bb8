"""Tools: what is sent for them, what is read of the calls, and the agents on top."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ToolCallBlock
from llama_index.core.program.utils import process_streaming_objects
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from llama_index_lunos import Lunos
from tests.llama_index_adapter.wire import Way, Wire, answer, delta, stream, tool_call

HISTORY = [ChatMessage("Hello")]


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def fail(a: int) -> int:
    """Always fail."""
    raise RuntimeError(f"cannot {a}")


def now() -> str:
    """The time."""
    return "noon"


ADD = FunctionTool.from_defaults(add)
FAIL = FunctionTool.from_defaults(fail)
NOW = FunctionTool.from_defaults(now)
CALL = tool_call("c1", "add", '{"a": 1, "b": 2}')
SECOND = tool_call("c2", "add", '{"a": 3, "b": 4}')


def called(*calls: dict[str, Any]) -> Any:
    return answer({"content": None, "tool_calls": list(calls)}, "tool_calls")


def called_in_a_stream(*calls: dict[str, Any]) -> Any:
    pieces = [delta(tool_calls=[{"index": index, **call}]) for index, call in enumerate(calls)]
    return stream(*pieces, delta(finish="tool_calls"))


async def test_tools_are_sent_with_their_schema_and_no_choice(way: Way) -> None:
    wire = Wire(called(CALL))
    await way(way.llm(wire), "chat_with_tools", [ADD], "1 + 2?", allow_parallel_tool_calls=True)
    sent = wire.body
    assert sent["messages"] == [{"role": "user", "content": "1 + 2?"}]
    (tool,) = sent["tools"]
    assert tool["type"] == "function"
    assert tool["function"]["name"] == "add"
    assert set(tool["function"]["parameters"]["properties"]) == {"a", "b"}
    assert sent.keys() == {"model", "messages", "tools"}


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"tool_required": True}, "required"),
        ({"tool_required": True, "tool_choice": None}, "required"),
        ({"tool_required": True, "tool_choice": "none"}, "none"),
        ({"tool_choice": "auto"}, "auto"),
        ({"tool_choice": "any"}, "required"),
        ({"tool_choice": "add"}, {"type": "function", "function": {"name": "add"}}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "add"}}},
            {"type": "function", "function": {"name": "add"}},
        ),
        ({"tool_choice": None}, None),
    ],
)
@pytest.mark.parametrize("method", ["chat_with_tools", "stream_chat_with_tools"])
async def test_a_choice_is_sent_as_the_wire_has_it(
    way: Way, method: str, given: dict[str, Any], sent: Any
) -> None:
    wire = Wire(called_in_a_stream(CALL) if "stream" in method else called(CALL))
    await way(way.llm(wire), method, [ADD, NOW], "1 + 2?", **given)
    assert wire.body.get("tool_choice") == sent
    assert ("tool_choice" in wire.body) == (sent is not None)


async def test_a_choice_of_an_unknown_tool_raises_before_anything_is_sent(way: Way) -> None:
    wire = Wire(called(CALL))
    with pytest.raises(ValueError, match="'subtract' isn't one of the tools: add"):
        await way(way.llm(wire), "chat_with_tools", [ADD], "1 - 2?", tool_choice="subtract")
    assert wire.requests == []


async def test_without_tools_no_field_of_tools_is_sent(way: Way) -> None:
    wire = Wire(answer())
    await way(way.llm(wire), "chat_with_tools", [], "Hi", tool_choice="auto", tool_required=True)
    assert wire.body.keys() == {"model", "messages"}


async def test_parallel_calls_are_forbidden_on_the_wire_where_they_are_not_wanted(way: Way) -> None:
    wire = Wire(called(CALL))
    await way(way.llm(wire), "chat_with_tools", [ADD], "1 + 2?")
    assert wire.body["parallel_tool_calls"] is False


async def test_the_callers_history_is_not_changed(way: Way) -> None:
    history = list(HISTORY)
    for method, played in (
        ("chat_with_tools", called(CALL)),
        ("stream_chat_with_tools", called_in_a_stream(CALL)),
    ):
        await way(way.llm(Wire(played)), method, [ADD], "1 + 2?", chat_history=history)
        await way(way.llm(Wire(played)), method, [ADD], ChatMessage("?"), chat_history=history)
    assert history == HISTORY


async def test_a_tool_of_the_server_stands_beside_functions(way: Way) -> None:
    wire = Wire(called(CALL))
    llm = way.llm(wire, additional_kwargs={"tools": [{"type": "web_search"}]})
    await way(llm, "chat_with_tools", [ADD], "1 + 2?")
    await way(llm, "chat", HISTORY)
    assert [item["type"] for item in wire.bodies[0]["tools"]] == ["function", "web_search"]
    assert wire.bodies[1]["tools"] == [{"type": "web_search"}]


async def test_long_descriptions_pass(way: Way) -> None:
    tool = FunctionTool.from_defaults(add, description="x" * 2000)
    wire = Wire(called(CALL))
    await way(way.llm(wire), "chat_with_tools", [tool], "1 + 2?")
    assert "x" * 2000 in wire.body["tools"][0]["function"]["description"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_only_the_first_call_is_kept_where_one_was_allowed(way: Way, streamed: bool) -> None:
    played = called_in_a_stream(CALL, SECOND) if streamed else called(CALL, SECOND)
    method = "stream_chat_with_tools" if streamed else "chat_with_tools"
    llm = way.llm(Wire(played))
    item = await way(llm, method, [ADD], "?")
    both = await way(llm, method, [ADD], "?", allow_parallel_tool_calls=True)
    for response, wanted in ((item, 1), (both, 2)):
        last = response[-1] if streamed else response
        blocks = [block for block in last.message.blocks if isinstance(block, ToolCallBlock)]
        assert len(blocks) == len(last.message.additional_kwargs["tool_calls"]) == wanted
        assert len(llm.get_tool_calls_from_response(last)) == wanted


def test_calls_are_read_from_either_representation() -> None:
    llm = Lunos("m", api_key="sk-test")
    in_blocks = ChatMessage(
        role="assistant", blocks=[ToolCallBlock(tool_name="add", tool_kwargs='{"a": 1}')]
    )
    in_dicts = ChatMessage(
        role="assistant", additional_kwargs={"tool_calls": [tool_call("", "add", '{"a": 1}')]}
    )
    for message in (in_blocks, in_dicts):
        (call,) = llm.get_tool_calls_from_response(ChatResponse(message=message))
        assert (call.tool_name, call.tool_kwargs) == ("add", {"a": 1})


@pytest.mark.parametrize(
    ("arguments", "on_the_way", "at_the_end"),
    [
        # never called with half a path: no tool has this argument, so its error says what is wrong
        ('{"path": "/ho', {"path": "/ho"}, {"INVALID_JSON": '{"path": "/ho'}),
        ("", {}, {}),
        (" \n", {}, {}),
        ("null", {}, {}),
        ('""', {}, {}),
        ("[]", {}, {}),  # PHP's empty object
        ('"{\\"a\\": 1}"', {}, {"a": 1}),  # JSON within a JSON string
        ('{"a": "x\ny"}', {}, {"a": "x\ny"}),  # a bare newline, as small models write it
        ("[1]", {}, {"INVALID_JSON": "[1]"}),
        ('{"a": 1}', {"a": 1}, {"a": 1}),
    ],
)
def test_half_arguments_are_shown_on_the_way_and_never_called_with(
    arguments: str, on_the_way: Any, at_the_end: Any, caplog: pytest.LogCaptureFixture
) -> None:
    llm = Lunos("m", api_key="sk-test")
    message = ChatMessage(
        role="assistant",
        blocks=[ToolCallBlock(tool_call_id="c", tool_name="rm", tool_kwargs=arguments)],
    )
    (early,) = llm.get_tool_calls_from_response(ChatResponse(message=message))
    ended = ChatResponse(message=message, additional_kwargs={"finish_reason": "length"})
    (late,) = llm.get_tool_calls_from_response(ended)
    assert (early.tool_kwargs, late.tool_kwargs) == (on_the_way, at_the_end)


async def test_no_call_raises_where_one_was_needed(way: Way) -> None:
    llm = way.llm(Wire(answer("I would rather not.")))
    response = await way(llm, "chat", HISTORY)
    with pytest.raises(ValueError, match="I would rather not"):
        llm.get_tool_calls_from_response(response)
    assert llm.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []


async def test_llama_index_reads_objects_out_of_the_streamed_calls(way: Way) -> None:
    """Core looks for the plain dicts and would give a blank object without them."""

    class Sum(BaseModel):
        a: int
        b: int

    llm = way.llm(Wire(called_in_a_stream(CALL)))
    last = (await way(llm, "stream_chat_with_tools", [ADD], "?"))[-1]
    assert process_streaming_objects(last, Sum, llm=llm) == Sum(a=1, b=2)


async def test_predict_and_call_calls_the_tool(way: Way) -> None:
    response = await way(way.llm(Wire(called(CALL))), "predict_and_call", [ADD], "1 + 2?")
    assert response.response == "3"
    assert [source.raw_output for source in response.sources] == [3]


async def test_predict_and_call_calls_several_where_that_is_allowed(way: Way) -> None:
    response = await way(
        way.llm(Wire(called(CALL, SECOND))),
        "predict_and_call",
        [ADD],
        "?",
        allow_parallel_tool_calls=True,
    )
    assert response.response == "3\n\n7"


async def test_predict_and_call_reports_tools_that_fail(way: Way) -> None:
    llm = way.llm(Wire(called(tool_call("c", "fail", '{"a": 1}'))))
    response = await way(llm, "predict_and_call", [FAIL], "?")
    assert response.sources[0].is_error
    with pytest.raises(ValueError, match="cannot 1"):
        await way(llm, "predict_and_call", [FAIL], "?", error_on_tool_error=True)


async def test_predict_and_call_names_a_tool_that_does_not_exist(way: Way) -> None:
    llm = way.llm(Wire(called(tool_call("c", "subtract", "{}"))))
    with pytest.raises(ValueError, match="'subtract', which isn't one of the tools: add"):
        await way(llm, "predict_and_call", [ADD], "?")


async def test_a_tool_whose_name_the_wire_cannot_spell_is_found_again(way: Way) -> None:
    tool = FunctionTool.from_defaults(add, name="add[int]")
    wire = Wire(called(tool_call("c1", "add_int", '{"a": 1, "b": 2}')))
    response = await way(way.llm(wire), "predict_and_call", [tool], "?")
    assert wire.body["tools"][0]["function"]["name"] == "add_int"
    assert response.response == "3"


async def test_predict_and_call_works_for_models_without_tools(way: Way) -> None:
    said = 'Thought: I need a tool.\nAction: add\nAction Input: {"a": 1, "b": 2}'
    wire = Wire(answer(said))
    llm = way.llm(wire, is_function_calling_model=False)
    response = await way(
        llm, "predict_and_call", [ADD], "1 + 2?", tool_choice=None, tool_required=True
    )
    assert response.response == "3"
    assert wire.body.keys() == {"model", "messages"}
    assert "add" in wire.body["messages"][0]["content"]


async def test_a_model_without_tools_may_answer_directly(way: Way) -> None:
    for said, wanted in (("Thought: easy.\nAnswer: three", "three"), ("three", "three")):
        llm = way.llm(Wire(answer(said)), is_function_calling_model=False)
        response = await way(llm, "predict_and_call", [ADD], "1 + 2?")
        assert (response.response, response.sources) == (wanted, [])


async def test_a_gateway_that_fails_is_an_error_and_not_an_answer(way: Way) -> None:
    from lunos_core import LunosAuthenticationError
    from tests.llama_index_adapter.wire import error

    llm = way.llm(Wire(error(401)), is_function_calling_model=False)
    with pytest.raises(LunosAuthenticationError):
        await way(llm, "predict_and_call", [ADD], "1 + 2?")


def toy(name: str) -> FunctionTool:
    return FunctionTool.from_defaults(add, name=name)


@pytest.mark.parametrize(
    ("names", "sent"),
    [
        (["retrieval tool"], ["retrieval_tool"]),
        (["größe"], ["gro_e"]),
        (["x" * 100], ["x" * 55 + "_09ecb6eb"]),
        (["a b", "a_b"], ["a_b_c8687a08", "a_b"]),
        (["a b", "a.b"], ["a_b", "a_b_2e7336dc"]),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_calls_come_back_under_the_tools_own_names(
    way: Way, streamed: bool, names: list[str], sent: list[str]
) -> None:
    played = [tool_call(f"c{i}", name, "{}") for i, name in enumerate(sent)]
    wire = Wire((called_in_a_stream if streamed else called)(*played), answer())
    llm = way.llm(wire)
    tools = [toy(name) for name in names]
    method = "stream_chat_with_tools" if streamed else "chat_with_tools"
    options = {"allow_parallel_tool_calls": True, "tool_choice": names[0]}
    responses = await way(llm, method, tools, "?", **options)
    last = responses[-1] if streamed else responses
    assert [tool["function"]["name"] for tool in wire.body["tools"]] == sent
    assert wire.body["tool_choice"]["function"]["name"] == sent[0]
    assert [call.tool_name for call in llm.get_tool_calls_from_response(last)] == names
    calls = last.message.additional_kwargs["tool_calls"]
    assert [call["function"]["name"] for call in calls] == names

    results = [
        ChatMessage("3", role="tool", additional_kwargs={"tool_call_id": call["id"]})
        for call in calls
    ]
    history = [ChatMessage("?"), last.message, *results]
    await way(llm, "chat_with_tools", tools, chat_history=history)
    back = wire.bodies[1]["messages"][1]["tool_calls"]
    assert [call["function"]["name"] for call in back] == sent
    assert [call["function"]["name"] for call in last.message.additional_kwargs["tool_calls"]] == (
        names
    )


async def test_a_history_without_its_tools_has_names_that_providers_take(way: Way) -> None:
    calls = [tool_call("c", "retrieval tool", "{}")]
    in_dicts = ChatMessage(role="assistant", additional_kwargs={"tool_calls": calls})
    in_blocks = ChatMessage(
        role="assistant", blocks=[ToolCallBlock(tool_call_id="c", tool_name="retrieval tool")]
    )
    for message in (in_dicts, in_blocks):
        wire = Wire(answer())
        await way(way.llm(wire), "chat", [message])
        (call,) = wire.body["messages"][0]["tool_calls"]
        assert call["function"]["name"] == "retrieval_tool"
