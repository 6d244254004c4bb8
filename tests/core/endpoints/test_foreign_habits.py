"""What other people's servers do to tool calls, names, characters and reasoning."""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from lunos_core import chat_request, chat_stream_request
from lunos_core.endpoints.chat.stream import ChatStreamReader
from lunos_core.endpoints.chat.tool_names import sent_names
from lunos_core.endpoints.chat.types import ToolCall
from lunos_core.request import Reply
from tests.core.wire_samples import HELLO, Wire, delta, raw, reply, stream

if TYPE_CHECKING:
    from tests.conftest import Both

Fragment = dict[str, Any]


def fragment(arguments: str | None = None, name: str | None = None, **more: Any) -> Fragment:
    function = {"name": name, "arguments": arguments}
    function = {key: value for key, value in function.items() if value is not None}
    return {**more, "function": function}


def streamed(
    fragments: list[Fragment], *, tools: tuple[str, ...] = (), together: bool = False
) -> tuple[list[ToolCall], list[ToolCall]]:
    """The calls that the deltas add up to, and those of the last chunk."""
    reader = ChatStreamReader(Reply(200, {}, b""), {name: name for name in tools})
    groups = [fragments] if together else [[item] for item in fragments]
    choices = [{"index": 0, "delta": {"tool_calls": group}} for group in groups]
    choices.append({"index": 0, "delta": {}, "finish_reason": "tool_calls"})
    shown: dict[int, ToolCall] = {}
    for choice in choices:
        chunk = reader.read(json.dumps({"choices": [choice]}).encode())
        for piece in chunk.choices[0].delta.tool_calls if chunk else ():
            call = shown.setdefault(piece.index, ToolCall("", "", ""))
            call.id += piece.id or ""
            call.name += piece.name or ""
            call.arguments += piece.arguments
    last = reader.end()
    assert last is not None
    assert last.last is not None
    return [*shown.values()], last.last.choices[0].message.tool_calls


def as_pairs(calls: list[ToolCall]) -> list[tuple[str, str]]:
    return [(call.name, call.arguments or "{}") for call in calls]


WHOLE = [
    fragment('{"a": 1}', "f", index=0, id="c"),
    fragment('{"a": 2}', "f", index=1, id="c"),
]
IN_PIECES = [
    fragment("", "f", index=0, id="c"),
    fragment("", "f", index=1, id="c"),
    fragment('{"a"', index=0, id="c"),
    fragment('{"a"', index=1, id="c"),
    fragment(": 1}", index=0, id="c"),
    fragment(": 2}", index=1, id="c"),
]


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("fragments", [WHOLE, IN_PIECES])
def test_two_calls_that_share_an_id_are_two_calls_with_ids_of_their_own(
    fragments: list[Fragment], together: bool
) -> None:
    for calls in streamed(fragments, together=together):
        assert as_pairs(calls) == [("f", '{"a": 1}'), ("f", '{"a": 2}')]
        assert len({call.id for call in calls}) == 2


@pytest.mark.parametrize("place", [{}, {"index": 0}])
@pytest.mark.parametrize("together", [False, True])
def test_two_equal_calls_with_ids_of_their_own_are_two(
    place: dict[str, int], together: bool
) -> None:
    """A dice is rolled twice; servers that send whole calls often give no index, or 0 to all."""
    fragments = [fragment("{}", "roll", id=identifier, **place) for identifier in "ab"]
    for calls in streamed(fragments, together=together):
        assert [(call.id, call.name) for call in calls] == [("a", "roll"), ("b", "roll")]


async def test_whole_calls_that_share_an_id_get_ids_of_their_own(both: Both) -> None:
    calls = [{"id": "c", "type": "function", **fragment("{}", name)} for name in "fg"]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    wire = Wire(reply({"choices": [{"index": 0, "message": message}]}))
    answer = await both(both.client(wire).send(chat_request(HELLO, model="m")))
    assert len({call.id for call in answer.choices[0].message.tool_calls}) == 2


