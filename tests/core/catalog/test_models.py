"""The catalog's four shapes as one: what is asked for, and what is read."""

from __future__ import annotations

import contextlib
import copy
import json
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lunos_core import (
    LunosAPIError,
    LunosError,
    LunosResponseError,
    ModelInfo,
    Usage,
    models_request,
)
from lunos_core.accounting.pricing import price_of
from lunos_core.catalog.models import parse_models
from lunos_core.request import Reply
from tests.core.wire_samples import Wire, raw, reply

if TYPE_CHECKING:
    from tests.conftest import Both

REFERENCE = {
    "id": "gpt-4",
    "provider": "openai",
    "created": 1677610602,
    "object": "model",
    "owned_by": "openai",
    "capabilities": ["text-completion", "chat-completion"],
    "pricing": {"input": 0.00003, "output": 0.00006, "unit": "token", "currency": "USD"},
}
LATER = {
    "id": "openai/gpt-4",
    "name": "GPT-4",
    "provider": "openai",
    "parameters": {"context": 8192, "max_output_tokens": 4096, "size": None},
    "pricePerMillionTokens": {"input": 30, "output": 60, "discountPercentage": 10},
    "capabilities": ["text-generation", "chat", "vision"],
    "status": "active",
    "supportedParameters": ["temperature", "tools"],
    "inputModalities": ["text", "image"],
    "outputModalities": ["text"],
    "supportReasoning": False,
    "maxCompletionTokens": 2048,
    "isEnabled": True,
    "freeConfig": None,
    "releaseDate": None,
}
MINIMUM = {"id": "openai/gpt-4", "object": "model", "created": 1, "owned_by": "openai"}
SHAPES: dict[str, Any] = {
    "reference": {"status": "success", "data": {"models": [REFERENCE]}, "meta": {}},
    "array": [LATER],
    "data": {"data": [LATER]},
    "openai": {"object": "list", "data": [MINIMUM]},
}
FROM_LATER = ModelInfo(
    id="openai/gpt-4",
    provider="openai",
    name="GPT-4",
    context_window=8192,
    max_output_tokens=4096,
    input_modalities=("text", "image"),
    output_modalities=("text",),
    capabilities=("text-generation", "chat", "vision"),
    supported_parameters=("temperature", "tools"),
    supports_reasoning=False,
    input_price=Decimal("0.00003"),
    output_price=Decimal("0.00006"),
    enabled=True,
)
READ = {
    "reference": ModelInfo(
        id="gpt-4",
        provider="openai",
        capabilities=("text-completion", "chat-completion"),
        input_price=Decimal("0.00003"),
        output_price=Decimal("0.00006"),
    ),
    "array": FROM_LATER,
    "data": FROM_LATER,
    "openai": ModelInfo(id="openai/gpt-4", provider="openai"),
}


def read(value: Any) -> list[ModelInfo]:
    return parse_models(Reply(200, {}, json.dumps(value).encode()))


def one(**entry: Any) -> ModelInfo:
    (model,) = read([{"id": "m", **entry}])
    return model


@pytest.mark.parametrize("shape", SHAPES)
async def test_each_shape_of_the_wire_is_read_into_the_same_kind_of_value(
    both: Both, shape: str
) -> None:
    wire = Wire(reply(SHAPES[shape]))
    assert await both(both.client(wire).send(models_request())) == [READ[shape]]


async def test_the_public_list_is_asked_for_outside_v1_and_without_the_key(both: Both) -> None:
    wire = Wire(reply([LATER]))
    await both(both.client(wire).send(models_request()))
    assert (wire.sent.method, str(wire.sent.url)) == ("GET", "https://lunos.test/public/models")
    assert "authorization" not in wire.sent.headers
    assert wire.sent.content == b""
    assert "content-type" not in wire.sent.headers


async def test_the_public_list_needs_no_key_at_all(both: Both) -> None:
    wire = Wire(reply([LATER]))
    client = both.client(wire, api_key=None)
    assert len(await both(client.send(models_request()))) == 1


