"""Models found by what they can do, by their ids, and by ids with typos."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from lunos_core import ModelInfo, Usage
from lunos_core.catalog.search import ModelIndex, similar
from tests.core.wire_samples import Wire

from .test_catalog import LIST, catalog_of, ids

if TYPE_CHECKING:
    from tests.conftest import Both

MINI, GPT, CLAUDE = "openai/gpt-4o-mini", "openai/gpt-4o", "anthropic/claude"
ADA, LLAMA, OLD = "openai/ada", "meta/llama", "openai/old"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [MINI, GPT, CLAUDE, ADA, LLAMA]),
        ({"provider": "OpenAI", "input": "text"}, [MINI, GPT, ADA]),
        ({"input": ["text", "image"]}, [GPT]),
        ({"output": "text"}, [GPT]),
        ({"output": "embeddings"}, [ADA]),
        ({"capability": "chat-completion"}, [GPT]),
        ({"capability": "Embeddings"}, [ADA]),
        ({"parameter": "tools,seed"}, [MINI]),
        ({"parameter": ["tools", "logprobs"]}, []),
        ({"reasoning": True}, [CLAUDE]),
        ({"max_input_price": 0.0000025}, [MINI, GPT, ADA]),
        ({"max_output_price": "0.00001"}, [MINI, GPT]),
        ({"max_input_price": Decimal(0)}, []),
        ({"min_context": 100_000}, [CLAUDE]),
        ({"min_output": 1}, []),
        ({"max_input_price": 1e-7, "include_disabled": True}, [OLD, ADA]),
        ({"provider": None, "input": None, "min_context": None, "reasoning": True}, [CLAUDE]),
    ],
)
async def test_models_are_found_by_what_is_known_of_them_cheapest_first(
    both: Both, options: dict[str, Any], expected: list[str]
) -> None:
    assert ids(await both(catalog_of(both, Wire(LIST)).find(**options))) == expected


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"colour": "red"}, TypeError),
        ({"provider": 7}, TypeError),
        ({"input": 7}, TypeError),
        ({"min_context": "8k"}, TypeError),
        ({"min_context": True}, TypeError),
        ({"reasoning": "yes"}, TypeError),
        ({"max_input_price": []}, TypeError),
        ({"max_input_price": "cheap"}, ValueError),
        ({"max_input_price": float("nan")}, ValueError),
    ],
)
async def test_a_filter_that_makes_no_sense_raises_before_anything_is_fetched(
    both: Both, options: dict[str, Any], error: type[Exception]
) -> None:
    wire = Wire(LIST)
    with pytest.raises(error):
        await both(catalog_of(both, wire).find(**options))
    assert wire.requests == []


BARE = ModelInfo("gpt-4", provider="openai")
FULL = ModelInfo("openai/gpt-4", provider="openai")
NESTED = ModelInfo("meta-llama/Llama-3", provider="together")
NOBODYS = ModelInfo("gpt-4")
GEMINI = ModelInfo("google/gemini", provider="google")
ROUTED = ModelInfo("openrouter/google/gemini", provider="openrouter")
OWN = ModelInfo("lunos/scripted", provider="lunos")
UUID = ModelInfo("7f3a", provider="google", model_id="google/gemini", permaslug="google/gemini-01")


@pytest.mark.parametrize(
    ("models", "asked", "found"),
    [
        ([BARE], "gpt-4", BARE),
        ([BARE], "openai/gpt-4", BARE),
        ([BARE], "OpenAI/GPT-4", BARE),
        ([BARE], "azure/gpt-4", None),
        ([FULL], "gpt-4", FULL),
        ([FULL], "openai/gpt-4", FULL),
        ([FULL], "azure/gpt-4", None),
        ([NOBODYS], "openai/gpt-4", NOBODYS),
        ([NESTED], "Llama-3", NESTED),
        ([NESTED], "meta-llama/llama-3", NESTED),
        ([NESTED], "together/meta-llama/Llama-3", NESTED),
        ([FULL, BARE], "gpt-4", BARE),
        ([ModelInfo("a/m", enabled=False), ModelInfo("b/m")], "m", ModelInfo("b/m")),
        ([BARE], "gpt-4o", None),
        ([BARE], "", None),
        ([ModelInfo("odd/")], "", None),
        ([FULL], "lunos/openai/gpt-4", FULL),
        ([FULL], "lunos/gpt-4", FULL),
        ([BARE], "lunos/gpt-4", BARE),
        ([OWN], "scripted", OWN),
        ([OWN], "lunos/Scripted", OWN),
        ([OWN], "openai/scripted", None),
        ([GEMINI], "openrouter/google/gemini", GEMINI),
        ([GEMINI], "lunos/openrouter/google/gemini", GEMINI),
        ([GEMINI], "openrouter/mistral/gemini", None),
        ([ROUTED], "google/gemini", ROUTED),
        ([ROUTED], "gemini", ROUTED),
        ([ROUTED], "lunos/openrouter/google/gemini", ROUTED),
        ([ROUTED, GEMINI], "google/gemini", GEMINI),
        ([UUID], "google/gemini", UUID),
        ([UUID], "gemini", UUID),
        ([UUID], "Google/Gemini-01", UUID),
        ([UUID], "openrouter/google/gemini-01", UUID),
        ([UUID], "7F3A", UUID),
    ],
)
def test_bare_and_prefixed_ids_match_each_other_but_not_another_provider(
    models: list[ModelInfo], asked: str, found: ModelInfo | None
) -> None:
    assert ModelIndex(models).get(asked) == found


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("gpt4o", ["openai/gpt-4o", "openai/gpt-4o-mini"]),
        ("openai/gpt4o", ["openai/gpt-4o", "openai/gpt-4o-mini"]),
        ("GPT 4o mini", ["openai/gpt-4o-mini", "openai/gpt-4o"]),
        ("antropic/claud", ["anthropic/claude"]),
        ("qqqq", []),
        ("", []),
        ("-", []),
    ],
)
async def test_a_typo_suggests_up_to_three_ids_best_first(
    both: Both, typed: str, meant: list[str]
) -> None:
    assert await both(catalog_of(both, Wire(LIST)).suggest(typed)) == meant


def test_no_more_than_three_are_suggested_and_usable_ones_first() -> None:
    models = [ModelInfo(f"p/model-{n}", enabled=n != 1) for n in range(1, 6)]
    assert similar(models, "model") == ["p/model-2", "p/model-3", "p/model-4"]


@pytest.mark.parametrize(
    ("ids", "typed", "meant"),
    [
        (("p/abcde",), "abcxy", ["p/abcde"]),  # three letters of five
        (("p/abcde",), "abxyz", []),
        # as like as each other: first the provider's, then the shorter one
        (("google/model", "openai/model"), "opena/model", ["openai/model", "google/model"]),
        (("p/gpt-4", "p/gpt4"), "p/gpt4x", ["p/gpt4", "p/gpt-4"]),
        (("p/模型",), "提示", []),
    ],
)
def test_what_is_like_an_id_is_suggested_the_likeliest_first(
    ids: tuple[str, ...], typed: str, meant: list[str]
) -> None:
    assert similar([*map(ModelInfo, ids)], typed) == meant


def test_of_models_with_one_id_the_first_counts_and_a_whole_id_before_a_part() -> None:
    first, second = ModelInfo("m", name="first"), ModelInfo("m", name="second")
    assert ModelIndex([first, second]).get("m") == first
    whole, part = ModelInfo("gpt-4"), ModelInfo("openai/gpt-4")
    for models in ([whole, part], [part, whole]):
        assert ModelIndex(models).get("GPT-4") == whole


async def test_the_cost_is_priced_by_id_or_by_model_and_unknown_is_none(both: Both) -> None:
    catalog = catalog_of(both, Wire(LIST))
    usage = Usage(1_000_000, 100_000, 1_100_000)
    assert await both(catalog.cost(usage, "gpt-4o")) == Decimal("3.5")
    assert await both(catalog.cost(usage, await both(catalog.get("claude")))) == Decimal("4.5")
    assert await both(catalog.cost(usage, "meta/llama")) is None
    assert await both(catalog.cost(usage, "nobody/knows")) is None
    assert await both(catalog.cost(None, "gpt-4o")) is None
