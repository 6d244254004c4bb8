"""What becomes of a schema, word for word, and of what a catalog says of a model."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import InjectedToolArg, StructuredTool, tool
from langchain_core.tools import Tool as TextTool
from pydantic import BaseModel
from typing_extensions import TypedDict

from langchain_lunos import _structured_output as structured
from langchain_lunos._profile import to_profile
from langchain_lunos._schemas import to_function, to_json_schema
from langchain_lunos._tools import to_wire_tools
from lunos_core.catalog.models import read_entries
from tests.langchain_adapter.wire import both_kinds, call, chat, sent_messages


class Leaf(BaseModel):
    """A leaf of a tree."""

    label: str
    below: list[Leaf] = []


def grow(leaf: Leaf, owner: Annotated[str, InjectedToolArg]) -> str:
    """Let a tree grow.

    Args:
        leaf: where to begin.
        owner: whose tree it is.
    """
    return owner


# LangChain reads this annotation itself, which `from __future__` makes a text
grow.__annotations__["owner"] = Annotated[str, InjectedToolArg]

CITY: dict[str, Any] = {
    "title": "City",
    "description": "A city.",
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
}


@pytest.mark.parametrize("schema", [grow, tool(grow)])
def test_an_argument_that_the_program_gives_is_not_asked_of_the_model(schema: Any) -> None:
    function = to_function(schema)
    assert function["name"] == "grow"
    assert function["description"].startswith("Let a tree grow.")
    assert list(function["parameters"]["properties"]) == ["leaf"]
    assert "$defs" in function["parameters"]


def test_a_class_that_holds_itself_is_described_in_full() -> None:
    function = to_function(Leaf)
    assert (function["name"], function["description"]) == ("Leaf", "A leaf of a tree.")
    assert function.keys() == {"name", "description", "parameters"}
    assert not function["parameters"].keys() & {"title", "description"}
    named = StructuredTool.from_function(grow, name="plant", description="Plant it.")
    assert to_function(named)["name"] == "plant"
    assert to_function(named)["description"] == "Plant it."


@pytest.mark.parametrize(("own", "asked"), [(True, False), (False, True)])
def test_conflicting_values_of_strict_are_a_mistake(own: bool, asked: bool) -> None:
    parameters = {"type": "object", "properties": {"a": {"type": "string"}}}
    schema = {"name": "city", "parameters": parameters, "strict": own}
    with pytest.raises(ValueError, match=f"strict is {asked}, but the function 'city'"):
        to_function(schema, asked)
    assert to_function(schema, own)["strict"] is own


@pytest.mark.parametrize("strict", [True, False, None])
def test_a_function_without_parameters_may_be_strict(strict: bool | None) -> None:
    def now() -> str:
        """The time."""
        return "noon"

    function = to_function(now, strict)
    assert function.get("strict") is strict
    if strict:
        assert function["parameters"]["additionalProperties"] is False


def test_a_schema_other_than_an_object_keeps_its_facts() -> None:
    names = {"title": "Names", "description": "Some names.", "type": "array", "items": {}}
    assert to_function(names)["parameters"] == {"type": "array", "items": {}}
    assert to_function(names)["description"] == "Some names."
    assert to_json_schema(CITY) == CITY


def union(**more: Any) -> dict[str, Any]:
    return {"oneOf": [{"type": "string"}, {"type": "integer"}], **more}


def test_a_union_without_its_definitions_has_no_discriminator() -> None:
    mark = {"discriminator": {"propertyName": "kind", "mapping": {}}}
    schema = {
        "title": "Box",
        "description": "A box.",
        "type": "object",
        "properties": {
            "plain": union(),
            "marked": union(**mark),
            "several": {"anyOf": [union(**mark), {"type": "null"}]},
            "discriminator": {"type": "string"},
        },
    }
    sent = to_function(schema)["parameters"]["properties"]
    any_of = {"anyOf": union()["oneOf"]}
    assert sent["plain"] == union()
    assert sent["marked"] == any_of
    assert sent["several"] == {"anyOf": [any_of, {"type": "null"}]}
    assert sent["discriminator"] == {"type": "string"}


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"type": "web_search"}, {"type": "web_search"}),
        ({"type": "function", "function": {"name": "f"}},) * 2,
        # of OpenAI's Responses API
        (
            {"type": "function", "name": "f", "description": "d", "parameters": CITY},
            {"type": "function", "function": {"name": "f", "description": "d", "parameters": CITY}},
        ),
        (CITY, {"type": "function", "function": to_function(CITY)}),
    ],
)
def test_tools_that_are_dicts_are_sent_as_the_wire_has_them(given: Any, sent: Any) -> None:
    assert to_wire_tools([given]) == [sent]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "json_schema", "json_schema": {"name": "City", "schema": CITY}},
        {"type": "json_object"},
        {"type": "text"},
    ],
)
def test_a_format_passes_as_it_is(schema: dict[str, Any]) -> None:
    assert structured.to_response_format(schema) == schema
    bound = structured.to_bind(schema, "json_schema", None, None)
    assert bound == {"response_format": schema}


def test_what_is_bound_for_each_method() -> None:
    parameters = to_function(CITY)["parameters"]
    named = {"name": "City", "schema": parameters, "description": "A city."}
    told = {"kwargs": {"method": "json_schema"}, "schema": CITY}
    assert structured.to_bind(CITY, "json_schema", None, None) == {
        "response_format": {"type": "json_schema", "json_schema": named},
        "ls_structured_output_format": told,
    }
    told = {"kwargs": {"method": "function_calling", "strict": False}, "schema": CITY}
    for tools, choice in ((None, "City"), ([grow], "any")):
        assert structured.to_bind(CITY, "function_calling", False, tools) == {
            "tool_choice": choice,
            "parallel_tool_calls": False,
            "ls_structured_output_format": told,
        }
    assert structured.to_bind(None, "json_mode", None, None) == {
        "response_format": {"type": "json_object"}
    }
    inner = {"name": "City", "schema": parameters, "strict": True}
    assert structured.to_response_format(inner) == {"type": "json_schema", "json_schema": inner}


@pytest.mark.parametrize(
    ("schema", "method", "strict", "said"),
    [
        (CITY, "yaml", None, "one of json_schema, function_calling, json_mode, not 'yaml'"),
        (CITY, "json_mode", True, "strict needs a schema"),
        (CITY, "json_mode", False, "strict needs a schema"),
        (None, "json_schema", None, "schema is missing: method='json_schema'"),
        (None, "function_calling", None, "schema is missing: method='function_calling'"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_made(
    schema: Any, method: Any, strict: bool | None, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        chat(both_kinds()).with_structured_output(schema, method=method, strict=strict)


def test_days_of_a_profile_are_days() -> None:
    days = {"2025-01-02T03:04:05Z": "2025-01-02", "2025-01-02": "2025-01-02", "2025": "2025"}
    for written, day in days.items():
        (model,) = read_entries([{"id": "m", "releaseDate": written}])
        assert to_profile(model)["release_date"] == day
    for odd in ("", None, 5):
        (model,) = read_entries([{"id": "m", "releaseDate": odd}])
        assert "release_date" not in to_profile(model)


def test_a_call_whose_result_is_in_a_question_is_sent_with_it() -> None:
    """Anthropic's histories hold results in human messages."""
    wire = both_kinds()
    broken = {"name": "f", "args": "{", "id": "c1", "error": None, "type": "invalid_tool_call"}
    calls = AIMessage("", invalid_tool_calls=[broken])
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    result = {
        "type": "tool_result",
        "tool_use_id": "c1",
        "content": parts,
        "cache_control": {"type": "ephemeral"},
    }
    chat(wire).invoke([HumanMessage("q"), calls, HumanMessage([result])])
    _, asked, answered = sent_messages(wire)
    assert [item["id"] for item in asked["tool_calls"]] == ["c1"]
    assert answered == {
        "role": "tool",
        "tool_call_id": "c1",
        "content": [parts[0], {**parts[1], "cache_control": {"type": "ephemeral"}}],
    }
    chat(wire).invoke([HumanMessage("q"), calls, HumanMessage("And?")])
    assert "tool_calls" not in sent_messages(wire)[1]
    chat(wire).invoke([HumanMessage("q"), calls, ToolMessage("r", tool_call_id="c1")])
    assert [item["id"] for item in sent_messages(wire)[1]["tool_calls"]] == ["c1"]


