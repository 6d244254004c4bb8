"""Embeddings: the six methods, order, count, concurrency, limits and caches."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from typing import Any

import httpx
import pytest
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.instrumentation.dispatcher import instrument_tags
from llama_index.core.rate_limiter import BaseRateLimiter
from llama_index.core.schema import TextNode
from llama_index.core.storage.kvstore import SimpleKVStore

from llama_index_lunos import LunosEmbedding
from lunos_core import LunosRateLimitError, LunosResponseError
from tests.llama_index_adapter.wire import KEY, Way, Wire, error


class Vectors:
    """Answers each text with its length, and remembers how many requests ran at once."""

    def __init__(self, *, reverse: bool = False, as_base64: bool = False, drop: int = 0) -> None:
        self.requests: list[httpx.Request] = []
        self.running = 0
        self.most = 0
        self._reverse, self._as_base64, self._drop = reverse, as_base64, drop

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        texts = json.loads(request.content)["input"]
        data = [{"index": i, "embedding": self._vector(text)} for i, text in enumerate(texts)]
        data = data[self._drop :]
        if self._reverse:
            data.reverse()
        return httpx.Response(200, json={"data": data, "usage": {"prompt_tokens": 5}})

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests]

    def _vector(self, text: str) -> Any:
        numbers = [float(len(text)), 1.0]
        if self._as_base64:
            return base64.b64encode(struct.pack("<2f", *numbers)).decode()
        return numbers


class Limiter(BaseRateLimiter):
    asked = 0

    def acquire(self, num_tokens: int = 0) -> None:
        self.asked += 1

    async def async_acquire(self, num_tokens: int = 0) -> None:
        self.asked += 1


async def embed(way: Way, embedding: LunosEmbedding, texts: list[str], **more: Any) -> Any:
    name = "aget_text_embedding_batch" if way.is_async else "get_text_embedding_batch"
    result = getattr(embedding, name)(texts, **more)
    return await result if way.is_async else result


async def test_texts_are_sent_as_they_are_and_vectors_come_in_their_order(way: Way) -> None:
    for as_base64 in (False, True):
        wire = Vectors(reverse=True, as_base64=as_base64)
        texts = ["a\nb", "", "ccc ccc", "dd"]
        vectors = await embed(way, way.embedding(wire), texts)
        assert vectors == [[float(len(text)), 1.0] for text in texts]
        assert wire.bodies == [{"model": "e", "input": texts, "encoding_format": "base64"}]


@pytest.mark.parametrize("method", ["query", "text"])
async def test_one_text_is_one_request(way: Way, method: str) -> None:
    wire = Vectors()
    embedding = way.embedding(wire, dimensions=2, encoding_format="float", user="u")
    name = f"{'a' if way.is_async else ''}get_{method}_embedding"
    result = getattr(embedding, name)("line one\nline two")
    assert (await result if way.is_async else result) == [17.0, 1.0]
    assert wire.bodies == [
        {
            "model": "e",
            "input": ["line one\nline two"],
            "encoding_format": "float",
            "dimensions": 2,
            "user": "u",
        }
    ]


async def test_the_async_methods_use_the_async_client_and_the_others_the_sync_one() -> None:
    sync, asynchronous = Vectors(), Vectors()
    with httpx.Client(transport=httpx.MockTransport(sync)) as item:
        async with httpx.AsyncClient(transport=httpx.MockTransport(asynchronous)) as other:
            embedding = LunosEmbedding("e", api_key=KEY, http_client=item, async_http_client=other)
            await embedding.aget_query_embedding("q")
            await embedding.aget_text_embedding("t")
            await embedding.aget_text_embedding_batch(["a", "b"])
            assert (len(sync.requests), len(asynchronous.requests)) == (0, 3)
            embedding.get_query_embedding("q")
            embedding.get_text_embedding("t")
            embedding.get_text_embedding_batch(["a", "b"])
            assert (len(sync.requests), len(asynchronous.requests)) == (3, 3)


async def test_too_few_vectors_raise_instead_of_shifting(way: Way) -> None:
    with pytest.raises(LunosResponseError, match="2 vectors for 3 texts"):
        await embed(way, way.embedding(Vectors(drop=1)), ["a", "b", "c"])


async def test_batches_are_as_large_as_was_set(way: Way) -> None:
    wire = Vectors()
    vectors = await embed(way, way.embedding(wire, embed_batch_size=2), list("abcde"))
    assert len(vectors) == 5
    assert sorted(len(body["input"]) for body in wire.bodies) == [1, 2, 2]


async def test_three_retries_make_four_requests(way: Way) -> None:
    wire = Wire(error(429))
    with pytest.raises(LunosRateLimitError):
        await embed(way, way.embedding(wire, max_retries=3), ["a"])
    assert len(wire.requests) == 4


@pytest.mark.parametrize(
    ("settings", "most"), [({}, 4), ({"num_workers": 1}, 1), ({"num_workers": 2}, 2)]
)
async def test_requests_at_one_time_are_bounded(settings: dict[str, Any], most: int) -> None:
    running = highest = 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal running, highest
        running += 1
        highest = max(highest, running)
        await asyncio.sleep(0.005)
        running -= 1
        return httpx.Response(200, json={"data": [{"index": 0, "embedding": [1.0]}]})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        embedding = LunosEmbedding(
            "e", api_key=KEY, embed_batch_size=1, async_http_client=client, **settings
        )
        assert len(await embedding.aget_text_embedding_batch(list("abcdefghijkl"))) == 12
        await asyncio.gather(*(embedding.aget_text_embedding(text) for text in "abcdefghijkl"))
    assert highest == most


@pytest.mark.parametrize("cached", [False, True])
async def test_the_rate_limiter_is_asked_once_for_each_request(way: Way, cached: bool) -> None:
    limiter, wire = Limiter(), Vectors()
    cache = {"embeddings_cache": SimpleKVStore()} if cached else {}
    embedding = way.embedding(wire, rate_limiter=limiter, embed_batch_size=2, **cache)
    await embed(way, embedding, list("abcd"))
    assert limiter.asked == len(wire.requests) == 2
    name = "aget_text_embedding" if way.is_async else "get_text_embedding"
    result = getattr(embedding, name)("new")
    if way.is_async:
        await result
    assert limiter.asked == len(wire.requests) == 3


async def test_a_cache_saves_requests(way: Way) -> None:
    wire = Vectors()
    embedding = way.embedding(wire, embeddings_cache=SimpleKVStore())
    first = await embed(way, embedding, ["a", "bb"])
    assert await embed(way, embedding, ["bb", "a"]) == first[::-1]
    assert len(wire.requests) == 1


async def test_the_app_id_travels(way: Way) -> None:
    wire = Vectors()
    embedding = way.embedding(wire, app_id="indexer")
    await embed(way, embedding, ["a"])
    with instrument_tags({"app_id": "nightly"}):
        await embed(way, embedding, ["a"])
    assert [item.headers["x-app-id"] for item in wire.requests] == ["indexer", "nightly"]


async def test_nodes_get_their_vectors(way: Way) -> None:
    embedding = way.embedding(Vectors(reverse=True))
    nodes = [TextNode(text=text) for text in ("a", "bbb")]
    done = await embedding.acall(nodes) if way.is_async else embedding(nodes)
    assert [node.embedding[0] for node in done] == [1.0, 3.0]


async def test_no_texts_make_no_request(way: Way) -> None:
    wire = Vectors()
    assert await embed(way, way.embedding(wire), []) == []
    assert wire.requests == []


async def test_the_chunks_reach_the_callbacks(way: Way) -> None:
    counter = TokenCountingHandler(tokenizer=str.split)
    embedding = way.embedding(Vectors(), callback_manager=CallbackManager([counter]))
    await embed(way, embedding, ["two words"])
    assert counter.total_embedding_token_count == 2


def test_what_changes_vectors_changes_the_hash_of_ingestion_and_the_key_does_not() -> None:
    from llama_index.core.ingestion.pipeline import get_transformation_hash

    node = [TextNode(text="a")]

    def hashed(**settings: Any) -> str:
        given = {"api_key": KEY, **settings}
        return str(get_transformation_hash(node, LunosEmbedding(**{"model_name": "e", **given})))

    assert hashed() == hashed() == hashed(api_key="another", default_headers={"a": "b"})
    assert hashed() == hashed(embeddings_cache=SimpleKVStore())
    assert (
        len(
            {
                hashed(),
                hashed(model_name="f"),
                hashed(dimensions=2),
                hashed(api_base="https://a.test"),
            }
        )
        == 4
    )


async def array_of(way: Way, embedding: LunosEmbedding, texts: Any) -> Any:
    if way.is_async:
        return await embedding.aget_text_embedding_array(texts)
    return embedding.get_text_embedding_array(texts)


async def test_the_vectors_of_several_batches_are_one_array(way: Way) -> None:
    texts = ["a" * length for length in range(1, 12)]
    limiter = Limiter()
    wire = Vectors(reverse=True, as_base64=True)
    embedding = way.embedding(wire, embed_batch_size=4, rate_limiter=limiter)
    array = await array_of(way, embedding, texts)
    assert str(array.dtype) == "float32"
    assert array.tolist() == [[float(length), 1.0] for length in range(1, 12)]
    assert (len(wire.requests), limiter.asked) == (3, 3)
    assert (await array_of(way, embedding, [])).shape == (0, 0)
    with pytest.raises(TypeError, match="list"):
        await array_of(way, embedding, "one text")


async def test_an_array_that_cannot_be_made_raises_our_error_alone(way: Way) -> None:
    embedding = way.embedding(Vectors(drop=1), embed_batch_size=1)
    with pytest.raises(LunosResponseError, match="0 vectors for 1 texts"):
        await array_of(way, embedding, ["a", "b", "c"])


async def test_texts_of_a_generator_are_embedded(way: Way) -> None:
    """LlamaIndex asks for the length, and would return nothing."""
    wire = Vectors()
    texts = (text for text in ("a", "b"))
    assert len(await way(way.embedding(wire), "get_text_embedding_batch", texts)) == 2
