"""Every parameter of the wire: as a field, for one call, and bound; and what is refused."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from langchain_lunos import (
    ChatLunos,
    LunosConfigError,
    LunosEmbeddings,
    LunosLLM,
    LunosNotFoundError,
    LunosRateLimitError,
)
from tests.langchain_adapter.wire import (
    SETTINGS,
    STREAMED,
    WAYS,
    WHOLE,
    Wire,
    answer,
    ask,
    both_kinds,
    chat,
    embeddings,
    llm,
    raw,
    reply,
    stream,
    streamed,
)

PARAMETERS: dict[str, Any] = {
    "temperature": 0,
    "max_tokens": 5,
    "max_completion_tokens": 6,
    "top_p": 0.5,
    "presence_penalty": -1.5,
    "frequency_penalty": 1.5,
    "seed": 7,
    "stop": ["END"],
    "logprobs": True,
    "top_logprobs": 0,
    "logit_bias": {"42": -100},
    "user": "u1",
    "reasoning": {"effort": "low", "exclude": True},
    "reasoning_effort": "high",
    "modalities": ["image", "text"],
    "audio": {"voice": "alloy", "format": "wav"},
    "image_config": {"aspect_ratio": "1:1"},
    "plugins": [{"id": "file-parser", "pdf": {"engine": "native"}}],
    "observability": False,
    "fallback_model": "other",
    "response_format": {"type": "json_object"},
}
FIELDS = {name for name in PARAMETERS if name != "response_format"}
BARE = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
BARE_STREAM = {**BARE, "stream": True, "stream_options": {"include_usage": True}}


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_sent_that_was_not_set(way: str) -> None:
    wire = both_kinds()
    await ask(chat(wire), way)
    assert wire.bodies == [BARE_STREAM if way in STREAMED else BARE]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", PARAMETERS)
async def test_each_parameter_is_sent_however_it_is_given(name: str, way: str) -> None:
    value = PARAMETERS[name]
    wire = both_kinds()
    if name in FIELDS:
        await ask(chat(wire, **{name: value}), way)
    await ask(chat(wire), way, **{name: value})
    await ask(chat(wire).bind(**{name: value}), way)
    await ask(chat(wire, model_kwargs={name: value}), way)
    await ask(chat(wire, extra_body={name: value}), way)
    for body in wire.bodies:
        assert body == {**(BARE_STREAM if way in STREAMED else BARE), name: value}


@pytest.mark.parametrize("way", WAYS)
async def test_the_call_wins_over_bound_wins_over_the_constructor(way: str) -> None:
    wire = both_kinds()
    model = chat(wire, temperature=0.1, seed=1, top_p=0.1, extra_body={"a": 1, "b": 1})
    await ask(model.bind(seed=2, top_p=0.2), way, top_p=0.3, extra_body={"b": 2}, model="n")
    result = {name: wire.bodies[0].get(name) for name in ("temperature", "seed", "top_p", "a", "b")}
    assert result == {"temperature": 0.1, "seed": 2, "top_p": 0.3, "a": 1, "b": 2}
    assert wire.bodies[0]["model"] == "n"


@pytest.mark.parametrize("way", WAYS)
async def test_none_for_one_call_leaves_the_parameter_out(way: str) -> None:
    wire = both_kinds()
    await ask(chat(wire, temperature=0.1), way, temperature=None, model=None, n=None)
    assert wire.bodies == [BARE_STREAM if way in STREAMED else BARE]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stop", ["END", ["END"], ["a", "b"]])
async def test_a_calls_stop_replaces_the_constructors(stop: Any, way: str) -> None:
    wire = both_kinds()
    await ask(chat(wire, stop_sequences=["OLD"]), way, stop=stop)
    await ask(chat(wire, stop=stop), way)
    assert [body["stop"] for body in wire.bodies] == [stop, stop]


@pytest.mark.parametrize("way", WAYS)
async def test_an_empty_stop_is_not_sent(way: str) -> None:
    wire = both_kinds()
    await ask(chat(wire, stop=[]), way)
    assert "stop" not in wire.bodies[0]


@pytest.mark.parametrize("way", STREAMED)
async def test_stream_usage_can_be_turned_off(way: str) -> None:
    wire = both_kinds()
    await ask(chat(wire, stream_usage=False), way)
    await ask(chat(wire), way, stream_usage=False)
    for body in wire.bodies:
        assert body == {**BARE, "stream": True}


@pytest.mark.parametrize("way", WHOLE)
async def test_model_kwargs_of_one_call_go_into_the_body(way: str) -> None:
    wire = both_kinds()
    await ask(chat(wire, model_kwargs={"a": 1}), way, model_kwargs={"b": 2})
    assert wire.bodies == [{**BARE, "a": 1, "b": 2}]


BAD: list[tuple[str, Any]] = [
    ("temperature", 2.1),
    ("temperature", float("nan")),
    ("top_p", -0.1),
    ("max_tokens", 0),
    ("presence_penalty", 3),
    ("frequency_penalty", -3),
    ("n", 0),
    ("top_logprobs", 21),
    ("logit_bias", {"1": 101}),
    ("reasoning", {"max_tokens": 0}),
    ("modalities", []),
    ("plugins", [{"engine": "x"}]),
    ("user", ""),
    ("fallback_model", ""),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("name", "value"), BAD)
async def test_a_value_out_of_range_raises_before_the_network(
    name: str, value: Any, way: str
) -> None:
    wire = both_kinds()
    with pytest.raises(ValueError, match=name):
        chat(wire, **{name: value})
    with pytest.raises(ValueError, match=name):
        await ask(chat(wire), way, **{name: value})
    with pytest.raises(ValueError, match=name):
        chat(wire, model_kwargs={name: value})
    assert not wire.requests


@pytest.mark.parametrize("name", ["temperature", "max_tokens", "stop", "logit_bias", "plugins"])
def test_a_value_of_the_wrong_type_raises_before_the_network(name: str) -> None:
    wire = both_kinds()
    with pytest.raises((TypeError, ValueError), match=name):
        chat(wire, **{name: object()})
    with pytest.raises((TypeError, ValueError), match=name):
        chat(wire).invoke("Hello", **{name: object()})
    assert not wire.requests


@pytest.mark.parametrize("kind", [ChatLunos, LunosLLM, LunosEmbeddings])
def test_an_unknown_argument_is_refused_with_a_hint(kind: type[Any]) -> None:
    with pytest.raises(TypeError, match=r"'modl'.*did you mean 'model'.*extra_body"):
        kind(modl="m", api_key="k")
    with pytest.raises(TypeError, match="max_retry"):
        kind(**{**SETTINGS, "max_retry": 1})


@pytest.mark.parametrize(
    "name", ["api_key", "base_url", "max_retries", "default_headers", "model_name", "http_client"]
)
@pytest.mark.parametrize("make", [chat, llm])
def test_settings_of_the_constructor_never_get_into_a_body(make: Any, name: str) -> None:
    wire = both_kinds()
    with pytest.raises(TypeError, match=name) as caught:
        make(wire).invoke("Hello", **{name: "sk-secret"})
    assert "sk-secret" not in str(caught.value)
    with pytest.raises(TypeError, match=name):
        embeddings(wire).embed_documents(["a"], **{name: "sk-secret"})
    assert not wire.requests


@pytest.mark.parametrize("kind", [ChatLunos, LunosLLM, LunosEmbeddings])
def test_a_missing_key_is_named_before_any_request(kind: type[Any]) -> None:
    for key in (None, "", "  "):
        with pytest.raises(LunosConfigError, match=r"api_key.*LUNOS_API_KEY"):
            kind(model="m", api_key=key)


@pytest.mark.parametrize("way", STREAMED)
async def test_several_answers_are_refused_in_a_stream(way: str) -> None:
    wire = both_kinds()
    with pytest.raises(ValueError, match="n must be 1"):
        await ask(chat(wire, n=2), way)
    with pytest.raises(ValueError, match="n must be 1"):
        await ask(chat(wire), way, n=2)
    with pytest.raises(ValueError, match="n must be 1"):
        chat(wire, n=2, streaming=True)
    assert not wire.requests


@pytest.mark.parametrize("way", WHOLE)
async def test_n_is_sent_and_gives_as_many_answers(way: str) -> None:
    wire = both_kinds()
    await ask(chat(wire), way, n=2)
    await ask(chat(wire, n=3), way)
    assert [body["n"] for body in wire.bodies] == [2, 3]


@pytest.mark.parametrize("way", WAYS)
async def test_headers_and_timeout_are_the_calls_own(way: str) -> None:
    wire = both_kinds()
    model = chat(wire, default_headers={"X-A": "1", "X-B": "1"}, timeout=7)
    await ask(model, way, extra_headers={"X-B": "2"}, timeout=9.5)
    await ask(model, way)
    first, second = wire.requests[:2]
    assert (first.headers["x-a"], first.headers["x-b"]) == ("1", "2")
    assert (second.headers["x-a"], second.headers["x-b"]) == ("1", "1")
    assert first.extensions["timeout"]["read"] == 9.5
    assert second.extensions["timeout"]["read"] == 7
    assert "extra_headers" not in wire.bodies[0]
    assert "timeout" not in wire.bodies[0]


@pytest.mark.parametrize("timeout", [0, -1, "soon", float("nan")])
def test_a_timeout_that_cannot_work_raises_at_once(timeout: Any) -> None:
    with pytest.raises(ValueError, match="timeout"):
        chat(None, timeout=timeout)


class Falls(Wire):
    """Fails for one model, answers for the other."""

    def __init__(self, status: int = 404, message: str = "no such model") -> None:
        super().__init__(raw(b""))
        self._bad = reply({"error": {"message": message}}, status)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        body = self.bodies[-1]
        if body["model"] == "m":
            return self._bad()
        good = {**answer("Hi"), "model": "other-2024"}
        if body.get("stream"):
            return streamed({"content": "Hi"})()  # type: ignore[no-any-return]
        return reply(good)()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("status", [404, 429, 503])
async def test_the_fallback_model_answers_and_is_named(way: str, status: int) -> None:
    wire = Falls(status)
    message = await ask(chat(wire, fallback_model="other"), way)
    assert [body["model"] for body in wire.bodies] == ["m", "other"]
    assert wire.bodies[0]["fallback_model"] == "other"
    assert "fallback_model" not in wire.bodies[1]
    assert message.text == "Hi"
    assert message.response_metadata["fallback"] is True
    assert message.response_metadata["attempts"] == 2
    assert message.response_metadata["model_name"] in ("other-2024", "served")


@pytest.mark.parametrize("way", WAYS)
async def test_a_bad_key_is_not_tried_with_another_model(way: str) -> None:
    wire = Falls(401)
    with pytest.raises(Exception, match="no such model"):
        await ask(chat(wire, fallback_model="other"), way)
    assert len(wire.requests) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_without_a_fallback_the_error_comes_as_it_is(way: str) -> None:
    with pytest.raises(LunosNotFoundError):
        await ask(chat(Falls()), way)


@pytest.mark.parametrize("way", STREAMED)
async def test_no_fallback_once_the_answer_has_begun(way: str) -> None:
    error = {"error": {"code": 429, "message": "slow down"}}
    wire = Wire(stream([answer_chunk("Hel"), error]))
    with pytest.raises(LunosRateLimitError) as caught:
        await ask(chat(wire, fallback_model="other", max_retries=2), way)
    assert len(wire.requests) == 1
    assert caught.value.partial.text == "Hel"


def answer_chunk(text: str) -> dict[str, Any]:
    return {"model": "m", "choices": [{"index": 0, "delta": {"content": text}}]}


async def test_what_is_added_to_the_url_and_the_body_is_merged_wherever_it_was_given() -> None:
    wire = both_kinds()
    model = chat(wire, extra_query={"a": "1"}, extra_body={"x": 1})
    bound = model.bind(extra_query={"b": "2"}, extra_body={"y": 2})
    await bound.ainvoke("Hello")
    model.invoke("Hello", extra_query={"c": "3"}, extra_body={"z": 3})
    first, second = wire.requests[:2]
    assert str(first.url).endswith("?a=1&b=2")
    assert str(second.url).endswith("?a=1&c=3")
    assert wire.bodies[0].items() >= {"x": 1, "y": 2}.items()
    assert wire.bodies[1].items() >= {"x": 1, "z": 3}.items()
    more = {"extra_body": {"v": 4}, "extra_query": {"d": "4"}}
    chat(wire, extra_body={"x": 1}, model_kwargs=more).invoke("Hello", extra_body={"z": 3})
    assert wire.bodies[-1].items() >= {"v": 4, "x": 1, "z": 3}.items()
    assert str(wire.requests[-1].url).endswith("?d=4")
    vectors = Wire(reply({"data": [{"embedding": [1.0]}]}))
    embeddings(vectors, extra_query={"a": "1"}).embed_query("text", extra_query={"b": "2"})
    assert str(vectors.requests[0].url).endswith("?a=1&b=2")
