"""Names, arguments, schemas, thoughts and parts of a chat, by exact values."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from lunos_core.endpoints.chat.content_parts import (
    audio_part,
    data_of,
    image_part,
    mark_for_cache,
    part_of_file,
    split_data_url,
)
from lunos_core.endpoints.chat.json_text import is_thinking, json_objects
from lunos_core.endpoints.chat.reasoning import ReasoningMerger, parse_reasoning
from lunos_core.endpoints.chat.stream import ChatStreamReader
from lunos_core.endpoints.chat.tool_arguments import arguments_text, read_arguments
from lunos_core.endpoints.chat.tool_names import (
    rename,
    sendable_name,
    sent_names,
    with_sendable_format,
)
from lunos_core.request import Reply


def hashed(start: str, name: str) -> str:
    return f"{start}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        *((name, name) for name in ("a", "A-z_0", "x" * 64)),
        ("x" * 65, hashed("x" * 55, "x" * 65)),
        ("ß" + "x" * 63, "x" * 63),
        ("aß" + "x" * 62, "a_" + "x" * 62),
        ("aß" + "x" * 63, hashed("a_" + "x" * 53, "aß" + "x" * 63)),
        *(("", hashed("tool", "")), ("??", hashed("tool", "??")), ("_a b_", "a_b")),
        *(("Ünï", "Uni"), ("a..b", "a_b")),
    ],
)
def test_a_name_is_sent_in_at_most_64_letters(name: str, sent: str) -> None:
    assert sendable_name(name) == sent
    assert len(sent) <= 64
    form = {"type": "json_schema", "json_schema": {"name": name, "schema": {}}}
    assert with_sendable_format(form)["json_schema"]["name"] == sent
    assert (with_sendable_format(form) is form) is (sent == name)


def test_no_two_tools_are_sent_under_one_name() -> None:
    assert sent_names(["a b", "a_b", "a.b", "a b"]) == {
        "a_b": "a_b",
        "a b": hashed("a_b", "a b"),
        "a.b": hashed("a_b", "a.b"),
    }
    assert sent_names(["a b", "a.b"]) == {"a b": "a_b", "a.b": hashed("a_b", "a.b")}


def test_a_tool_is_renamed_wherever_it_is_named() -> None:
    def named(name: Any) -> dict[str, Any]:
        return {"function": {"name": name}, "x": 1}

    history: list[Any] = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "tool_calls": [named("old one"), named("fine")]},
        {"role": "tool", "name": "old one", "content": "!"},
        {"role": "tool", "name": "", "tool_calls": None},
        {"role": "assistant", "tool_calls": [named("fine")]},
        "text",
    ]
    params: dict[str, Any] = {
        "tools": (named("my tool"), "odd", named("")),
        "tool_choice": named("my tool"),
        "n": 1,
    }
    messages, changed, own = rename(history, params)
    assert messages == [
        history[0],
        {"role": "assistant", "tool_calls": [named("old_one"), named("fine")]},
        {"role": "tool", "name": "old_one", "content": "!"},
        *history[3:],
    ]
    assert [messages[i] is history[i] for i in range(6)] == [True, False, False, True, True, True]
    assert changed == {
        "tools": [named("my_tool"), "odd", named("")],
        "tool_choice": named("my_tool"),
        "n": 1,
    }
    assert own == {"my_tool": "my tool"}
    assert params["tools"][0] == named("my tool"), "the caller's own is not changed"
    messages, changed, own = rename(history[:1], {"tools": [named("fine")], "tool_choice": "auto"})
    assert (messages, changed["tool_choice"], own) == (history[:1], "auto", {"fine": "fine"})
    messages, changed, own = rename(history, {"tool_choice": "auto"})
    assert (changed, own) == ({"tool_choice": "auto"}, {})
    assert messages[2]["name"] == "old_one"


@pytest.mark.parametrize(
    ("given", "read"),
    [
        *((None, {}), ([], {}), ("", {}), (" \n", {}), ({}, {}), ({"a": 1}, {"a": 1})),
        *((7, None), ([1], None), ("[1]", None), ("null", {}), ("[]", {}), ("7", None)),
        *(('{"a":"x\ny"}', {"a": "x\ny"}), ('"{\\"a\\":1}"', {"a": 1}), ('"x"', None)),
        ('"\\"{}\\""', None),
        ("[" * 100_000, None),
    ],
)
def test_arguments_are_an_object_or_none(given: Any, read: dict[str, Any] | None) -> None:
    assert read_arguments(given) == read


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ('{"a": "\\ud83d\\ude00"}', '{"a": "\\ud83d\\ude00"}'),
        ('{"a": "\\ud83d"}', '{"a":"\ufffd"}'),
        ('{"a": NaN}', '{"a":null}'),
        ('{"a": "x\ny"}', '{"a":"x\\ny"}'),
        ("[1]", '{"INVALID_JSON":"[1]"}'),
        (None, "{}"),
        ({"a": [1, 2.5, None, True, float("inf"), ("x",)]}, '{"a":[1,2.5,null,true,null,["x"]]}'),
        ({1: object}, '{"1":"' + str(object) + '"}'),
        (7, '{"INVALID_JSON":7}'),
    ],
)
def test_arguments_in_a_history_are_the_text_of_an_object(given: Any, text: str) -> None:
    assert arguments_text(given) == text


def test_an_object_is_found_among_a_thousand_braces_and_no_more() -> None:
    assert next(json_objects("{" * 999 + '{"a":1}'), None) == '{"a":1}'
    assert next(json_objects("{x" * 1000 + '{"a":1}'), None) is None
    assert next(json_objects('{{"a":1}'), None) == '{"a":1}'
    assert next(json_objects('{"a":1}'), None) == '{"a":1}'
    assert list(json_objects('<think>{"a":1}</think>{"b":2}{"c":3}')) == ['{"b":2}', '{"c":3}']
    assert list(json_objects('<think>{"a":1}</think>none')) == ['{"a":1}']
    assert list(json_objects("none")) == []


@pytest.mark.parametrize(
    ("text", "thinks"),
    [
        *(("<think>Hm", True), (" [THINK] Hm", True), ("◁think▷", True)),
        *(("<think>a</think><think>b", True), ("<think>a</think>b", False), ("a <think>", False)),
    ],
)
def test_unfinished_reasoning_is_distinguished_from_an_answer(text: str, thinks: bool) -> None:
    assert is_thinking(text) is thinks


def detail(**facts: Any) -> dict[str, Any]:
    return {"type": "reasoning.text", **facts}


@pytest.mark.parametrize(
    ("first", "second", "joined"),
    [
        (detail(text="a"), detail(text="b"), detail(text="ab")),
        (detail(text="a", index=0), detail(text="b", index=0), detail(text="ab", index=0)),
        (detail(text="a", index=0), detail(text="b", index=1), None),
        (detail(text="a", index=1), detail(text="b", index=0), None),
        (detail(text="a", format="x"), detail(format="y"), detail(text="a", format="y")),
        (detail(text="a", format="x"), detail(format=None), detail(text="a", format="x")),
        (detail(text="a", id=None), detail(text="b"), detail(text="ab", id=None)),
        (detail(text="a", index=0), detail(text="b"), detail(text="ab", index=0)),
        (detail(text="a", id="x"), detail(text="b", id="y"), None),
        (detail(text="a", id="x"), detail(text="b", id="x"), detail(text="ab", id="x")),
        (detail(text="a", id="x"), detail(text="b", id=None), detail(text="ab", id="x")),
        (detail(text="a"), detail(text="b", id="y"), detail(text="ab", id="y")),
        (detail(text="a", signature="s"), detail(text="b"), None),
        (detail(text="a"), detail(signature="s", text=None), detail(text="a", signature="s")),
        (detail(text="a"), {"type": "reasoning.summary", "summary": "b"}, None),
        (
            {"type": "reasoning.encrypted", "data": "a"},
            {"type": "reasoning.encrypted", "data": "b"},
            None,
        ),
        (
            {"type": "reasoning.encrypted", "data": "a", "id": "x"},
            {"type": "reasoning.encrypted", "data": "b", "id": "x"},
            {"type": "reasoning.encrypted", "data": "ab", "id": "x"},
        ),
        (
            {"type": "reasoning.encrypted", "data": "a", "index": 0},
            {"type": "reasoning.encrypted", "data": "b", "index": 0},
            {"type": "reasoning.encrypted", "data": "ab", "index": 0},
        ),
    ],
)
def test_fragments_of_a_detail_are_joined_and_details_kept_apart(
    first: Any, second: Any, joined: Any
) -> None:
    merger = ReasoningMerger()
    for fragment in (first, second):
        merger.add({"reasoning_details": [fragment, "odd"]})
    assert merger.details() == ([joined] if joined else [first, second])


@pytest.mark.parametrize(
    ("deltas", "shown"),
    [
        ([{"reasoning": "a", "reasoning_content": "a"}], ["a"]),
        ([{"reasoning": "a"}, {"reasoning_content": "a"}], ["a", ""]),
        (
            [{"reasoning": "ab"}, {"reasoning_content": "a"}, {"reasoning_content": "b"}],
            ["ab", "", ""],
        ),
        ([{"reasoning": "a"}, {"reasoning_content": "b"}], ["a", "b"]),
        ([{"reasoning": "a"}, {"reasoning": "a"}], ["a", "a"]),
        ([{"reasoning": "a"}, {"thinking": "b"}, {"reasoning": "c"}], ["a", "b", "c"]),
        ([{"reasoning": ""}, {"reasoning": 7}, {"reasoning_details": [{"text": 7}]}], ["", "", ""]),
        ([{"reasoning_details": [detail(text="a"), detail(summary="b")]}], ["ab"]),
    ],
)
def test_reasoning_in_several_spellings_is_shown_once(deltas: Any, shown: list[str]) -> None:
    merger = ReasoningMerger()
    assert [merger.add(delta) for delta in deltas] == shown


def test_reasoning_among_the_parts_goes_before_its_other_spellings() -> None:
    merger = ReasoningMerger()
    assert merger.add({"reasoning": "a"}, "a") == "a"
    assert merger.add({"reasoning": "b"}) == "b"
    assert parse_reasoning({"thinking": "t", "reasoning": "r"}) == ("r", [])
    assert parse_reasoning({"reasoning": "", "thinking": "t"}) == ("t", [])
    details = [detail(text="a"), detail(summary="b")]
    assert parse_reasoning({"reasoning_details": [*details, 7]}) == ("ab", details)
    assert parse_reasoning({"reasoning_details": "x"}) == ("", [])


@pytest.mark.parametrize(
    ("messages", "marked"),
    [
        ([{"role": "user", "content": "a"}], {0: 0}),
        ([{"role": "system", "content": "a"}, {"role": "user", "content": "b"}], {0: 0, 1: 0}),
        (
            [{"role": role, "content": "a"} for role in ("system", "developer", "user", "user")],
            {1: 0, 3: 0},
        ),
        ([{"role": "user", "content": [{"type": "text"}, {"type": "text"}]}], {0: 1}),
        ([{"role": "user", "content": ""}], {}),
        ([{"role": "user", "content": ["a"]}], {}),
        ([{"role": "user", "content": []}], {}),
        (["text"], {}),
    ],
)
def test_the_end_of_the_stable_prompt_is_marked(messages: Any, marked: dict[int, int]) -> None:
    result, rest = mark_for_cache(messages, {"cache_control": True, "n": 1})
    assert rest == {"n": 1}
    marks = {
        i: j
        for i, message in enumerate(result)
        if isinstance(message, dict) and isinstance(message["content"], list)
        for j, part in enumerate(message["content"])
        if isinstance(part, dict) and part.get("cache_control") == {"type": "ephemeral"}
    }
    assert marks == marked


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("data:image/png;base64,AAA=", ("image/png", "AAA=")),
        ("DATA:text/plain;charset=x;base64,AAA=", ("text/plain", "AAA=")),
        ("data:text/plain,a%20b", ("text/plain", base64.b64encode(b"a b").decode())),
        ("data:,a,b", ("", base64.b64encode(b"a,b").decode())),
        ("data:image/png;base64", None),
        ("https://x/a,b", None),
    ],
)
def test_a_data_url_is_its_type_and_its_bytes(url: str, parts: tuple[str, str] | None) -> None:
    assert split_data_url(url) == parts
    assert data_of(url) == (None if parts is None else base64.b64decode(parts[1]))


def test_parts_are_what_the_wire_has() -> None:
    assert image_part("https://x") == {"type": "image_url", "image_url": {"url": "https://x"}}
    assert image_part("https://x", "low")["image_url"] == {"url": "https://x", "detail": "low"}
    png = base64.b64encode(b"x").decode()
    assert part_of_file("a.png", b"x") == image_part(f"data:image/png;base64,{png}")
    for name in ("wav", "audio/x-wav", "WAVE", "audio/vnd.wave;rate=1"):
        assert audio_part("AA", name)["input_audio"] == {"data": "AA", "format": "wav"}
    for name in ("mp3", "audio/mpeg", "audio/mpeg3", "audio/x-mp3"):
        assert audio_part("AA", name)["input_audio"] == {"data": "AA", "format": "mp3"}


@pytest.mark.parametrize("name", ["model", "service_tier"])
def test_a_fact_that_comes_in_the_middle_of_a_stream_is_kept(name: str) -> None:
    reader = ChatStreamReader(Reply(200, {}, b""))
    events: list[dict[str, Any]] = [
        {"id": "gen-1", "created": 7, "choices": [{"delta": {"content": "a"}}]},
        {name: "late", "choices": [{"delta": {"content": "b"}}]},
        {name: 5, "choices": [{"delta": {}, "finish_reason": "stop"}]},
    ]
    for event in events:
        reader.read(json.dumps(event).encode())
    last = reader.read(b"[DONE]")
    assert last is not None
    assert last.last is not None
    assert (last.last.id, last.last.created, getattr(last.last, name)) == ("gen-1", 7, "late")
