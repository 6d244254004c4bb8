"""The eight methods: what is sent, what comes back, what LlamaIndex's own counters see."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.instrumentation.dispatcher import instrument_tags
from llama_index.core.prompts import PromptTemplate

import lunos_core
from tests.llama_index_adapter.wire import (
    Way,
    Wire,
    answer,
    delta,
    reply,
    stored,
    stream,
    text_answer,
    text_delta,
    usage_event,
)

HELLO = [ChatMessage("Hello")]


async def test_chat_sends_the_messages_and_nothing_that_was_not_set(way: Way) -> None:
    wire = Wire(answer("Hi there"))
    response = await way(way.llm(wire), "chat", HELLO)
    assert wire.body == {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    assert wire.request.url == "https://lunos.test/v1/chat/completions"
    assert response.message.content == "Hi there"
    assert str(response) == "assistant: Hi there"


@pytest.mark.parametrize("chats", [True, False])
@pytest.mark.parametrize("prompt", [42, None, b"Hello"])
@pytest.mark.parametrize("method", ["complete", "stream_complete"])
async def test_a_prompt_that_is_no_text_is_refused_before_it_is_sent(
    way: Way, method: str, prompt: Any, chats: bool
) -> None:
    """LlamaIndex's message would drop a number silently, and the answer would be to nothing."""
    wire = Wire(answer("Hi there"))
    with pytest.raises(TypeError, match=f"prompt must be a str, not {type(prompt).__name__}"):
        await way(way.llm(wire, is_chat_model=chats), method, prompt)
    assert not wire.requests


async def test_a_stream_asks_for_the_usage_and_nothing_else(way: Way) -> None:
    wire = Wire(stream(delta("Hi"), delta(finish="stop"), usage_event()))
    await way(way.llm(wire), "stream_chat", HELLO)
    assert wire.body == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_settings_are_sent_and_a_call_overrides_them(way: Way) -> None:
    wire = Wire(answer())
    llm = way.llm(
        wire,
        temperature=0.5,
        max_tokens=9,
        stop=["END"],
        seed=1,
        reasoning_effort="low",
        observability=True,
        additional_kwargs={"min_p": 0.1, "top_p": 0.9},
        extra_body={"a": 1, "b": 1},
    )
    await way(
        llm, "chat", HELLO, temperature=1, seed=None, user="u", extra_body={"b": 2}, model="other"
    )
    sent = wire.body
    del sent["messages"]
    assert sent == {
        "model": "other",
        "temperature": 1,
        "max_tokens": 9,
        "stop": ["END"],
        "seed": 1,  # None in a call means "not given"
        "reasoning_effort": "low",
        "observability": True,
        "min_p": 0.1,
        "top_p": 0.9,
        "user": "u",
        "a": 1,
        "b": 2,
    }
    assert llm.extra_body == {"a": 1, "b": 1}
    assert llm.additional_kwargs == {"min_p": 0.1, "top_p": 0.9}


@pytest.mark.parametrize("method", ["chat", "complete", "stream_chat", "stream_complete"])
async def test_an_app_id_goes_from_the_call_over_tags_to_the_constructor(
    way: Way, method: str
) -> None:
    wire = Wire(stream(delta("Hi"), delta(finish="stop")) if "stream" in method else answer())
    llm = way.llm(wire, app_id="of-the-constructor")
    asked: Any = HELLO if "chat" in method else "Hello"
    with instrument_tags({"app_id": "of-the-tags"}):
        await way(llm, method, asked, app_id="of-the-call")
        await way(llm, method, asked)
    await way(llm, method, asked)
    assert [request.headers.get("x-app-id") for request in wire.requests] == [
        "of-the-call",
        "of-the-tags",
        "of-the-constructor",
    ]
    assert all("app_id" not in body for body in wire.bodies)


async def test_the_app_block_around_a_call_comes_after_tags_and_before_the_constructor(
    way: Way,
) -> None:
    wire = Wire(answer())
    llm = way.llm(wire, app_id="of-the-constructor")
    with lunos_core.app("of-the-block"):
        await way(llm, "chat", HELLO)
        with instrument_tags({"app_id": "of-the-tags"}):
            await way(llm, "chat", HELLO)
    assert [item.headers["x-app-id"] for item in wire.requests] == ["of-the-block", "of-the-tags"]