@pytest.mark.parametrize(
    ("filters", "query"),
    [
        ({"input": "text,image", "output": "text"}, "input=text,image&output=text"),
        ({"input": ["text", "image"]}, "input=text,image"),
        ({"output": " Image "}, "output=image"),
        ({"input": "a b&c"}, "input=a%20b%26c"),
        ({"public": False}, ""),
    ],
)
async def test_filters_go_to_v1_with_the_key(
    both: Both, filters: dict[str, Any], query: str
) -> None:
    wire = Wire(reply([LATER]))
    await both(both.client(wire).send(models_request(**filters)))
    assert (wire.sent.url.path, wire.sent.url.query.decode()) == ("/v1/models", query)
    assert wire.sent.headers["authorization"].startswith("Bearer ")


def test_a_filter_that_makes_no_sense_raises_before_anything_is_sent() -> None:
    with pytest.raises(TypeError, match="input"):
        models_request(input=[7])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="no filters"):
        models_request(input="text", public=True)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"data": None},
        {"data": {"models": 7}},
        {"object": "list"},
        "models",
        7,
        [1, 2],
        [{"name": "no id"}],
        {"data": [{"id": ""}, {"id": None}]},
    ],
)
async def test_an_answer_without_models_is_a_typed_error(both: Both, body: Any) -> None:
    with pytest.raises(LunosResponseError, match="models"):
        await both(both.client(Wire(reply(body))).send(models_request()))


async def test_a_page_or_an_error_in_place_of_the_list_is_a_typed_error(both: Both) -> None:
    page = both.client(Wire(raw(b"<html>", content_type="text/html")))
    with pytest.raises(LunosResponseError, match="isn't valid JSON"):
        await both(page.send(models_request()))
    with pytest.raises(LunosAPIError, match="closed"):
        await both(both.client(Wire(reply({"error": "closed"}))).send(models_request()))


def test_an_empty_list_is_a_list() -> None:
    assert read([]) == read({"data": []}) == read({"data": {"models": []}}) == []


def test_an_entry_that_cannot_be_read_does_not_hide_the_others() -> None:
    assert [model.id for model in read([None, LATER, {"id": 7}, "x", LATER])] == ["openai/gpt-4"]


@pytest.mark.parametrize(
    ("unit", "price"),
    [
        *(("token", "0.5"), ("Tokens", "0.5"), ("1K tokens", "0.0005")),
        *(("million", "0.0000005"), ("1M tokens", "0.0000005")),
    ],
)
def test_a_price_is_converted_from_its_unit(unit: str, price: str) -> None:
    assert one(pricing={"input": 0.5, "unit": unit}).input_price == Decimal(price)


def test_prices_per_token_and_per_million_come_out_equal_and_exact() -> None:
    for per_token, per_million in ((0.00003, 30), (0.00000015, 0.15), (1.1e-06, 1.1), (0, 0.0)):
        here = one(pricing={"input": per_token, "unit": "token", "currency": "USD"})
        there = one(pricePerMillionTokens={"input": per_million})
        assert here.input_price == there.input_price == Decimal(str(per_million)) / 10**6


def test_prices_are_exact_whatever_precision_the_program_works_with() -> None:
    with localcontext(prec=3):
        model = one(pricePerMillionTokens={"input": 1.23456, "output": "2.5"})
        cost = price_of(Usage(input_tokens=1_000_001, output_tokens=2), model)
    assert (model.input_price, model.output_price) == (Decimal("0.00000123456"), Decimal("2.5e-6"))
    assert cost == Decimal("1.23456123456") + Decimal("0.000005")


@pytest.mark.parametrize(
    "price",
    [
        None,
        True,
        -1,
        "-1",
        "free",
        [],
        {},
        "",
        "1e999999999",
        "9" * 5000,
        10**30,
        "NaN",
        "Infinity",
    ],
)
def test_a_price_that_makes_no_sense_is_unknown(price: Any) -> None:
    assert one(pricing={"input": price}).input_price is None


@pytest.mark.parametrize(
    "more", [{"currency": "EUR"}, {"currency": "yen"}, {"currency": 7}, {"unit": "image"}]
)
def test_a_price_in_another_currency_or_unit_is_unknown(more: dict[str, Any]) -> None:
    assert one(pricing={"input": 1, "output": 2, **more}).input_price is None


def test_a_discount_is_not_taken_off() -> None:
    model = one(pricePerMillionTokens={"input": 10, "output": 20, "discountPercentage": 50})
    assert model.input_price == Decimal("0.00001")
    assert model.raw["pricePerMillionTokens"]["discountPercentage"] == 50


