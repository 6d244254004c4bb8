"""Limits, defaults and names of requests and answers, by exact values."""

from __future__ import annotations

import gc
import json
import math
import weakref
from typing import Any

import pytest

from lunos_core import (
    Config,
    LunosConfigError,
    ModelInfo,
    Usage,
    chat_request,
    chat_stream_request,
    embedding_request,
    forks,
)
from lunos_core.accounting.schema import tags_of
from lunos_core.adapters import check_loaded_address, to_tool_choice
from lunos_core.catalog.preflight import Needs, _able
from lunos_core.catalog.search import ModelIndex, _full_names
from lunos_core.config import Secret
from lunos_core.endpoints.audio import Segment, Transcription
from lunos_core.endpoints.balance import parse_balance
from lunos_core.endpoints.build import fallback_of, merge_options
from lunos_core.endpoints.chat.content_parts import mark_for_cache
from lunos_core.endpoints.chat.images import drawing_request, parse_chat_images
from lunos_core.endpoints.chat.schemas import strict_schema, with_inline_root
from lunos_core.endpoints.chat.types import Completion
from lunos_core.endpoints.embedding_arrays import EmbeddingArray
from lunos_core.endpoints.embeddings import Embeddings
from lunos_core.endpoints.images import IMAGE, Images
from lunos_core.endpoints.params import CHAT, COMPLETION, EMBEDDING, WEB_SEARCH
from lunos_core.endpoints.speech import SPEECH, Speech, check_text
from lunos_core.endpoints.video import VIDEO, VideoJob
from lunos_core.request import Reply
from lunos_core.wire.subtitles import read_vtt
from tests.core.wire_samples import HELLO

# names before and behind any of ours
NO_ARRAY: Any = None
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


def test_the_user_is_not_among_the_tags() -> None:
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


LIMITS: list[tuple[dict[str, Any], str, float, float]] = [
    *((table, "temperature", 0, 2) for table in (CHAT, COMPLETION)),
    *((table, "top_p", 0, 1) for table in (CHAT, COMPLETION)),
    *((table, "presence_penalty", -2, 2) for table in (CHAT, COMPLETION)),
    *((table, "frequency_penalty", -2, 2) for table in (CHAT, COMPLETION)),
    *((CHAT, "min_p", 0, 1), (CHAT, "top_logprobs", 0, 20), (SPEECH, "speed", 0.25, 4)),
    *((IMAGE, "width", 256, 1792), (IMAGE, "height", 256, 1792)),
    *((table, "n", 1, math.inf) for table in (CHAT, COMPLETION, IMAGE)),
    *((table, "max_tokens", 1, math.inf) for table in (CHAT, COMPLETION)),
    *((CHAT, "max_completion_tokens", 1, math.inf), (CHAT, "top_k", 0, math.inf)),
    *((COMPLETION, "best_of", 1, math.inf), (EMBEDDING, "dimensions", 1, math.inf)),
    *((WEB_SEARCH, "max_results", 1, math.inf), (WEB_SEARCH, "max_total_results", 1, math.inf)),
    *((table, "seed", -math.inf, math.inf) for table in (CHAT, IMAGE, VIDEO)),
]


@pytest.mark.parametrize(("table", "name", "low", "high"), LIMITS)
def test_a_parameter_may_be_its_limits_and_nothing_beyond(
    table: dict[str, Any], name: str, low: float, high: float
) -> None:
    for limit, step in ((low, -1), (high, 1)):
        if math.isinf(limit):
            table[name](name, step * 10**30)
            continue
        table[name](name, limit)
        table[name](name, limit - step)  # within
        with pytest.raises(ValueError, match=name):
            table[name](name, limit + step)
    bias = CHAT["logit_bias"]
    bias("logit_bias", {"1": -100, "2": 100})
    for wrong in (-100.5, 100.5):
        with pytest.raises(ValueError, match="from -100 to 100"):
            bias("logit_bias", {"1": wrong})
    reasoning = CHAT["reasoning"]
    reasoning("reasoning", {"max_tokens": 1})
    with pytest.raises(ValueError, match="1 or more"):
        reasoning("reasoning", {"max_tokens": 0})


