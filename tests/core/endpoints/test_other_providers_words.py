"""Answers that a gateway passes on in the words of the provider behind it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lunos_core import chat_request
from lunos_core.accounting.usage import Usage
from lunos_core.endpoints.chat.message import parse_content
from lunos_core.endpoints.chat.reasoning import text_inside
from lunos_core.endpoints.chat.stream import ChatStreamReader
from lunos_core.endpoints.chat.types import Completion
from lunos_core.request import Reply
from tests.core.wire_samples import HELLO

SIGNED = {"extra_content": {"google": {"thought_signature": "abc"}}}


def read(message: Any, reason: str = "stop", *, streamed: bool, **more: Any) -> Completion:
    """The answer with this message, whole or as the only delta of a stream."""
    choice = {"index": 0, "finish_reason": reason, "delta" if streamed else "message": message}
    body = json.dumps({"model": "m", "choices": [choice], **more}).encode()
    if not streamed:
        return chat_request(HELLO, model="m").parse(Reply(200, {}, body))
    reader = ChatStreamReader(Reply(200, {}, b""))
    reader.read(body)
    last = reader.end()
    assert last is not None
    assert last.last is not None
    return last.last


STREAMED: Any = pytest.mark.parametrize("streamed", [False, True])


@STREAMED
@pytest.mark.parametrize(
    "call",
    [
        {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}},
        {"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": '{"a":1}'},
        {"toolUse": {"toolUseId": "c", "name": "f", "input": {"a": 1}}},
        {"functionCall": {"id": "c", "name": "f", "args": {"a": 1}}},
        {"function_call": {"id": "c", "name": "f", "args": {"a": 1}}},
        {"type": "tool_call", "id": "c", "name": "f", "args": {"a": 1}},
        {"type": "tool-call", "toolCallId": "c", "toolName": "f", "input": {"a": 1}},
    ],
)
def test_a_call_among_the_parts_of_the_content_is_a_call(
    call: dict[str, Any], streamed: bool
) -> None:
    said = {"role": "assistant", "content": [{"text": "Let me see."}, call]}
    message = read(said, "tool_use", streamed=streamed).choices[0].message
    assert message.content == "Let me see."
    (made,) = message.tool_calls
    assert (made.id, made.name, json.loads(made.arguments)) == ("c", "f", {"a": 1})


@STREAMED
@pytest.mark.parametrize(
    "said",
    [
        {"content": [{"text": "hm", "thought": True}, {"text": "hi"}]},
        {"content": [{"reasoningContent": {"reasoningText": {"text": "hm"}}}, {"text": "hi"}]},
        {"content": "hi", "thinking": "hm"},
        {"content": "hi", "reasoning_text": "hm"},
        {"content": "hi", "tool_plan": "hm"},
        *({"content": "hi", word: "hm"} for word in ("thoughts", "thought", "thinking_content")),
        {"content": "hi", "thoughts": [{"text": "hm"}]},
        {"content": "hi", "reasoning_content": "hm", "thoughts": "hm"},
        {"content": {"role": "model", "parts": [{"text": "hm", "thought": True}, {"text": "hi"}]}},
        {"content": "hi", "reasoning": "hm", "thinking": "hm"},
        {"content": "hi", "reasoning": {"text": "hm"}},
        {"content": "hi", "reasoning": [{"type": "summary_text", "text": "hm"}]},
        {"content": "hi", "reasoning_content": ["h", "m"]},
        {"content": "hi", "thinking": {"content": "hm"}},
        {"content": "hi", "reasoningContent": {"reasoningText": {"text": "hm"}}},
        {"content": "hi", "thinking_blocks": [{"type": "thinking", "thinking": "hm"}]},
        {
            "content": "hi",
            "reasoning_content": "hm",
            "thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s"}],
        },
        {"content": [{"type": "thinking", "content": "hm"}, {"type": "text", "content": "hi"}]},
        {
            "content": [
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
                {"type": "message", "content": [{"type": "output_text", "text": "hi"}]},
            ]
        },
    ],
)
def test_reasoning_is_read_under_all_its_names(said: Any, streamed: bool) -> None:
    message = read({"role": "assistant", **said}, streamed=streamed).choices[0].message
    assert (message.content, message.reasoning) == ("hi", "hm")


@STREAMED
@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (
            {"x_groq": {"usage": {"prompt_tokens": 3, "completion_tokens": 2}}},
            Usage(3, 2, 5),
        ),
        (
            {"usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}},
            Usage(3, 2, 5),
        ),
        (
            {
                "usage": {
                    "inputTokens": 3,
                    "outputTokens": 2,
                    "totalTokens": 9,
                    "cacheReadInputTokens": 4,
                }
            },
            Usage(7, 2, 9, cached_tokens=4),
        ),
        (
            {
                "usage": {
                    "billed_units": {"input_tokens": 1, "output_tokens": 2},
                    "tokens": {"input_tokens": 3, "output_tokens": 2},
                    "cached_tokens": 2,
                }
            },
            Usage(3, 2, 5, cached_tokens=2),
        ),
        (  # all of it from the cache, which Anthropic counts beside the input
            {"usage": {"input_tokens": 0, "output_tokens": 2, "cache_read_input_tokens": 5}},
            Usage(5, 2, 7, cached_tokens=5),
        ),
        (
            {"usage": {"promptTokens": 3, "completionTokens": 2, "totalTokens": 5}},
            Usage(3, 2, 5),
        ),
        ({"usage": {"prompt_eval_count": 3, "eval_count": 2}}, Usage(3, 2, 5)),
        *(
            ({"usage": {sent: 3, got: 2}}, Usage(3, 2, 5))
            for sent, got in (
                ("input_token_count", "generated_token_count"),
                ("prompt_tokens", "generated_tokens"),
                ("tokens_prompt", "tokens_completion"),
                ("tokens_evaluated", "tokens_predicted"),
                ("prompt_n", "predicted_n"),
                ("num_input_tokens", "num_output_tokens"),
            )
        ),
        (
            {"usage": {"prompt_tokens": "12", "completion_tokens": " 3", "cost": "0.5"}},
            Usage(12, 3, 15, cost=0.5),
        ),
        ({"usage": {"prompt_tokens": 12, "total_tokens": "NaN", "cost": "free"}}, Usage(12, 0, 12)),
        (
            {
                "usage_metadata": {
                    "prompt_token_count": 3,
                    "candidates_token_count": 2,
                    "thoughts_token_count": 4,
                    "total_token_count": 9,
                }
            },
            Usage(3, 6, 9, reasoning_tokens=4),
        ),
        (
            {"usage": {"inputTokens": 3, "outputTokens": 2, "cachedInputTokens": 1}},
            Usage(3, 2, 5, cached_tokens=1),
        ),
    ],
)
def test_usage_in_any_word_for_it_counts(facts: Any, expected: Usage, streamed: bool) -> None:
    assert read({"content": "hi"}, streamed=streamed, **facts).usage == expected


@STREAMED
def test_googles_own_usage_beside_an_answer_counts(streamed: bool) -> None:
    counts = {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}
    assert read({"content": "hi"}, streamed=streamed, usageMetadata=counts).usage == Usage(3, 2, 5)


@pytest.mark.parametrize("behind", [True, False])
def test_usage_in_a_choice_counts(behind: bool) -> None:
    """As Moonshot sends it, in streams and maybe with an event behind it."""
    counts = {"prompt_tokens": 3, "completion_tokens": 2}
    said = {"index": 0, "finish_reason": "stop", "usage": counts}
    whole = json.dumps({"choices": [{**said, "message": {"content": "hi"}}]}).encode()
    assert chat_request(HELLO, model="m").parse(Reply(200, {}, whole)).usage == Usage(3, 2, 5)
    reader = ChatStreamReader(Reply(200, {}, b""))
    reader.read(json.dumps({"choices": [{**said, "delta": {"content": "hi"}}]}).encode())
    if behind:
        reader.read(b'{"choices": []}')
    last = reader.end()
    assert last is not None
    assert last.last is not None
    assert last.last.usage == Usage(3, 2, 5)


CALL = {"id": "c", "function": {"name": "f", "arguments": '{"a":1}'}}


@STREAMED
@pytest.mark.parametrize(
    "said",
    [
        {"toolCalls": [CALL]},
        {"tool_calls": {"0": CALL}},
        {"tool_calls": {"c": {"function": CALL["function"]}}},
        {"tool_calls": CALL},
        {"tool_calls": {"function": CALL["function"], "id": "c"}},
        {"functionCall": {"id": "c", "name": "f", "args": {"a": 1}}},
        {"content": {"parts": [{"functionCall": {"id": "c", "name": "f", "args": {"a": 1}}}]}},
    ],
)
def test_calls_under_any_key_and_in_any_collection_are_calls(said: Any, streamed: bool) -> None:
    message = read({"content": None, **said}, "tool_calls", streamed=streamed).choices[0].message
    (made,) = message.tool_calls
    assert (made.name, made.arguments, message.content) == ("f", '{"a":1}', "")
    assert made.id == "c" or "functionCall" in said


@STREAMED
def test_calls_keyed_by_number_are_as_many_calls(streamed: bool) -> None:
    calls = {str(i): {**CALL, "id": f"c{i}"} for i in range(2)}
    message = read({"tool_calls": calls}, "tool_calls", streamed=streamed).choices[0].message
    assert [(call.id, call.name) for call in message.tool_calls] == [("c0", "f"), ("c1", "f")]


def test_fragments_keyed_by_number_belong_to_the_call_of_that_number() -> None:
    reader = ChatStreamReader(Reply(200, {}, b""))
    pieces: list[Any] = [{"1": {"function": {"arguments": piece}}} for piece in ('{"a"', ":1}")]
    for calls in ({"0": CALL}, {"1": {"id": "d", "function": {"name": "g"}}}, *pieces):
        choice = {"index": 0, "delta": {"tool_calls": calls}}
        reader.read(json.dumps({"choices": [choice]}).encode())
    reader.read(b'{"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}')
    last = reader.end()
    assert last is not None
    assert last.last is not None
    made = [
        (call.id, call.name, call.arguments) for call in last.last.choices[0].message.tool_calls
    ]
    assert made == [("c", "f", '{"a":1}'), ("d", "g", '{"a":1}')]


@pytest.mark.parametrize(
    "written",
    [
        *({"parts": [{"name": "bolt"}]}, {"parts": []}, {"parts": ["text"], "role": "x"}),
        *(
            {"parts": [{"text": "x"}], "more": 1},
            {"parts": {"text": "x"}},
            {"role": "x", "parts": 3},
        ),
    ],
)
def test_an_object_with_parts_of_its_own_is_a_models_json(written: Any) -> None:
    assert json.loads(parse_content(written).text) == written


@STREAMED
@pytest.mark.parametrize("word", ["arguments", "input", "args", "parameters"])
@pytest.mark.parametrize("value", [{"a": 1}, '{"a":1}'])
@pytest.mark.parametrize("wrapped", [True, False])
def test_no_word_for_arguments_runs_a_tool_without_them(
    word: str, value: Any, wrapped: bool, streamed: bool
) -> None:
    function = {"name": "delete_file", word: value}
    call = {"id": "c", "function": function} if wrapped else {"id": "c", **function}
    said = {"content": None, "tool_calls": [call]}
    (made,) = read(said, "tool_calls", streamed=streamed).choices[0].message.tool_calls
    assert (made.name, made.arguments) == ("delete_file", '{"a":1}')


@STREAMED
@pytest.mark.parametrize(
    "part",
    [
        {"type": "image", "image": "data:image/webp;base64,AAAA"},
        {"type": "image", "data": "AAAA", "mimeType": "image/webp"},
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/webp", "data": "AAAA"},
        },
        {"type": "output_image", "b64_json": "AAAA", "mime_type": "image/webp"},
        {"inlineData": {"mimeType": "image/webp", "data": "AAAA"}},
        {"inline_data": {"mime_type": "image/webp", "data": "AAAA"}},
    ],
)
def test_an_image_in_any_word_for_it_is_kept(part: dict[str, Any], streamed: bool) -> None:
    message = read({"content": [{"text": "hi"}, part]}, streamed=streamed).choices[0].message
    assert (message.content, message.images) == ("hi", ["data:image/webp;base64,AAAA"])


@pytest.mark.parametrize("where", ["usageMetadata", "usage"])
def test_usage_of_an_event_in_the_middle_of_a_stream_is_kept(where: str) -> None:
    counts = {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}
    reader = ChatStreamReader(Reply(200, {}, b""))
    for more, finish in (({where: counts}, None), ({}, "stop")):
        choice = {"index": 0, "finish_reason": finish, "delta": {"content": "hi"}}
        reader.read(json.dumps({"model": "m", "choices": [choice], **more}).encode())
    last = reader.end()
    assert last is not None
    assert last.last is not None
    assert last.last.usage == Usage(3, 2, 5)


@STREAMED
@pytest.mark.parametrize("field", ["extra_content", "provider_specific_fields"])
def test_what_a_provider_wants_back_with_a_call_is_kept_with_it(field: str, streamed: bool) -> None:
    """Gemini refuses a history in which the signature of a thought is missing."""
    extras = {field: SIGNED["extra_content"]}
    function = {"name": "f", "arguments": "{}"}
    calls = [{"index": i, "id": str(i), "function": function} for i in range(2)]
    calls[0] |= extras
    said = {"content": None, "tool_calls": calls}
    first, second = read(said, "tool_calls", streamed=streamed).choices[0].message.tool_calls
    assert first.to_wire() == {"id": "0", "type": "function", "function": function, **extras}
    assert second.to_wire() == {"id": "1", "type": "function", "function": function}


def test_an_answer_that_a_filter_left_nothing_of_is_empty() -> None:
    choice = read(None, "content_filter", streamed=False).choices[0]
    assert (choice.text, choice.finish_reason) == ("", "content_filter")


def test_endless_nesting_gives_no_text_and_no_crash() -> None:
    nested: Any = "deep"
    for _ in range(10_000):
        nested = [{"type": "text", "text": nested}]
    assert text_inside(nested) == ""
    assert parse_content(nested).text == ""
