"""What is taken out of a request or an answer by its name, and nothing else with it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lunos_core import Config, Usage, chat_request, embedding_request
from lunos_core.accounting.schema import tags_of
from lunos_core.endpoints.audio import Segment, Transcription
from lunos_core.endpoints.build import fallback_of, merge_options
from lunos_core.endpoints.chat.prompt_cache import mark_for_cache
from lunos_core.endpoints.chat.schemas import strict_schema, with_inline_root
from tests.core.wire_samples import HELLO

# names before and behind any of ours
OTHERS: dict[str, Any] = {"$a": 1, "a": 2, "zzz": 3}


def body(request: Any) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(request.body)
    return value


def test_a_parameter_of_ours_is_not_sent_and_unknown_ones_are() -> None:
    plain = {"model": "m", "messages": HELLO}
    sent = body(chat_request(HELLO, model="m", web_search=True, **OTHERS))
    assert sent == {**plain, **OTHERS, "tools": [{"type": "web_search"}]}
    assert body(chat_request(HELLO, model="m", cache_control=False, **OTHERS)) == plain | OTHERS
    assert mark_for_cache([], {"cache_control": None, **OTHERS})[1] == OTHERS
    sent = body(embedding_request("a", model="m", encoding_format="float", **OTHERS))
    assert sent == {"model": "m", "input": ["a"], "encoding_format": "float", **OTHERS}


def test_the_fallback_is_asked_with_the_same_parameters() -> None:
    fallback = fallback_of(chat_request, HELLO, {"fallback_model": "n", **OTHERS})
    assert fallback is not None
    assert body(fallback()) == {"model": "n", "messages": HELLO, **OTHERS}
    assert fallback_of(chat_request, HELLO, OTHERS) is None


def test_a_schema_loses_its_reference_alone() -> None:
    schema = {"$ref": "#/$defs/A", "$defs": {"A": {"type": "object", "title": "A"}}, **OTHERS}
    assert with_inline_root(schema) == {
        "type": "object",
        "title": "A",
        "$defs": schema["$defs"],
        **OTHERS,
    }
    assert strict_schema({"type": "array"}) is None
    assert strict_schema({"type": "string"}) is None


@pytest.mark.parametrize("spelling", ["x-app-id", "X-App-Id"])
def test_an_app_id_argument_takes_the_place_of_the_header_alone(spelling: str) -> None:
    headers = {"A-First": "1", spelling: "header", "z-last": "2"}
    request = chat_request(HELLO, model="m", app_id="argument", extra_headers=headers)
    sent = request.all_headers(Config(api_key="k"), key="k", app_id="argument")
    lower = {name.lower(): value for name, value in sent.items()}
    assert (lower["a-first"], lower["z-last"], lower["x-app-id"]) == ("1", "2", "argument")


def test_the_user_among_the_tags_is_no_tag() -> None:
    tags = {"a": "1", "user": "u", "z": "2"}
    assert tags_of(tags, {"user": "v", "zz": 3}, ("user", "zz")) == {"a": "1", "z": "2", "zz": "3"}


def test_the_cost_of_a_recording_is_on_its_first_segment_alone() -> None:
    segments = [Segment(" a ", 0.0, 1.0), Segment("b", 1.0, 2.5)]
    answer = Transcription(
        "a b", language="en", duration=2.5, model="m", usage=Usage(cost=0.5), segments=segments
    )
    facts = {"language": "en", "duration": 2.5, "format": answer.format, "model": "m"}
    facts = {name: value for name, value in facts.items() if value is not None}
    assert answer.documents(by_segment=True) == [
        ("a", {**facts, "cost": 0.5, "segment": 0, "start": 0.0, "end": 1.0}),
        ("b", {**facts, "segment": 1, "start": 1.0, "end": 2.5}),
    ]


@pytest.mark.parametrize(
    ("layers", "merged"),
    [
        ([{}, {}], {}),
        ([{"extra_body": {"a": 1}}], {"extra_body": {"a": 1}}),
        ([{"extra_body": {"a": 1}}, {"extra_body": {}}], {"extra_body": {"a": 1}}),
        (
            [{"extra_body": {"a": 1, "b": 1}}, {"extra_body": {"b": 2}, "extra_query": {"c": 3}}],
            {"extra_body": {"a": 1, "b": 2}, "extra_query": {"c": 3}},
        ),
        ([{"extra_headers": "wrong"}], {"extra_headers": "wrong"}),
        ([{"extra_headers": "wrong"}, {"extra_headers": {"a": "1"}}], {}),
    ],
)
def test_what_layers_add_is_put_together(layers: list[Any], merged: dict[str, Any]) -> None:
    params: dict[str, Any] = {}
    merge_options(params, *layers)
    assert params == merged