@pytest.mark.parametrize(
    ("entry", "provider"),
    [
        ({"id": "a/b", "provider": "c", "owned_by": "d"}, "c"),
        ({"id": "a/b", "owned_by": "d"}, "a"),
        ({"id": "b", "owned_by": "d"}, "d"),
        ({"id": "b", "owned_by": "system"}, None),
        ({"id": "b", "provider": {"name": "c"}}, None),
    ],
)
def test_the_provider_is_the_stated_one_else_the_prefix_else_the_owner(
    entry: dict[str, Any], provider: str | None
) -> None:
    (model,) = read([entry])
    assert model.provider == provider


def test_fields_of_another_type_are_unknown() -> None:
    odd = dict.fromkeys([*LATER, "pricing", "owned_by"], 7) | {"id": "m"}
    assert read([odd]) == [ModelInfo("m", max_output_tokens=7)]
    assert one(parameters={"context": 0, "max_output_tokens": "4096"}).max_output_tokens == 4096
    assert one(parameters={"context": 0}).context_window is None
    assert one(parameters={"context": 1}).context_window == 1
    assert one(inputModalities=[]).input_modalities == ()
    assert one(status="disabled").enabled is False


@pytest.mark.parametrize("number", [2**63, 0, -1, 0.5, float("inf")])
def test_a_window_that_no_model_has_is_unknown(number: float) -> None:
    assert one(parameters={"context": number}).context_window is None
    assert one(parameters={"context": 2**63 - 1}).context_window == 2**63 - 1


def test_what_is_only_shown_makes_no_entry_another_one() -> None:
    shown: dict[str, Any] = {
        **dict.fromkeys(("model_id", "permaslug", "description", "release_date", "status"), "x"),
        "tokens_per_second": 1.0,
        "free_tokens": 1,
        "free_is_premium": True,
        "raw": {"a": 1},
    }
    for name, value in shown.items():
        assert ModelInfo("m", **{name: value}) == ModelInfo("m"), name
    assert ModelInfo("m", enabled=True) != ModelInfo("m")


@pytest.mark.parametrize(
    ("ability", "reads", "writes"),
    [
        ("chat", {"text"}, {"text"}),
        ("Text Completion", {"text"}, {"text"}),
        ("embedding", {"text"}, {"embeddings"}),
        ("vision", {"image"}, set()),
        ("image_generation", set(), {"image"}),
        ("speech", set(), set()),
    ],
)
def test_what_a_model_reads_and_writes_follows_from_its_abilities_where_it_is_left_out(
    ability: str, reads: set[str], writes: set[str]
) -> None:
    model = ModelInfo("m", capabilities=(ability,))
    assert (model.reads, model.writes) == (reads, writes)
    stated = ModelInfo("m", capabilities=(ability,), input_modalities=(), output_modalities=())
    assert (stated.reads, stated.writes) == (set(), set())


def test_the_vendors_words_for_sound_are_the_shared_ones() -> None:
    model = ModelInfo("m", capabilities=("speech-generation", "audio-transcription"))
    assert model.abilities == {"speech", "transcription"}


def test_what_newer_catalogs_tell_reaches_the_model() -> None:
    model = one(
        modelId="openai/gpt-5",
        permaslug="openai/gpt-5-2025-08-07",
        releaseDate="2025-08-07",
        freeConfig={"maxTokens": 250_000, "isPremium": True},
        avgThroughput=81.5,
        summary="short",
        status="active",
    )
    assert (model.model_id, model.permaslug) == ("openai/gpt-5", "openai/gpt-5-2025-08-07")
    assert (model.release_date, model.description) == ("2025-08-07", "short")
    assert (model.free_tokens, model.free_is_premium) == (250_000, True)
    assert (model.tokens_per_second, model.status) == (81.5, "active")
    assert one(description="long", summary="short").description == "long"
    texts = one(freeConfig={"maxTokens": "5", "isPremium": 1}, avgThroughput="81.5", isEnabled="0")
    assert (texts.free_tokens, texts.free_is_premium) == (5, True)
    assert (texts.tokens_per_second, texts.enabled) == (81.5, False)
    assert (one(supportReasoning="true").supports_reasoning, one(isEnabled=7).enabled) == (
        True,
        None,
    )
    odd = one(modelId=1, freeConfig=[1], avgThroughput=1e308, releaseDate=2025)
    assert (odd.model_id, odd.free_tokens, odd.tokens_per_second, odd.release_date) == (None,) * 4


