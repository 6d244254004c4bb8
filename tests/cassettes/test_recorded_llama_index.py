"""The LlamaIndex classes over recorded conversations, sync and async from the same recording."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llama_index.core.llms import ChatMessage
from vcr.cassette import Cassette

from llama_index_lunos import Lunos, LunosEmbedding

pytestmark = [
    pytest.mark.vcr,
    pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"]),
]

HELLO = "Say 'hello' and nothing else."


@pytest.fixture
def settings(service: Any) -> dict[str, Any]:
    return {"api_base": service.base_url, "api_key": service.api_key, "max_retries": 0}


@pytest.fixture
def llm(service: Any, settings: dict[str, Any]) -> Lunos:
    return Lunos(service.chat, app_id="recorded", **settings)


def body_of(vcr: Cassette, at: int = 0) -> Any:
    return json.loads(vcr.requests[at].body)


async def test_chat(llm: Lunos, is_async: bool, vcr: Cassette) -> None:
    messages = [ChatMessage(HELLO)]
    if is_async:
        answer = await llm.achat(messages, app_id="this-call")
    else:
        answer = llm.chat(messages, app_id="this-call")
    assert answer.message.content
    assert vcr.requests[0].headers["x-app-id"] == "this-call"
    assert body_of(vcr)["messages"] == [{"role": "user", "content": HELLO}]


async def test_chat_stream(llm: Lunos, is_async: bool, vcr: Cassette) -> None:
    messages = [ChatMessage(HELLO)]
    if is_async:
        pieces = [piece async for piece in await llm.astream_chat(messages)]
    else:
        pieces = list(llm.stream_chat(messages))
    assert "".join(piece.delta or "" for piece in pieces) == pieces[-1].message.content != ""
    assert body_of(vcr)["stream"] is True


async def test_completion(
    service: Any, settings: dict[str, Any], is_async: bool, vcr: Cassette
) -> None:
    llm = Lunos(service.completion, is_chat_model=False, max_tokens=8, **settings)
    answer = await llm.acomplete("Once upon") if is_async else llm.complete("Once upon")
    assert answer.text
    assert vcr.requests[0].uri.endswith("/v1/completions")
    assert body_of(vcr)["max_tokens"] == 8


async def test_embeddings(
    service: Any, settings: dict[str, Any], is_async: bool, vcr: Cassette
) -> None:
    model = LunosEmbedding(service.embedding, app_id="recorded", **settings)
    texts = ["a cat", "the tax return of 1998"]
    if is_async:
        vectors = await model.aget_text_embedding_batch(texts)
    else:
        vectors = model.get_text_embedding_batch(texts)
    assert len(vectors) == 2
    assert body_of(vcr)["input"] == texts
    assert vcr.requests[0].headers["x-app-id"] == "recorded"
