"""The LlamaIndex classes over recorded conversations, sync and async from the same recording."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel
from vcr.cassette import Cassette

from llama_index_lunos import (
    Lunos,
    LunosAudioReader,
    LunosEmbedding,
    LunosImageToolSpec,
)
from lunos_core import AsyncLunos, LunosRateLimitError
from lunos_core import Lunos as Core
from tests.cassettes.came import Came

pytestmark = [
    pytest.mark.vcr,
    pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"]),
]

HELLO = "Say 'hello' and nothing else."


class City(BaseModel):
    """A city."""

    city: str
    people: int


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"4 degrees, rain in {city}"


WEATHER = FunctionTool.from_defaults(get_weather)


@pytest.fixture
def settings(service: Any) -> dict[str, Any]:
    return {"api_base": service.base_url, "api_key": service.api_key, "max_retries": 0}


@pytest.fixture
def llm(service: Any, settings: dict[str, Any]) -> Lunos:
    return Lunos(service.chat, app_id="recorded", **settings)


def body_of(vcr: Cassette, i: int = 0) -> Any:
    return json.loads(vcr.requests[i].body)


async def test_chat(llm: Lunos, is_async: bool, came: Came, vcr: Cassette) -> None:
    messages = [ChatMessage(HELLO)]
    if is_async:
        answer = await llm.achat(messages, app_id="this-call")
    else:
        answer = llm.chat(messages, app_id="this-call")
    came(answer)
    assert answer.message.content
    assert vcr.requests[0].headers["x-app-id"] == "this-call"
    assert body_of(vcr)["messages"] == [{"role": "user", "content": HELLO}]


async def test_chat_stream(llm: Lunos, is_async: bool, came: Came, vcr: Cassette) -> None:
    messages = [ChatMessage(HELLO)]
    if is_async:
        pieces = [piece async for piece in await llm.astream_chat(messages)]
    else:
        pieces = list(llm.stream_chat(messages))
    came(pieces)
    assert "".join(piece.delta or "" for piece in pieces) == pieces[-1].message.content != ""
    assert body_of(vcr)["stream"] is True


async def test_completion(
    service: Any, settings: dict[str, Any], is_async: bool, came: Came, vcr: Cassette
) -> None:
    llm = Lunos(service.completion, is_chat_model=False, max_tokens=8, **settings)
    answer = await llm.acomplete("Once upon") if is_async else llm.complete("Once upon")
    came(answer)
    assert answer.text
    assert vcr.requests[0].uri.endswith("/v1/completions")
    assert body_of(vcr)["max_tokens"] == 8


async def test_embeddings(
    service: Any, settings: dict[str, Any], is_async: bool, came: Came, vcr: Cassette
) -> None:
    model = LunosEmbedding(service.embedding, app_id="recorded", **settings)
    texts = ["a cat", "the tax return of 1998"]
    if is_async:
        vectors = await model.aget_text_embedding_batch(texts)
    else:
        vectors = model.get_text_embedding_batch(texts)
    came(vectors)
    assert len(vectors) == 2
    assert body_of(vcr)["input"] == texts
    assert vcr.requests[0].headers["x-app-id"] == "recorded"


async def test_completion_stream(
    service: Any, settings: dict[str, Any], is_async: bool, came: Came
) -> None:
    llm = Lunos(service.completion, is_chat_model=False, max_tokens=8, **settings)
    if is_async:
        pieces = [piece async for piece in await llm.astream_complete("Once upon")]
    else:
        pieces = list(llm.stream_complete("Once upon"))
    came(pieces)
    assert "".join(piece.delta or "" for piece in pieces) == pieces[-1].text != ""


async def test_tool_round_trip(llm: Lunos, is_async: bool, came: Came, vcr: Cassette) -> None:
    messages = [ChatMessage("The weather in Oslo, please.")]
    if is_async:
        first = await llm.achat_with_tools([WEATHER], chat_history=messages, tool_required=True)
    else:
        first = llm.chat_with_tools([WEATHER], chat_history=messages, tool_required=True)
    came(first)
    (call,) = llm.get_tool_calls_from_response(first)
    assert (call.tool_name, call.tool_kwargs) == ("get_weather", {"city": "Oslo"})
    result = ChatMessage(
        get_weather(**call.tool_kwargs),
        role="tool",
        additional_kwargs={"tool_call_id": call.tool_id},
    )
    messages += [first.message, result]
    second = await llm.achat(messages) if is_async else llm.chat(messages)
    came(second)
    assert "4 degrees" in (second.message.content or "")
    assert body_of(vcr, 1)["messages"][2]["tool_call_id"] == call.tool_id


async def test_tool_call_stream(llm: Lunos, is_async: bool, came: Came) -> None:
    asked = {"chat_history": [ChatMessage("The weather in Oslo, please.")], "tool_required": True}
    if is_async:
        pieces = [item async for item in await llm.astream_chat_with_tools([WEATHER], **asked)]
    else:
        pieces = list(llm.stream_chat_with_tools([WEATHER], **asked))
    came(pieces)
    (call,) = llm.get_tool_calls_from_response(pieces[-1])
    assert (call.tool_name, call.tool_kwargs) == ("get_weather", {"city": "Oslo"})


async def test_structured_output(llm: Lunos, is_async: bool, came: Came) -> None:
    model = llm.as_structured_llm(City)
    told = "In 'Oslo' live 700000 people."
    answer = await model.acomplete(told) if is_async else model.complete(told)
    came(answer.raw)
    assert answer.raw == City(city="Oslo", people=700000)


async def test_image(
    service: Any, settings: dict[str, Any], is_async: bool, came: Came, vcr: Cassette
) -> None:
    params = {"size": service.image_size, "response_format": "b64_json"}
    spec = LunosImageToolSpec(service.image, params=params, app_id="recorded", **settings)
    (draw,) = spec.to_tool_list()
    output = await draw.acall("a red cat") if is_async else draw.call("a red cat")
    came(output.raw_output)
    assert not output.is_error
    assert output.raw_output.resolve_image().read().startswith(b"\x89PNG")
    assert body_of(vcr)["prompt"] == "a red cat"
    assert vcr.requests[0].headers["x-app-id"] == "recorded"


async def test_transcription(
    service: Any,
    settings: dict[str, Any],
    is_async: bool,
    came: Came,
    sound: bytes,
    tmp_path: Path,
    vcr: Cassette,
) -> None:
    file = tmp_path / "tone.wav"
    file.write_bytes(sound)
    reader = LunosAudioReader(service.speech, **settings)
    documents = await reader.aload_data(file) if is_async else reader.load_data(file)
    came([document.text for document in documents])
    assert documents[0].text
    assert sound in vcr.requests[0].body


async def test_metadata(
    service: Any, settings: dict[str, Any], is_async: bool, came: Came, vcr: Cassette
) -> None:
    core = {"base_url": service.base_url, "api_key": service.api_key}
    if is_async:
        async with AsyncLunos(**core) as async_lunos:
            await async_lunos.models.list()
            metadata = Lunos(service.chat, catalog=async_lunos.models, **settings).metadata
    else:
        with Core(**core) as lunos:
            lunos.models.list()
            metadata = Lunos(service.chat, catalog=lunos.models, **settings).metadata
    came(metadata)
    assert metadata.is_function_calling_model
    assert vcr.requests[0].uri.endswith("/public/models")


@pytest.mark.usefixtures("faulty")
async def test_rate_limit(llm: Lunos, is_async: bool, came: Came) -> None:
    asked = {"messages": [ChatMessage(HELLO)], "model": "lunos/error-429"}
    with pytest.raises(LunosRateLimitError) as caught, came.or_raises():
        await llm.achat(**asked) if is_async else llm.chat(**asked)
    assert (caught.value.status, caught.value.retry_after) == (429, 1)