def test_a_files_data_is_read_under_both_names() -> None:
    wire = both_kinds()
    for name in ("fileData", "file_data"):
        file = {"filename": "a.pdf", name: "data:application/pdf;base64,QQ=="}
        chat(wire).invoke([HumanMessage([{"type": "file", "file": file}])])
        assert sent_messages(wire)[0]["content"][0]["file"] == {
            "filename": "a.pdf",
            "file_data": "data:application/pdf;base64,QQ==",
        }


def test_blocks_that_travel_in_fields_of_their_own_are_not_said_to_be_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wire = both_kinds()
    blocks: list[Any] = [
        {"type": "thinking", "thinking": "Hm."},
        {"type": "text", "text": "So"},
        {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}},
        {"type": "refusal", "refusal": "No."},
    ]
    with caplog.at_level(logging.DEBUG, "langchain_lunos"):
        chat(wire).invoke(
            [HumanMessage("q"), AIMessage(blocks), ToolMessage("r", tool_call_id="c1")]
        )
    assert "left out" not in caplog.text
    sent = sent_messages(wire)[1]
    assert sent["content"] == [{"type": "text", "text": "So"}]
    assert (sent["reasoning"], sent["refusal"]) == ("Hm.", "No.")
    assert [item["id"] for item in sent["tool_calls"]] == ["c1"]


