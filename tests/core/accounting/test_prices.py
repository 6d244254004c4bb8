"""What cached tokens, cache writes and reasoning cost, and of which count they are a part."""

from __future__ import annotations

import copy
import decimal
import pickle
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from lunos_core import (
    Budget,
    CallRecord,
    ModelInfo,
    RateLimit,
    Usage,
    UsageLedger,
    UsageStore,
    chat_request,
)
from lunos_core.accounting.observers import CallStart
from lunos_core.accounting.pricing import price_of
from lunos_core.accounting.spending import Estimator
from lunos_core.accounting.usage import parse_usage
from lunos_core.catalog.models import read_entries
from tests.core.wire_samples import HELLO, Wire, reply

if TYPE_CHECKING:
    from tests.conftest import Both

MILLIONTH = Decimal("0.000001")


def of(entry: dict[str, Any]) -> ModelInfo:
    (model,) = read_entries([{"id": "m", **entry}])
    return model


@pytest.mark.parametrize(
    "entry",
    [
        # OpenRouter's own words: USD for one token, as text
        {
            "pricing": {
                "prompt": "0.000003",
                "completion": "0.000015",
                "input_cache_read": "0.0000003",
                "input_cache_write": "0.00000375",
                "internal_reasoning": "0.00002",
            }
        },
        {
            "pricing": {
                "input": 0.000003,
                "output": 0.000015,
                "inputCacheRead": 0.0000003,
                "inputCacheWrite": 0.00000375,
                "internalReasoning": 0.00002,
                "unit": "token",
                "currency": "USD",
            }
        },
        {
            "pricePerMillionTokens": {
                "input": 3,
                "output": 15,
                "input_cache_read": "0.3",
                "inputCacheWrite": 3.75,
                "internalReasoning": 20,
            }
        },
        {
            "pricing": {
                "unit": "1M tokens",
                "input": 3,
                "output": 15,
                "cacheRead": 0.3,
                "cache_write": 3.75,
                "reasoning": 20,
            }
        },
        # the first that can be read as USD tells all of them
        {
            "pricing": {"currency": "EUR", "input": 1, "input_cache_read": 1},
            "pricePerMillionTokens": {
                "input": 3,
                "output": 15,
                "cachedInput": 0.3,
                "cacheWrite": 3.75,
                "reasoning": 20,
            },
        },
    ],
)
def test_prices_of_their_own_are_read_in_every_spelling(entry: dict[str, Any]) -> None:
    model = of(entry)
    prices = (model.input_price, model.output_price, model.cached_price)
    assert prices == (3 * MILLIONTH, 15 * MILLIONTH, Decimal("0.3") * MILLIONTH)
    assert model.cache_write_price == Decimal("3.75") * MILLIONTH
    assert model.reasoning_price == 20 * MILLIONTH


@pytest.mark.parametrize("odd", [None, -1, "-1", "free", {}, [], float("nan"), 1e300, True, 0, "0"])
def test_a_zero_or_invalid_part_price_is_unknown(odd: Any) -> None:
    # 0 for a part of what costs something: OpenRouter's list has it where there is no such price
    names = ("input_cache_read", "input_cache_write", "internal_reasoning")
    model = of({"pricing": {"input": 1, "output": 2, **dict.fromkeys(names, odd)}})
    assert (model.input_price, model.output_price) == (Decimal(1), Decimal(2))
    assert (model.cached_price, model.cache_write_price, model.reasoning_price) == (None,) * 3


def test_a_model_that_costs_nothing_costs_nothing_in_parts() -> None:
    model = of({"pricing": {"input": 0, "output": 0, "input_cache_read": 0}})
    assert model.cached_price == 0
    usage = Usage(input_tokens=10, output_tokens=5, cached_tokens=4, reasoning_tokens=1)
    assert price_of(usage, model) == 0


PRICED = ModelInfo(
    "m",
    input_price=Decimal(3),
    output_price=Decimal(15),
    cached_price=Decimal("0.3"),
    cache_write_price=Decimal("3.75"),
    reasoning_price=Decimal(20),
)


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (Usage(10, 0), "30"),
        (Usage(10, 0, cached_tokens=4), "19.2"),
        (Usage(10, 0, cache_write_tokens=4), "33"),
        (Usage(10, 0, cached_tokens=4, cache_write_tokens=6), "23.7"),
        (Usage(0, 10), "150"),
        (Usage(0, 10, reasoning_tokens=4), "170"),
        # more parts than there are in all: none of them is counted twice
        (Usage(10, 0, cached_tokens=40), "3"),
        (Usage(10, 0, cached_tokens=8, cache_write_tokens=8), "9.9"),
        (Usage(0, 10, reasoning_tokens=40), "200"),
        (Usage(10**12, 0), None),
    ],
)
def test_each_part_has_its_price_once(usage: Usage, cost: str | None) -> None:
    assert price_of(usage, PRICED) == (None if cost is None else Decimal(cost))


