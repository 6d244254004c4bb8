"""What tracers and callbacks read: counts with their details, the cost, and who answered."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler, UsageMetadataCallbackHandler
from langchain_core.outputs import LLMResult

from tests.langchain_adapter.wire import (
    STREAMED,
    WAYS,
    WHOLE,
    Wire,
    answer,
    ask,
    call,
    chat,
    reply,
    stream,
    streamed,
)

USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 3,
    "total_tokens": 12,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
    "cost": 0.25,
    "cost_details": {"upstream_inference_cost": 0.2},
}
COUNTS = {
    "prompt_tokens": 9,
    "completion_tokens": 3,
    "total_tokens": 12,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
    "cost": 0.25,
    "total_cost": 0.25,
}
FACTS = {"system_fingerprint": "fp", "service_tier": "flex"}


class Seen(BaseCallbackHandler):
    """Keeps what a tracer is told."""

    def __init__(self) -> None:
        self.results: list[LLMResult] = []
        self.tokens: list[str] = []

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        self.results.append(response)

    def on_llm_new_token(self, token: str, **kwargs: Any) -> None:
        self.tokens.append(token)


def whole() -> dict[str, Any]:
    made = answer("Hi")
    made["choices"][0]["native_finish_reason"] = "end_turn"
    return {**made, **FACTS, "usage": USAGE}


def in_a_stream() -> Any:
    head = {"id": "gen-1", "model": "served", **FACTS}
    end = {"index": 0, "delta": {}, "finish_reason": "stop", "native_finish_reason": "end_turn"}
    return stream(
        [
            {**head, "choices": [{"index": 0, "delta": {"content": "H"}}]},
            {**head, "choices": [{"index": 0, "delta": {"content": "i"}}]},
            {**head, "choices": [end]},
            {**head, "choices": [], "usage": USAGE},
            "[DONE]",
        ]
    )


def wire_for(way: str) -> Wire:
    return Wire(reply(whole())) if way in WHOLE else Wire(in_a_stream())


@pytest.mark.parametrize("way", WAYS)
async def test_the_message_has_the_facts_of_its_call_once(way: str) -> None:
    message = await ask(chat(wire_for(way)), way)
    metadata = message.response_metadata
    assert metadata["service_tier"] == "flex"
    assert metadata["native_finish_reason"] == "end_turn"
    assert metadata["finish_reason"] == "stop"
    assert metadata["cost_details"] == {"upstream_inference_cost": 0.2}
    assert metadata["cost"] == 0.25
    assert metadata["system_fingerprint"] == "fp"
    assert message.usage_metadata["input_token_details"] == {"cache_read": 4}


@pytest.mark.parametrize("way", WHOLE)
async def test_the_output_of_a_call_is_in_the_shape_that_tracers_read(way: str) -> None:
    seen = Seen()
    await ask(chat(wire_for(way)), way, config={"callbacks": [seen]})
    output = seen.results[0].llm_output
    assert output is not None
    assert output["token_usage"] == COUNTS
    assert output["total_cost"] == 0.25
    assert output["id"] == "gen-1"
    assert output["model_name"] == "served"
    assert output["model_provider"] == "lunos"
    assert output["system_fingerprint"] == "fp"


@pytest.mark.parametrize("way", STREAMED[:2])
async def test_the_end_of_a_stream_names_the_model_and_the_reason(way: str) -> None:
    seen = Seen()
    await ask(chat(wire_for(way)), way, config={"callbacks": [seen]})
    info = seen.results[0].generations[0][0].generation_info
    assert info is not None
    assert info["finish_reason"] == "stop"
    assert info["model_name"] == "served"


async def test_a_batch_adds_up_what_is_nested() -> None:
    for is_async in (False, True):
        llm = chat(Wire(reply(whole())))
        batches: Any = [[("user", "a")], [("user", "b")]]
        prompts: Any = [llm._convert_input(batch).to_messages() for batch in batches]
        result = await llm.agenerate(prompts) if is_async else llm.generate(prompts)
        output = result.llm_output
        assert output is not None
        assert output["token_usage"]["prompt_tokens_details"] == {"cached_tokens": 8}
        assert output["token_usage"]["completion_tokens_details"] == {"reasoning_tokens": 4}
        assert output["token_usage"]["total_tokens"] == 24
        assert output["total_cost"] == output["token_usage"]["total_cost"] == 0.5


@pytest.mark.parametrize("way", WAYS)
async def test_langchains_own_counter_works_with_a_cost(way: str) -> None:
    counter = UsageMetadataCallbackHandler()
    llm = chat(wire_for(way))
    for _ in range(3):
        await ask(llm, way, config={"callbacks": [counter]})
    for _ in range(100):  # an async v3 stream tells its callbacks after its output is there
        if counter.usage_metadata["served"]["total_tokens"] < 36:
            await asyncio.sleep(0.01)
    assert counter.usage_metadata["served"]["total_tokens"] == 36


@pytest.mark.parametrize("way", STREAMED)
async def test_the_first_token_is_reported_even_of_a_call(way: str) -> None:
    seen = Seen()
    wire = Wire(streamed({"tool_calls": [{"index": 0, **call()}]}, finish="tool_calls"))
    await ask(chat(wire), way, config={"callbacks": [seen]})
    assert seen.tokens
