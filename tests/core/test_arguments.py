"""Arguments that do not exist: the hint names what was meant, or there is none."""

from __future__ import annotations

import pytest

from lunos_core import Lunos
from lunos_core.arguments import closest_name

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


@pytest.mark.parametrize("typed", ["streaming", "stream", "idle", "store", "metadata"])
def test_half_a_name_and_a_rhyme_are_no_misspelling(typed: str) -> None:
    known = ["tracing", "stream_idle_timeout", "model", "score_at", "data"]
    assert closest_name(typed, known) is None


def test_the_sdk_names_a_close_setting() -> None:
    with pytest.raises(TypeError, match=r"no argument 'max_retry': did you mean 'max_retries'"):
        Lunos("k", max_retry=3)  # type: ignore[call-arg]