def test_without_prices_of_their_own_parts_cost_what_the_whole_does() -> None:
    model = ModelInfo("m", input_price=Decimal(3), output_price=Decimal(15))
    usage = Usage(10, 10, cached_tokens=4, cache_write_tokens=2, reasoning_tokens=5)
    assert price_of(usage, model) == 180
    only_cached = ModelInfo("m", cached_price=Decimal(1))
    assert price_of(Usage(4, 0, cached_tokens=4), only_cached) == 4
    assert price_of(Usage(5, 0, cached_tokens=4), only_cached) is None


@pytest.mark.parametrize(
    ("sent", "counted"),
    [
        # OpenAI: a part of the prompt
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 7}}, (9, 7, None)),
        ({"input_tokens": 9, "input_tokens_details": {"cached_tokens": 7}}, (9, 7, None)),
        ({"prompt_tokens": 9, "prompt_cache_hit_tokens": 7, "total_tokens": 9}, (9, 7, None)),
        ({"promptTokenCount": 9, "cachedContentTokenCount": 7}, (9, 7, None)),
        # Anthropic: beside the prompt
        ({"input_tokens": 2, "cache_read_input_tokens": 7}, (9, 7, None)),
        (
            {
                "input_tokens": 2,
                "cache_read_input_tokens": 7,
                "cache_creation_input_tokens": 30,
                "output_tokens": 1,
            },
            (39, 7, 30),
        ),
        ({"input_tokens": 2, "cache_read_input_tokens": 0}, (2, 0, None)),
        (
            {"prompt_tokens": 3, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 1},
            (7, 3, 1),
        ),
        # a proxy that speaks OpenAI's language and keeps Anthropic's names
        ({"prompt_tokens": 9, "cache_read_input_tokens": 7}, (9, 7, None)),
        ({"prompt_tokens": 2, "cache_read_input_tokens": 7}, (9, 7, None)),
        ({"prompt_tokens": 9, "input_tokens": 2, "cache_read_input_tokens": 7}, (9, 7, None)),
    ],
)
def test_cached_tokens_are_part_of_the_prompt(
    sent: dict[str, Any], counted: tuple[int, int, int | None]
) -> None:
    usage = parse_usage(sent)
    assert usage is not None
    assert (usage.input_tokens, usage.cached_tokens, usage.cache_write_tokens) == counted
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens


@pytest.mark.parametrize(
    ("sent", "counted"),
    [
        # OpenAI: a part of the answer
        (
            {"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 7}},
            (9, 7, 9),
        ),
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 9,
                "total_tokens": 14,
                "completion_tokens_details": {"reasoning_tokens": 9},
            },
            (9, 9, 14),
        ),
        # xAI: beside it, as its total tells
        (
            {
                "prompt_tokens": 32,
                "completion_tokens": 90,
                "total_tokens": 216,
                "completion_tokens_details": {"reasoning_tokens": 94},
            },
            (184, 94, 216),
        ),
        (
            {
                "prompt_tokens": 32,
                "completion_tokens": 9,
                "completion_tokens_details": {"reasoning_tokens": 94},
            },
            (103, 94, 135),
        ),
        (
            {
                "prompt_tokens": 32,
                "completion_tokens": 90,
                "total_tokens": 129,
                "completion_tokens_details": {"reasoning_tokens": 7},
            },
            (97, 7, 129),
        ),
        # Google: beside it
        (
            {
                "promptTokenCount": 5,
                "candidatesTokenCount": 9,
                "thoughtsTokenCount": 7,
                "totalTokenCount": 21,
            },
            (16, 7, 21),
        ),
    ],
)
def test_reasoning_is_part_of_the_answer(sent: dict[str, Any], counted: tuple[int, ...]) -> None:
    usage = parse_usage(sent)
    assert usage is not None
    assert (usage.output_tokens, usage.reasoning_tokens, usage.total_tokens) == counted


def test_an_estimate_takes_the_dearest_part() -> None:
    start = CallStart(
        None, "m", "/chat/completions", input_bytes=40, max_tokens=10, prices=lambda _: PRICED
    )
    cost, _ = Estimator("warn").cost(start, None)
    assert cost == (10 * Decimal("3.75") + 10 * 20) * 10**12


