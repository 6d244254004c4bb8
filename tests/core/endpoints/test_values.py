"""Usage, parameters and messages as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from lunos_core import Usage, chat_request, completion_request
from lunos_core.accounting.usage import merge_usage, parse_usage
from lunos_core.endpoints.build import check_params
from lunos_core.endpoints.chat.types import Choice, Completion, Message
from lunos_core.endpoints.params import CHAT, COMPLETION, EMBEDDING, check_messages
from tests.core.wire_samples import HELLO, stored


def test_usage_is_read_in_all_its_fields() -> None:
    sent = stored("chat")["usage"]
    usage = parse_usage(sent)
    assert usage == Usage(9, 3, 12, 4, 1, 0, 2, 0, 0, 0.00012)
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (9, 3)
    assert usage.raw == sent


@pytest.mark.parametrize(
    ("sent", "usage"),
    [
        (None, None),
        ("plenty", None),
        ([], None),
        ({}, None),
        ({"prompt_tokens": None, "completion_tokens": "three", "total_tokens": True}, None),
        ({"prompt_tokens": -1, "cost": float("nan")}, None),
        ({"cost": 0}, Usage(cost=0)),
        ({"prompt_tokens": 9}, Usage(9, 0, 9)),
        ({"completion_tokens": 3, "total_tokens": 12}, Usage(9, 3, 12)),
        ({"completion_tokens": 3, "total_tokens": 1}, Usage(0, 3, 1)),
        ({"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 15}, Usage(9, 3, 15)),
        ({"prompt_tokens": 9.0, "completion_tokens": 3}, Usage(9, 3, 12)),
        ({"prompt_tokens": 9, "prompt_tokens_details": None}, Usage(9, 0, 9)),
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": "four"}}, Usage(9, 0, 9)),
        ({"input_tokens": 9, "output_tokens": 3}, Usage(9, 3, 12)),
        ({"prompt_tokens": 9, "cost": "free"}, Usage(9, 0, 9)),
    ],
)
def test_usage_of_a_wrong_type_is_missing_and_never_guessed(
    sent: object, usage: Usage | None
) -> None:
    assert parse_usage(sent) == usage


def test_usage_adds_up_and_what_neither_knows_stays_unknown() -> None:
    first = Usage(9, 3, 12, cached_tokens=4, cost=0.25)
    second = Usage(1, 1, 2, reasoning_tokens=1)
    assert first + second == Usage(10, 4, 14, cached_tokens=4, reasoning_tokens=1, cost=0.25)
    assert (first + first).cost == 0.5
    assert (second + second).cost is None
    with pytest.raises(TypeError):
        first + 1  # type: ignore[operator]


def test_of_two_usages_in_a_stream_the_later_word_counts_field_by_field() -> None:
    first = {"prompt_tokens": 9, "completion_tokens": 1}
    assert merge_usage(None, first) == first
    assert merge_usage(first, None) == first
    assert merge_usage(first, "no") == first
    later = {"completion_tokens": 3, "prompt_tokens": None, "cost": 0.5}
    assert merge_usage(first, later) == {"prompt_tokens": 9, "completion_tokens": 3, "cost": 0.5}


def same(names: tuple[str, ...], *values: Any) -> dict[str, list[Any]]:
    """The same values for several parameters."""
    return {name: list(values) for name in names}


GOOD: dict[str, list[Any]] = {
    "max_tokens": [1, 10**6],
    "max_completion_tokens": [1],
    "temperature": [0, 1.5, 2],
    "top_p": [0, 0.5, 1],
    "n": [1],
    "stop": ["x", ["x", "y"], ("x",)],
    "seed": [0, -1, 2**40],
    "presence_penalty": [-2, 2.0],
    "frequency_penalty": [-2.0, 2],
    "logit_bias": [{}, {"50256": -100}],
    "user": ["u"],
    "fallback_model": ["m"],
    "observability": [True, False],
    "stream_options": [{}],
    "top_logprobs": [0, 20],
    "tools": [[{"type": "web_search"}]],
    "tool_choice": ["auto", {"type": "function"}],
    "parallel_tool_calls": [False],
    "response_format": [{"type": "json_object"}, MappingProxyType({})],
    "reasoning": [{}, {"effort": "low"}, {"max_tokens": 1, "exclude": True}],
    "reasoning_effort": ["low"],
    "modalities": [["text", "image"]],
    "audio": [{"voice": "v"}],
    "image_config": [{}],
    "plugins": [[], [{"id": "file-parser"}]],
    "session_id": ["s-1"],
    "provider": [{"order": ["openai"]}],
    "models": [["a", "b"]],
    "service_tier": ["flex"],
    "cache_control": [True, False, {"type": "ephemeral"}],
    "prompt_cache_key": ["k"],
    "verbosity": ["low"],
    "prediction": [{"type": "content", "content": "x"}],
    "top_k": [0, 40],
    "min_p": [0, 0.05, 1],
    "web_search": [True, False, {"engine": "exa", "max_results": 3}],
    "echo": [True],
    "suffix": ["", "x"],
    "best_of": [1],
    "dimensions": [1],
    "logprobs": [True],
}
WRONG_TYPE: dict[str, list[Any]] = {
    **same(("max_tokens", "max_completion_tokens", "n", "seed"), 1.0, "1", True),
    **same(("top_logprobs", "best_of", "dimensions"), 1.0, "1", True),
    **same(("temperature", "top_p"), "1", True, [1]),
    **same(("presence_penalty", "frequency_penalty"), "1", False),
    **same(("user", "fallback_model", "reasoning_effort", "suffix"), 1, b"x"),
    **same(("observability", "parallel_tool_calls", "echo"), 1, "true"),
    **same(("stream_options", "response_format", "audio"), "json", [], 1),
    "image_config": ["1:1"],
    "stop": [1, [1], {"a": 1}],
    "logit_bias": [[1], {"a": "b"}, {"a": True}],
    "tools": [{}, ["f"], "f"],
    "tool_choice": [1, ["auto"]],
    "reasoning": ["low", {"effort": 1}, {"max_tokens": "1"}],
    "modalities": ["text", [1]],
    "plugins": ["file-parser", ["file-parser"]],
    **same(("session_id", "service_tier", "prompt_cache_key", "verbosity"), 1, b"x"),
    **same(("provider", "prediction"), "x", [1]),
    "models": ["a", [1]],
    "cache_control": ["ephemeral", 1],
    "top_k": [1.5, "1"],
    "min_p": ["1"],
    "web_search": ["yes", 1],
    "logprobs": ["yes"],
}
OUT_OF_RANGE: dict[str, list[Any]] = {
    **same(("max_tokens", "max_completion_tokens", "n", "best_of", "dimensions"), 0, -1),
    "temperature": [-0.1, 2.1, float("nan"), float("inf"), 10**400],
    "top_p": [-0.1, 1.1],
    "presence_penalty": [-2.1, 2.1],
    "frequency_penalty": [-2.1, 2.1],
    "top_logprobs": [-1, 21],
    "logit_bias": [{"a": 101}],
    "user": [""],
    "fallback_model": [""],
    "reasoning_effort": [""],
    "tools": [[]],
    "modalities": [[]],
    "reasoning": [{"max_tokens": 0}],
    "plugins": [[{}], [{"id": 1}]],
    **same(("session_id", "service_tier", "prompt_cache_key", "verbosity"), ""),
    "models": [[]],
    "top_k": [-1],
    "min_p": [-0.1, 1.1],
    "web_search": [{"engines": "exa"}],
}
TABLES = {"chat": CHAT, "completion": COMPLETION, "embedding": EMBEDDING}


def cases(values: Mapping[str, list[Any]]) -> list[Any]:
    return [
        pytest.param(table, name, value, id=f"{kind}-{name}-{str(value)[:20]}")
        for kind, table in TABLES.items()
        for name in table
        for value in values.get(name, [])
    ]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_parameter_has_its_good_and_bad_values_here(table: Mapping[str, Any]) -> None:
    assert set(table) <= set(GOOD)
    assert set(table) <= set(WRONG_TYPE)


@pytest.mark.parametrize(("table", "name", "value"), cases(GOOD))
def test_a_good_value_passes(table: Any, name: str, value: Any) -> None:
    assert check_params({name: value}, table) == {name: value}
    assert check_params({name: None}, table) == {}


@pytest.mark.parametrize(("table", "name", "value"), cases(WRONG_TYPE))
def test_a_value_of_the_wrong_type_is_refused_by_name(table: Any, name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=name):
        check_params({name: value}, table)


@pytest.mark.parametrize(("table", "name", "value"), cases(OUT_OF_RANGE))
def test_a_value_out_of_range_is_refused_by_name(table: Any, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        check_params({name: value}, table)


def test_logprobs_of_completions_may_be_a_number() -> None:
    assert check_params({"logprobs": 3}, COMPLETION) == {"logprobs": 3}
    with pytest.raises(TypeError, match="logprobs"):
        check_params({"logprobs": 3}, CHAT)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"timeout": 0}, ValueError),
        ({"timeout": "1"}, ValueError),
        ({"extra_body": [1]}, TypeError),
        ({"model": " "}, ValueError),
        ({"model": 5}, TypeError),
    ],
)
def test_options_of_one_call_are_checked_before_anything_is_sent(
    options: dict[str, Any], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        chat_request(HELLO, **{"model": "m", **options})


@pytest.mark.parametrize(
    ("prompt", "kind"), [([], ValueError), ([1], TypeError), (["a", None], TypeError)]
)
def test_a_prompt_is_text(prompt: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="prompt"):
        completion_request(prompt, model="m")


IMAGE = {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}


def test_messages_that_the_wire_carries_pass_unchanged() -> None:
    messages = [
        {"role": "developer", "content": "x"},
        {"role": "user", "content": [{"type": "text", "text": ""}, IMAGE]},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "content": "x", "tool_call_id": "c"},
    ]
    assert check_messages(messages) == messages


@pytest.mark.parametrize(
    ("messages", "kind", "where"),
    [
        ("Hello", TypeError, "messages"),
        ({"role": "user"}, TypeError, "messages"),
        (None, TypeError, "messages"),
        ([], ValueError, "messages"),
        (["Hello"], TypeError, r"messages\[0\]"),
        ([*HELLO, {"role": "human", "content": "x"}], ValueError, r"messages\[1\]\.role"),
        ([{"content": "x"}], ValueError, r"messages\[0\]\.role"),
        ([{"role": "user", "content": 5}], TypeError, r"messages\[0\]\.content"),
        ([{"role": "user", "content": b"x"}], TypeError, r"messages\[0\]\.content"),
        ([{"role": "user", "content": ["x"]}], TypeError, r"content\[0\]"),
        ([{"role": "user", "content": [{"type": "image"}]}], ValueError, r"content\[0\]\.type"),
        ([{"role": "user", "content": [IMAGE, {"type": "file"}]}], ValueError, r"content\[1\]"),
    ],
)
def test_messages_that_it_cannot_are_refused_with_the_place(
    messages: Any, kind: type[Exception], where: str
) -> None:
    with pytest.raises(kind, match=where):
        check_messages(messages)


def test_the_text_of_several_choices_is_that_of_the_first() -> None:
    choices = [Choice(0, Message("first")), Choice(1, Message("second"))]
    assert Completion(choices=choices).text == "first"
