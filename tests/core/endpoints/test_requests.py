"""What is sent, byte for byte, and what is made of whole answers, through both clients."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lunos_core import (
    LunosAPIError,
    LunosRateLimitError,
    LunosResponseError,
    Usage,
    __version__,
    chat_request,
    chat_stream_request,
    completion_request,
    completion_stream_request,
    embedding_request,
)
from tests.core.wire_samples import HELLO, Wire, delta, raw, reply, stored, stream

if TYPE_CHECKING:
    from tests.conftest import Both

OURS = ("accept", "authorization", "content-type", "user-agent", "x-app-id")


async def sent_headers(both: Both, request: Any, **settings: Any) -> dict[str, str]:
    wire = Wire(reply(stored("chat")))
    await both(both.client(wire, **settings).send(request))
    return dict(wire.sent.headers)


async def test_a_chat_request_is_sent_as_the_wire_has_it(both: Both) -> None:
    wire = Wire(reply(stored("chat")))
    request = chat_request(HELLO, model="openai/gpt-4", temperature=0, stop=None, app_id="app")
    await both(both.client(wire).send(request))
    assert (wire.sent.method, str(wire.sent.url)) == (
        "POST",
        "https://lunos.test/v1/chat/completions",
    )
    assert {name: wire.sent.headers.get(name) for name in OURS} == {
        "accept": "application/json",
        "authorization": "Bearer sk-test-4f9a1c",
        "content-type": "application/json",
        "user-agent": f"lunos-integrations/{__version__}",
        "x-app-id": "app",
    }
    assert wire.bodies == [{"model": "openai/gpt-4", "messages": HELLO, "temperature": 0}]


async def test_nothing_is_sent_that_the_user_did_not_set(both: Both) -> None:
    wire = Wire(reply(stored("chat")))
    await both(both.client(wire).send(chat_request(HELLO, model="m")))
    assert wire.bodies == [{"model": "m", "messages": HELLO}]
    assert "x-app-id" not in wire.sent.headers


async def test_the_wires_own_fields_and_unknown_ones_pass(both: Both) -> None:
    fields: dict[str, Any] = {
        "fallback_model": "other",
        "observability": True,
        "tools": [{"type": "web_search"}],
        "modalities": ["image", "text"],
        "image_config": {"aspect_ratio": "1:1"},
        "plugins": [{"id": "file-parser", "pdf": {"engine": "native"}}],
        "reasoning": {"effort": "low", "exclude": True},
        "newer_than_this_package": {"a": [None, "ü"]},
    }
    wire = Wire(reply(stored("chat")))
    request = chat_request(HELLO, model="m", **fields, extra_body={"even_newer": 1})
    await both(both.client(wire).send(request))
    assert wire.bodies == [{"model": "m", "messages": HELLO, **fields, "even_newer": 1}]


@pytest.mark.parametrize(
    ("params", "options"),
    [
        ({}, {"stream_options": {"include_usage": True}}),
        ({"stream_options": {}}, {}),
        (
            {"stream_options": {"include_usage": False}},
            {"stream_options": {"include_usage": False}},
        ),
    ],
)
async def test_a_stream_asks_for_its_usage_by_default(
    both: Both, params: dict[str, Any], options: dict[str, Any]
) -> None:
    for make, content in ((chat_stream_request, HELLO), (completion_stream_request, "Once")):
        wire = Wire(stream([delta("a", "stop"), "[DONE]"]))
        await both.chunks(both.client(wire), make(content, model="m", **params))
        (body,) = wire.bodies
        name = "messages" if content is HELLO else "prompt"
        assert body == {"model": "m", name: content, "stream": True, **options}
        assert wire.sent.headers["accept"] == "text/event-stream"


async def test_the_app_id_of_the_call_wins_over_the_clients(both: Both) -> None:
    call = chat_request(HELLO, model="m", app_id="call")
    plain = chat_request(HELLO, model="m")
    assert (await sent_headers(both, call, app_id="client"))["x-app-id"] == "call"
    assert (await sent_headers(both, plain, app_id="client"))["x-app-id"] == "client"
    assert (await sent_headers(both, call))["x-app-id"] == "call"


async def test_an_app_id_argument_wins_over_headers_of_that_name(both: Both) -> None:
    headers = {"X-APP-ID": "header"}
    request = chat_request(HELLO, model="m", extra_headers={"x-App-Id": "call header"})
    result = await sent_headers(both, request, app_id="client", default_headers=headers)
    assert result["x-app-id"] == "client"
    assert (await sent_headers(both, request, default_headers=headers))["x-app-id"] == "call header"
    plain = chat_request(HELLO, model="m")
    assert (await sent_headers(both, plain, default_headers=headers))["x-app-id"] == "header"


async def test_headers_of_the_call_win_over_the_clients_and_both_over_ours(both: Both) -> None:
    request = chat_request(HELLO, model="m", extra_headers={"X-One": "call", "user-agent": "mine"})
    result = await sent_headers(both, request, default_headers={"x-one": "client", "X-Two": "2"})
    assert (result["x-one"], result["x-two"], result["user-agent"]) == ("call", "2", "mine")


async def test_the_timeout_of_the_call_wins_over_the_clients(both: Both) -> None:
    wire = Wire(reply(stored("chat")))
    client = both.client(wire, timeout=7)
    await both(client.send(chat_request(HELLO, model="m")))
    await both(client.send(chat_request(HELLO, model="m", timeout=3)))
    result = [request.extensions["timeout"] for request in wire.requests]
    assert [(item["connect"], item["read"], item["pool"]) for item in result] == [
        (7, 7, None),
        (3, 3, None),
    ]


@pytest.mark.parametrize(
    "name", ["chat", "chat_envelope", "chat_envelope_text", "completion", "completion_envelope"]
)
async def test_flat_answers_and_envelopes_are_read_alike_by_both_endpoints(
    both: Both, name: str
) -> None:
    wire = Wire(reply(stored(name), x_request_id="req-1"))
    for request in (chat_request(HELLO, model="m"), completion_request("Hello", model="m")):
        answer = await both(both.client(wire).send(request))
        (choice,) = answer.choices
        assert (answer.text, choice.text, choice.message.content) == ("Hello there",) * 3
        assert (choice.index, choice.finish_reason) == (0, "stop")
        assert (answer.id, answer.model, answer.provider) == ("gen-1", "openai/gpt-4", "OpenAI")
        assert (answer.created, answer.request_id, answer.attempts) == (1700000000, "req-1", 1)
        assert answer.usage == Usage(9, 3, 12, 4, 1, 0, 2, 0, 0, 0.00012)
        assert not answer.fallback


async def test_a_completion_request_is_sent_as_the_wire_has_it(both: Both) -> None:
    wire = Wire(reply(stored("completion")))
    client = both.client(wire)
    await both(client.send(completion_request("Once upon", model="m", max_tokens=9)))
    await both(client.send(completion_request(["a", "b"], model="m", n=2)))
    assert [str(request.url) for request in wire.requests] == [
        "https://lunos.test/v1/completions"
    ] * 2
    assert wire.bodies == [
        {"model": "m", "prompt": "Once upon", "max_tokens": 9},
        {"model": "m", "prompt": ["a", "b"], "n": 2},
    ]


async def test_streamed_completions_are_read_from_text(both: Both) -> None:
    events = [
        {"id": "gen-1", "choices": [{"text": "Once ", "index": 0, "finish_reason": None}]},
        {"id": "gen-1", "choices": [{"text": "upon", "index": 0, "finish_reason": "length"}]},
        {"id": "gen-1", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
        "[DONE]",
    ]
    client = both.client(Wire(stream(events)))
    chunks = await both.chunks(client, completion_stream_request("O", model="m"))
    assert [chunk.text for chunk in chunks] == ["Once ", "upon", ""]
    assert chunks[0].choices[0].text == "Once "
    last = chunks[-1].last
    assert (last.text, last.choices[0].finish_reason) == ("Once upon", "length")
    assert chunks[-1].usage.total_tokens == 3


async def test_a_whole_message_is_read_in_all_its_parts(both: Both) -> None:
    answer = stored("chat")
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    details = [{"type": "reasoning.text", "text": "Hm", "signature": "c2ln"}]
    answer["choices"] = [
        {"index": 1, "message": {"content": None, "refusal": "No"}, "finish_reason": "stop"},
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": [{"type": "text", "text": "Hello "}, {"text": "there"}, image],
                "reasoning": "Hm",
                "reasoning_content": "Hm",
                "reasoning_details": details,
                "images": [image],
                "annotations": [{"type": "url_citation"}, None],
                "tool_calls": [
                    {"id": "c1", "function": {"name": "f", "arguments": {"a": 1}}},
                    {"function": {"name": "g", "arguments": '{"cut'}},
                    {"index": 0, "id": "c3", "function": {"name": "h", "arguments": "{}"}},
                ],
            },
            "finish_reason": "tool_calls",
            "logprobs": {"content": []},
        },
    ]
    got = await both(both.client(Wire(reply(answer))).send(chat_request(HELLO, model="m")))
    first, second = got.choices
    message = first.message
    assert (second.index, second.message.refusal, second.message.content) == (1, "No", "")
    assert (message.content, message.reasoning) == ("Hello there", "Hm")
    assert message.reasoning_details == details
    assert message.images == ["data:image/png;base64,AAAA"]
    assert message.annotations == [{"type": "url_citation"}]
    assert [(call.name, call.arguments) for call in message.tool_calls] == [
        ("f", '{"a":1}'),
        ("g", '{"cut'),
        ("h", "{}"),
    ]
    assert [call.id for call in message.tool_calls][::2] == ["c1", "c3"]
    assert message.tool_calls[1].id
    assert first.logprobs == {"content": []}


async def test_the_function_call_of_old_is_a_tool_call(both: Both) -> None:
    answer = stored("chat")
    old = {"content": None, "function_call": {"name": "f", "arguments": "{}"}}
    answer["choices"][0]["message"] = old
    got = await both(both.client(Wire(reply(answer))).send(chat_request(HELLO, model="m")))
    (call,) = got.choices[0].message.tool_calls
    assert (call.name, call.arguments, bool(call.id)) == ("f", "{}", True)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "application/json"),
        (b"<html>Welcome</html>", "text/html"),
        (b"garbage", "text/plain"),
        (b"[]", "application/json"),
        (b"null", "application/json"),
        (b'{"choices": "no", "data": 7}', "application/json"),
        (b'{"choices": []}', "application/json"),
        (b'{"choices": [null]}', "application/json"),
        (b'{"choices": [{"index": 0}]}', "application/json"),
        (b'{"choices": [{"message": {"content": "cut', "application/json"),
        (b"\xff\xfe{", "application/json"),
        (b'{"a":' * 5000, "application/json"),
    ],
)
async def test_a_successful_answer_that_makes_no_sense_is_a_typed_error(
    both: Both, body: bytes, kind: str
) -> None:
    wire = Wire(raw(body, content_type=kind, x_request_id="req-1"))
    with pytest.raises(LunosResponseError) as caught:
        await both(both.client(wire).send(chat_request(HELLO, model="m", app_id="app")))
    error = caught.value
    assert (error.status, error.request_id, error.app_id) == (200, "req-1", "app")
    assert error.response is not None
    assert error.response.text == body.decode("utf-8", "replace")
    assert f"{len(body)} bytes" in error.message
    assert len(wire.requests) == 1


async def test_an_error_in_a_successful_answer_is_that_error(both: Both) -> None:
    wire = Wire(reply({"error": {"code": "rate_limit_exceeded", "message": "Slow down"}}))
    with pytest.raises(LunosRateLimitError, match="Slow down") as caught:
        await both(both.client(wire, max_retries=0).send(embedding_request("a", model="m")))
    assert caught.value.status == 429
    wire = Wire(reply({"error": "Something"}))
    with pytest.raises(LunosAPIError, match="Something"):
        await both(both.client(wire, max_retries=0).send(chat_request(HELLO, model="m")))


def test_text_of_any_language_is_sent_as_it_is_and_half_characters_become_whole() -> None:
    message = [{"role": "user", "content": "a\u2028ü😀\x00"}]
    assert json.loads(chat_request(message, model="m").body)["messages"] == message
    halves = [{"role": "user", "content": "\ud83d\ude00 \ud83d"}]  # a model's, in the history
    sent = json.loads(chat_request(halves, model="m").body)["messages"]
    assert sent == [{"role": "user", "content": "😀 \ufffd"}]


def test_numbers_that_json_cannot_carry_are_refused_and_none_is_null() -> None:
    body = chat_request(HELLO, model="m", extra_body={"a": None, "b": 2**70, "c": {1: "x"}}).body
    assert json.loads(body)["a"] is None
    assert json.loads(body)["b"] == 2**70
    for number in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            chat_request(HELLO, model="m", extra_body={"a": number})
    with pytest.raises(TypeError):
        chat_request(HELLO, model="m", extra_body={"a": object()})