def test_a_text_may_have_4096_characters_to_be_spoken() -> None:
    check_text("a" * 4096)
    with pytest.raises(ValueError, match="4,097 characters"):
        check_text("a" * 4097)


def test_a_route_that_is_named_asks_no_catalog() -> None:
    class Asked:
        def cached(self, id: str) -> Any:
            raise AssertionError(id)

    request = drawing_request("a cat", model="m", route="images", catalog=Asked())
    assert request.path == "/images/generations"
    assert drawing_request("a cat", model="m", route="chat").path == "/chat/completions"
    assert drawing_request("a cat", model="m", n=1).path == "/images/generations"


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ({"type": "tool", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
        *(({"type": kind}, {"type": kind}) for kind in ("a", "zzz", "web_search")),
        ({"type": "any"}, "required"),
        ({"type": "auto"}, "auto"),
    ],
)
def test_a_choice_of_a_tool_is_the_wires(choice: Any, sent: Any) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert to_tool_choice(choice, tools) == sent


@pytest.mark.parametrize(("amount", "is_low"), [("9", True), ("10", True), ("10.01", False)])
def test_a_balance_is_low_up_to_its_threshold(amount: str, is_low: bool) -> None:
    data = {"balance": amount, "alertBalance": 10, "enableAlert": True}
    balance = parse_balance(Reply(200, {}, json.dumps(data).encode()))
    assert balance.is_low is is_low
    off = parse_balance(Reply(200, {}, json.dumps(data | {"enableAlert": False}).encode()))
    assert not off.is_low


@pytest.mark.parametrize(
    ("when", "seconds"),
    [
        *((10**11, 10**11), (10**11 + 1000, (10**11 + 1000) / 1000), ("1700000000", 1.7e9)),
        *((1_700_000_000_500, 1_700_000_000.5), (0, 0.0), ("1970-01-02", 86_400.0)),
    ],
)
def test_a_time_beyond_the_year_5000_is_in_milliseconds(when: Any, seconds: float) -> None:
    data = {"balance": 1, "updatedAt": when}
    told = parse_balance(Reply(200, {}, json.dumps(data).encode())).updated_at
    assert told is not None
    assert told.timestamp() == seconds


def test_an_answer_took_one_attempt_by_default() -> None:
    assert [
        item.attempts
        for item in (
            *(Speech(b"", "audio/mpeg"), VideoJob("1", "pending"), Images([]), Embeddings([])),
            *(Transcription("a"), Completion(choices=[]), Reply(200, {}, b"")),
            EmbeddingArray(NO_ARRAY),
        )
    ] == [1] * 8


@pytest.mark.parametrize(
    ("name", "is_empty"),
    [
        *(("tools", True), ("modalities", True), ("models", True), ("stop", False)),
        *(("plugins", False), ("allowed_domains", True), ("excluded_domains", True)),
    ],
)
def test_an_empty_list_without_a_meaning_is_refused(name: str, is_empty: bool) -> None:
    check = {**CHAT, **WEB_SEARCH}[name]
    if is_empty:
        with pytest.raises(ValueError, match=f"^{name} must not be empty: leave it out$"):
            check(name, [])
    else:
        check(name, [])


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("HTTPS://x/1.png", ("HTTPS://x/1.png", None)),
        ("https://x/1.png", ("https://x/1.png", None)),
        ("data:image/png;base64,AAAA", (None, "AAAA")),
    ],
)
def test_images_of_a_chat_are_base64_where_that_was_asked_for_and_came(
    url: str, kept: tuple[str | None, str | None]
) -> None:
    message = {"role": "assistant", "images": [{"image_url": {"url": url}}]}
    body = json.dumps({"model": "m", "choices": [{"index": 0, "message": message}]}).encode()
    (image,) = parse_chat_images(Reply(200, {}, body), as_base64=True).images
    assert (image.url, image.b64_json) == kept
    (image,) = parse_chat_images(Reply(200, {}, body)).images
    assert (image.url, image.b64_json) == (url, None)


