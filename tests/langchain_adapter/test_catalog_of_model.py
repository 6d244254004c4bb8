"""With a catalog: the profile, the cost, and what is refused before the network."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core import exceptions
from langchain_core.caches import InMemoryCache
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.runnables import ConfigurableField

from langchain_lunos import (
    ChatLunos,
    LunosBadRequestError,
    LunosBudgetError,
    LunosContextOverflowError,
    LunosEmbeddings,
)
from langchain_lunos._profile import to_profile
from lunos_core import AsyncCatalog, AsyncClient, Catalog, Client, Config, UsageLedger
from lunos_core.catalog.models import read_entries
from tests.langchain_adapter.wire import (
    SETTINGS,
    WAYS,
    WHOLE,
    Wire,
    answer,
    ask,
    both_kinds,
    chat,
    chunks,
    delta,
    embeddings,
    llm,
    reply,
    stream,
)

# LangChain's own class, where this version of it has one
OVERFLOW = getattr(exceptions, "ContextOverflowError", LunosContextOverflowError)
PRICE = {"input": 2, "output": 10}
SEES = ["temperature", "tools", "response_format", "max_tokens"]
MODELS = [
    {
        "id": "m",
        "name": "M",
        "parameters": {"context": 100, "max_output_tokens": 50},
        "pricePerMillionTokens": PRICE,
        "supportedParameters": ["temperature", "max_tokens"],
        "inputModalities": ["text"],
        "outputModalities": ["text"],
        "supportReasoning": False,
    },
    {
        "id": "openai/sees",
        "parameters": {"context": 128_000},
        "pricePerMillionTokens": {"input": 5, "output": 20},
        "supportedParameters": SEES,
        "inputModalities": ["text", "image"],
        "outputModalities": ["text"],
    },
    {
        "id": "cheap-eyes",
        "parameters": {"context": 64_000},
        "pricePerMillionTokens": PRICE,
        "supportedParameters": SEES,
        "inputModalities": ["text", "image"],
        "outputModalities": ["text"],
    },
    {"id": "bare"},
]
PICTURE = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is it?"},
            {"type": "image", "url": "https://x.test/cat.png"},
        ],
    }
]
TOOL = {"name": "f", "description": "F.", "parameters": {"type": "object", "properties": {}}}


def catalog(*, filled: bool = True) -> Catalog:
    http = httpx.Client(transport=httpx.MockTransport(Wire(reply(MODELS))))
    result = Catalog(Client(Config(api_key="k", base_url="https://lunos.test"), http_client=http))
    if filled:
        result.list()
    return result


# --- the profile ---------------------------------------------------------------------------------


# as far as the installed LangChain has a key for them
NEWER_FACTS = {
    key: value
    for key, value in {
        "attachment": False,
        "mid_conversation_system_messages": True,
        "tool_choice": False,
    }.items()
    if key in ModelProfile.__annotations__
}


def test_the_newer_facts_of_a_profile_are_filled_where_they_are_known() -> None:
    entry = {
        "id": "new",
        "status": "active",
        "releaseDate": "2026-03-01T10:00:00Z",
        "updatedAt": "2026-04-01",
        "reasoningEfforts": ["low", "high"],
        "inputModalities": ["text", "image"],
        "supportedParameters": ["tools", "tool_choice"],
    }
    (model,) = read_entries([entry])
    profile = to_profile(model)
    expected = {
        "release_date": "2026-03-01",
        "last_updated": "2026-04-01",
        "status": "active",
        "reasoning_effort_levels": ["low", "high"],
        "attachment": True,
        "tool_choice": True,
    }
    known = expected.keys() & ModelProfile.__annotations__.keys()
    assert {key: profile[key] for key in known} == {key: expected[key] for key in known}
    (silent,) = read_entries([{**entry, "supportedParameters": ["tools"]}])
    assert "tool_choice" not in to_profile(silent)


def test_the_profile_has_the_catalogs_facts_and_no_others() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # LangChain warns of keys that it does not know
        model = chat(both_kinds(), catalog=catalog())
    assert model.profile == {
        **NEWER_FACTS,
        "name": "M",
        "max_input_tokens": 100,
        "max_output_tokens": 50,
        "reasoning_output": False,
        "text_inputs": True,
        "image_inputs": False,
        "image_url_inputs": False,
        "audio_inputs": False,
        "video_inputs": False,
        "pdf_inputs": False,
        "text_outputs": True,
        "image_outputs": False,
        "audio_outputs": False,
        "video_outputs": False,
        "tool_calling": False,
        "structured_output": False,
        "temperature": True,
    }
    assert chat(both_kinds(), catalog=catalog(), model="bare").profile == {}


def test_without_a_catalog_or_before_it_was_fetched_there_is_no_profile_and_no_request() -> None:
    wire = Wire(reply(MODELS))
    with httpx.Client(transport=httpx.MockTransport(wire)) as http:
        config = Config(api_key="k", base_url="https://lunos.test")
        empty = Catalog(Client(config, http_client=http))
        assert chat(both_kinds()).profile is None
        assert chat(both_kinds(), catalog=empty).profile is None
    assert wire.requests == []


def test_the_profile_follows_the_model_and_what_the_user_sets_wins() -> None:
    model = chat(both_kinds(), catalog=catalog())
    assert model.bind(model="cheap-eyes").bound.profile["image_inputs"] is True
    assert model.profile["image_inputs"] is False
    model.model = "openai/sees"
    assert model.profile["max_input_tokens"] == 128_000
    mine = chat(both_kinds(), catalog=catalog(), profile={"max_input_tokens": 7})
    assert mine.bind(model="cheap-eyes").bound.profile == {"max_input_tokens": 7}
    mine.model = "openai/sees"
    assert mine.profile == {"max_input_tokens": 7}
    assert mine.load_profile().profile["max_input_tokens"] == 7
    assert mine.profile["image_inputs"] is True


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_load_profile_fetches_once_through_the_models_own_client(way: str) -> None:
    wire = Wire(reply(MODELS))
    model = chat(wire)
    for _ in range(2):
        same = model.load_profile() if way == "sync" else await model.aload_profile()
        assert same is model
    assert [request.url.path for request in wire.requests] == ["/public/models"]
    assert model.profile["max_input_tokens"] == 100
    assert model.catalog.cached("m").id == "m"


async def test_an_async_catalog_must_be_awaited() -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(Wire(reply(MODELS)))) as http:
        config = Config(api_key="k", base_url="https://lunos.test")
        model = chat(both_kinds(), catalog=AsyncCatalog(AsyncClient(config, http_client=http)))
        with pytest.raises(TypeError, match="aload_profile"):
            model.load_profile()
        assert (await model.aload_profile()).profile["max_input_tokens"] == 100


def test_a_catalog_is_shared_by_copies_and_is_not_serialized() -> None:
    known = catalog()
    model = chat(both_kinds(), catalog=known)
    assert copy.deepcopy(model).catalog is model.model_copy().catalog is known
    assert "catalog" not in model.model_dump()
    made = ChatLunos(**SETTINGS, catalog=Catalog(Client(Config(api_key="k"))))
    assert isinstance(pickle.loads(pickle.dumps(made)).catalog, Catalog)
    with pytest.raises(TypeError, match=r"lunos_core\.Catalog"):
        ChatLunos(**SETTINGS, catalog="openai")


def test_structured_output_takes_the_way_that_the_profile_allows() -> None:
    wire = both_kinds('{"a": 1}')
    schema = {"title": "S", "type": "object", "properties": {"a": {"type": "integer"}}}
    model = chat(wire, catalog=catalog(), model="cheap-eyes")
    assert model.with_structured_output(schema).invoke("Hello") == {"a": 1}
    assert wire.bodies[0]["response_format"]["type"] == "json_schema"


# --- cost ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_the_gateways_cost_is_on_the_message_once(way: str) -> None:
    message = await ask(chat(both_kinds()), way)
    assert message.response_metadata["cost"] == 0.5
    assert message.response_metadata["cost_source"] == "gateway"
    assert "cost" not in message.usage_metadata


@pytest.mark.parametrize("way", WAYS)
async def test_without_one_it_is_tokens_at_the_catalogs_prices(way: str) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    whole = reply({**answer(), "usage": usage})
    parts = stream([delta("Hi"), delta("", "stop"), {"choices": [], "usage": usage}, "[DONE]"])
    for known, cost in ((catalog(), 9 * 2e-6 + 3 * 10e-6), (None, None)):
        wire = Wire(whole if way in WHOLE else parts)
        with UsageLedger() as ledger:
            message = await ask(chat(wire, catalog=known), way)
        assert message.response_metadata.get("cost") == (cost and pytest.approx(cost))
        assert message.response_metadata.get("cost_source") == (cost and "catalog")
        assert ledger.rows()[0]["cost"] == (cost and pytest.approx(cost))


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_exactly_one_chunk_holds_the_cost(way: str) -> None:
    pieces = await chunks(chat(both_kinds()), way)
    assert [p.response_metadata["cost"] for p in pieces if "cost" in p.response_metadata] == [0.5]


@pytest.mark.parametrize("way", WHOLE)
async def test_a_cache_hit_costs_nothing(way: str) -> None:
    model = chat(both_kinds(), cache=InMemoryCache())
    with UsageLedger() as ledger:
        first, second = await ask(model, way), await ask(model, way)
    assert first.response_metadata["cost"] == 0.5
    assert second.response_metadata["cost"] == second.usage_metadata["total_cost"] == 0
    assert second.response_metadata["cost_source"] == "cache"
    assert (ledger.rows()[0]["calls"], ledger.cost) == (1, 0.5)


@pytest.mark.parametrize("way", WAYS)
async def test_a_spent_budget_is_an_error_of_this_package(way: str) -> None:
    wire = both_kinds()
    with UsageLedger(budget=0.5):
        await ask(chat(wire), way)
        with pytest.raises(LunosBudgetError):
            await ask(chat(wire), way)
    # a budget may ask for the prices; the model is asked once
    assert [request.method for request in wire.requests].count("POST") == 1


def test_embeddings_are_priced_and_counted() -> None:
    vectors = {"data": [{"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 1000}}
    with UsageLedger() as ledger:
        embeddings(Wire(reply(vectors)), catalog=catalog()).embed_query("text")
    (row,) = ledger.rows()
    assert (row["endpoint"], row["cost"]) == ("/embeddings", pytest.approx(0.002))
    assert LunosEmbeddings.model_fields["catalog"].exclude


# --- refused before the network ------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("input", "more", "reason", "able"),
    [
        (PICTURE, {}, "reads no images", "cheap-eyes, openai/sees"),
        ("Hi", {"tools": [{"type": "function", "function": TOOL}]}, "tools", "cheap-eyes"),
        ("Hi", {"response_format": {"type": "json_object"}}, "'response_format'", "cheap-eyes"),
    ],
)
async def test_what_the_model_cannot_do_is_refused_with_models_that_can(
    way: str, input: Any, more: dict[str, Any], reason: str, able: str
) -> None:
    wire = both_kinds()
    with pytest.raises(LunosBadRequestError) as caught:
        await ask(chat(wire, catalog=catalog()), way, input, **more)
    assert reason in str(caught.value)
    assert able in str(caught.value)
    assert "bare" not in str(caught.value)
    assert wire.requests == []
    # the model that can, one that nothing is known of, and those who want to try
    for settings in ({"model": "cheap-eyes"}, {"model": "bare"}, {"preflight": False}):
        await ask(chat(wire, **{"catalog": catalog(), **settings}), way, input, **more)
    assert len(wire.requests) == 3


@pytest.mark.parametrize("way", WAYS)
async def test_a_prompt_longer_than_the_window_is_langchains_context_overflow(way: str) -> None:
    wire = both_kinds()
    model = chat(wire, catalog=catalog())
    with pytest.raises(OVERFLOW, match=r"about 250 tokens.* holds 100") as caught:
        await ask(model, way, "word " * 200)
    assert isinstance(caught.value, LunosContextOverflowError)
    assert "cheap-eyes, openai/sees" in str(caught.value)
    assert wire.requests == []
    await ask(model, way, "word " * 200, model="cheap-eyes")  # the call's model counts
    await ask(model, way, "word " * 100)  # an estimate: near the limit the server decides
    assert len(wire.requests) == 2


def test_a_long_prompt_of_a_text_completion_is_refused_too() -> None:
    wire = Wire(reply({"choices": [{"text": "Hi", "index": 0, "finish_reason": "stop"}]}))
    model = llm(wire, catalog=catalog())
    with pytest.raises(OVERFLOW):
        model.generate(["short", "word " * 200])
    model.generate(["word " * 60] * 1)
    assert len(wire.requests) == 1


def test_a_fallback_model_may_be_the_one_that_can() -> None:
    wire = both_kinds()
    chat(wire, catalog=catalog(), fallback_model="cheap-eyes").invoke(PICTURE)
    assert len(wire.requests) == 1


@pytest.mark.parametrize("name", ["bare", "sees", "m"])
def test_a_model_chosen_by_the_config_has_its_own_profile(name: str) -> None:
    known = catalog()
    llm: Any = chat(both_kinds(), catalog=known, model="m")
    llm = llm.configurable_fields(model=ConfigurableField("llm"))
    prepared, _ = llm._prepare({"configurable": {"llm": name}})
    assert prepared.profile == chat(both_kinds(), catalog=known, model=name).profile
    assert prepared._clients is llm.default._clients


def test_a_profile_needs_no_file(tmp_path: Path) -> None:
    http = httpx.Client(transport=httpx.MockTransport(Wire(reply(MODELS))))
    client = Client(Config(api_key="k", base_url="https://lunos.test"), http_client=http)
    assert Catalog(client, cache_dir=tmp_path).get("m")  # writes the file
    fresh = Catalog(client, cache_dir=tmp_path)
    assert chat(both_kinds(), catalog=fresh).profile is None
    assert fresh.get("m")
    assert chat(both_kinds(), catalog=fresh).profile
