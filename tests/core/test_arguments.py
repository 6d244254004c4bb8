"""Arguments that do not exist: the hint names what was meant, or there is none."""

from __future__ import annotations

from typing import Any

import pytest

from lunos_core import (
    Lunos,
    chat_request,
    chat_stream_request,
    completion_request,
    embedding_request,
)
from lunos_core.arguments import closest_name
from tests.core.wire_samples import HELLO

KNOWN = [
    *("model", "temperature", "max_tokens", "top_p", "seed", "stop", "n", "user", "plugins"),
    *("api_key", "base_url", "max_retries", "timeout", "total_timeout", "default_headers"),
    *("stream_usage", "streaming", "http_client", "http_async_client", "extra_body", "app_id"),
]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("modl", "model"),
        ("mdoel", "model"),
        ("temprature", "temperature"),
        ("max_retry", "max_retries"),
        ("retries", "max_retries"),
        ("maxtokens", "max_tokens"),
        ("tokens", "max_tokens"),
        ("topp", "top_p"),
        ("apikey", "api_key"),
        ("API_KEY", "api_key"),
        ("url", "base_url"),
        ("headers", "default_headers"),
        ("timeouts", "timeout"),
    ],
)
def test_a_misspelt_name_is_recognised(typed: str, meant: str) -> None:
    assert closest_name(typed, KNOWN) == meant


@pytest.mark.parametrize(
    "typed", ["order", "top_k", "top_a", "min_p", "strict", "organization", "size", "max", "tags"]
)
def test_a_name_of_another_thing_gets_no_hint(typed: str) -> None:
    assert closest_name(typed, KNOWN) is None
    assert closest_name(typed, ["model"]) is None


@pytest.mark.parametrize("typed", ["streaming", "stream", "idle", "store", "metadata"])
def test_half_a_name_and_a_rhyme_are_no_misspelling(typed: str) -> None:
    known = ["tracing", "stream_idle_timeout", "model", "score_at", "data"]
    assert closest_name(typed, known) is None


def test_words_of_two_letters_are_equal_or_others() -> None:
    assert closest_name("input_as", ["input_is"]) is None
    assert closest_name("inputs_is", ["input_is"]) == "input_is"


def test_a_word_that_is_said_twice_is_no_misspelling() -> None:
    assert closest_name("model_model", ["model"]) is None


def test_the_sdk_names_a_close_setting() -> None:
    with pytest.raises(TypeError, match=r"no argument 'max_retry': did you mean 'max_retries'"):
        Lunos("k", max_retry=3)  # type: ignore[call-arg]


MISTYPED = {
    "temprature": "temperature",
    "max_token": "max_tokens",
    "MAX_TOKENS": "max_tokens",
    "maxTokens": "max_tokens",
    "top-p": "top_p",
    "logitbias": "logit_bias",
    "tool_choise": "tool_choice",
    "responce_format": "response_format",
    "plugin": "plugins",
    "appid": "app_id",
    "app-id": "app_id",
    "time_out": "timeout",
    "headers": "extra_headers",
    "extra_header": "extra_headers",
    "model_name": "model",
    "sesion_id": "session_id",
}


@pytest.mark.parametrize(("typed", "meant"), MISTYPED.items())
@pytest.mark.parametrize("make", [chat_request, chat_stream_request])
def test_a_misspelt_parameter_of_a_call_is_not_sent(make: Any, typed: str, meant: str) -> None:
    with pytest.raises(TypeError, match=f"{typed!r} isn't a parameter: did you mean {meant!r}"):
        make(HELLO, model="m", **{typed: 1})


OTHERS = (
    "min_tokens top_a top_n repetition_penalty stop_token_ids prompt_logprobs random_seed route "
    "reasoning_format include_reasoning thinking enable_thinking max_output_tokens functions "
    "function_call store metadata user_id safety_identifier web_search_options transforms "
    "guided_json chat_template_kwargs prompt_cache_retention response_modalities num_ctx format"
)


@pytest.mark.parametrize("name", OTHERS.split())
def test_a_parameter_that_only_the_server_knows_is_sent(name: str) -> None:
    assert f'"{name}":1'.encode() in chat_request(HELLO, model="m", **{name: 1}).body


def test_each_endpoint_knows_its_own_names() -> None:
    with pytest.raises(TypeError, match="did you mean 'dimensions'"):
        embedding_request("a", model="m", dimension=3)
    with pytest.raises(TypeError, match="did you mean 'suffix'"):
        completion_request("a", model="m", suffx="b")
    meant = {"extra_body": {"temprature": 1}}  # this is how to send it all the same
    assert b'"temprature":1' in chat_request(HELLO, model="m", **meant).body


@pytest.mark.parametrize(
    ("make", "asked"),
    [
        (chat_request, {"stream": True}),
        (completion_request, {"stream": True}),
        (chat_stream_request, {"stream": False}),
        (chat_request, {"extra_body": {"stream": True}}),
        (chat_stream_request, {"extra_body": {"stream": False}}),
    ],
)
def test_stream_is_not_a_parameter(make: Any, asked: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="call the streaming or the other method"):
        make(HELLO if make is not completion_request else "a", model="m", **asked)
