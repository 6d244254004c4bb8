"""Fragments of tool calls and of thoughts, in each order in which providers send them."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lunos_core.endpoints.chat.reasoning import ReasoningMerger
from lunos_core.endpoints.chat.tool_calls import ToolCallAssembler, parse_tool_calls

TOOLS = {name: name for name in ("f", "g", "get", "get_all")}


def fragment(id: str = "", name: str = "", arguments: str = "", index: Any = None) -> Any:
    said = {"name": name, "arguments": arguments}
    value = {"id": id, "index": index, "function": {k: v for k, v in said.items() if v}}
    return {key: item for key, item in value.items() if item not in (None, "")}


def assembled(
    fragments: list[Any], reason: str = "tool_calls", tools: Any = TOOLS
) -> list[tuple[str, ...]]:
    """What the deltas add up to; the calls of the whole answer must say the same."""
    assembler = ToolCallAssembler(tools)
    deltas = [delta for item in fragments for delta in assembler.add([item])]
    deltas += assembler.finish(reason)
    shown: dict[int, list[str]] = {}
    for delta in deltas:
        if delta.index not in shown:
            shown[delta.index] = [delta.id or "", "", ""]
        else:
            assert delta.id is None
        shown[delta.index][1] += delta.name or ""
        shown[delta.index][2] += delta.arguments
    assert [*shown] == [*range(len(shown))]
    whole = [(call.id, call.name, call.arguments) for call in assembler.calls() if call.name]
    assert whole == [tuple(call) for call in shown.values()]
    return [("?" if call[0].startswith("call_") else call[0], *call[1:]) for call in whole]


@pytest.mark.parametrize(
    ("fragments", "calls"),
    [
        # the same name under a new id is another call, where the first is whole or has nothing
        ([fragment("a", "f"), fragment("b", "f")], [("a", "f", "{}"), ("b", "f", "{}")]),
        ([fragment("a", "f"), fragment("a", "f")], [("a", "f", "{}")]),
        (
            [fragment("a", "f", '{"x":1}', 0), fragment("b", "f", "", 0)],
            [("a", "f", '{"x":1}'), ("b", "f", "{}")],
        ),
        (
            [fragment("a", "f", '{"x":1}', 0), fragment("", "f", "", 0)],
            [("a", "f", '{"x":1}')],
        ),
        (
            [fragment("a", "f", '{"x":1}', 0), fragment("", "f", '{"y":2}', 0)],
            [("a", "f", '{"x":1}'), ("?", "f", '{"y":2}')],
        ),
        (
            [fragment("", "f", '{"x":1}', 0), fragment("", "f", '{"x":2}', 1)],
            [("?", "f", '{"x":1}'), ("?", "f", '{"x":2}')],
        ),
        # the name, or a new id, on each fragment
        (
            [fragment("a", "f", '{"x"'), fragment("a", "f", ":1}")],
            [("a", "f", '{"x":1}')],
        ),
        (
            [fragment("a", "f", '{"x"', 0), fragment("b", "f", ":1}", 0)],
            [("a", "f", '{"x":1}')],
        ),
        (
            [fragment("a", "f", "", 0), fragment("b", "", '{"x"', 0), fragment("c", "", ":1}", 0)],
            [("a", "f", '{"x":1}')],
        ),
        (
            [fragment("a", "f"), fragment("b", "", '{"x"'), fragment("c", "", ":1}")],
            [("a", "f", '{"x":1}')],
        ),
        ([fragment("a", "f", "{}", 0), fragment("a", "f", "{}", 0)], [("a", "f", "{}")]),
        (  # with nothing to tell by, it is the last call that goes on
            [fragment("a", "f", "{}"), fragment("b", "g"), fragment("", "", '{"y":2}')],
            [("a", "f", "{}"), ("b", "g", '{"y":2}')],
        ),
        # another name at the same place
        (
            [fragment("a", "f", "{}", 0), fragment("b", "g", '{"y":2}', 0)],
            [("a", "f", "{}"), ("b", "g", '{"y":2}')],
        ),
        (
            [fragment("a", "f", "", 0), fragment("b", "g", '{"y":2}', 0)],
            [("a", "f", "{}"), ("b", "g", '{"y":2}')],
        ),
        # a name in two pieces
        ([fragment("a", "ge", "", 0), fragment("", "t", "{}", 0)], [("a", "get", "{}")]),
        ([fragment("a", "get", "", 0), fragment("", "_all", "{}", 0)], [("a", "get_all", "{}")]),
        ([fragment("a", "get", "", 0)], [("a", "get", "{}")]),
        # a name that comes late, or never
        ([fragment("", "", '{"x":1}', 0), fragment("a", "f", "", 0)], [("?", "f", '{"x":1}')]),
        ([fragment("a", "f", "", 0), fragment("b", "", '{"y":2}', 1)], [("a", "f", '{"y":2}')]),
        (
            [fragment("a", "f", '{"x":1}', 0), fragment("b", "", '{"y":2}', 1)],
            [("a", "f", '{"x":1}')],
        ),
        ([fragment("a", "", '{"x":1}')], []),
        # two calls under one id
        (
            [fragment("a", "f", '{"x":1}', 0), fragment("a", "g", '{"y":2}', 1)],
            [("a", "f", '{"x":1}'), ("?", "g", '{"y":2}')],
        ),
        # arguments that aren't there, or inside a string
        ([fragment("a", "f", "null", 0)], [("a", "f", "{}")]),
        ([fragment("a", "f", " ", 0), fragment("", "", " ", 0)], [("a", "f", "{}")]),
        ([fragment("a", "f", '"{\\"x\\":1}"', 0)], [("a", "f", '{"x":1}')]),
        ([fragment("a", "f", "nu", 0), fragment("", "", "ts", 0)], [("a", "f", "nuts")]),
    ],
)
def test_fragments_are_the_calls_that_were_meant(
    fragments: list[Any], calls: list[tuple[str, ...]]
) -> None:
    assert assembled(fragments) == calls


def test_a_call_that_was_cut_before_its_arguments_has_none() -> None:
    assert assembled([fragment("a", "f", "", 0)], "length") == [("a", "f", "")]
    assert assembled([fragment("a", "f", '{"x"', 0)], "length") == [("a", "f", '{"x"')]


@pytest.mark.parametrize("wrapper", ["function", "custom", None])
def test_a_call_is_read_with_and_without_a_wrapper(wrapper: str | None) -> None:
    said = {"name": "f", "input" if wrapper == "custom" else "arguments": {"x": 1}}
    call = {"id": "a", "index": "0", **(said if wrapper is None else {wrapper: said})}
    assert assembled([call]) == [("a", "f", '{"x":1}')]
    assert assembled([7, None, "x", {}, {"index": 0}]) == []


def test_calls_of_a_whole_message_are_one_each_under_different_ids() -> None:
    calls = parse_tool_calls([fragment("a", "f", "{}"), fragment("a", "f", "{}"), 7])
    assert [(call.name, call.arguments) for call in calls] == [("f", "{}")] * 2
    assert calls[0].id == "a" != calls[1].id
    assert [call.name for call in parse_tool_calls(fragment("a", "g", "{}"))] == ["g"]


CONTENT, REASONING, DETAILS = "reasoning_content", "reasoning", "reasoning_details"


@pytest.mark.parametrize(
    ("deltas", "shown"),
    [
        # one spelling repeats the other: in the same delta, behind it, and in turn
        ([{CONTENT: "ab", REASONING: "ab"}, {CONTENT: "cd", REASONING: "cd"}], ["ab", "cd"]),
        ([{CONTENT: "ab"}, {REASONING: "ab"}, {CONTENT: "cd"}], ["ab", "", "cd"]),
        (
            [{CONTENT: "ab"}, {REASONING: "ab"}, {REASONING: "cd"}, {CONTENT: "cd"}],
            ["ab", "", "cd", ""],
        ),
        (
            [{CONTENT: "ab"}, {DETAILS: [{"text": "a"}]}, {DETAILS: [{"summary": "b"}]}],
            ["ab", "", ""],
        ),
        # it says something else
        ([{CONTENT: "ab"}, {REASONING: "xy"}, {CONTENT: "cd"}], ["ab", "xy", "cd"]),
        ([{CONTENT: "ab"}, {REASONING: "abc"}], ["ab", "abc"]),
        ([{CONTENT: 7, REASONING: "", DETAILS: "ab"}, {DETAILS: [7, {"text": 7}]}], ["", ""]),
    ],
)
def test_reasoning_is_shown_once_whichever_spellings_contain_it(
    deltas: list[dict[str, Any]], shown: list[str]
) -> None:
    merger = ReasoningMerger()
    assert [merger.add(delta) for delta in deltas] == shown


def test_reasoning_among_the_parts_of_the_content_is_shown_before_others() -> None:
    merger = ReasoningMerger()
    assert merger.add({}, "ab") == "ab"
    assert merger.add({CONTENT: "ab"}) == ""
    assert merger.add({CONTENT: "cd"}, "cd") == "cd"
    assert merger.details() == []


@pytest.mark.parametrize(
    "written",
    [
        *(
            " f ",
            "functions.f",
            "function.f",
            "default_api.f",
            "tools.f",
            "tool/f",
            "default_api:f",
        ),
        *(
            "f()",
            "functions.f:0",
            "f<|channel|>commentary",
            "f<|a|>\nb",
            '"f"',
            "`f`",
            "\nf\n",
            "functions.f()",
        ),
    ],
)
def test_a_name_as_a_models_template_has_it_is_that_of_the_tool_that_was_offered(
    written: str,
) -> None:
    expected = [("a", "f", '{"x":1}')]
    assert assembled([fragment("a", written, '{"x":1}', 0)]) == expected
    assert assembled([fragment("a", written, "", 0), fragment("", "", '{"x":1}', 0)]) == expected
    (call,) = parse_tool_calls([fragment("a", written, '{"x":1}')], {"f": "my f"})
    assert call.name == "my f"


@pytest.mark.parametrize(
    "written",
    [
        "other.f",
        "functions.h",
        "f(1)",
        "ff",
        "functions.",
        "functions.f.g",
        "f:x",
        "F",
        " ",
        "my f",
    ],
)
def test_a_name_that_could_be_another_tools_stays_as_the_model_wrote_it(written: str) -> None:
    (call,) = parse_tool_calls([fragment("a", written, "{}")], {**TOOLS, "my_f": "my f"})
    assert call.name == written


def test_an_offered_name_is_exact_before_it_is_anything_else() -> None:
    tools = {"f": "f", "functions_f": "functions.f"}
    for name in ("functions_f", "functions.f"):
        assert assembled([fragment("a", name, "{}")], tools=tools) == [("a", "functions.f", "{}")]


@pytest.mark.parametrize("order", [("get", "get_all"), ("get_all", "get")])
def test_a_name_that_may_go_on_is_not_shown_before_it_is_whole(order: tuple[str, ...]) -> None:
    assembler = ToolCallAssembler({name: name for name in order})
    assert assembler.add([fragment("a", "get", "", 0)]) == []
    (delta,) = assembler.add([fragment("", "_all", "", 0)])
    assert (delta.id, delta.name) == ("a", "get_all")
    assembler = ToolCallAssembler({name: name for name in order})
    assert assembler.add([fragment("a", "get", "", 0)]) == []
    (delta,) = assembler.finish("tool_calls")
    assert (delta.id, delta.name, delta.arguments) == ("a", "get", "{}")


def test_the_real_arguments_behind_an_empty_object_are_shown_as_they_come() -> None:
    assembler = ToolCallAssembler(TOOLS)
    shown = [assembler.add([fragment("a", "f", "{}", 0)])]
    shown += [assembler.add([fragment("", "", said, 0)]) for said in ('\n{"x"', ":1}")]
    texts = ["".join(delta.arguments for delta in deltas) for deltas in shown]
    assert texts == ["", '{"x"', ":1}"]
    assert [call.arguments for call in assembler.calls()] == ['{"x":1}']


def test_a_prefix_in_a_fragment_of_its_own_belongs_to_the_name() -> None:
    pieces = [fragment("a", "functions.", "", 0), fragment("", "f", "", 0)]
    assert assembled([*pieces, fragment("", "", '{"x":1}', 0)]) == [("a", "f", '{"x":1}')]


WHOLE = '{"a": "x:[", "b": [1, {"a": 2.5}], "c": "{\\"a"}'


@pytest.mark.parametrize("step", [1, 2, 3, 4, 9, 20])
@pytest.mark.parametrize("named", [True, False])
def test_fragments_that_repeat_all_that_came_before_say_each_thing_once(
    step: int, named: bool
) -> None:
    name = "f" if named else ""
    parts = [WHOLE[:end] for end in range(step, len(WHOLE) + step, step)]
    for start in (["", parts[0]], parts[:1]):
        head, *rest = [*start, *parts[1:], WHOLE]
        said = [fragment("a", "f", head, 0), *(fragment("", name, part, 0) for part in rest)]
        assert assembled(said) == [("a", "f", WHOLE)]


@given(
    value=st.dictionaries(
        st.sampled_from(["a", "{", '{"', "", ":", '{"a": ']),
        st.recursive(
            st.sampled_from([None, 1.5, "x", '{"a": ', '{"', "{"]),
            lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["a", "{"]), inner),
            max_leaves=6,
        ),
    ),
    cuts=st.lists(st.integers(0, 60)),
)
def test_no_normal_stream_is_taken_for_one_that_repeats(value: Any, cuts: list[int]) -> None:
    text = json.dumps(value)
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[start:end] for start, end in itertools.pairwise(places)]
    said = [fragment("a", "f", pieces[0], 0), *(fragment("", "", piece, 0) for piece in pieces[1:])]
    assert assembled(said) == [("a", "f", text)]


def test_an_object_that_begins_like_the_one_around_it_is_kept() -> None:
    said = [fragment("a", "f", '{"a": ', 0), fragment("", "", '{"a": 1}}', 0)]
    assert assembled(said) == [("a", "f", '{"a": {"a": 1}}')]


def test_a_fragment_that_says_nothing_begins_no_call() -> None:
    assembler = ToolCallAssembler()
    assert assembler.add([{}, {"index": 0}, {"function": {}}]) == []
    assert assembler.calls() == []


def test_an_id_may_come_before_everything_else_and_is_no_call_by_itself() -> None:
    assert assembled([fragment("a"), fragment("", "f", "{}")]) == [("a", "f", "{}")]
    assembler = ToolCallAssembler()
    assembler.add([fragment("a", index=0)])
    assert assembler.finish("stop") == []
    assert assembler.calls() == []


def test_an_id_that_comes_late_makes_the_next_one_another_calls() -> None:
    fragments = [fragment("", "f", "{}"), fragment("a"), fragment("b", "f", "{}")]
    assert assembled(fragments) == [("?", "f", "{}"), ("b", "f", "{}")]