NEW_IDS = [
    fragment("", "delete_file", index=0, id="a"),
    fragment('{"path":', index=0, id="b"),
    fragment('"x"}', "", index=0, id="c"),
]
TWO_HALVES = [
    fragment("", "delete_", index=0, id="a"),
    fragment('{"path":', "file", index=0, id="b"),
    fragment('"x"}', index=0, id="c"),
]
HALF_ALONE = [
    fragment(None, "delete_", index=0, id="a"),
    fragment(None, "file", index=0),
    fragment('{"path":"x"}', index=0),
]
ARGUMENTS_FIRST = [
    fragment('{"path":', index=0),
    fragment('"x"}', "delete_file", index=0, id="a"),
]
WITHOUT_INDEX = [fragment("", "delete_file", id="a"), fragment('{"path":"x"}', id="b")]
GROWING_INDEX = [
    fragment("", "delete_file", index=0, id="a"),
    fragment('{"path":', index=1, id="b"),
    fragment('"x"}', index=2, id="c"),
]
LATE_NAME_AT_ITS_OWN_INDEX = [
    fragment('{"path":', index=1, id="a"),
    fragment('"x"}', "delete_file", index=1),
]
FLAT = [
    {"index": 0, "id": "a", "name": "delete_file", "arguments": '{"path":'},
    {"index": 0, "arguments": '"x"}'},
]
EMPTY_FIRST = [
    fragment("{}", "delete_file", index=0, id="a"),
    fragment('{"path":', index=0),
    fragment('"x"}', index=0),
]
TEXT_IN_TEXT = [
    fragment('"{\\"path\\":', "delete_file", index=0, id="a"),
    fragment('\\"x\\"}"', index=0),
]


@pytest.mark.parametrize(
    "fragments",
    [
        NEW_IDS,
        TWO_HALVES,
        HALF_ALONE,
        ARGUMENTS_FIRST,
        WITHOUT_INDEX,
        GROWING_INDEX,
        LATE_NAME_AT_ITS_OWN_INDEX,
        FLAT,
        TEXT_IN_TEXT,
        EMPTY_FIRST,
    ],
)
def test_fragments_of_one_call_are_one_call(fragments: list[Fragment]) -> None:
    for calls in streamed(fragments, tools=("delete_file", "delete_folder")):
        assert as_pairs(calls) == [("delete_file", '{"path":"x"}')]


def test_a_tool_whose_name_begins_like_another_is_shown_at_the_end() -> None:
    for calls in streamed([fragment("", "get", index=0, id="a")], tools=("get", "get_all")):
        assert as_pairs(calls) == [("get", "{}")]


def test_a_second_name_at_the_same_index_is_a_second_call() -> None:
    always_zero = [fragment("", name, index=0, id=name) for name in ("get", "put")]
    for calls in streamed(always_zero, tools=("get", "put")):
        assert as_pairs(calls) == [("get", "{}"), ("put", "{}")]


def test_a_call_whose_name_never_comes_is_never_shown_as_a_call() -> None:
    shown, whole = streamed([fragment('{"a": 1}', index=0, id="a")])
    assert shown == []
    assert as_pairs(whole) == [("", '{"a": 1}')]


def test_a_call_with_a_late_name_keeps_its_arguments_beside_another_call() -> None:
    late = [
        fragment("{}", "get", index=0, id="a"),
        fragment('{"b":', index=1, id="b"),
        fragment("1}", "put", index=1),
    ]
    for calls in streamed(late):
        assert as_pairs(calls) == [("get", "{}"), ("put", '{"b":1}')]


@pytest.mark.parametrize(
    "sent",
    [
        {"tool_calls": {"id": "a", "function": {"name": "get", "arguments": '{"b":1}'}}},
        {"tool_calls": [{"id": "a", "name": "get", "arguments": {"b": 1}}]},
        {"tool_calls": [{"id": "a", "function": {"name": "get", "arguments": '"{\\"b\\":1}"'}}]},
        {"tool_calls": [{"id": "a", "custom": {"name": "get", "input": '{"b":1}'}}]},
        {"content": [{"type": "tool_use", "id": "a", "name": "get", "input": {"b": 1}}]},
    ],
)
async def test_calls_in_other_shapes_are_read(both: Both, sent: Fragment) -> None:
    said = {"choices": [{"message": sent, "finish_reason": "tool_calls"}]}
    client = both.client(Wire(reply(said)))
    answer = await both(client.send(chat_request(HELLO, model="m")))
    reader = ChatStreamReader(Reply(200, {}, b""))
    choices = [
        {"index": 0, "delta": sent},
        {"index": 0, "delta": {}, "finish_reason": "tool_calls"},
    ]
    for choice in choices:
        reader.read(json.dumps({"choices": [choice]}).encode())
    end = reader.end()
    assert end is not None
    for completion in (answer, end.last):
        (call,) = completion.choices[0].message.tool_calls
        assert (call.id, call.name, json.loads(call.arguments)) == ("a", "get", {"b": 1})


