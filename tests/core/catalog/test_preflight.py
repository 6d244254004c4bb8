"""Refusing before the network what the catalog says cannot work."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from lunos_core import LunosBadRequestError, LunosContextOverflowError, ModelInfo
from lunos_core.catalog.models import shared_name
from lunos_core.catalog.preflight import needs_of, refusal
from lunos_core.catalog.search import ModelIndex

PARTS = {
    "image": {"type": "image_url", "image_url": {"url": "https://h/a.png"}},
    "audio": {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
    "video": {"type": "video_url", "video_url": {"url": "https://h/a.mp4"}},
    "file": {"type": "file", "file": {"filename": "a.pdf", "file_data": "https://h/a.pdf"}},
}
PLAIN = ModelInfo(
    "plain",
    input_modalities=("text",),
    output_modalities=("text",),
    supported_parameters=("temperature",),
    input_price=Decimal("0.000001"),
)
TEXT = [{"role": "user", "content": "Hi"}]


def message(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": "Look"}, *parts]}]


def check(content: Any, *models: ModelInfo, model: str = "plain", **params: Any) -> Any:
    return refusal(ModelIndex([PLAIN, *models]), content, model=model, params=params)


@pytest.mark.parametrize(
    ("kind", "said"),
    [("image", "images"), ("audio", "audio"), ("video", "videos"), ("file", "files")],
)
def test_a_modality_that_the_model_does_not_read_is_refused_by_its_name(
    kind: str, said: str
) -> None:
    error = check(message(PARTS[kind]))
    assert type(error) is LunosBadRequestError
    assert f"plain reads no {said}, says the catalog: nothing was sent" in error.message
    assert "preflight=False" in error.message


@pytest.mark.parametrize("kind", PARTS)
def test_a_modality_that_the_model_reads_or_may_read_is_sent(
    kind: str,
) -> None:
    able = ModelInfo("able", input_modalities=("text", kind.upper()))
    for model in (able, ModelInfo("able"), ModelInfo("able", input_modalities=())):
        assert check(message(PARTS[kind]), model, model="able") is None


def test_pdf_is_another_word_for_file() -> None:
    able = ModelInfo("able", input_modalities=("text", "pdf"))
    assert check(message(PARTS["file"]), able, model="able") is None


@pytest.mark.parametrize(
    ("kind", "said"), [("image", "images"), ("audio", "audio"), ("video", "videos")]
)
def test_an_output_that_the_model_does_not_make_is_refused(kind: str, said: str) -> None:
    error = check(TEXT, modalities=["text", kind])
    assert f"plain makes no {said}" in error.message
    draws = ModelInfo("draws", output_modalities=("text", kind))
    assert check(TEXT, draws, model="draws", modalities=["text", kind]) is None
    assert check(TEXT, modalities=["text"]) is None


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("tools", [{}], "takes no tools"),
        ("response_format", {"type": "json_object"}, "takes no parameter 'response_format'"),
        ("logprobs", True, "takes no parameter 'logprobs'"),
        ("top_logprobs", 2, "takes no parameter 'top_logprobs'"),
        ("logit_bias", {"1": 2}, "takes no parameter 'logit_bias'"),
        ("reasoning", {"effort": "low"}, "takes no parameter 'reasoning'"),
        ("reasoning_effort", "low", "takes no parameter 'reasoning_effort'"),
    ],
)
def test_a_feature_that_the_model_does_not_take_is_refused(
    name: str, value: Any, said: str
) -> None:
    assert said in check(TEXT, **{name: value}).message
    able = ModelInfo("able", supported_parameters=("temperature", name))
    assert check(TEXT, able, model="able", **{name: value}) is None


@pytest.mark.parametrize("name", ["temperature", "seed", "stop", "max_tokens", "top_p"])
def test_a_parameter_that_a_model_may_leave_unused_is_not_refused(name: str) -> None:
    assert check(TEXT, **{name: 1}) is None


@pytest.mark.parametrize(
    ("feature", "listed"),
    [
        *(("tools", n) for n in ("tool_choice", "tool_use", "function_calling", "Functions")),
        ("response_format", "structured_outputs"),
        ("response_format", "json_schema"),
        ("reasoning_effort", "include_reasoning"),
        ("reasoning", "reasoning effort"),
    ],
)
def test_a_feature_is_known_by_each_of_its_names(feature: str, listed: str) -> None:
    able = ModelInfo("able", supported_parameters=(listed,))
    assert check(TEXT, able, model="able", **{feature: "x"}) is None


@pytest.mark.parametrize(
    ("word", "shared"),
    [
        ("chat-completion", "chat"),
        ("Chat Completions", "chat"),
        ("text_completion", "text-generation"),
        ("completion", "text-generation"),
        ("embedding", "embeddings"),
        ("text-embedding", "embeddings"),
        ("max_completion_tokens", "max-tokens"),
        ("pdf", "file"),
    ],
)
def test_words_that_mean_the_same_have_one_name(word: str, shared: str) -> None:
    assert shared_name(word) == shared


@pytest.mark.parametrize(("window", "is_refused"), [(1000, True), (1400, False), (2100, False)])
def test_a_prompt_is_too_long_only_where_two_thirds_of_the_estimate_are(
    window: int, is_refused: bool
) -> None:
    prompt = [{"role": "user", "content": "word " * 1600}]
    tokens = needs_of(prompt, {}).tokens
    assert 1500 < tokens < 2100
    error = check(prompt, ModelInfo("small", context_window=window), model="small")
    assert isinstance(error, LunosContextOverflowError) is is_refused
    if is_refused:
        assert f"about {tokens} tokens, the window of small holds {window}" in error.message


def test_a_prompt_may_be_half_as_long_again_as_the_window_and_fits_one_of_its_length() -> None:
    prompt = [{"role": "user", "content": "x " * 600}]
    tokens = needs_of(prompt, {}).tokens
    assert tokens % 3 == 0
    most = 2 * tokens // 3
    assert check(prompt, ModelInfo("small", context_window=most), model="small") is None
    others = [ModelInfo(f"w{more}", context_window=tokens + more) for more in (-1, 0)]
    tight = ModelInfo("tight", context_window=most - 1)
    error = check(prompt, tight, *others, model="tight")
    assert "models that could do it: w0 (" in error.message


@pytest.mark.parametrize(
    ("texts", "is_refused"),
    [
        (["日" * 15], False),  # a token for each character, half as many again as the window
        (["日" * 16], True),
        (["日" * 8] * 2, True),  # together
        (["日" * 8, "x" * 28], False),
        (["日" * 8, "x" * 32], True),
        (["日" * 16, None], True),  # a message without a text, as one with calls alone
        ([None, "", "x" * 60], False),
        ([None, "", "x" * 61], True),
    ],
)
def test_the_texts_of_all_messages_count(texts: list[str | None], is_refused: bool) -> None:
    small = ModelInfo("small", context_window=10)
    messages = [{"role": "user", "content": text} for text in texts]
    error = check(messages, small, model="small")
    assert isinstance(error, LunosContextOverflowError) is is_refused
    if len(texts) == 1:
        assert (check(texts[0], small, model="small") is None) is (error is None)
    assert check(messages, ModelInfo("any"), model="any") is None


def test_a_model_of_unknown_window_could_do_what_needs_none() -> None:
    able = [
        ModelInfo(name, supported_parameters=("tools",), context_window=window)
        for name, window in (("known", 9), ("unknown", None))
    ]
    error = check("", *able, tools=[{}])
    assert "models that could do it: known, unknown (" in error.message


def test_messages_are_added_up_and_prompts_are_not() -> None:
    long = "word " * 100
    assert needs_of([long, "a"], {}).tokens == needs_of(long, {}).tokens
    of_one = needs_of([{"content": long}], {}).tokens
    assert needs_of([{"content": long}] * 3, {}).tokens == 3 * of_one


def test_needs_are_read_from_messages_and_parameters() -> None:
    needs = needs_of(
        message(PARTS["image"], PARTS["audio"], PARTS["image"], "odd", {"type": None}),
        {"modalities": ["text", "image", "audio"], "tools": [{}], "logprobs": None, "seed": 1},
    )
    assert needs.inputs == ("image", "audio")
    assert needs.outputs == ("image", "audio")
    assert needs.parameters == ("tools",)


def test_three_models_that_could_do_it_are_named_the_cheapest_first() -> None:
    def reader(name: str, price: str | None, **facts: Any) -> ModelInfo:
        facts = {"supported_parameters": ("tools",), "context_window": 9000, **facts}
        return ModelInfo(
            name,
            input_modalities=("text", "image"),
            input_price=None if price is None else Decimal(price),
            **facts,
        )

    models = (
        reader("dear", "0.9"),
        reader("cheap", "0.1"),
        reader("unknown", None),
        reader("middle", "0.5"),
        reader("small", "0.01", context_window=2),
        reader("off", "0.01", enabled=False),
        reader("toolless", "0.01", supported_parameters=("seed",)),
        ModelInfo("blind", input_modalities=("text",), supported_parameters=("tools",)),
    )
    error = check(message(PARTS["image"]), *models, tools=[{}])
    assert error.message.endswith(
        "; models that could do it: cheap, middle, dear (preflight=False sends it anyway)"
    )
    assert "could do it" not in check(message(PARTS["video"])).message


def test_models_that_could_make_it_are_named() -> None:
    draws = ModelInfo("draws", output_modalities=("text", "image"))
    error = check(
        TEXT, draws, ModelInfo("writes", output_modalities=("text",)), modalities=["image"]
    )
    assert "models that could do it: draws (" in error.message


@pytest.mark.parametrize("left_out", [None, ()])
def test_what_the_catalog_leaves_out_refuses_nothing(left_out: tuple[str, ...] | None) -> None:
    model = ModelInfo(
        "able",
        capabilities=("chat",),
        input_modalities=left_out,
        output_modalities=left_out,
        supported_parameters=left_out,
    )
    sent = {"modalities": ["image"], "logprobs": True, "tools": [{}]}
    assert check(message(PARTS["image"]), model, model="able", **sent) is None


def test_without_windows_in_the_catalog_models_are_named_all_the_same() -> None:
    able = ModelInfo("able", input_modalities=("image",))
    assert "models that could do it: able" in check(message(PARTS["image"]), able).message


def test_an_unknown_model_and_one_with_a_fallback_are_not_checked() -> None:
    assert check(message(PARTS["image"]), model="new") is None
    assert check(message(PARTS["image"]), fallback_model="other") is None


def test_the_error_knows_model_and_app() -> None:
    error = check(message(PARTS["image"]), app_id="billing")
    assert (error.model, error.app_id) == ("plain", "billing")
    assert check(message(PARTS["image"])).app_id is None
    assert check(message(PARTS["image"])).facts() == {"model": "plain"}