def test_sums_are_exact_whatever_precision_the_program_works_with(tmp_path: Path) -> None:
    usage = Usage(1, 1, cost=0.123456789012)
    call = CallRecord("a", "m", "/chat/completions", 1, 0.1, None, usage, None)
    traps = [decimal.Inexact, decimal.FloatOperation, decimal.Rounded]
    with decimal.localcontext(decimal.Context(prec=3, traps=traps)):
        budgets = [Budget("1.00", on_warn=lambda *_: None), Budget(Decimal("3.1"), per="day")]
        with UsageLedger(store=tmp_path / "u.db", budgets=budgets) as ledger:
            for _ in range(3):
                ledger.count(call._replace())
            tenth = Usage(1, 1, cost=Decimal("0.1"))  # type: ignore[arg-type]  # as a caller may
            ledger.count(call._replace(usage=tenth))
            assert ledger.cost == 0.470370367036
        ledger.close()
        with UsageStore(tmp_path / "u.db") as store:
            assert store.summary()[0]["cost"] == 0.470370367036


def test_a_price_is_exact_to_thirty_decimals_and_reads_as_one_writes_it() -> None:
    model = ModelInfo("m", input_price=Decimal("1e-30"), output_price=Decimal("30"))
    assert str(price_of(Usage(3, 0), model)) == "3E-30"
    assert str(price_of(Usage(0, 10), model)) == "300"
    assert str(price_of(Usage(1, 1), model)) == "30.000000000000000000000000000001"
    with decimal.localcontext(prec=3):
        assert price_of(Usage(1, 1), model) == Decimal("30.000000000000000000000000000001")


def test_a_replaced_price_is_the_one_that_counts() -> None:
    model = ModelInfo("m", input_price=Decimal(3), output_price=Decimal(15))
    assert price_of(Usage(2, 0), replace(model, input_price=Decimal(1))) == 2
    assert price_of(Usage(2, 0), pickle.loads(pickle.dumps(model))) == 6
    assert price_of(Usage(2, 0), copy.deepcopy(model)) == 6
    assert "rates" not in {item.name for item in fields(model)}


async def test_prices_are_loaded_once_and_only_for_a_model_whose_price_is_unknown(
    both: Both,
) -> None:
    answer = {"choices": [{"message": {"content": "Hi"}}], "usage": {"prompt_tokens": 2}}
    client = both.client(Wire(reply(answer)))
    known = ModelInfo("known", input_price=Decimal("0.25"), output_price=Decimal(1))
    loads: list[Any] = []

    def found(asked: Any) -> Any:
        loads.append(asked)
        return lambda model: replace(known, input_price=Decimal("0.5"))

    async def afound(asked: Any) -> Any:
        return found(asked)

    client.prices = {"known": known}.get
    client.load_prices = afound if both.is_async else found
    with UsageLedger(budgets=[Budget(100)]):
        answer_of_known = await both(client.send(chat_request(HELLO, model="known")))
        assert (answer_of_known.usage.cost, loads) == (0.5, [])
        for _ in range(2):
            answer_of_other = await both(client.send(chat_request(HELLO, model="other")))
            assert (answer_of_other.usage.cost, loads) == (1.0, [client])


async def test_without_a_budget_no_prices_are_loaded(both: Both) -> None:
    answer = {"choices": [{"message": {"content": "Hi"}}], "usage": {"prompt_tokens": 2}}
    client = both.client(Wire(reply(answer)))
    client.load_prices = lambda _: pytest.fail("nobody asked for prices")
    with UsageLedger(limits=[RateLimit(requests=100)]):
        answer_of_other = await both(client.send(chat_request(HELLO, model="other")))
    assert answer_of_other.usage.cost is None


def test_any_object_with_prices_has_a_price() -> None:
    stand_in = SimpleNamespace(input_price=0.25, output_price=2)
    assert price_of(Usage(2, 1, reasoning_tokens=1), stand_in) == Decimal("2.5")
    assert price_of(Usage(2, 1), SimpleNamespace(input_price=Decimal("0.1"))) is None
    assert price_of(Usage(2, 1), None) is None
    own = SimpleNamespace(rates={"input": 1}, input_price=2, output_price=0)  # of its own meaning
    assert price_of(Usage(2, 1), own) == 4
    odd = ModelInfo("odd", input_price=Decimal("NaN"), output_price=Decimal("Infinity"))
    assert (price_of(Usage(2, 0), odd), price_of(Usage(0, 2), odd)) == (None, None)