@pytest.mark.parametrize(
    ("content", "text"), [(5, "5"), (True, "true"), ({"a": [1]}, '{"a":[1]}'), ([], ""), ({}, "{}")]
)
async def test_content_that_a_gateway_parsed_is_text_again(
    both: Both, content: Any, text: str
) -> None:
    client = both.client(Wire(reply({"choices": [{"message": {"content": content}}]})))
    answer = await both(client.send(chat_request(HELLO, model="m")))
    assert answer.text == text


@pytest.mark.parametrize("arguments", ["", "null", " ", "\n", " null\n", None])
def test_no_arguments_are_an_empty_object(arguments: str | None) -> None:
    whole = [fragment(arguments, "f", index=0, id="c")]
    pieces = [fragment("", "f", index=0, id="c")]
    pieces += [fragment(letter, index=0) for letter in arguments or ""]
    for fragments in (whole, pieces):
        for calls in streamed(fragments):
            assert as_pairs(calls) == [("f", "{}")]


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("arguments", ["", "null", " ", "\n", None, {}])
async def test_no_arguments_of_a_whole_call_are_an_empty_object(
    both: Both, arguments: Any, legacy: bool
) -> None:
    function = {"name": "f", "arguments": arguments}
    said = {"function_call": function} if legacy else {"tool_calls": [{"function": function}]}
    wire = Wire(reply({"choices": [{"message": {"content": None, **said}}]}))
    answer = await both(both.client(wire).send(chat_request(HELLO, model="m")))
    assert [call.arguments for call in answer.choices[0].message.tool_calls] == ["{}"]


def test_a_call_that_was_cut_before_its_arguments_is_not_completed() -> None:
    reader = ChatStreamReader(Reply(200, {}, b""))
    call = fragment("", "f", index=0, id="c")
    choice = {"delta": {"tool_calls": [call]}, "finish_reason": "length"}
    reader.read(json.dumps({"choices": [choice]}).encode())
    last = reader.end()
    assert last is not None
    assert last.last is not None
    assert last.last.choices[0].message.tool_calls[0].arguments == ""


# --- names ---------------------------------------------------------------------------------------

NAMES = ["my helper", "größe", "a.b", "x" * 100, "search", "工具", "my.helper"]


def test_names_are_sent_in_the_allowed_form_and_stay_apart() -> None:
    sent = sent_names(NAMES)
    assert len(set(sent.values())) == len(NAMES)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in sent.values())
    assert sent["search"] == "search"
    assert sent == sent_names(NAMES)
    assert sent_names(["my helper", "my_helper"])["my_helper"] == "my_helper"


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("name", NAMES)
async def test_a_name_comes_back_as_the_user_wrote_it(both: Both, name: str, streams: bool) -> None:
    function = {"name": name, "parameters": {"type": "object", "properties": {}}}
    tools = [{"type": "function", "function": function}]
    history = [
        *HELLO,
        {
            "role": "assistant",
            "tool_calls": [{"id": "1", "type": "function", **fragment("{}", name)}],
        },
        {"role": "tool", "tool_call_id": "1", "name": name, "content": "x"},
    ]
    choice = {"type": "function", "function": {"name": name}}
    short = sent_names([name])[name]
    call = fragment("{}", short, index=0, id="c")
    whole = {"choices": [{"index": 0, "message": {"content": None, "tool_calls": [call]}}]}
    event = delta(None, "tool_calls")
    event["choices"][0]["delta"] = {"tool_calls": [call]}
    wire = Wire(stream([event, "[DONE]"]) if streams else reply(whole))
    client = both.client(wire)
    make = chat_stream_request if streams else chat_request
    request: Any = make(history, model="m", tools=tools, tool_choice=choice)
    if streams:
        chunks = await both.chunks(client, request)
        names = [
            piece.name for chunk in chunks for c in chunk.choices for piece in c.delta.tool_calls
        ]
        answer = chunks[-1].last
    else:
        answer, names = await both(client.send(request)), [name]
    assert names == [name]
    assert [call.name for call in answer.choices[0].message.tool_calls] == [name]
    sent = json.loads(wire.requests[-1].content)
    assert sent["tools"][0]["function"]["name"] == short
    assert sent["tool_choice"]["function"]["name"] == short
    assert sent["messages"][1]["tool_calls"][0]["function"]["name"] == short
    assert sent["messages"][2]["name"] == short
    assert history[1]["tool_calls"][0]["function"]["name"] == name, (
        "the caller's own is not changed"
    )