async def test_the_app_id_of_the_environment_comes_last(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUNOS_APP_ID", "of-the-environment")
    wire = Wire(answer())
    await way(way.llm(wire), "chat", HELLO)
    await way(way.llm(wire, app_id="given"), "chat", HELLO)
    assert [item.headers["x-app-id"] for item in wire.requests] == ["of-the-environment", "given"]


async def test_headers_of_a_call_travel_with_it_alone(way: Way) -> None:
    wire = Wire(answer())
    llm = way.llm(wire, default_headers={"X-Team": "a"})
    await way(llm, "chat", HELLO, extra_headers={"X-Trace": "t"})
    await way(llm, "chat", HELLO)
    first, second = (request.headers for request in wire.requests)
    assert (first["x-team"], first["x-trace"]) == ("a", "t")
    assert second["x-team"] == "a"
    assert "x-trace" not in second


@pytest.mark.parametrize(
    "wrong", [{"temperature": 3}, {"top_p": -1}, {"max_tokens": 0}, {"app_id": "two\nlines"}]
)
async def test_a_value_out_of_range_raises_before_anything_is_sent(
    way: Way, wrong: dict[str, Any]
) -> None:
    wire = Wire(answer())
    llm = way.llm(wire)
    for method, asked in (("chat", HELLO), ("stream_complete", "Hello")):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            await way(llm, method, asked, **wrong)
    assert wire.requests == []


async def test_complete_asks_a_chat_model_as_a_user(way: Way) -> None:
    wire = Wire(answer("Hi there"))
    response = await way(way.llm(wire), "complete", "Hello")
    assert wire.body["messages"] == [{"role": "user", "content": "Hello"}]
    assert response.text == "Hi there"
    assert response.additional_kwargs["prompt_tokens"] == 11


async def test_a_model_that_does_not_chat_is_asked_at_completions(way: Way) -> None:
    wire = Wire(text_answer("once"))
    llm = way.llm(wire, is_chat_model=False, max_tokens=5, reasoning_effort="low")
    completed = await way(llm, "complete", "Upon a time")
    chatted = await way(llm, "chat", [ChatMessage("Be brief", role="system"), *HELLO])
    assert {request.url.path for request in wire.requests} == {"/v1/completions"}
    assert wire.bodies[0] == {"model": "m", "prompt": "Upon a time", "max_tokens": 5}
    assert wire.bodies[1]["prompt"] == "system: Be brief\nuser: Hello\nassistant: "
    assert completed.text == chatted.message.content == "once"


@pytest.mark.parametrize("method", ["chat", "complete"])
async def test_a_model_that_does_not_chat_reports_the_method_that_was_called(
    way: Way, events: Any, method: str
) -> None:
    llm = way.llm(Wire(text_answer()), is_chat_model=False)
    await way(llm, method, HELLO if method == "chat" else "Hello")
    kind = "LLMChat" if method == "chat" else "LLMCompletion"
    told = [name for name in events.names() if name.startswith("LLM")]
    assert told == [f"{kind}StartEvent", f"{kind}EndEvent"]


async def test_a_ledger_counts_what_goes_through_both_classes(way: Way) -> None:
    spent = {"prompt_tokens": 11, "completion_tokens": 7, "cost": 0.25}
    used = {"prompt_tokens": 5, "cost": 0.5}
    vectors = reply({"data": [{"index": 0, "embedding": [1.0]}], "usage": used})
    with lunos_core.UsageLedger() as ledger:
        await way(way.llm(Wire(answer(usage=spent)), app_id="a"), "chat", HELLO)
        await way(way.embedding(Wire(vectors), app_id="b"), "get_text_embedding", "one")
    names = ("app_id", "input_tokens", "output_tokens", "cost")
    rows = [tuple(row[name] for name in names) for row in ledger.rows()]
    assert rows == [("a", 11, 7, 0.25), ("b", 5, 0, 0.5)]


async def test_completions_stream_as_well(way: Way) -> None:
    wire = Wire(stream(text_delta("on"), text_delta("ce", "stop"), usage_event()))
    llm = way.llm(wire, is_chat_model=False)
    responses = await way(llm, "stream_complete", "Upon a time")
    assert [item.delta for item in responses] == ["on", "ce", ""]
    assert [item.text for item in responses] == ["on", "once", "once"]
    assert responses[-1].raw["usage"]["prompt_tokens"] == 11


@pytest.mark.parametrize("formatted", [False, True])
async def test_completion_to_prompt_is_applied_once(way: Way, formatted: bool) -> None:
    wire = Wire(text_answer())
    llm = way.llm(wire, is_chat_model=False, completion_to_prompt=lambda text: f"<{text}>")
    await way(llm, "complete", "a", formatted=formatted)
    assert wire.body["prompt"] == ("a" if formatted else "<a>")


@pytest.mark.parametrize("name", ["chat", "chat_envelope", "chat_envelope_text"])
async def test_an_envelope_is_read_like_a_flat_answer(way: Way, name: str) -> None:
    response = await way(way.llm(Wire(reply(stored(name)))), "chat", HELLO)
    assert response.message.content
    assert isinstance(response.raw["usage"]["prompt_tokens"], int)


async def test_usage_is_in_raw_and_beside_it_with_its_cost(way: Way) -> None:
    usage = {
        "prompt_tokens": 11,
        "completion_tokens": 7,
        "total_tokens": 18,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 3},
        "cost": 0.25,
    }
    response = await way(way.llm(Wire(answer("Hi", usage=usage))), "chat", HELLO)
    assert response.raw["usage"] == usage
    known = response.additional_kwargs
    assert (known["cached_tokens"], known["reasoning_tokens"], known["cost"]) == (4, 3, 0.25)
    assert (known["finish_reason"], known["model"]) == ("stop", "m")


