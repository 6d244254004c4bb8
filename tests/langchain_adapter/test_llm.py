"""`LunosLLM`: what is sent to `/completions`, and what is made of the answers."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler

from langchain_lunos import (
    LunosLLM,
    LunosRateLimitError,
    LunosResponseError,
    LunosStreamInterruptedError,
)
from lunos_local import LocalGateway
from tests.langchain_adapter.wire import Wire, llm, reply, stored, stream

ASYNC = pytest.mark.parametrize("is_async", [False, True])


def completion(*texts: str, **more: Any) -> dict[str, Any]:
    choices = [{"text": text, "index": i, "finish_reason": "stop"} for i, text in enumerate(texts)]
    usage = {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6, "cost": 0.25}
    return {"id": "cmpl-1", "model": "served", "choices": choices, "usage": usage, **more}


def piece(text: str, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"text": text, "index": 0, "finish_reason": finish, **more}
    return {"id": "cmpl-1", "model": "served", "choices": [choice]}


USAGE = {
    "id": "cmpl-1",
    "model": "served",
    "choices": [],
    "usage": {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6, "cost": 0.25},
}


async def invoke(model: Any, prompt: str, is_async: bool, **kwargs: Any) -> Any:
    return await model.ainvoke(prompt, **kwargs) if is_async else model.invoke(prompt, **kwargs)


async def generate(model: Any, prompts: list[str], is_async: bool, **kwargs: Any) -> Any:
    if is_async:
        return await model.agenerate(prompts, **kwargs)
    return model.generate(prompts, **kwargs)


async def pieces(model: Any, prompt: str, is_async: bool, **kwargs: Any) -> list[str]:
    if is_async:
        return [item async for item in model.astream(prompt, **kwargs)]
    return list(model.stream(prompt, **kwargs))


@ASYNC
@pytest.mark.parametrize("name", ["completion", "completion_envelope"])
async def test_flat_and_envelope_are_read(name: str, is_async: bool) -> None:
    value = stored(name)
    wire = Wire(reply(value))
    expected = (value.get("choices") or value["data"]["choices"])[0]["text"]
    assert await invoke(llm(wire), "Once", is_async) == expected
    assert wire.sent.url.path == "/v1/completions"
    assert wire.bodies == [{"model": "m", "prompt": "Once"}]


PARAMETERS: dict[str, Any] = {
    "temperature": 0,
    "max_tokens": 5,
    "top_p": 0.5,
    "presence_penalty": 1,
    "frequency_penalty": -1,
    "n": 1,
    "best_of": 2,
    "seed": 7,
    "stop": ["END"],
    "logprobs": 3,
    "logit_bias": {"42": 1},
    "echo": True,
    "suffix": "!",
    "user": "u",
    "observability": True,
    "fallback_model": "other",
}


@ASYNC
@pytest.mark.parametrize("name", PARAMETERS)
async def test_each_parameter_is_sent_however_it_is_given(name: str, is_async: bool) -> None:
    given = {name: PARAMETERS[name]}
    wire = Wire(reply(completion("Hi")))
    await invoke(llm(wire, **given), "a", is_async)
    await invoke(llm(wire), "a", is_async, **given)
    await invoke(llm(wire).bind(**given), "a", is_async)
    await invoke(llm(wire, model_kwargs=given), "a", is_async)
    await invoke(llm(wire, extra_body=given), "a", is_async)
    assert wire.bodies == [{"model": "m", "prompt": "a", **given}] * 5


@pytest.mark.parametrize(
    ("name", "value"), [("temperature", 3), ("max_tokens", 0), ("top_p", 2), ("best_of", 0)]
)
def test_a_value_out_of_range_raises_before_the_network(name: str, value: Any) -> None:
    wire = Wire(reply(completion("Hi")))
    with pytest.raises(ValueError, match=name):
        llm(wire, **{name: value})
    with pytest.raises(ValueError, match=name):
        llm(wire).invoke("a", **{name: value})
    assert not wire.requests


@ASYNC
async def test_prompts_go_out_together_and_answers_come_back_in_order(is_async: bool) -> None:
    first = completion("A", "B")
    first["choices"] = first["choices"][::-1]
    wire = Wire(reply(first), reply(completion("C")))
    result = await generate(llm(wire, batch_size=2), ["a", "b", "c"], is_async)
    assert [body["prompt"] for body in wire.bodies] == [["a", "b"], "c"]
    assert [[item.text for item in group] for group in result.generations] == [["A"], ["B"], ["C"]]
    assert result.llm_output["token_usage"] == {
        "prompt_tokens": 8,
        "completion_tokens": 4,
        "total_tokens": 12,
        "cost": 0.5,
        "total_cost": 0.5,
    }
    assert result.llm_output["cost"] == 0.5
    assert result.llm_output["model_name"] == "served"


@ASYNC
async def test_n_answers_for_each_prompt_stay_with_it(is_async: bool) -> None:
    wire = Wire(reply(completion("A1", "A2", "B1", "B2")))
    result = await generate(llm(wire, n=2), ["a", "b"], is_async)
    assert wire.bodies[0]["n"] == 2
    texts = [[item.text for item in group] for group in result.generations]
    assert texts == [["A1", "A2"], ["B1", "B2"]]
    assert result.generations[0][0].generation_info["finish_reason"] == "stop"


@ASYNC
async def test_batch_is_one_request(is_async: bool) -> None:
    wire = Wire(reply(completion("A", "B", "C")))
    model = llm(wire, app_id="made")
    result = await model.abatch(["a", "b", "c"]) if is_async else model.batch(["a", "b", "c"])
    assert result == ["A", "B", "C"]
    assert len(wire.requests) == 1
    assert wire.sent.headers["x-app-id"] == "made"


@ASYNC
@pytest.mark.parametrize("texts", [("A",), ("A", "B", "C")])
async def test_too_few_or_odd_answers_are_refused(texts: tuple[str, ...], is_async: bool) -> None:
    wire = Wire(reply(completion(*texts), x_request_id="r1"))
    with pytest.raises(LunosResponseError, match="2 prompts") as caught:
        await generate(llm(wire), ["a", "b"], is_async)
    assert caught.value.request_id == "r1"


@ASYNC
async def test_a_calls_stop_replaces_the_constructors(is_async: bool) -> None:
    wire = Wire(reply(completion("Hi")))
    model = llm(wire, stop=["OLD"])
    await invoke(model, "a", is_async, stop=["NEW"])
    await invoke(model, "a", is_async)
    assert [body["stop"] for body in wire.bodies] == [["NEW"], ["OLD"]]


class Tokens(BaseCallbackHandler):
    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.results: list[Any] = []

    def on_llm_new_token(self, token: str, **kwargs: Any) -> None:
        self.tokens.append(token)

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.results.append(response)


@ASYNC
async def test_a_stream_gives_text_and_facts_once(is_async: bool) -> None:
    seen = Tokens()
    logged = {"tokens": ["lo"], "token_logprobs": [-0.5]}
    wire = Wire(stream([piece("Hel"), piece("lo", "stop", logprobs=logged), USAGE, "[DONE]"]))
    said = await pieces(llm(wire), "a", is_async, config={"callbacks": [seen]})
    assert "".join(said) == "Hello"
    assert "".join(seen.tokens) == "Hello"
    assert wire.bodies[0]["stream"] is True
    assert wire.bodies[0]["stream_options"] == {"include_usage": True}
    info = seen.results[0].generations[0][0].generation_info
    assert info["finish_reason"] == "stop"
    assert info["model_name"] == "served"
    assert info["cost"] == 0.25
    assert info["token_usage"]["total_tokens"] == 6
    assert info["logprobs"] == logged


@ASYNC
async def test_streaming_behind_invoke_keeps_usage_and_cost(is_async: bool) -> None:
    wire = Wire(stream([piece("Hel"), piece("lo", "stop"), USAGE, "[DONE]"]))
    result = await generate(llm(wire, streaming=True), ["a"], is_async)
    assert result.generations[0][0].text == "Hello"
    assert result.llm_output["token_usage"]["total_tokens"] == 6
    assert result.llm_output["cost"] == 0.25
    assert result.llm_output["model_name"] == "served"


@ASYNC
async def test_usage_that_never_came_is_not_invented(is_async: bool) -> None:
    value = {name: item for name, item in completion("Hi").items() if name != "usage"}
    result = await generate(llm(Wire(reply(value))), ["a"], is_async)
    assert result.llm_output["token_usage"] == {}
    assert "cost" not in result.llm_output


@ASYNC
async def test_stream_usage_can_be_turned_off(is_async: bool) -> None:
    wire = Wire(stream([piece("Hi", "stop"), "[DONE]"]))
    await pieces(llm(wire, stream_usage=False), "a", is_async)
    await pieces(llm(wire), "a", is_async, stream_usage=False)
    assert all("stream_options" not in body for body in wire.bodies)


@ASYNC
async def test_several_answers_are_refused_in_a_stream(is_async: bool) -> None:
    wire = Wire(reply(completion("Hi")))
    with pytest.raises(ValueError, match="n must be 1"):
        await pieces(llm(wire, n=2), "a", is_async)
    with pytest.raises(ValueError, match="n must be 1"):
        llm(wire, n=2, streaming=True)
    assert not wire.requests


@ASYNC
async def test_an_interrupted_stream_raises_with_what_had_come(is_async: bool) -> None:
    with pytest.raises(LunosStreamInterruptedError) as caught:
        await pieces(llm(Wire(stream([piece("Hel"), piece("lo")]))), "a", is_async)
    assert caught.value.partial.text == "Hello"


@ASYNC
async def test_the_fallback_model_answers(is_async: bool) -> None:
    wire = Wire(reply({"error": "no such model"}, 404), reply(completion("Hi")))
    assert await invoke(llm(wire, fallback_model="other"), "a", is_async) == "Hi"
    assert [body["model"] for body in wire.bodies] == ["m", "other"]


@ASYNC
async def test_errors_are_those_of_the_chat_model(is_async: bool) -> None:
    wire = Wire(reply({"error": "slow down"}, 429, retry_after="7"))
    with pytest.raises(LunosRateLimitError) as caught:
        await invoke(llm(wire), "a", is_async)
    assert caught.value.retry_after == 7


@ASYNC
async def test_the_gateway_completes_streamed_and_in_batches(
    is_async: bool, gateway: LocalGateway
) -> None:
    model = LunosLLM(
        model="lunos/scripted", api_key=gateway.api_key, base_url=gateway.base_url, max_tokens=40
    )
    whole = await invoke(model, "Once upon", is_async)
    assert "".join(await pieces(model, "Once upon", is_async)) == whole
    result = await generate(model, ["one", "two"], is_async, n=2)
    assert [len(group) for group in result.generations] == [2, 2]
    assert "one" in result.generations[0][1].text
    assert "two" in result.generations[1][0].text