def test_a_stream_without_a_model_has_its_other_facts() -> None:
    reader = chat_stream_request(HELLO, model="m").reader(Reply(200, {}, b""))
    first = {"id": "gen-1", "created": 5, "choices": [{"index": 0, "delta": {"content": "Hi"}}]}
    later = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    for event in (first, later):
        reader.read(json.dumps(event).encode())
    last = reader.read(b"[DONE]")
    assert last is not None
    assert last.last is not None
    assert (last.last.id, last.last.created) == ("gen-1", 5)


@pytest.mark.parametrize(
    ("known", "asked", "is_it"),
    [
        *(("a", "a", True), ("acme/a", "a", True), ("acme/a", "ACME/A", True)),
        *(
            ("openrouter/acme/a", "acme/a", True),
            ("x/openrouter/acme/a", "openrouter/acme/a", True),
        ),
        *(("acme/a", "other/a", False), ("acme/a", "b", False)),
    ],
)
def test_a_model_is_known_by_its_names(known: str, asked: str, is_it: bool) -> None:
    model = ModelInfo(known)
    assert ModelIndex([model]).get(asked) is (model if is_it else None)


def test_names_that_stand_for_a_model_alone_have_their_prefix() -> None:
    assert _full_names(ModelInfo("a/b/c")) == ["a/b/c", "lunos/a/b/c", "b/c"]
    assert _full_names(ModelInfo("a/b/c/d")) == ["a/b/c/d", "lunos/a/b/c/d", "b/c/d"]
    assert _full_names(ModelInfo("a/b", provider="Acme")) == ["a/b", "lunos/a/b", "acme/a/b"]


@pytest.mark.parametrize(
    ("address", "key", "is_refused"),
    [
        *(("https://evil.test", None, True), ("https://evil.test", "", True)),
        *(("https://evil.test", "sk-env", True), ("https://evil.test", "sk-own", False)),
        *(("https://own.test/v1", None, False), ("https://own.test", None, False)),
        *(("http://localhost:8000", None, False), ("http://127.0.0.2", None, False)),
        *((None, None, False), ("", None, False)),
    ],
)
def test_the_environments_key_goes_to_its_own_address_alone(
    monkeypatch: pytest.MonkeyPatch, address: str | None, key: str | None, is_refused: bool
) -> None:
    monkeypatch.setenv("LUNOS_API_KEY", "sk-env")
    monkeypatch.setenv("LUNOS_BASE_URL", "https://own.test/v1")
    for given in (key, key and Secret(key)):
        if is_refused:
            with pytest.raises(LunosConfigError, match="the loaded data names the address"):
                check_loaded_address(address, given)
        else:
            check_loaded_address(address, given)
    monkeypatch.delenv("LUNOS_API_KEY")
    check_loaded_address(address, key)


def test_models_that_are_named_instead_are_long_enough_where_that_is_known() -> None:
    models = [ModelInfo("short", context_window=9), ModelInfo("unknown")]
    assert _able(models, Needs(tokens=10)) == ["unknown"]
    assert _able(models, Needs(tokens=9)) == ["short"]
    assert _able([ModelInfo(name) for name in "dcba"], Needs()) == [*"dcb"]


def test_all_that_lives_is_reset_in_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    class Item:
        resets = 0

        def reset_after_fork(self) -> None:
            self.resets += 1

    kept, dropped = Item(), Item()
    monkeypatch.setattr(forks, "_objects", weakref.WeakSet())
    for item in (kept, dropped):
        forks.reset_after_fork(item)
    del dropped, item
    gc.collect()
    forks.first_use.acquire()  # as before a fork
    forks._in_child()
    assert (kept.resets, len(forks._objects)) == (1, 1)


@pytest.mark.parametrize(
    ("clock", "seconds"),
    [
        *(("01:05.007", 65.007), ("00:59,5", 59.5), ("1:03:07.25", 3787.25)),
        *(("3:45", None), ("10:10:10.010", 36_610.01)),
    ],
)
def test_a_cues_time_is_read_in_seconds(clock: str, seconds: float | None) -> None:
    cues = read_vtt(f"WEBVTT\n\n{clock} --> {clock}\nHi")
    assert [(cue.start, cue.end) for cue in cues] == ([] if seconds is None else [(seconds,) * 2])


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
