"""With a catalog: `metadata`, the cost, and what is refused before the network."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import httpx
import pytest
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock

from llama_index_lunos import Lunos, LunosEmbedding
from lunos_core import (
    Catalog,
    Client,
    Config,
    LunosBadRequestError,
    LunosBudgetError,
    LunosContextOverflowError,
    UsageLedger,
)
from tests.llama_index_adapter.wire import KEY, Way, Wire, answer, delta, reply, stream

MODELS = [
    {
        "id": "m",
        "parameters": {"context": 100},
        "pricePerMillionTokens": {"input": 2, "output": 10},
        "supportedParameters": ["temperature"],
        "inputModalities": ["text"],
        "capabilities": ["chat"],
    },
    {
        "id": "openai/sees",
        "parameters": {"context": 9000},
        "supportedParameters": ["tools", "response_format"],
        "inputModalities": ["text", "image"],
        "capabilities": ["chat", "vision"],
    },
    {"id": "old", "capabilities": ["text-completion"]},
]
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
HELLO = [ChatMessage(role="user", content="Hello")]
PICTURE = [
    ChatMessage(
        role="user", blocks=[TextBlock(text="What?"), ImageBlock(url="https://x.test/cat.png")]
    )
]
METHODS = ["chat", "stream_chat"]


def catalog() -> Catalog:
    http = httpx.Client(transport=httpx.MockTransport(Wire(reply(MODELS))))
    value = Catalog(Client(Config(api_key="k", base_url="https://lunos.test"), http_client=http))
    value.list()
    return value


def either(method: str, cost: float | None = None) -> Wire:
    usage = USAGE if cost is None else {**USAGE, "cost": cost}
    parts = stream(delta("Hi"), delta(finish="stop"), {"choices": [], "usage": usage})
    return Wire(parts if "stream" in method else answer("Hi", usage=usage))


def test_metadata_comes_from_the_catalog_and_settings_override_it() -> None:
    known = catalog()
    metadata = Lunos("m", api_key=KEY, catalog=known).metadata
    assert (metadata.context_window, metadata.is_function_calling_model) == (100, False)
    sees = Lunos("sees", api_key=KEY, catalog=known).metadata  # bare: the provider is left out
    assert (sees.context_window, sees.is_function_calling_model) == (9000, True)
    assert not Lunos("old", api_key=KEY, catalog=known).metadata.is_chat_model
    assert Lunos("m", api_key=KEY, catalog=known, context_window=5).metadata.context_window == 5
    assert Lunos("m", api_key=KEY).metadata.context_window == 128_000


def test_metadata_never_reads_a_file(tmp_path: Path) -> None:
    http = httpx.Client(transport=httpx.MockTransport(Wire(reply(MODELS))))
    client = Client(Config(api_key="k", base_url="https://lunos.test"), http_client=http)
    assert Catalog(client, cache_dir=tmp_path).get("m")  # writes the file
    fresh = Catalog(client, cache_dir=tmp_path)
    assert Lunos("m", api_key=KEY, catalog=fresh).metadata.context_window == 128_000
    assert fresh.get("m")
    assert Lunos("m", api_key=KEY, catalog=fresh).metadata.context_window == 100


def test_metadata_never_asks_the_network() -> None:
    wire = Wire(reply(MODELS))
    with httpx.Client(transport=httpx.MockTransport(wire)) as http:
        empty = Catalog(Client(Config(api_key="k"), http_client=http))
        assert Lunos("m", api_key=KEY, catalog=empty).metadata.context_window == 128_000
    assert wire.requests == []


def test_a_catalog_is_shared_by_copies_and_not_serialized() -> None:
    known = catalog()
    llm = Lunos("m", api_key=KEY, catalog=known)
    assert copy.deepcopy(llm).catalog is known
    assert "catalog" not in llm.to_dict()
    plain = Lunos("m", api_key=KEY, catalog=Catalog(Client(Config(api_key="k"))))
    pickle.loads(pickle.dumps(plain))
    with pytest.raises(TypeError, match=r"lunos_core\.Catalog"):
        Lunos("m", api_key=KEY, catalog="openai")


@pytest.mark.parametrize("method", METHODS)
async def test_the_cost_and_its_source_are_in_raw_and_beside_it(way: Way, method: str) -> None:
    reckoned = 11 * 2e-6 + 7 * 10e-6
    for sent, known, cost, source in (
        (0.25, catalog(), 0.25, "gateway"),
        (None, catalog(), reckoned, "catalog"),
        (None, None, None, None),
    ):
        llm = way.llm(either(method, sent), catalog=known)
        with UsageLedger() as ledger:
            value: Any = await way(llm, method, HELLO)
        last = value[-1] if isinstance(value, list) else value
        assert last.raw["usage"].get("cost") == (cost and pytest.approx(cost))
        assert last.additional_kwargs.get("cost") == (cost and pytest.approx(cost))
        assert last.additional_kwargs.get("cost_source") == source
        assert ledger.rows()[0]["cost"] == (cost and pytest.approx(cost))


@pytest.mark.parametrize("method", METHODS)
async def test_what_the_model_cannot_do_is_refused_with_models_that_can(
    way: Way, method: str
) -> None:
    wire = either(method)
    llm = way.llm(wire, catalog=catalog())
    with pytest.raises(LunosBadRequestError, match=r"reads no images.*openai/sees"):
        await way(llm, method, PICTURE)
    with pytest.raises(LunosBadRequestError, match="response_format"):
        await way(llm, method, HELLO, response_format={"type": "json_object"})
    with pytest.raises(LunosContextOverflowError, match=r"holds 100.*openai/sees"):
        await way(llm, method, [ChatMessage(role="user", content="word " * 200)])
    assert wire.requests == []
    await way(llm, method, PICTURE, model="openai/sees")  # the call's model counts
    await way(way.llm(wire, catalog=catalog(), preflight=False), method, PICTURE)
    assert len(wire.requests) == 2


@pytest.mark.parametrize("method", METHODS)
async def test_a_spent_budget_refuses_before_the_network(way: Way, method: str) -> None:
    wire = either(method, 0.5)
    with UsageLedger(budget=0.5):
        await way(way.llm(wire), method, HELLO)
        with pytest.raises(LunosBudgetError):
            await way(way.llm(wire), method, HELLO)
    # the budget asks for the prices by itself
    assert [request.method for request in wire.requests].count("POST") == 1


def test_embeddings_are_priced() -> None:
    usage = {"prompt_tokens": 1000, "total_tokens": 1000}
    wire = Wire(reply({"data": [{"index": 0, "embedding": [1.0]}], "usage": usage}))
    with httpx.Client(transport=httpx.MockTransport(wire)) as http, UsageLedger() as ledger:
        LunosEmbedding(
            "m", api_key=KEY, api_base="https://lunos.test", http_client=http, catalog=catalog()
        ).get_text_embedding("text")
    assert ledger.rows()[0]["cost"] == pytest.approx(0.002)
