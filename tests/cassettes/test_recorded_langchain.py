"""The LangChain classes over recorded conversations, sync and async from the same recording."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from langchain_core.document_loaders import Blob
from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel
from vcr.cassette import Cassette

from langchain_lunos import (
    ChatLunos,
    LunosAudioTranscriber,
    LunosEmbeddings,
    LunosImageGeneration,
    LunosLLM,
    LunosRateLimitError,
)
from tests.cassettes.came import Came

pytestmark = pytest.mark.vcr

HELLO = "Say 'hello' and nothing else."


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"4 degrees, rain in {city}"


class City(BaseModel):
    """A city."""

    city: str
    people: int


class Way:
    """Call a Runnable by its sync or by its async methods."""

    def __init__(self, came: Came, *, is_async: bool) -> None:
        self.came, self.is_async = came, is_async

    async def invoke(self, runnable: Any, given: Any, **more: Any) -> Any:
        with self.came.or_raises():
            return self.came(
                await runnable.ainvoke(given, **more)
                if self.is_async
                else runnable.invoke(given, **more)
            )

    async def stream(self, runnable: Any, given: Any) -> list[Any]:
        if self.is_async:
            return self.came([chunk async for chunk in runnable.astream(given)])
        return self.came(list(runnable.stream(given)))


@pytest.fixture(params=["sync", "async"])
def way(request: pytest.FixtureRequest, came: Came) -> Way:
    return Way(came, is_async=request.param == "async")


@pytest.fixture
def settings(service: Any) -> dict[str, Any]:
    return {"base_url": service.base_url, "api_key": service.api_key, "max_retries": 0}


@pytest.fixture
def chat(service: Any, settings: dict[str, Any]) -> ChatLunos:
    return ChatLunos(model=service.chat, app_id="recorded", **settings)


def body_of(vcr: Cassette, i: int = 0) -> Any:
    return json.loads(vcr.requests[i].body)


async def test_chat(chat: ChatLunos, way: Way, vcr: Cassette) -> None:
    message = await way.invoke(chat, HELLO, app_id="this-call")
    assert message.text
    usage = message.usage_metadata
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0
    assert vcr.requests[0].headers["x-app-id"] == "this-call"
    assert body_of(vcr)["messages"] == [{"role": "user", "content": HELLO}]


async def test_chat_stream(chat: ChatLunos, way: Way, vcr: Cassette) -> None:
    chunks = await way.stream(chat, HELLO)
    whole: AIMessageChunk = sum(chunks[1:], start=chunks[0])
    assert whole.text
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] > 0
    assert whole.response_metadata["finish_reason"] == "stop"
    assert body_of(vcr)["stream"] is True


async def test_tool_round_trip(chat: ChatLunos, way: Way, vcr: Cassette) -> None:
    asked = HumanMessage("The weather in Oslo, please.")
    first = await way.invoke(chat.bind_tools([get_weather], tool_choice="any"), [asked])
    (call,) = first.tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Oslo"})
    result = get_weather.invoke(call)
    assert isinstance(result, ToolMessage)
    second = await way.invoke(
        chat.bind_tools([get_weather], tool_choice="none"), [asked, first, result]
    )
    assert "4 degrees" in second.text
    assert body_of(vcr, 1)["messages"][2]["tool_call_id"] == call["id"]


async def test_tool_call_stream(chat: ChatLunos, way: Way) -> None:
    model = chat.bind_tools([get_weather], tool_choice="any")
    chunks = await way.stream(model, "The weather in Oslo, please.")
    (call,) = sum(chunks[1:], start=chunks[0]).tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Oslo"})


async def test_structured_output(chat: ChatLunos, way: Way) -> None:
    model = chat.with_structured_output(City, method="json_schema")
    results = await way.invoke(model, "In 'Oslo' live 700000 people.")
    assert results == City(city="Oslo", people=700000)


async def test_completion(service: Any, settings: dict[str, Any], way: Way, vcr: Cassette) -> None:
    llm = LunosLLM(model=service.completion, max_tokens=8, **settings)
    assert await way.invoke(llm, "Once upon")
    sent = body_of(vcr)
    assert (sent["model"], sent["max_tokens"]) == (service.completion, 8)


async def test_completion_stream(service: Any, settings: dict[str, Any], way: Way) -> None:
    llm = LunosLLM(model=service.completion, max_tokens=8, **settings)
    assert "".join(await way.stream(llm, "Once upon"))


async def test_embeddings(service: Any, settings: dict[str, Any], way: Way, vcr: Cassette) -> None:
    embeddings = LunosEmbeddings(
        model=service.embedding, dimensions=16, app_id="recorded", **settings
    )
    texts = ["a cat", "the tax return of 1998"]
    if way.is_async:
        vectors = [*await embeddings.aembed_documents(texts), await embeddings.aembed_query("cats")]
    else:
        vectors = [*embeddings.embed_documents(texts), embeddings.embed_query("cats")]
    assert [len(vector) for vector in way.came(vectors)] == [16, 16, 16]
    assert body_of(vcr)["input"] == texts
    assert vcr.requests[0].headers["x-app-id"] == "recorded"


async def test_image(service: Any, settings: dict[str, Any], way: Way, vcr: Cassette) -> None:
    draw = LunosImageGeneration(
        model=service.image,
        size=service.image_size,
        image_format="b64_json",
        app_id="recorded",
        **settings,
    )
    asked = {"type": "tool_call", "id": "1", "name": draw.name, "args": {"prompt": "a red cat"}}
    message = await way.invoke(draw, asked)
    (block,) = message.artifact
    assert (block["type"], block["mime_type"]) == ("image", "image/png")
    assert body_of(vcr)["prompt"] == "a red cat"
    assert vcr.requests[0].headers["x-app-id"] == "recorded"


async def test_transcription(
    service: Any, settings: dict[str, Any], way: Way, sound: bytes, vcr: Cassette
) -> None:
    parser = LunosAudioTranscriber(model=service.speech, **settings)
    blob = Blob(data=sound, mimetype="audio/wav", path="tone.wav")
    # LangChain's parsers have no async methods
    given = asyncio.to_thread(parser.parse, blob) if way.is_async else parser.parse(blob)
    documents = await given if way.is_async else given
    assert way.came(documents)[0].page_content
    assert sound in vcr.requests[0].body


async def test_profile(chat: ChatLunos, way: Way, vcr: Cassette) -> None:
    model = await chat.aload_profile() if way.is_async else chat.load_profile()
    profile = dict(model.profile)
    profile.pop("mid_conversation_system_messages", None)  # langchain-core 1.6 doesn't know it
    assert way.came(profile)
    assert model.profile["tool_calling"] is True
    assert vcr.requests[0].uri.endswith("/public/models")


@pytest.mark.usefixtures("faulty")
async def test_rate_limit(chat: ChatLunos, way: Way) -> None:
    with pytest.raises(LunosRateLimitError) as caught:
        await way.invoke(chat, HELLO, model="lunos/error-429")
    assert (caught.value.status, caught.value.retry_after) == (429, 1)
