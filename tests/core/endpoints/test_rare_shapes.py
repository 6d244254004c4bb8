"""Shapes that come rarely: each is read, sent or refused by a rule of its own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lunos_core import UsageLedger, UsageStore, chat_request, chat_stream_request
from lunos_core.accounting.files import write_whole
from lunos_core.accounting.token_estimate import estimate_tokens
from lunos_core.catalog.models import ModelInfo
from lunos_core.catalog.preflight import refusal
from lunos_core.catalog.search import ModelIndex
from lunos_core.endpoints.chat.content_parts import check_url
from lunos_core.endpoints.chat.message import parse_content
from lunos_core.endpoints.chat.reasoning import ReasoningMerger
from lunos_core.endpoints.chat.schemas import is_recursive, strict_schema
from lunos_core.endpoints.chat.stream import ChatStreamReader
from lunos_core.endpoints.chat.tool_arguments import arguments_text
from lunos_core.endpoints.chat.tool_calls import ToolCallAssembler
from lunos_core.errors import (
    LunosBadRequestError,
    LunosResponseError,
    LunosStreamInterruptedError,
)
from lunos_core.lazy import is_installed
from lunos_core.request import Reply
from lunos_core.transport.stream_call import without_stream_options
from tests.core.wire_samples import HELLO, Wire, raw, reply, stream

if TYPE_CHECKING:
    from tests.conftest import Both

TEXT = {"type": "string"}


def form(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    "schema",
    [
        form(a={}),
        form(a=True),
        form(a={"type": "array"}),
        form(a={"type": "object"}),
        form(a={"type": "object", "properties": {}, "additionalProperties": TEXT}),
        form(a={"$ref": "#/$defs/Missing", "description": "x"}),
        {"type": "array", "items": TEXT},
        {"type": "object"},
        form(a={"oneOf": [TEXT]}),
        form(a={"type": "object", "properties": {}, "patternProperties": {"x": TEXT}}),
    ],
    ids=str,
)
def test_a_schema_that_strict_mode_cannot_hold_is_not_strict(schema: dict[str, Any]) -> None:
    assert strict_schema(schema) is None


def test_a_strict_schema_requires_all_and_allows_no_more() -> None:
    schema = form(a={**TEXT, "default": "x"}, b={"$ref": "#/$defs/B", "description": "b"})
    union = {"discriminator": {"propertyName": "k"}, "oneOf": [form(k=TEXT)]}
    schema["$defs"] = {"B": form(c=union)}
    strict = strict_schema(schema)
    assert strict is not None
    assert strict["required"] == ["a", "b"]
    assert strict["properties"]["a"] == TEXT
    inner = strict["properties"]["b"]
    assert (inner["description"], inner["required"]) == ("b", ["c"])
    assert inner["properties"]["c"]["anyOf"][0]["additionalProperties"] is False
    assert schema["properties"]["a"]["default"] == "x", "the caller's schema is not changed"


@pytest.mark.parametrize(
    ("definitions", "recursive"),
    [
        ({"A": {"$ref": "#/$defs/B"}, "B": {"items": {"$ref": "#/$defs/A"}}}, True),
        ({"A": {"$ref": "#/$defs/A"}}, True),
        ({"A": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/A"}]}}, True),
        ({"A": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/B"}]}, "B": TEXT}, False),
        ({"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/C"}, "C": TEXT}, False),
    ],
)
def test_definitions_that_come_back_to_themselves_are_recursive(
    definitions: dict[str, Any], recursive: bool
) -> None:
    assert is_recursive({**form(a={"$ref": "#/$defs/A"}), "$defs": definitions}) is recursive


def test_each_chunk_names_the_answer_and_the_model() -> None:
    reader = ChatStreamReader(Reply(200, {}, b""))
    choice = {"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}
    chunk = reader.read(json.dumps({"id": "a", "model": "m", "choices": [choice]}).encode())
    odd = reader.read(b'{"id": 1, "choices": [{"index": 0, "delta": {}}]}')
    last = reader.end()
    assert chunk is not None
    assert odd is not None
    assert last is not None
    assert [(piece.id, piece.model) for piece in (chunk, last)] == [("a", "m"), ("a", "m")]
    assert (odd.id, odd.model) == (None, None)


def test_texts_and_refusals_among_the_parts_are_kept_apart() -> None:
    parts = ["a", {"type": "refusal", "refusal": "no"}, {"type": "text", "text": "b"}, 3]
    content = parse_content(parts)
    assert (content.text, content.refusal, content.reasoning) == ("ab", "no", "")
    nested = parse_content({"type": "text", "text": {"value": "c"}})
    assert nested.text == "c"


def test_tools_of_the_server_and_messages_of_any_form_are_sent_as_they_are() -> None:
    tools = [{"type": "web_search"}, {"type": "function", "function": {"name": "my tool"}}]
    history: Any = [*HELLO, {"role": "assistant", "content": "x", "tool_calls": [{"id": "1"}]}]
    body = json.loads(chat_request(history, model="m", tools=tools, tool_choice={"type": "x"}).body)
    assert [tool["type"] for tool in body["tools"]] == ["web_search", "function"]
    assert body["tools"][1]["function"]["name"] == "my_tool"
    assert body["messages"] == history
    odd: Any = ["no message"]
    assert json.loads(chat_request(odd, model="m").body)["messages"] == odd


def test_odd_fragments_change_nothing_and_late_halves_of_a_name_are_shown() -> None:
    assembler = ToolCallAssembler()
    assert assembler.add([{"index": 0}, {"index": 0, "function": {}}, "x"]) == []
    (first,) = assembler.add([{"index": 0, "id": "a", "function": {"name": "get_"}}])
    (second,) = assembler.add([{"index": 0, "function": {"name": "all"}}])
    assert (first.name, second.name) == ("get_", "all")
    broken = [{"id": "a", "function": {"name": "get_all", "arguments": piece}} for piece in "{x}."]
    for fragment in broken:
        assembler.add([fragment])
    assert [(call.name, call.arguments) for call in assembler.calls()] == [("get_all", "{x}.")]


def test_spellings_of_reasoning_that_differ_are_both_shown_and_details_stay_apart() -> None:
    merger = ReasoningMerger()
    assert merger.add({"reasoning": "Let me"}) == "Let me"
    assert merger.add({"reasoning_content": "Other"}) == "Other"
    secret = {"type": "reasoning.encrypted", "data": "x"}
    text = {"type": "reasoning.text", "text": "a", "index": 0}
    for detail in (secret, secret, text, {**text, "index": 1}, {**text, "index": 1, "text": "b"}):
        merger.add({"reasoning_details": [detail]})
    assert [detail.get("text", detail.get("data")) for detail in merger.details()] == [
        *("x", "x", "a", "ab")
    ]


def test_endlessly_nested_arguments_become_an_object_with_the_reason() -> None:
    deep: Any = {}
    for _ in range(100_000):
        deep = {"a": deep}
    assert json.loads(arguments_text(deep)).popitem()[1] == "nested too deeply"


def test_a_model_that_makes_no_images_is_refused_before_the_network() -> None:
    model = ModelInfo("m", output_modalities=("text",))
    params = {"modalities": ["image", "text"]}
    error = refusal(ModelIndex([model]), HELLO, model="m", params=params)
    assert isinstance(error, LunosBadRequestError)
    assert "makes no images" in str(error)
    able = ModelInfo("m", output_modalities=("text", "image"))
    assert refusal(ModelIndex([able]), HELLO, model="m", params=params) is None


def test_stream_options_are_taken_out_only_where_they_are() -> None:
    asked = chat_stream_request(HELLO, model="m")
    without = without_stream_options(asked)
    assert without is not None
    assert b"stream_options" not in without.body
    quoted = chat_stream_request(
        [{"role": "user", "content": "stream_options"}], model="m", stream_options={}
    )
    assert without_stream_options(quoted) is None
    assert without_stream_options(chat_stream_request(HELLO, model="m", stream_options={})) is None


def test_small_rules_of_parts() -> None:
    odd: Any = [{"role": "user", "content": ["text"]}]
    assert json.loads(chat_request(odd, model="m", cache_control=True).body)["messages"] == odd
    assert estimate_tokens([{"type": "unknown"}, {"type": "tool_use", "input": {}}]) == 0
    url: Any = 3
    with pytest.raises(TypeError, match="must be a str"):
        check_url(url, "image_url")


def test_a_module_whose_parent_is_missing_is_not_installed() -> None:
    assert is_installed("json.decoder")
    assert not is_installed("no_such_package.inside")


def test_a_device_is_written_to_and_not_replaced() -> None:
    reader, writer = os.openpty()  # not /dev/null: a broken `write_whole` would replace that
    device = Path(os.ttyname(writer))
    write_whole(device, b"x")
    assert os.read(reader, 1) == b"x"
    assert device.is_char_device()


def test_a_ledger_closes_the_store_that_it_opened_and_no_other(tmp_path: Path) -> None:
    own = UsageLedger(store=tmp_path / "own.db").start()
    own.stop()
    own.close()
    with UsageStore(tmp_path / "shared.db") as store:
        shared = UsageLedger(store=store)
        shared.check_budget(app_id="a", model="m")
        shared.close()
        assert store.summary() == []


@pytest.mark.parametrize(
    "event", [{"detail": "quota"}, {"message": "quota"}, {"errors": ["quota"]}]
)
async def test_a_stream_with_only_a_failure_is_not_an_empty_answer(
    both: Both, event: dict[str, Any]
) -> None:
    body = b"data: " + json.dumps(event).encode() + b"\n\ndata: [DONE]\n\n"
    client = both.client(Wire(raw(body, content_type="text/event-stream")), max_retries=0)
    with pytest.raises(LunosResponseError, match="quota"):
        await both.chunks(client, chat_stream_request(HELLO, model="m"))


async def test_events_of_no_answer_between_those_of_one_are_passed_over(both: Both) -> None:
    choice = {"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}
    events = [{"type": "ping"}, {"choices": [choice]}, {"note": "bye"}]
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    wire = Wire(raw(body + b"data: [DONE]\n\n", content_type="text/event-stream"))
    chunks = await both.chunks(both.client(wire), chat_stream_request(HELLO, model="m"))
    assert chunks[-1].last.text == "Hi"


CALLS_APART = [
    {"index": 0, "id": name, "function": {"name": name, "arguments": "{}"}} for name in "fg"
]
COPILOT = [{"content": "Let me."}, *({"tool_calls": [call]} for call in CALLS_APART)]


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("asked", [{}, {"n": 1}, {"n": 3}])
async def test_calls_in_choices_of_their_own_are_calls_of_the_only_answer(
    both: Both, asked: dict[str, int], streams: bool
) -> None:
    """As Copilot and some versions of LiteLLM pass on Claude's."""
    tools = [{"type": "function", "function": {"name": name}} for name in "fg"]
    place = "delta" if streams else "message"
    choices = [{"index": i, place: said} for i, said in enumerate(COPILOT)]
    ends = [{"index": i, "delta": {}, "finish_reason": "tool_calls"} for i in range(3)]
    if streams:
        wire = Wire(stream([*({"choices": [choice]} for choice in [*choices, *ends]), "[DONE]"]))
        request: Any = chat_stream_request(HELLO, model="m", tools=tools, **asked)
        chunks = await both.chunks(both.client(wire), request)
        answer, seen = chunks[-1].last, [choice for chunk in chunks for choice in chunk.choices]
        assert sum(choice.finish_reason is not None for choice in seen) == (asked.get("n") or 1)
    else:
        wire = Wire(reply({"choices": choices}))
        whole: Any = chat_request(HELLO, model="m", tools=tools, **asked)
        answer = await both(both.client(wire).send(whole))
    first = answer.choices[0].message
    names = [] if asked.get("n") == 3 else ["f", "g"]
    assert (first.content, [call.name for call in first.tool_calls]) == ("Let me.", names)


