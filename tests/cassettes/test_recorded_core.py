"""One recorded conversation for each endpoint of the core, played to both clients."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from pytest_socket import SocketBlockedError
from vcr.cassette import Cassette
from vcr.errors import CannotOverwriteExistingCassetteException

from lunos_core import (
    LunosAuthenticationError,
    LunosBadRequestError,
    LunosError,
    LunosNotFoundError,
    LunosPaymentError,
    LunosPermissionError,
    LunosRateLimitError,
    LunosServerError,
    LunosStreamInterruptedError,
)

pytestmark = pytest.mark.vcr

HELLO = [{"role": "user", "content": "Say 'hello' and nothing else."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["city", "people"],
    "additionalProperties": False,
}


def body_of(vcr: Cassette, i: int = 0) -> Any:
    return json.loads(vcr.requests[i].body)


async def test_chat(ask: Any, service: Any, vcr: Cassette) -> None:
    answer = await ask(
        "chat.completions", model=service.chat, messages=HELLO, temperature=0, app_id="recorded"
    )
    assert answer.text
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens > 0
    assert answer.request_id
    assert vcr.requests[0].headers["x-app-id"] == "recorded"
    assert body_of(vcr) == {"model": service.chat, "messages": HELLO, "temperature": 0}


async def test_chat_stream(ask: Any, service: Any, vcr: Cassette) -> None:
    chunks = await ask("chat.completions", model=service.chat, messages=HELLO, stream=True)
    last = chunks[-1].last
    assert "".join(chunk.text for chunk in chunks) == last.text != ""
    assert last.usage.output_tokens > 0
    assert body_of(vcr)["stream_options"] == {"include_usage": True}


async def test_tool_round_trip(ask: Any, service: Any, vcr: Cassette) -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "The weather in Oslo, please."}]
    settings = {"model": service.chat, "tools": [WEATHER], "tool_choice": "required"}
    first = await ask("chat.completions", messages=messages, **settings)
    (call,) = first.choices[0].message.tool_calls
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Oslo"})
    messages += [
        {"role": "assistant", "content": None, "tool_calls": [call.to_wire()]},
        {"role": "tool", "tool_call_id": call.id, "content": "4 degrees, rain"},
    ]
    second = await ask("chat.completions", messages=messages, **settings | {"tool_choice": "none"})
    assert "4 degrees" in second.text
    assert body_of(vcr, 1)["messages"][1]["tool_calls"][0]["id"] == call.id


async def test_tool_call_stream(ask: Any, service: Any) -> None:
    chunks = await ask(
        "chat.completions",
        model=service.chat,
        messages=[{"role": "user", "content": "The weather in Oslo, please."}],
        tools=[WEATHER],
        tool_choice="required",
        stream=True,
    )
    (call,) = chunks[-1].last.choices[0].message.tool_calls
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Oslo"})


async def test_json_schema(ask: Any, service: Any) -> None:
    answer = await ask(
        "chat.completions",
        model=service.chat,
        messages=[{"role": "user", "content": "In 'Oslo' live 700000 people."}],
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "city", "strict": True, "schema": CITY},
        },
    )
    assert json.loads(answer.text) == {"city": "Oslo", "people": 700000}


async def test_completion(ask: Any, service: Any, vcr: Cassette) -> None:
    answer = await ask("completions", model=service.completion, prompt="Once upon", max_tokens=8)
    assert answer.text
    assert 0 < answer.usage.output_tokens <= 8
    assert body_of(vcr) == {"model": service.completion, "prompt": "Once upon", "max_tokens": 8}


async def test_completion_stream(ask: Any, service: Any) -> None:
    chunks = await ask(
        "completions", model=service.completion, prompt="Once upon", max_tokens=8, stream=True
    )
    assert "".join(chunk.text for chunk in chunks) == chunks[-1].last.text != ""


async def test_embeddings(ask: Any, service: Any, vcr: Cassette) -> None:
    texts = ["a cat", "a small cat", "the tax return of 1998"]
    answer = await ask("embeddings", model=service.embedding, input=texts, dimensions=16)
    cat, small_cat, tax = answer.vectors
    assert {len(vector) for vector in answer.vectors} == {16}
    near, far = (sum(a * b for a, b in zip(cat, other, strict=True)) for other in (small_cat, tax))
    assert near > far
    assert answer.usage.input_tokens > 0
    assert body_of(vcr)["encoding_format"] == "base64"


async def test_image_url(ask: Any, service: Any, vcr: Cassette) -> None:
    sent = {"model": service.image, "prompt": "a red cat", "size": service.image_size}
    answer = await ask("images.generate", **sent, app_id="recorded")
    (image,) = answer.images
    assert image.url or image.b64_json  # a model may give the one although the other is the rule
    assert body_of(vcr) == sent
    assert vcr.requests[0].headers["x-app-id"] == "recorded"


async def test_image_bytes(ask: Any, service: Any, vcr: Cassette) -> None:
    answer = await ask(
        "images.generate",
        model=service.image,
        prompt="a red cat",
        size=service.image_size,
        response_format="b64_json",
    )
    assert answer.images[0].data.startswith(b"\x89PNG")
    assert body_of(vcr)["response_format"] == "b64_json"


async def test_transcription(ask: Any, service: Any, sound: bytes, vcr: Cassette) -> None:
    answer = await ask(
        "audio.transcriptions", model=service.speech, file=sound, filename="tone.wav", language="en"
    )
    assert answer.text
    form = vcr.requests[0]
    assert form.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'name="language"\r\n\r\nen\r\n' in form.body
    assert b'filename="tone.wav"\r\nContent-Type: audio/wav\r\n\r\n' + sound in form.body


async def test_transcription_with_times(ask: Any, service: Any, sound: bytes) -> None:
    answer = await ask(
        "audio.transcriptions",
        model=service.speech,
        file=sound,
        filename="tone.wav",
        response_format="verbose_json",
        timestamp_granularities=["segment"],
    )
    assert answer.segments
    assert answer.segments[0].start == 0


async def test_models(ask: Any, service: Any, vcr: Cassette) -> None:
    models = {model.id: model for model in await ask("models.list")}
    assert service.chat in models
    (request,) = vcr.requests
    assert request.uri == f"{request.uri.split('/public')[0]}/public/models"


async def test_models_by_modality(ask: Any, service: Any, vcr: Cassette) -> None:
    models = await ask("models.list", output="image")
    assert service.image in {model.id for model in models}
    assert vcr.requests[0].uri.endswith("/v1/models?output=image")


@pytest.mark.usefixtures("faulty")
async def test_errors(ask: Any) -> None:
    """Each status has its own class, whatever the error body looks like."""
    for status, expected in (
        (400, LunosBadRequestError),
        (401, LunosAuthenticationError),
        (402, LunosPaymentError),
        (403, LunosPermissionError),
        (422, LunosBadRequestError),
        (429, LunosRateLimitError),
        (502, LunosServerError),
    ):
        with pytest.raises(expected) as caught:
            await ask("chat.completions", model=f"lunos/error-{status}", messages=HELLO)
        assert caught.value.status == status
        assert (caught.value.retry_after == 1) == (status == 429)


@pytest.mark.usefixtures("faulty")
async def test_error_in_stream(ask: Any) -> None:
    with pytest.raises(LunosError) as caught:
        await ask("chat.completions", model="lunos/error-in-stream", messages=HELLO, stream=True)
    assert caught.value.partial.text  # what had come before it


@pytest.mark.usefixtures("faulty")
async def test_stopped_stream(ask: Any) -> None:
    with pytest.raises(LunosStreamInterruptedError) as caught:
        await ask("chat.completions", model="lunos/stopped-stream", messages=HELLO, stream=True)
    assert caught.value.partial.text


async def test_unknown_model(ask: Any) -> None:
    with pytest.raises(LunosNotFoundError) as caught:
        await ask("chat.completions", model="nobody/has-this-model", messages=HELLO)
    assert caught.value.status == 404
    assert caught.value.model == "nobody/has-this-model"


async def test_wrong_key(ask: Any, service: Any) -> None:
    with pytest.raises(LunosAuthenticationError) as caught:
        await ask(
            "chat.completions",
            model=service.chat,
            messages=HELLO,
            extra_headers={"authorization": "Bearer wrong"},
        )
    assert caught.value.status == 401


@pytest.mark.filterwarnings("ignore:A test tried to use")
async def test_replay_is_strict(ask: Any, service: Any, recording: bool) -> None:
    sent = {"model": service.chat, "messages": HELLO}
    assert (await ask("chat.completions", **sent)).text
    if recording:
        return
    for unknown in (sent, sent | {"seed": 1}):  # once is enough; and the body must be the same
        with pytest.raises(CannotOverwriteExistingCassetteException):
            await ask("chat.completions", **unknown)
    with pytest.raises(SocketBlockedError):
        socket.create_connection(("127.0.0.1", 9))
