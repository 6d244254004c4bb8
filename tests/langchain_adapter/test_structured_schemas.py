"""Structured output: schemas of every kind, tools beside the form, and text around the object."""

from __future__ import annotations

import json
import logging
import re
from enum import Enum
from typing import Annotated, Any, Generic, Literal, NotRequired, Required, TypeVar

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import StructuredTool, tool
from langchain_core.utils.function_calling import convert_to_openai_function
from pydantic import BaseModel, Field, RootModel
from typing_extensions import TypedDict

from langchain_lunos._schemas import to_function, to_json_schema
from tests.langchain_adapter.wire import Wire, answer, both_kinds, call, chat, reply, streamed

METHODS = ("json_schema", "function_calling", "json_mode")


class Node(BaseModel):
    """A node."""

    name: str
    children: list[Node] = []


class Tree(TypedDict):
    """A tree."""

    name: str
    children: list[Tree]


class Husband(BaseModel):
    """One of two that refer to each other."""

    wife: Wife | None = None


class Wife(BaseModel):
    """The other one."""

    husband: Husband | None = None


class Counts(BaseModel):
    """Counts by word."""

    by_word: dict[str, int]


class Cat(BaseModel):
    """A cat."""

    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    """A dog."""

    kind: Literal["dog"]
    tricks: list[str]


class Pet(BaseModel):
    """A pet."""

    animal: Annotated[Cat | Dog, Field(discriminator="kind")]
    friend: Cat | Dog | None = None


class Anything(BaseModel):
    """Something."""

    value: Any


@tool
def plant(node: Node) -> str:
    """Plant a node."""
    return node.name


def plant_tree(node: Node, deep: bool = False) -> str:
    """Plant a tree."""
    return node.name


RECURSIVE: dict[str, Any] = {
    "a class": Node,
    "a TypedDict": Tree,
    "two classes": Husband,
    "a JSON schema": Node.model_json_schema(),
    "a tool": plant,
    "a function": plant_tree,
    "a tool of an MCP server": StructuredTool(
        name="plant",
        description="Plant a node.",
        args_schema={
            "type": "object",
            "properties": {"node": {"$ref": "#/$defs/Node"}},
            "$defs": Node.model_json_schema()["$defs"],
        },
        func=lambda node: node,
    ),
}


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [item for value in node.values() for item in references(value)]
    if isinstance(node, list):
        return [item for value in node for item in references(value)]
    return []


def empties(node: Any) -> bool:
    if isinstance(node, dict):
        return any(value == {} or empties(value) for value in node.values())
    return isinstance(node, list) and any(value == {} or empties(value) for value in node)


@pytest.mark.parametrize("strict", [None, True, False])
@pytest.mark.parametrize("name", RECURSIVE)
def test_a_schema_that_refers_to_itself_keeps_its_references(
    name: str, strict: bool | None
) -> None:
    function = to_function(RECURSIVE[name], strict)
    parameters = function["parameters"]
    assert parameters["type"] == "object"
    used = references(parameters)
    assert used
    assert {reference.removeprefix("#/$defs/") for reference in used} <= parameters["$defs"].keys()
    assert not empties(parameters)
    if strict:
        assert function["strict"] is True
        assert parameters["additionalProperties"] is False
        assert set(parameters["required"]) == parameters["properties"].keys()


@pytest.mark.parametrize("schema", [Counts, Anything, Counts.model_json_schema()])
def test_strict_is_false_where_the_schema_does_not_allow_it(
    schema: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        function = to_function(schema, True)
    assert function["strict"] is False
    assert "strict" in caplog.text
    assert function["parameters"] == to_function(schema)["parameters"]


def test_unions_are_strict_and_refer_to_nothing_that_is_not_there() -> None:
    for strict in (None, True):
        parameters = to_function(Pet, strict)["parameters"]
        text = json.dumps(parameters)
        assert "$defs" in parameters or "#/$defs" not in text
        assert "discriminator" not in text
    assert to_function(Pet, True)["strict"] is True


@pytest.mark.parametrize("schema", [Cat, Dog, Counts, Anything, plant_tree.__class__])
def test_other_schemas_are_those_of_langchain(schema: Any) -> None:
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        assert to_function(schema) == convert_to_openai_function(schema)
        assert to_json_schema(schema)["title"] == schema.__name__


@pytest.mark.parametrize("strict", [None, True])
@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
@pytest.mark.parametrize("schema", [Node, Tree, Node.model_json_schema()])
def test_a_recursive_answer_comes_back(schema: Any, method: Any, strict: bool | None) -> None:
    value = {"name": "a", "children": [{"name": "b", "children": []}]}
    name = "Tree" if schema is Tree else "Node"
    wire = (
        both_kinds(json.dumps(value))
        if method == "json_schema"
        else both_kinds(None, tool_calls=[call(name, json.dumps(value))])
    )
    runnable = chat(wire).with_structured_output(schema, method=method, strict=strict)
    result = runnable.invoke("Which?")
    assert (result.model_dump() if schema is Node else result) == value
    assert '"items": {}' not in json.dumps(wire.bodies[0])


class City(BaseModel):
    """A city."""

    name: str


def weather(city: str) -> str:
    """The weather in a city."""
    return city


ROME = City(name="Rome")
TEXT = '{"name": "Rome"}'


async def run(runnable: Any, way: str) -> Any:
    if way == "invoke":
        return runnable.invoke("Which?")
    if way == "ainvoke":
        return await runnable.ainvoke("Which?")
    result: Any = None
    if way == "stream":
        for part in runnable.stream("Which?"):
            result = part if result is None or not isinstance(part, dict) else result + part
    else:
        async for part in runnable.astream("Which?"):
            result = part if result is None or not isinstance(part, dict) else result + part
    return result


EVERY_WAY = pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])