def in_choice(i: int, /, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": i, "delta": delta}]}


def fragment(arguments: str, **begin: Any) -> dict[str, Any]:
    function = {"arguments": arguments, **({"name": begin["id"]} if begin else {})}
    return {"tool_calls": [{"index": 0, **begin, "function": function}]}


APART = [
    in_choice(0, content="Let "),
    in_choice(1, role="assistant", **fragment('{"x":', id="f")),
    in_choice(2, **fragment('{"y":', id="g")),
    in_choice(0, content="me."),
    in_choice(1, **fragment("1}")),
    in_choice(2, **fragment("2}")),
]
ENDS = [{"choices": [{"index": i, "delta": {}, "finish_reason": "tool_calls"}]} for i in range(3)]
WITH_TOOLS: dict[str, Any] = {
    "model": "m",
    "tools": [{"type": "function", "function": {"name": name}} for name in "fg"],
}


async def test_fragments_of_calls_in_choices_of_their_own_are_never_mixed(both: Both) -> None:
    wire = Wire(stream([*APART, *ENDS, "[DONE]"]))
    request = chat_stream_request(HELLO, **WITH_TOOLS)
    *chunks, end = await both.chunks(both.client(wire), request)
    shown: dict[int, str] = {}
    for chunk in chunks:
        for call in chunk.choices[0].delta.tool_calls:
            shown[call.index] = shown.get(call.index, "") + call.arguments
    first = end.last.choices[0].message
    assert first.content == "Let me."
    assert [(call.name, call.arguments) for call in first.tool_calls] == [
        *(("f", '{"x":1}'), ("g", '{"y":2}'))
    ]
    assert shown == {0: '{"x":1}', 1: '{"y":2}'}


async def test_one_call_that_is_no_list_is_read_in_another_choice_too(both: Both) -> None:
    call = {"id": "c", "function": {"name": "f", "arguments": "{}"}}
    events = [in_choice(0, content="Let me."), in_choice(1, tool_calls=call), *ENDS[:2], "[DONE]"]
    request = chat_stream_request(HELLO, **WITH_TOOLS)
    *_, end = await both.chunks(both.client(Wire(stream(events))), request)
    assert [call.name for call in end.last.choices[0].message.tool_calls] == ["f"]


async def test_a_stream_cut_in_the_call_of_another_choice_is_not_whole(both: Both) -> None:
    wire = Wire(stream([*APART, *ENDS[:2]]))
    with pytest.raises(LunosStreamInterruptedError):
        await both.chunks(both.client(wire), chat_stream_request(HELLO, **WITH_TOOLS))


async def test_equal_calls_of_another_choice_that_nothing_tells_apart_are_two(both: Both) -> None:
    call = {"function": {"name": "f", "arguments": "{}"}}
    events = [in_choice(0, content="Let me."), in_choice(1, tool_calls=[call, call]), *ENDS[:2]]
    request = chat_stream_request(HELLO, **WITH_TOOLS)
    *_, end = await both.chunks(both.client(Wire(stream([*events, "[DONE]"]))), request)
    assert [call.name for call in end.last.choices[0].message.tool_calls] == ["f", "f"]


async def test_a_role_alone_makes_no_choice_the_answer(both: Both) -> None:
    call = {"index": 0, "id": "f", "function": {"name": "f", "arguments": "{}"}}
    events = [
        in_choice(1, role="assistant", tool_calls=[call]),
        in_choice(0, content="Let me."),
        *ENDS[:2],
    ]
    request = chat_stream_request(HELLO, **WITH_TOOLS)
    *_, end = await both.chunks(both.client(Wire(stream([*events, "[DONE]"]))), request)
    first = end.last.choices[0].message
    assert (first.content, [call.name for call in first.tool_calls]) == ("Let me.", ["f"])


IMAGE = "http://x.test/a.png"


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (
            {"content": [{"type": "image_url", "image_url": {"url": IMAGE}, "text": "alt"}]},
            {"content": "", "images": [IMAGE]},
        ),
        ({"content": [{"type": "text", "text": "a", "thought": "yes"}]}, {"content": "a"}),
        ({"content": [{"type": "text", "text": "a", "thought": True}]}, {"reasoning": "a"}),
        (
            {"content": [{"type": "refusal", "refusal": "part"}], "refusal": "field"},
            {"refusal": "field"},
        ),
        ({"content": [{"type": "refusal", "refusal": "part"}]}, {"refusal": "part"}),
        ({"content": None, "images": [IMAGE, "ftp://x.test/b.png"]}, {"images": [IMAGE]}),
        ({"content": {"role": "model", "parts": []}}, {}),
        ({"content": {"parts": []}}, {"content": '{"parts":[]}'}),
    ],
)
@pytest.mark.parametrize("streams", [False, True])
async def test_a_message_is_read_as_its_provider_means_it(
    both: Both, said: dict[str, Any], read: dict[str, Any], streams: bool
) -> None:
    place = {"delta" if streams else "message": said, "finish_reason": "stop"}
    event = {"choices": [{"index": 0, **place}]}
    client = both.client(Wire(stream([event, "[DONE]"]) if streams else reply(event)))
    if streams:
        answer = (await both.chunks(client, chat_stream_request(HELLO, model="m")))[-1].last
    else:
        answer = await both(client.send(chat_request(HELLO, model="m")))
    message = answer.choices[0].message
    nothing = {"content": "", "reasoning": "", "refusal": "", "images": []}
    assert {name: getattr(message, name) for name in nothing} == nothing | read


