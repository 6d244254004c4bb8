"""What a call returns besides its text, by exact values: sums of batches, usage, metadata."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler, CallbackManager
from langchain_core.messages import HumanMessage

from lunos_core import LunosResponseError
from tests.langchain_adapter.wire import Wire, answer, ask, call, chat, llm, reply, stream

DETAILED = {
    "prompt_tokens": 9,
    "completion_tokens": 3,
    "total_tokens": 12,
    "cost": 0.5,
    "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2, "audio_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": 5, "image_tokens": 7},
}
DETAILS = {
    "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2, "audio_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": 5, "image_tokens": 7},
}


def twice(details: dict[str, Any]) -> dict[str, Any]:
    return {
        group: {name: 2 * count for name, count in counts.items()}
        for group, counts in details.items()
    }


class Outputs(BaseCallbackHandler):
    """Keep the results and the tags of runs."""

    def __init__(self) -> None:
        self.outputs: list[Any] = []
        self.tags: list[Any] = []

    def on_llm_start(self, *_: Any, **kwargs: Any) -> None:
        self.tags.append(kwargs["tags"])

    def on_llm_end(self, response: Any, **_: Any) -> None:
        self.outputs.append(response.llm_output)


def test_token_details_are_in_every_place_under_its_names() -> None:
    model = chat(Wire(reply({**answer(), "usage": DETAILED})))
    message = model.invoke("a")
    assert message.usage_metadata == {
        "input_tokens": 9,
        "output_tokens": 3,
        "total_tokens": 12,
        "input_token_details": {"cache_read": 4, "cache_creation": 2, "audio": 1},
        "output_token_details": {"reasoning": 2, "audio": 5},
    }
    output = model.generate([[HumanMessage("a")]]).llm_output
    assert output == {
        "token_usage": {
            "prompt_tokens": 9,
            "completion_tokens": 3,
            "total_tokens": 12,
            "cost": 0.5,
            "total_cost": 0.5,
            **DETAILS,
        },
        "model_name": "served",
        "model_provider": "lunos",
        "id": "gen-1",
        "total_cost": 0.5,
    }


def test_the_outputs_of_a_batch_are_added_up() -> None:
    model = chat(Wire(reply({**answer(), "usage": DETAILED})))
    output = model.generate([[HumanMessage("a")], [HumanMessage("b")]]).llm_output
    assert output == {
        "token_usage": {
            "prompt_tokens": 18,
            "completion_tokens": 6,
            "total_tokens": 24,
            "cost": 1.0,
            "total_cost": 1.0,
            **twice(DETAILS),
        },
        "model_name": "m",
        "model_provider": "lunos",
        "total_cost": 1.0,
    }


def test_an_answer_without_usage_has_none_made_up() -> None:
    value = {name: field for name, field in answer().items() if name not in ("usage", "id")}
    model = chat(Wire(reply(value)))
    assert model.invoke("a").usage_metadata is None
    output = model.generate([[HumanMessage("a")], [HumanMessage("b")]]).llm_output
    assert output == {"token_usage": {}, "model_name": "m", "model_provider": "lunos"}


def test_of_several_answers_the_first_has_the_usage() -> None:
    value = answer("Hi")
    value["choices"] += [{**value["choices"][0], "index": i} for i in (1, 2)]
    ((first, *others),) = chat(Wire(reply(value)), n=3).generate([[HumanMessage("a")]]).generations
    message: Any = first
    assert message.message.usage_metadata["total_tokens"] == 12
    assert message.message.response_metadata["cost"] == 0.5
    assert message.generation_info == {"finish_reason": "stop", "model_name": "served"}
    for other in others:
        later: Any = other
        assert later.message.usage_metadata is None
        assert not later.message.response_metadata.keys() & {"cost", "cost_source"}


def text_answer(*texts: str, **more: Any) -> dict[str, Any]:
    choices = [
        {"index": i, "text": text, "finish_reason": "stop", "logprobs": None}
        for i, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3, "cost": 0.25}
    return {"id": "cmpl-1", "model": "served", "choices": choices, "usage": usage, **more}


@pytest.mark.parametrize("is_async", [False, True])
async def test_text_completions_of_several_requests_are_added_up(is_async: bool) -> None:
    handler = Outputs()
    wire = Wire(reply(text_answer("A", "B")), reply(text_answer("C")))
    model = llm(wire, batch_size=2, callbacks=[handler])
    prompts = ["a", "b", "c"]
    result = await model.agenerate(prompts) if is_async else model.generate(prompts)
    assert [body["prompt"] for body in wire.bodies] == [["a", "b"], "c"]
    assert [[item.text for item in each] for each in result.generations] == [["A"], ["B"], ["C"]]
    info = {"finish_reason": "stop", "logprobs": None, "model_name": "served"}
    assert result.generations[2][0].generation_info == info
    whole = {
        "token_usage": {
            "prompt_tokens": 4,
            "completion_tokens": 2,
            "total_tokens": 6,
            "cost": 0.5,
            "total_cost": 0.5,
        },
        "model_name": "served",
        "model_provider": "lunos",
        "cost": 0.5,
        "total_cost": 0.5,
        "cost_source": "gateway",
    }
    assert result.llm_output == whole
    # the callbacks' runs add up to the call: the first has it all
    first, *others = handler.outputs
    assert first == whole
    for other in others:
        assert other == {"token_usage": {}, "model_name": "served", "model_provider": "lunos"}


async def test_several_answers_for_each_prompt_come_in_order() -> None:
    model = llm(Wire(reply(text_answer("A1", "A2", "B1", "B2"))), n=2)
    result = model.generate(["a", "b"])
    texts = [[item.text for item in each] for each in result.generations]
    assert texts == [["A1", "A2"], ["B1", "B2"]]


@pytest.mark.parametrize("texts", [("A",), ("A", "B", "C")])
def test_a_number_of_answers_that_fits_no_prompt_is_an_error(texts: tuple[str, ...]) -> None:
    model = llm(Wire(reply(text_answer(*texts))))
    with pytest.raises(LunosResponseError, match=f"{len(texts)} answers came for 2 prompts"):
        model.generate(["a", "b"])


def test_a_text_completion_without_usage_has_none_made_up() -> None:
    output = llm(Wire(reply(text_answer("A", usage=None)))).generate(["a"]).llm_output
    assert output == {"token_usage": {}, "model_name": "served", "model_provider": "lunos"}


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("usage", [True, False])
async def test_a_text_completion_that_streams_behind_invoke_has_the_same_facts(
    usage: bool, is_async: bool
) -> None:
    head = {"id": "cmpl-1", "model": "served"}
    events: list[Any] = [
        {**head, "choices": [{"index": 0, "text": text, "finish_reason": None}]}
        for text in ("Hel", "lo")
    ]
    end = {"index": 0, "text": "", "finish_reason": "stop", "logprobs": {"tokens": ["a"]}}
    events.append({**head, "choices": [end]})
    if usage:
        events.append({**head, "choices": [], "usage": text_answer()["usage"]})
    model = llm(Wire(stream([*events, "[DONE]"])), streaming=True)
    result = await model.agenerate(["a"]) if is_async else model.generate(["a"])
    ((generation,),) = result.generations
    counts = {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}
    token_usage = {**counts, "cost": 0.25, "total_cost": 0.25}
    cost = {"cost": 0.25, "cost_source": "gateway"}
    assert generation.text == "Hello"
    assert generation.generation_info == {
        "finish_reason": "stop",
        "model_name": "served",
        "logprobs": {"tokens": ["a"]},
        **({"token_usage": token_usage, **cost} if usage else {}),
    }
    assert result.llm_output == {
        "token_usage": token_usage if usage else {},
        "model_name": "served",
        "model_provider": "lunos",
        **({**cost, "total_cost": 0.25} if usage else {}),
    }


@pytest.mark.parametrize("tags", [None, [["x"], ["y"]]])
@pytest.mark.parametrize("manager", [False, True])
def test_each_prompt_of_a_batch_has_the_app_id_among_its_tags(manager: bool, tags: Any) -> None:
    handlers = [Outputs(), Outputs()]
    callbacks: Any = [CallbackManager([handler]) if manager else [handler] for handler in handlers]
    model = llm(Wire(reply(text_answer("A", "B"))), app_id="shop")
    model.generate(["a", "b"], callbacks=callbacks, tags=tags)
    own = tags or [[], []]
    assert [handler.tags for handler in handlers] == [[[*each, "app_id:shop"]] for each in own]


@pytest.mark.parametrize("make", [list, lambda: CallbackManager([])])
def test_callbacks_of_all_prompts_leave_one_list_of_tags(make: Any) -> None:
    handler = Outputs()
    model = llm(Wire(reply(text_answer("A", "B"))), app_id="shop", callbacks=[handler])
    model.generate(["a", "b"], callbacks=make(), tags=["x"])
    assert all(tags == ["x", "app_id:shop"] for tags in handler.tags)


def test_a_broken_call_is_beside_the_whole_ones() -> None:
    broken = call("weather", '{"city": "Ro', "c2")
    message = chat(Wire(reply(answer(None, "tool_calls", tool_calls=[call(), broken])))).invoke("a")
    assert message.tool_calls == [
        {"type": "tool_call", "name": "weather", "args": {"city": "Rome"}, "id": "c1"}
    ]
    (invalid,) = message.invalid_tool_calls
    assert (invalid["name"], invalid["args"], invalid["id"]) == ("weather", '{"city": "Ro', "c2")


@pytest.mark.parametrize("odd", ["x", [1], 5, {}, None])
def test_cost_details_are_an_object_or_nothing(odd: Any) -> None:
    usage = {**DETAILED, "cost_details": odd}
    message = chat(Wire(reply({**answer(), "usage": usage}))).invoke("a")
    assert "cost_details" not in message.response_metadata
    usage["cost_details"] = {"upstream": 0.25}
    message = chat(Wire(reply({**answer(), "usage": usage}))).invoke("a")
    assert message.response_metadata["cost_details"] == {"upstream": 0.25}


@pytest.mark.parametrize("way", ["stream", "astream", "v3", "av3"])
async def test_a_model_name_that_comes_late_is_the_answers(way: str) -> None:
    first = {"id": "gen-1", "choices": [{"index": 0, "delta": {"content": "Hi"}}]}
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    wire = Wire(stream([first, {"id": "gen-1", "model": "served", "choices": [end]}, "[DONE]"]))
    message = await ask(chat(wire), way)
    assert message.content in ("Hi", [{"type": "text", "text": "Hi", "index": 0}])
    assert message.response_metadata["model_name"] == "served"


def test_of_several_requests_the_last_names_the_model() -> None:
    wire = Wire(reply(text_answer("A")), reply(text_answer("B", model="later")))
    result = llm(wire, batch_size=1).generate(["a", "b"])
    assert result.llm_output is not None
    assert result.llm_output["model_name"] == "later"