def test_a_speed_may_be_less_than_one() -> None:
    assert one(avgThroughput=0.5).tokens_per_second == 0.5


@pytest.mark.parametrize("said", [0, -0.5, -1, "0", None, "fast"])
def test_a_speed_that_is_no_speed_is_unknown(said: Any) -> None:
    assert one(avgThroughput=said).tokens_per_second is None


@pytest.mark.parametrize(("said", "count"), [(1, 1), ("1", 1), (0, None), (-1, None), (0.5, None)])
def test_a_window_that_is_none_is_unknown(said: Any, count: int | None) -> None:
    assert one(parameters={"context": said}).context_window == count


@pytest.mark.parametrize("listed", ["tool_choice", "Functions", "tool-use"])
def test_a_parameter_is_taken_under_any_of_its_names(listed: str) -> None:
    assert ModelInfo("m", supported_parameters=(listed,)).takes("tools")
    assert ModelInfo("m", capabilities=("function-calling",)).takes("tools")
    assert not ModelInfo("m", supported_parameters=("seed",)).takes("tools")
    assert not ModelInfo("m", capabilities=("vision",)).takes("vision")


def test_a_models_modalities_are_listed_or_implied_by_its_abilities() -> None:
    stated = ModelInfo("m", input_modalities=("Text",), output_modalities=())
    assert (stated.reads, stated.writes) == ({"text"}, set())
    implied = ModelInfo("m", capabilities=("vision", "chat-completion", "text-embedding"))
    assert (implied.reads, implied.writes) == ({"text", "image"}, {"text", "embeddings"})


def test_a_model_can_be_a_key_of_a_dict() -> None:
    assert {one(): 1}[one()] == 1


GPT = ModelInfo("m", input_price=Decimal("0.00003"), output_price=Decimal("0.00006"))


@pytest.mark.parametrize(
    ("usage", "model", "cost"),
    [
        (Usage(1000, 500, 1500), GPT, Decimal("0.06")),
        (Usage(1000, 0, 1000), ModelInfo("m", input_price=Decimal("1e-6")), Decimal("0.001")),
        (Usage(1000, 500, 1500), ModelInfo("m", input_price=Decimal("1e-6")), None),
        (Usage(1000, 500, 1500), ModelInfo("m"), None),
        (Usage(1, 1, 2), ModelInfo("m", input_price=Decimal(0), output_price=Decimal(0)), 0),
        (Usage(cost=0.5), GPT, None),
        (None, GPT, None),
    ],
)
def test_the_cost_is_tokens_times_price_and_none_where_it_is_unknown(
    usage: Usage | None, model: ModelInfo, cost: Decimal | None
) -> None:
    assert price_of(usage, model) == cost


odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)
ALL = {**REFERENCE, **LATER}


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    shape=st.sampled_from(sorted(SHAPES)),
    changes=st.dictionaries(st.sampled_from(sorted(ALL)), odd, max_size=5),
    inner=st.dictionaries(
        st.sampled_from(["context", "max_output_tokens", "input", "output", "unit", "currency"]),
        odd,
    ),
)
def test_a_mutated_catalog_is_read_or_refused_with_a_typed_error(
    shape: str, changes: dict[str, Any], inner: dict[str, Any]
) -> None:
    value = copy.deepcopy(SHAPES[shape])
    for name in ("parameters", "pricing", "pricePerMillionTokens"):
        changes.setdefault(name, inner)
    entries = value if isinstance(value, list) else value["data"]
    entries = entries if isinstance(entries, list) else entries["models"]
    entries[0].update(changes)
    try:
        models = read(value)
    except LunosError:
        return
    for model in models:
        assert isinstance(model.id, str)
        for price in (model.input_price, model.output_price):
            assert price is None or (price.is_finite() and price >= 0)
        for count in (model.context_window, model.max_output_tokens):
            assert count is None or count > 0


@given(odd)
def test_anything_in_place_of_a_catalog_is_read_or_refused_with_a_typed_error(value: Any) -> None:
    with contextlib.suppress(LunosError):
        assert isinstance(read(value), list)
