"""Objects: exactly what is asked for, and which part of an answer is taken for the object."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ToolCallBlock
from llama_index.core.prompts import ChatPromptTemplate, PromptTemplate
from pydantic import BaseModel, create_model

from llama_index_lunos import LunosStructuredOutputError
from llama_index_lunos._structured_output import (
    PartialObjects,
    read_object,
    set_strict,
    to_response_format,
    to_tool,
)
from lunos_core import LunosBadRequestError
from tests.llama_index_adapter.wire import Way, Wire, answer, delta, error, stream, tool_call


class Point(BaseModel):
    """A place."""

    x: int
    y: int = 0


class Loose(BaseModel):
    counts: dict[str, int]


POINT = PromptTemplate("Where?")


def said(text: str, finish: str = "stop", **extra: Any) -> ChatResponse:
    message = ChatMessage(text, role="assistant", additional_kwargs=extra)
    return ChatResponse(message=message, additional_kwargs={"finish_reason": finish})


def test_a_schema_is_strict_where_it_can_be() -> None:
    assert to_response_format(Point) == {
        "type": "json_schema",
        "json_schema": {
            "name": "Point",
            "description": "A place.",
            "strict": True,
            "schema": {
                **Point.model_json_schema(),
                "required": ["x", "y"],
                "additionalProperties": False,
                "properties": to_response_format(Point)["json_schema"]["schema"]["properties"],
            },
        },
    }
    loose = {"name": "Loose", "schema": Loose.model_json_schema()}
    assert to_response_format(Loose)["json_schema"] == loose
    plain = to_response_format(Point, strict=False)["json_schema"]
    assert plain["schema"] == Point.model_json_schema()
    assert "strict" not in plain


def test_a_tool_has_the_class_as_its_parameters() -> None:
    function = to_tool(Loose)["function"]
    assert (function["name"], function["description"]) == ("Loose", "Give a Loose.")
    assert function["parameters"] == Loose.model_json_schema()
    tool = to_tool(Point)
    assert tool["function"]["description"] == "A place."
    assert set_strict(tool, None) is tool
    assert set_strict(tool, False)["function"]["strict"] is False
    assert set_strict(tool, True)["function"]["strict"] is True
    assert set_strict(to_tool(Loose), True) == to_tool(Loose)
    assert set_strict({"type": "web_search"}, True) == {"type": "web_search"}


def test_a_name_has_64_characters_at_most_and_only_what_the_wire_takes() -> None:
    for make in (to_response_format, to_tool):
        for name, sent in (("A" * 70, "A{55}_[0-9a-f]{8}"), ("Größe[int]", "Gro_e_int")):
            kind = next(value for key, value in make(create_model(name)).items() if key != "type")
            assert re.fullmatch(sent, kind["name"])


@pytest.mark.parametrize(
    ("text", "x"),
    [
        ('{"x": 1}', 1),
        ('See {this}: {"x": 2}', 2),
        ('{"y": 5} and {"x": 3}', 3),
        ('[{"x": 4}]', 4),
        ('{{x}} {"x": 5} {"x": 6}', 5),
        ('<think>{"x": 7}</think>{"x": 8}', 8),
        ('[1] {"x": 9}', 9),
        ('{{"x": 10}', 10),
    ],
)
def test_the_first_value_that_fits_is_the_object(text: str, x: int) -> None:
    assert read_object(Point, said(text)) == Point(x=x)


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (said("", refusal="I won't"), "the model refused to give a Point: I won't"),
        (said('{"x": 1', "length"), "the Point was cut off at max_tokens"),
        (said("", "content_filter"), "a content filter of the provider cut the Point off"),
        (said('{"x": "a"} [5]'), "isn't a valid Point: x: Input should be a valid integer"),
        (said('[{"x": 1}, {"x": 2}]'), "isn't a valid Point: it:"),
        (said("Nowhere."), "the answer has no JSON for a Point: 'Nowhere.'"),
        (said("<think>{"), "the answer has no JSON for a Point: '<think>{'"),
    ],
)
def test_the_error_explains_why_there_is_no_object(response: ChatResponse, why: str) -> None:
    with pytest.raises(LunosStructuredOutputError) as caught:
        read_object(Point, response)
    assert why in str(caught.value)
    assert caught.value.partial is response.message


def test_three_of_many_mistakes_are_told() -> None:
    kind = create_model("Many", **dict.fromkeys("abcd", (int, ...)))
    with pytest.raises(
        LunosStructuredOutputError, match=r"a: Field.*; b: Field.*; c: Field"
    ) as caught:
        read_object(kind, said("{}"))
    assert "d: " not in str(caught.value)


def test_arguments_of_a_call_go_before_the_text() -> None:
    for arguments in ('{"x": 1}', {"x": 1}):
        call = ToolCallBlock(tool_call_id="c", tool_name="Point", tool_kwargs=arguments)
        message = ChatMessage(role="assistant", blocks=[call])
        assert read_object(Point, ChatResponse(message=message)) == Point(x=1)


def test_a_growing_object_is_shown_when_it_has_changed() -> None:
    growing = PartialObjects(Point)
    texts = ["", "So: ", 'So: {"x', 'So: {"x": 1', 'So: {"x": 1, "y": 2', 'So: {"x": 1, "y": 2}']
    shown = [growing.add(said(text)) for text in [*texts, texts[-1], texts[-1] + ' {"x": 5}']]
    values = [value and value.model_dump() for value in shown]
    assert values[:2] == [None, None]
    assert values[3] == {"x": 1, "y": 0}
    assert values[4] == {"x": 1, "y": 2}
    assert values[5:] == [None, None, None]
    assert growing.end() is None
    whole = PartialObjects(Point)
    assert whole.add(said("Thinking.")) is None
    whole.add(said('{"x": 1}'))
    assert whole.end() is None
    second = PartialObjects(Point)
    value = second.add(said('{"y": 5} and then {"x": 3}'))
    assert value == Point(x=3)
    late = PartialObjects(Point)
    late.add(said("no"))
    with pytest.raises(LunosStructuredOutputError, match="no JSON for a Point"):
        late.end()
    with pytest.raises(LunosStructuredOutputError, match="the stream was empty: it has no Point"):
        PartialObjects(Point).end()


@pytest.mark.parametrize("last", ["user", "system"])
async def test_the_schema_stands_in_the_last_question(way: Way, last: str) -> None:
    wire = Wire(answer('{"x": 1}'))
    messages = [ChatMessage("A", role="system"), ChatMessage("B"), ChatMessage("C", role=last)]
    prompt = ChatPromptTemplate(message_templates=messages)
    llm = way.llm(wire, structured_output="prompt")
    assert await way(llm, "structured_predict", Point, prompt) == Point(x=1)
    sent = wire.body["messages"]
    assert [item["content"] for item in sent[:2]] == ["A", "B"]
    assert len(sent) == (3 if last == "user" else 4)
    assert sent[2]["content"].startswith("C")
    assert '"x"' in sent[-1]["content"]
    assert sent[-1]["role"] == "user"


@pytest.mark.parametrize("method", ["structured_predict", "stream_structured_predict"])
@pytest.mark.parametrize("word", ["response_format", "json_schema"])
async def test_a_refused_schema_is_asked_by_tool_and_remembered(
    way: Way, method: str, word: str
) -> None:
    text = '{"x": 1}'
    call = tool_call("c", "Point", text)
    good = answer({"content": None, "tool_calls": [call]}, "tool_calls")
    if "stream" in method:
        good = stream(delta(tool_calls=[{"index": 0, **call}]), delta(finish="tool_calls"))
    wire = Wire(error(400, f"{word} isn't supported"), good)
    llm = way.llm(wire)
    for _ in range(2):
        result = await way(llm, method, Point, POINT)
        assert (result[-1] if isinstance(result, list) else result) == Point(x=1)
    kinds = ["tools" if "tools" in body else "format" for body in wire.bodies]
    assert kinds == ["format", "tools", "tools"]
    assert json.dumps(wire.bodies[0]["messages"]) == json.dumps(wire.bodies[1]["messages"])


async def test_a_refusal_of_something_else_is_raised_as_it_came(way: Way) -> None:
    wire = Wire(error(400, "too many tools"))
    with pytest.raises(LunosBadRequestError, match="too many tools"):
        await way(way.llm(wire), "structured_predict", Point, POINT)
    assert len(wire.requests) == 1


def test_a_long_answer_is_shown_by_its_first_200_letters() -> None:
    with pytest.raises(LunosStructuredOutputError) as caught:
        read_object(Point, said("a" * 300))
    assert f"{'a' * 200!r}" in str(caught.value)
    assert "a" * 201 not in str(caught.value)
