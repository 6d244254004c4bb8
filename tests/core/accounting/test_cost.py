"""What an answer cost: the gateway's word, else the catalog's prices, else nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st

from lunos_core import (
    AsyncLunos,
    Lunos,
    ModelInfo,
    Usage,
    UsageLedger,
    chat_request,
    chat_stream_request,
    embedding_request,
)
from lunos_core.accounting.usage import parse_usage
from lunos_core.catalog.models import read_entries
from tests.core.wire_samples import HELLO, Wire, delta, reply, stream

if TYPE_CHECKING:
    from lunos_local import LocalGateway
    from tests.conftest import Both

PRICES = {"input": 2, "output": 10}
MODELS = [
    {"id": "openai/m", "pricePerMillionTokens": PRICES},
    {"id": "dear", "pricePerMillionTokens": {"input": 200, "output": 1000}},
    {"id": "unpriced"},
]
TOKENS = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}


def prices(id: str) -> ModelInfo | None:
    return {model.id: model for model in read_entries(MODELS)}.get(id)


def answer(usage: Any, model: str = "served-2024") -> Any:
    choice = {"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}
    return reply({"id": "1", "model": model, "choices": [choice], "usage": usage})


async def usage_of(both: Both, wire: Wire, way: str, model: str = "openai/m", **more: Any) -> Any:
    client = both.client(wire, app_id="a")
    client.prices = prices
    if way == "whole":
        return (await both(client.send(chat_request(HELLO, model=model, **more)))).usage
    chunks = await both.chunks(client, chat_stream_request(HELLO, model=model, **more))
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    return chunks[-1].usage


@pytest.mark.parametrize("way", ["whole", "streamed"])
@pytest.mark.parametrize(
    ("usage", "model", "cost", "source"),
    [
        ({**TOKENS, "cost": 0.5}, "openai/m", 0.5, "gateway"),
        ({**TOKENS, "cost": 0}, "openai/m", 0, "gateway"),
        (TOKENS, "openai/m", 0.003, "catalog"),
        (TOKENS, "unpriced", None, None),
        (TOKENS, "nobody", None, None),
    ],
)
async def test_the_gateways_cost_wins_and_an_unknown_one_is_none(
    both: Both, way: str, usage: Any, model: str, cost: float | None, source: str | None
) -> None:
    parts = stream([delta("Hi", "stop"), {"choices": [], "usage": usage}, "[DONE]"])
    with UsageLedger() as ledger:
        result = await usage_of(both, Wire(answer(usage) if way == "whole" else parts), way, model)
    assert (result.cost, result.cost_source) == (cost, source)
    assert [row["cost"] for row in ledger.rows()] == [cost]


async def test_without_usage_there_is_no_cost(both: Both) -> None:
    assert await usage_of(both, Wire(answer(None)), "whole") is None


async def test_where_the_gateway_may_fall_back_the_model_that_answered_is_priced(
    both: Both,
) -> None:
    wire = Wire(answer(TOKENS, model="dear"))
    assert (await usage_of(both, wire, "whole")).cost == 0.003
    result = await usage_of(both, wire, "whole", fallback_model="dear")
    assert result.cost == pytest.approx(0.3)


async def test_embeddings_are_priced_by_their_input(both: Both) -> None:
    usage = {"prompt_tokens": 1000, "total_tokens": 1000}
    wire = Wire(reply({"data": [{"index": 0, "embedding": [1.0]}], "usage": usage}))
    client = both.client(wire)
    client.prices = prices
    result = await both(client.send(embedding_request("text", model="openai/m")))
    assert (result.usage.cost, result.usage.cost_source) == (0.002, "catalog")


async def test_the_plain_client_prices_once_its_catalog_is_known(both: Both) -> None:
    wire = Wire(answer(TOKENS), reply(MODELS), answer(TOKENS))
    face = AsyncLunos if both.is_async else Lunos
    lunos = face("k", base_url="https://lunos.test", http_client=both.http_client(wire))
    ask = {"model": "m", "messages": HELLO}  # bare: the catalog's id has a provider in front
    before = await both(lunos.chat.completions.create(**ask))
    await both(lunos.models.list())
    after = await both(lunos.chat.completions.create(**ask))
    assert (before.usage.cost, after.usage.cost) == (None, 0.003)
    assert len(wire.requests) == 3  # no request of its own


async def test_a_local_model_with_a_price_is_priced_by_the_catalog_whole_and_streamed(
    both: Both, gateway: LocalGateway
) -> None:
    kind = AsyncLunos if both.is_async else Lunos
    lunos = both.closing(kind(gateway.api_key, base_url=gateway.base_url))
    model = await both(lunos.models.get("scripted-priced"))
    asked: dict[str, Any] = {"model": model.id, "messages": HELLO}
    with UsageLedger() as ledger:
        answer = await both(lunos.chat.completions.create(**asked))
        opened = await both(lunos.chat.completions.create(**asked, stream=True))
        chunks = [chunk async for chunk in both.each(opened)]
    used = answer.usage
    cost = float(used.input_tokens * model.input_price + used.output_tokens * model.output_price)
    assert cost > 0
    assert (used.cost, used.cost_source) == (cost, "catalog")
    assert chunks[-1].usage.cost == cost
    assert ledger.cost == pytest.approx(2 * cost)


def test_a_sum_has_a_source_only_if_all_parts_share_it() -> None:
    said, reckoned = parse_usage({"cost": 1}), Usage(cost=2.0, cost_source="catalog")
    assert said is not None
    assert (said + said).cost_source == "gateway"
    assert (said + Usage(input_tokens=1)).cost_source == "gateway"
    assert ((said + reckoned).cost, (said + reckoned).cost_source) == (3.0, None)


_TOKENS = st.integers(0, 10**9)
_PRICES = st.none() | st.decimals(0, 1, places=12)