@EVERY_WAY
@pytest.mark.parametrize("include_raw", [False, True])
@pytest.mark.parametrize("method", METHODS)
async def test_tools_and_a_form_go_together(method: Any, include_raw: bool, way: str) -> None:
    for calls in (False, True):
        if calls:
            wire = both_kinds(None, tool_calls=[call("weather")])
        elif method == "function_calling":
            wire = both_kinds(None, tool_calls=[call("City", TEXT)])
        else:
            wire = both_kinds(TEXT)
        runnable = chat(wire).with_structured_output(
            City, method=method, tools=[weather], include_raw=include_raw
        )
        result = await run(runnable, way)
        names = [item["function"]["name"] for item in wire.bodies[0]["tools"]]
        assert names == (["City"] if method == "function_calling" else []) + ["weather"]
        if include_raw:
            assert result["parsing_error"] is None
            if calls:
                assert result["raw"].tool_calls[0]["name"] == "weather"
            result = result["parsed"]
        assert result == (None if calls else ROME)


@EVERY_WAY
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("text", ["I would rather not.", '{"name": ', '{"nom": "Rome"}'])
async def test_an_answer_without_an_object_is_a_parsing_error(
    text: str, method: Any, way: str
) -> None:
    runnable = chat(both_kinds(text)).with_structured_output(City, method=method, include_raw=True)
    result = await run(runnable, way)
    assert result["parsed"] is None
    assert isinstance(result["parsing_error"], Exception)
    assert result["raw"].text == text


def test_the_answer_streams_beside_the_object() -> None:
    wire = Wire(streamed({"content": '{"name": '}, {"content": '"Rome"}'}))
    runnable = chat(wire).with_structured_output(City, method="json_schema", include_raw=True)
    parts = list(runnable.stream("Which?"))
    assert [part["raw"].text for part in parts if "raw" in part][:2] == ['{"name": ', '"Rome"}']
    assert parts[-1] == {"parsed": ROME, "parsing_error": None}


AROUND = [
    '<think>Maybe {Rome} or {"name": 3}?</think>' + TEXT,
    "<think>\nHm.\n</think>\n\n" + TEXT,
    "Here you are: " + TEXT,
    "See [1]: " + TEXT + " (as asked)",
    'First {"town": 1}, then ' + TEXT,
    "```json\n" + TEXT + "\n```",
    "Sure!\n```\n" + TEXT + "\n```\nAnything else?",
    "[1] " + TEXT,
]


@EVERY_WAY
@pytest.mark.parametrize("as_dict", [False, True])
@pytest.mark.parametrize("text", AROUND)
async def test_the_object_is_found_in_other_text(text: str, as_dict: bool, way: str) -> None:
    schema = City.model_json_schema() if as_dict else City
    for method in ("json_schema", "json_mode"):
        runnable = chat(both_kinds(text)).with_structured_output(schema, method=method)
        result = await run(runnable, way)
        assert result == ({"name": "Rome"} if as_dict else ROME)


@EVERY_WAY
@pytest.mark.parametrize("text", ['[{"name": "Rome"}]', '```json\n[{"name": "Rome"}]\n```'])
async def test_a_list_is_a_list(text: str, way: str) -> None:
    runnable = chat(both_kinds(text)).with_structured_output(method="json_mode")
    assert await run(runnable, way) == [{"name": "Rome"}]


class CityDict(TypedDict):
    """A city."""

    name: str


FORMS: list[Any] = [
    City,
    CityDict,
    {**City.model_json_schema(), "title": "City"},
    {"name": "City", "schema": City.model_json_schema()},
    {"type": "json_schema", "json_schema": {"name": "City", "schema": City.model_json_schema()}},
]