@pytest.mark.parametrize("key", ["123456789", "1234567890"])
async def test_calls_under_keys_have_these_as_ids_unless_they_are_places(
    both: Both, key: str
) -> None:
    calls = {key: {"function": {"name": "f", "arguments": "{}"}}}
    wire = Wire(reply({"choices": [{"message": {"tool_calls": calls}}]}))
    answer = await both(both.client(wire).send(chat_request(HELLO, model="m")))
    (call,) = answer.choices[0].message.tool_calls
    assert (call.name, call.id == key) == ("f", len(key) > 9)


@pytest.mark.parametrize(("created", "known"), [(7, 7), ("yesterday", None), (7.5, None)])
@pytest.mark.parametrize("streams", [False, True])
async def test_the_facts_of_an_answer_are_those_that_make_sense(
    both: Both, created: Any, known: int | None, streams: bool
) -> None:
    place = {"delta" if streams else "message": {"content": "Hi"}, "finish_reason": "stop"}
    first = {"model": "m", "created": created, "choices": [{"index": 0, **place}]}
    late = {"model": "m", "service_tier": "priority", "choices": []}
    if streams:
        odd = {"model": "m-2", "created": "later", "choices": []}
        client = both.client(Wire(stream([first, late, odd, "[DONE]"])))
        answer = (await both.chunks(client, chat_stream_request(HELLO, model="m")))[-1].last
    else:
        client = both.client(Wire(reply(late | first)))
        answer = await both(client.send(chat_request(HELLO, model="m")))
    assert (answer.created, answer.service_tier) == (known, "priority")