def test_reasoning_that_is_not_text_is_left_out() -> None:
    wire = both_kinds()
    odd: list[Any] = [{"type": "thinking", "thinking": 5}, {"type": "refusal", "refusal": {}}]
    chat(wire).invoke([HumanMessage("q"), AIMessage([*odd, {"type": "text", "text": "So"}])])
    assert sent_messages(wire)[1].keys() == {"role", "content"}


def test_tokens_need_a_function_of_the_users() -> None:
    model = chat(both_kinds(), custom_get_token_ids=lambda text: [1, 2])
    assert model.get_token_ids("a") == [1, 2]
    with pytest.raises(NotImplementedError, match="pass custom_get_token_ids"):
        chat(both_kinds()).get_token_ids("a")


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_refusal_goes_back_however_the_message_holds_it(wrapped: bool) -> None:
    wire = both_kinds()
    refusal: dict[str, Any] = {"type": "refusal", "refusal": "No."}
    block = {"type": "non_standard", "value": refusal} if wrapped else refusal
    chat(wire).invoke([HumanMessage("q"), AIMessage([block, {"type": "text", "text": "So"}])])
    sent = sent_messages(wire)[1]
    assert (sent["refusal"], sent["content"]) == ("No.", [{"type": "text", "text": "So"}])


class Bare(BaseModel):
    below: list[Bare] = []


class BareDict(TypedDict):
    below: list[BareDict]


class Told(TypedDict):
    """A dict that holds itself."""

    below: list[Told]


@dataclass
class Tree:
    """A tree.

    Args:
        label: what it says.
        below: its branches.
    """

    label: str
    below: list[Tree]


def climb(leaf: Leaf) -> str:
    return leaf.label


def grow(leaf: Leaf) -> str:
    """Grow it.

    Args:
        leaf: the one to grow.
    """
    return leaf.label


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (Bare, ""),
        (BareDict, ""),
        (climb, ""),
        (grow, "Grow it."),
        (Told, "A dict that holds itself."),
    ],
)
def test_a_schema_without_words_has_none_of_pydantics(schema: Any, said: str) -> None:
    """A class inherits the documentation of `BaseModel`, and that was sent."""
    function = to_function(schema)
    assert function["description"] == said
    assert "$defs" in function["parameters"]


def test_a_dataclass_that_holds_itself_keeps_the_words_of_its_docstring() -> None:
    fields = to_function(Tree)["parameters"]["properties"]
    told = {name: field["description"] for name, field in fields.items()}
    assert told == {"label": "what it says.", "below": "its branches."}


@pytest.mark.parametrize("odd", [list[int], dict[str, int], int, str, BaseModel])
def test_a_type_that_describes_no_object_is_refused(odd: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        to_function(odd)


@pytest.mark.parametrize(
    ("odd", "name"), [(int, "int"), (list[int], r"list\[int\]"), (int | str, r"int \| str")]
)
def test_a_type_that_describes_no_object_is_named(odd: Any, name: str) -> None:
    with pytest.raises(TypeError, match=f"^{name} doesn't describe an object: give a Pydantic"):
        to_function(odd)


@pytest.mark.parametrize("kind", [None, "a", "custom"])
def test_a_tool_of_one_text_is_a_function_unless_it_is_a_custom_tool(kind: Any) -> None:
    metadata = None if kind is None else {"type": kind}
    one = TextTool(name="t", func=str, description="Say it.", metadata=metadata)
    (sent,) = to_wire_tools([one])
    assert (sent["type"], sent["function"]["name"]) == ("function", "t")
    custom = TextTool(name="t", func=str, description="d", metadata={"type": "custom_tool"})
    assert to_wire_tools([custom])[0]["type"] == "custom"


@pytest.mark.parametrize("text", ['Here: ["a", "b"] and ["c"]', '["a", "b"]', 'So\n["a", "b"]'])
def test_the_first_list_in_a_text_is_the_answer(text: str) -> None:
    names = {"title": "Names", "type": "array", "items": {"type": "string"}}
    model = chat(both_kinds(text)).with_structured_output(names, method="json_schema")
    assert model.invoke("Which?") == ["a", "b"]


def test_broken_arguments_are_said_to_be_so_by_the_schemas_name() -> None:
    wire = both_kinds(None, "tool_calls", tool_calls=[call("City", '{"name": "Ro')])
    model = chat(wire).with_structured_output(CITY, method="function_calling")
    with pytest.raises(OutputParserException, match="arguments for 'City' aren't a JSON object"):
        model.invoke("Which?")
