"""A malformed request is a 400 that says where it is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from tests.local.wire import Wire, tool

USER = {"role": "user", "content": "hi"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ASSISTANT = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "ok"}
PNG = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def part(kind: str, **payload: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": kind, kind: payload}]}]


BAD_MESSAGES: list[tuple[Any, str]] = [
    ([], "messages"),
    ("hi", "messages"),
    ([7], "messages[0]"),
    ([{"content": "hi"}], "messages[0].role"),
    ([{"role": "robot", "content": "hi"}], "messages[0].role"),
    ([{"role": "user"}], "messages[0].content"),
    ([{"role": "user", "content": None}], "messages[0].content"),
    ([{"role": "user", "content": 7}], "messages[0].content"),
    ([{"role": "user", "content": []}], "messages[0].content"),
    ([{"role": "assistant", "content": None}], "messages[0].content"),
    ([USER, {"role": "user", "content": [{"type": "pic"}]}], "messages[1].content[0].type"),
    ([{"role": "user", "content": ["hi"]}], "messages[0].content[0]"),
    ([{"role": "system", "content": [PNG]}], "messages[0].content[0].type"),
    ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text"),
    ([{"role": "user", "content": [{"type": "text", "text": 7}]}], "messages[0].content[0].text"),
    (part("image_url"), "messages[0].content[0].image_url.url"),
    (part("image_url", url="file:///x.png"), "messages[0].content[0].image_url.url"),
    (part("image_url", url="data:image/png;base64,?"), "messages[0].content[0].image_url.url"),
    (part("image_url", url="data:text/plain;base64,AAAA"), "messages[0].content[0].image_url.url"),
    (
        part("image_url", url="https://x.org/y.png", detail="huge"),
        "messages[0].content[0].image_url.detail",
    ),
    (part("file", filename="a.pdf"), "messages[0].content[0].file.file_data"),
    (part("file", file_data="x.pdf"), "messages[0].content[0].file.file_data"),
    (part("file", fileData="x.pdf"), "messages[0].content[0].file.fileData"),
    (part("input_audio", data="!", format="wav"), "messages[0].content[0].input_audio.data"),
    (part("input_audio", data="AAAA", format="ogg"), "messages[0].content[0].input_audio.format"),
    (part("video_url", url="x"), "messages[0].content[0].video_url.url"),
    ([{**USER, "name": 7}], "messages[0].name"),
    ([{**USER, "tool_calls": [CALL]}], "messages[0].tool_calls"),
    ([USER, {**ASSISTANT, "tool_calls": []}, USER], "messages[1].content"),
    ([USER, {**ASSISTANT, "content": "a", "tool_calls": []}], "messages[1].tool_calls"),
    ([USER, {**ASSISTANT, "tool_calls": [{**CALL, "id": None}]}], "messages[1].tool_calls[0].id"),
    (
        [USER, {**ASSISTANT, "tool_calls": [{**CALL, "type": "x"}]}],
        "messages[1].tool_calls[0].type",
    ),
    (
        [
            USER,
            {**ASSISTANT, "tool_calls": [{**CALL, "function": {"name": "f", "arguments": "{"}}]},
        ],
        "messages[1].tool_calls[0].function.arguments",
    ),
    (
        [USER, {**ASSISTANT, "tool_calls": [{**CALL, "function": {"name": "f", "arguments": {}}}]}],
        "messages[1].tool_calls[0].function.arguments",
    ),
    ([USER, ASSISTANT, USER], "messages[2]"),
    ([USER, ASSISTANT], "messages"),
    ([USER, RESULT], "messages[1].tool_call_id"),
    ([USER, ASSISTANT, {**RESULT, "tool_call_id": "c2"}], "messages[2].tool_call_id"),
    ([USER, ASSISTANT, {"role": "tool", "content": "ok"}], "messages[2].tool_call_id"),
    ([USER, ASSISTANT, RESULT, RESULT], "messages[3].tool_call_id"),
]

GOOD_MESSAGES: list[Any] = [
    [USER, USER],
    [{"role": "developer", "content": "be kind"}, USER],
    [{**USER, "name": "ada"}],
    [USER, ASSISTANT, RESULT, USER],
    [USER, ASSISTANT, {**RESULT, "content": [PNG]}],
    [USER, {"role": "assistant", "content": None, "reasoning": "hm"}, USER],
    [{"role": "user", "content": [{**PNG, "cache_control": {"type": "ephemeral"}}]}],
    part("file", filename="a.pdf", file_data="data:application/pdf;base64,AAAA"),
    part("file", file_data="https://x.org/a.pdf"),
    part("file", fileData="data:application/pdf;base64,AAAA"),
    part("file", url="https://x.org/a.pdf"),
    part("input_audio", data="AAAA", format="mp3"),
    part("video_url", url="https://x.org/v.mp4"),
]

TOOLS = [tool("add", a={"type": "integer"})]
BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"model": None}, "model"),
    ({"model": 7}, "model"),
    ({"messages": None}, "messages"),
    ({"temperature": 2.1}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": True}, "temperature"),
    ({"top_p": -0.1}, "top_p"),
    ({"presence_penalty": 3}, "presence_penalty"),
    ({"frequency_penalty": -3}, "frequency_penalty"),
    ({"n": 0}, "n"),
    ({"n": 9}, "n"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ({"stop": [1]}, "stop[0]"),
    ({"seed": "x"}, "seed"),
    ({"stream": "yes"}, "stream"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"logit_bias": {"5": 200}}, "logit_bias.5"),
    ({"tools": []}, "tools"),
    ({"tools": None}, "tools"),
    ({"tools": [{"type": "gadget"}]}, "tools[0].type"),
    ({"tools": [{"type": "function"}]}, "tools[0].function"),
    ({"tools": [tool("bad name")]}, "tools[0].function.name"),
    ({"tools": [*TOOLS, *TOOLS]}, "tools[1].function.name"),
    (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": "x"}}]},
        "tools[0].function.parameters",
    ),
    ({"tool_choice": "auto"}, "tool_choice"),
    ({"parallel_tool_calls": False}, "parallel_tool_calls"),
    ({"tools": TOOLS, "tool_choice": "any"}, "tool_choice"),
    (
        {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "sub"}}},
        "tool_choice.function.name",
    ),
    ({"response_format": {"type": "yaml"}}, "response_format.type"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
        "response_format.json_schema.name",
    ),
    ({"reasoning": {"effort": "extreme"}}, "reasoning.effort"),
    ({"modalities": ["smell"]}, "modalities[0]"),
    ({"plugins": [{"id": "p", "pdf": {"engine": "x"}}]}, "plugins[0].pdf.engine"),
    ({"observability": "yes"}, "observability"),
]


@pytest.mark.parametrize(("messages", "param"), BAD_MESSAGES)
def test_a_bad_message_is_refused_and_the_place_is_named(
    wire: Wire, messages: Any, param: str
) -> None:
    response = wire.chat(messages=messages)
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, param)
    assert error["type"] == "invalid_request_error"
    assert set(error) == {"code", "message", "param", "type"}


@pytest.mark.parametrize("messages", GOOD_MESSAGES)
def test_a_good_conversation_is_answered(wire: Wire, messages: Any) -> None:
    assert wire.chat(messages=messages).status_code == 200


@pytest.mark.parametrize(("fields", "param"), BAD_FIELDS)
def test_a_bad_parameter_is_refused_and_named(
    wire: Wire, fields: dict[str, Any], param: str
) -> None:
    response = wire.chat(**fields)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


def test_unknown_and_null_parameters_are_accepted(wire: Wire) -> None:
    assert wire.chat(colour="red", temperature=None, stop=None, user="u", seed=1).status_code == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff", b'{"model": "\\ud800"}'])
def test_a_body_that_isnt_a_json_object_is_a_400(wire: Wire, body: bytes) -> None:
    response = wire.http.post("/chat/completions", content=body)
    assert response.status_code == 400
    assert wire.gateway.requests()[-1]["status"] == 400
    assert wire.http.get(f"{wire.root}/requests").status_code == 200


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [1]}, "prompt[0]"),
        ({"max_tokens": -1}, "max_tokens"),
    ],
)
def test_a_bad_completion_request_is_refused(
    wire: Wire, fields: dict[str, Any], param: str
) -> None:
    response = wire.complete(**{"prompt": "x", **fields})
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": [[1, 2]]}, "input[0]"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
    ],
)
def test_a_bad_embedding_request_is_refused(wire: Wire, fields: dict[str, Any], param: str) -> None:
    response = (
        wire.embed(**{"texts": "x", **fields})
        if "input" not in fields
        else (wire.http.post("/embeddings", json={"model": "lunos/scripted-embedding", **fields}))
    )
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"reasoning": {"effort": "low"}}, "reasoning"),
        ({"modalities": ["image"]}, "modalities[0]"),
        ({"messages": [{"role": "user", "content": [PNG]}]}, "messages[0].content[0].type"),
    ],
)
def test_a_feature_that_a_model_lacks_is_an_unsupported_parameter(
    wire: Wire, fields: dict[str, Any], param: str
) -> None:
    response = wire.chat(model="local/extractive", **fields)
    error = response.json()["error"]
    assert response.status_code == 400
    assert (error["code"], error["param"]) == ("unsupported_parameter", param)


def test_an_unknown_model_is_a_404_and_a_wrong_endpoint_a_400(wire: Wire) -> None:
    unknown = wire.chat(model="lunos/Scripted")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    assert wire.chat(model="lunos/scripted-embedding").status_code == 400
    assert wire.embed(model="lunos/scripted").status_code == 400