async def test_of_a_sounds_facts_the_last_ones_count(both: Both) -> None:
    sounds = [{"id": "a", "data": "AA"}, {"data": "BB", "expires_at": 1}, {"expires_at": 2}]
    wire = Wire(stream([*(in_choice(0, audio=sound) for sound in sounds), *ENDS[:1], "[DONE]"]))
    chunks = await both.chunks(both.client(wire), chat_stream_request(HELLO, model="m"))
    audio = chunks[-1].last.choices[0].message.audio
    assert audio == {"id": "a", "data": "AABB", "expires_at": 2}


@pytest.mark.parametrize("numbers", [(0, 1), (1, 2), (1, 0)])
async def test_an_answer_that_nobody_requested_is_not_mixed_into_the_first(
    both: Both, numbers: tuple[int, int]
) -> None:
    first, second = numbers
    said = zip((first, second, first, second), ("a", "x", "b", "y"), strict=True)
    ends = [{"choices": [{"index": i, "finish_reason": "stop"}]} for i in numbers]
    wire = Wire(stream([*(in_choice(i, content=text) for i, text in said), *ends, "[DONE]"]))
    request = chat_stream_request(HELLO, **WITH_TOOLS)
    *chunks, end = await both.chunks(both.client(wire), request)
    assert "".join(c.delta.content for chunk in chunks for c in chunk.choices) == "ab"
    assert [choice.message.content for choice in end.last.choices] == ["ab", "xy"]


async def test_several_answers_may_be_requested_by_extra_body(both: Both) -> None:
    events = [in_choice(i, content=text) for i, text in enumerate("ax")]
    wire = Wire(stream([*events, *ENDS[:2], "[DONE]"]))
    request = chat_stream_request(HELLO, **WITH_TOOLS, extra_body={"n": 2})
    *_, end = await both.chunks(both.client(wire), request)
    assert [choice.message.content for choice in end.last.choices] == ["a", "x"]


async def test_calls_in_several_choices_of_a_whole_answer_are_all_kept(both: Both) -> None:
    calls = [{"id": "c", "function": {"name": name, "arguments": "{}"}} for name in "fg"]
    choices = [{"index": i, "message": {"tool_calls": [call]}} for i, call in enumerate(calls)]
    client = both.client(Wire(reply({"choices": choices})))
    answer = await both(client.send(chat_request(HELLO, **WITH_TOOLS)))
    kept = answer.choices[0].message.tool_calls
    assert [call.name for call in kept] == ["f", "g"]
    assert len({call.id for call in kept}) == 2