async def test_an_answer_without_usage_still_has_the_key_in_raw(way: Way) -> None:
    response = await way(way.llm(Wire(answer("Hi", usage=None))), "chat", HELLO)
    assert response.raw["usage"] is None
    assert "prompt_tokens" not in response.additional_kwargs


@pytest.mark.parametrize("method", ["chat", "stream_chat", "complete", "stream_complete"])
async def test_llama_index_counts_the_tokens_of_the_gateway(way: Way, method: str) -> None:
    counter = TokenCountingHandler(tokenizer=str.split)
    wire = Wire(
        stream(delta("Hi"), delta(finish="stop"), usage_event()) if "stream" in method else answer()
    )
    llm = way.llm(wire, callback_manager=CallbackManager([counter]))
    await way(llm, method, HELLO if "chat" in method else "Hello")
    assert counter.prompt_llm_token_count == 11
    assert counter.completion_llm_token_count == 7


async def test_input_tokens_under_other_names_are_counted_too(way: Way) -> None:
    counter = TokenCountingHandler(tokenizer=str.split)
    wire = Wire(answer("Hi", usage={"input_tokens": 5, "output_tokens": 2}))
    llm = way.llm(wire, callback_manager=CallbackManager([counter]))
    await way(llm, "chat", HELLO)
    assert (counter.prompt_llm_token_count, counter.completion_llm_token_count) == (5, 2)


async def test_tracers_see_model_and_temperature_and_never_the_key(way: Way, events: Any) -> None:
    llm = way.llm(Wire(answer()), temperature=0.5, default_headers={"X-Secret": "hush-hush"})
    await way(llm, "chat", HELLO)
    assert events.names() == ["SpanStartEvent", "LLMChatStartEvent", "LLMChatEndEvent"] or (
        events.names() == ["LLMChatStartEvent", "LLMChatEndEvent"]
    )
    start = next(item for item in events.events if type(item).__name__ == "LLMChatStartEvent")
    assert start.model_dict["model"] == "m"
    assert start.model_dict["temperature"] == 0.5
    said = repr([event.model_dump() for event in events.events]) + repr(events.events)
    assert "sk-test" not in said
    assert "hush-hush" not in said


async def test_a_stream_reports_start_progress_and_end_once_each(way: Way, events: Any) -> None:
    wire = Wire(stream(delta("a"), delta("b"), delta(finish="stop"), usage_event()))
    await way(way.llm(wire), "stream_complete", "Hello")
    told = [name for name in events.names() if name.startswith("LLM")]
    assert told == [
        "LLMCompletionStartEvent",
        *["LLMCompletionInProgressEvent"] * 3,
        "LLMCompletionEndEvent",
    ]


async def test_the_rate_limiter_is_asked_once_for_each_call(way: Way) -> None:
    from llama_index.core.rate_limiter import BaseRateLimiter

    class Limiter(BaseRateLimiter):
        asked = 0

        def acquire(self, num_tokens: int = 0) -> None:
            self.asked += 1

        async def async_acquire(self, num_tokens: int = 0) -> None:
            self.asked += 1

    limiter = Limiter()
    llm = way.llm(Wire(answer()), rate_limiter=limiter)
    await way(llm, "complete", "Hello")
    await way(llm, "chat", HELLO)
    assert limiter.asked == 2


async def test_predict_puts_the_system_prompt_in_front(way: Way) -> None:
    wire = Wire(answer("Paris"))
    llm = way.llm(wire, system_prompt="Be brief.")
    said = await way(llm, "predict", PromptTemplate("Capital of {country}?"), country="France")
    assert said == "Paris"
    assert [item["role"] for item in wire.body["messages"]] == ["system", "user"]


async def test_logprobs_are_given_token_by_token(way: Way) -> None:
    content = [
        {
            "token": "Hi",
            "logprob": -0.1,
            "top_logprobs": [{"token": "Hi", "logprob": -0.1}, {"token": "Yo", "logprob": -2.0}],
        }
    ]
    wire = Wire(answer("Hi", choice={"logprobs": {"content": content}}))
    response = await way(way.llm(wire, logprobs=True, top_logprobs=2), "chat", HELLO)
    assert (wire.body["logprobs"], wire.body["top_logprobs"]) == (True, 2)
    assert [[item.token for item in token] for token in response.logprobs] == [["Hi", "Yo"]]


async def test_the_fallback_model_answers_when_the_first_fails(way: Way) -> None:
    from tests.llama_index_adapter.wire import error

    wire = Wire(error(404, "no such model"), answer("from the second"))
    response = await way(way.llm(wire, fallback_model="second"), "chat", HELLO)
    assert [body["model"] for body in wire.bodies] == ["m", "second"]
    assert response.additional_kwargs["fallback"] is True