# --- characters and reasoning --------------------------------------------------------------------

FIELDS = ["content", "refusal", "reasoning_content", "reasoning"]


@pytest.mark.parametrize("field", FIELDS)
async def test_a_character_cut_in_two_is_joined(both: Both, field: str) -> None:
    event = '{"choices": [{"index": 0, "delta": {"FIELD": "TEXT"}}]}'.replace("FIELD", field)
    pieces = ["a\\ud83d", "\\ude00b\\ud83d"]
    events: list[Any] = [event.replace("TEXT", piece) for piece in pieces]
    events += [delta(None, "stop"), "[DONE]"]
    chunks = await both.chunks(
        both.client(Wire(stream(events))), chat_stream_request(HELLO, model="m")
    )
    message = chunks[-1].last.choices[0].message
    name = "reasoning" if "reasoning" in field else field
    assert getattr(message, name).startswith("a\U0001f600b")
    shown = "".join(getattr(c.delta, name) for chunk in chunks for c in chunk.choices)
    assert shown.startswith("a\U0001f600b")
    (shown + message.content).encode()


async def test_half_a_character_in_a_whole_answer_is_replaced(both: Both) -> None:
    body = b'{"choices": [{"message": {"content": "a\\ud83d", "reasoning": "b\\ud83d"}}]}'
    answer = await both(both.client(Wire(raw(body))).send(chat_request(HELLO, model="m")))
    assert (answer.text, answer.choices[0].message.reasoning) == ("a\ufffd", "b\ufffd")


THINKING = [
    {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
    {"type": "thinking", "thinking": "Hm."},
    {"type": "reasoning", "text": "Hm."},
    {"type": "reasoning", "reasoning": "Hm."},
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
]


@pytest.mark.parametrize(
    ("part", "streams"), list(itertools.product(THINKING, [False, True])), ids=str
)
async def test_reasoning_among_the_parts_is_reasoning(
    both: Both, part: dict[str, Any], streams: bool
) -> None:
    text = {"type": "text", "text": "Oslo"}
    if streams:
        events: list[Any] = []
        for parts in ([part], [text]):
            event = delta()
            event["choices"][0]["delta"] = {"content": parts}
            events.append(event)
        wire = Wire(stream([*events, delta(None, "stop"), "[DONE]"]))
        chunks = await both.chunks(both.client(wire), chat_stream_request(HELLO, model="m"))
        message = chunks[-1].last.choices[0].message
        shown = [c.delta.reasoning for chunk in chunks for c in chunk.choices]
        assert "".join(shown) == "Hm."
    else:
        wire = Wire(reply({"choices": [{"message": {"content": [part, text]}}]}))
        answer = await both(both.client(wire).send(chat_request(HELLO, model="m")))
        message = answer.choices[0].message
    assert (message.content, message.reasoning) == ("Oslo", "Hm.")


async def test_the_gateways_facts_beside_the_answer_are_kept(both: Both) -> None:
    choice = {"message": {"content": "a"}, "finish_reason": "stop", "native_finish_reason": "end"}
    wire = Wire(reply({"choices": [choice], "service_tier": "flex"}))
    answer = await both(both.client(wire).send(chat_request(HELLO, model="m")))
    assert (answer.service_tier, answer.choices[0].native_finish_reason) == ("flex", "end")
    event = delta("a", "stop", service_tier="flex")
    event["choices"][0]["native_finish_reason"] = "end"
    wire = Wire(stream([event, "[DONE]"]))
    chunks = await both.chunks(both.client(wire), chat_stream_request(HELLO, model="m"))
    last = chunks[-1].last
    assert (last.service_tier, last.choices[0].native_finish_reason) == ("flex", "end")