@pytest.mark.parametrize("form", FORMS)
def test_a_schema_may_be_bound_as_the_response_format(form: Any) -> None:
    wire = both_kinds(TEXT)
    llm = chat(wire)
    llm.bind(response_format=form).invoke("Which?")
    llm.invoke("Which?", response_format=form)
    llm.bind_tools([weather], response_format=form).invoke("Which?")
    list(llm.bind(response_format=form).stream("Which?"))
    for body in wire.bodies:
        assert body["response_format"]["type"] == "json_schema"
        schema = body["response_format"]["json_schema"]
        assert schema["name"] in ("City", "CityDict")
        assert schema["schema"]["properties"]["name"]["type"] == "string"


def test_function_calling_asks_for_one_call() -> None:
    wire = both_kinds(None, tool_calls=[call("City", TEXT)])
    llm = chat(wire)
    llm.with_structured_output(City).invoke("Which?")
    llm.with_structured_output(City, parallel_tool_calls=True).invoke("Which?")
    assert [body["parallel_tool_calls"] for body in wire.bodies] == [False, True]


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_agent_gives_the_object(is_async: bool) -> None:
    agents = pytest.importorskip("langchain.agents")
    structured = pytest.importorskip("langchain.agents.structured_output")
    for strategy in (structured.ToolStrategy(City), structured.ProviderStrategy(City)):
        by_tool = isinstance(strategy, structured.ToolStrategy)
        said = (
            answer(None, "tool_calls", tool_calls=[call("City", TEXT)]) if by_tool else answer(TEXT)
        )
        agent = agents.create_agent(chat(Wire(reply(said))), [], response_format=strategy)
        turn: Any = {"messages": [("user", "Which?")]}
        result = await agent.ainvoke(turn) if is_async else agent.invoke(turn)
        assert result["structured_response"] == ROME
        assert isinstance(result["messages"][1], AIMessage)


class Numbers(RootModel[list[int]]):
    """Numbers."""


class Größe(BaseModel):
    """A size."""

    a: int


Item = TypeVar("Item")


class Box(BaseModel, Generic[Item]):
    """A box."""

    a: Item


@pytest.mark.parametrize("method", METHODS[:2])
@pytest.mark.parametrize(
    "schema", [Box[int], Größe, {"title": "my size!", "type": "object", "properties": {}}]
)
def test_a_schemas_name_goes_out_in_the_form_that_strict_servers_take(
    schema: Any, method: Any
) -> None:
    wire = both_kinds('{"a": 1}')
    chat(wire).with_structured_output(schema, method=method, include_raw=True).invoke("?")
    body = wire.bodies[0]
    if method == "json_schema":
        name = body["response_format"]["json_schema"]["name"]
    else:
        name = body["tools"][0]["function"]["name"]
    assert re.fullmatch("[a-zA-Z0-9_-]{1,64}", name)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "schema",
    [int, dict, list, object, list[Cat], Cat | None, Literal["a"], Any, BaseModel, Enum("C", "a")],
)
def test_a_type_whose_values_are_no_objects_is_refused_before_anything_is_paid(
    schema: Any, method: Any
) -> None:
    wire = both_kinds("{}")
    with pytest.raises(TypeError, match="doesn't describe an object: give a Pydantic class"):
        chat(wire).with_structured_output(schema, method=method).invoke("?")
    assert not wire.bodies


def test_a_list_is_asked_for_as_json_and_not_as_the_arguments_of_a_tool() -> None:
    llm = chat(both_kinds("[1, 2]"))
    asked = llm.with_structured_output(Numbers, method="json_schema")
    assert asked.invoke("?") == Numbers([1, 2])
    with pytest.raises(ValueError, match="use method='json_schema'"):
        llm.with_structured_output(Numbers, method="function_calling")


class Trip(TypedDict):
    """A trip."""

    city: Annotated[str, ..., "Where to."]
    stops: NotRequired[Annotated[list[str], ..., "On the way."]]
    days: NotRequired[int]


class Part(TypedDict, total=False):
    """A part."""

    name: Required[str]
    weight: float


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("strict", [None, True])
def test_a_typed_dict_says_which_keys_are_required(method: Any, strict: Any) -> None:
    wire = both_kinds('{"city": "Rome"}', tool_calls=[call("Trip", '{"city": "Rome"}')])
    more = {} if method == "json_mode" or strict is None else {"strict": strict}
    model = chat(wire).with_structured_output(Trip, method=method, **more)
    assert model.invoke("q") == {"city": "Rome"}
    trip = to_function(Trip)
    assert trip["parameters"]["required"] == ["city"]
    texts = {
        name: item.get("description") for name, item in trip["parameters"]["properties"].items()
    }
    assert texts == {"city": "Where to.", "stops": "On the way.", "days": None}
    assert (trip["description"], to_function(Part)["parameters"]["required"]) == (
        "A trip.",
        ["name"],
    )
