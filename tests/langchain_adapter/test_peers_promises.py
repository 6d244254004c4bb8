"""What `langchain-openai` promises in its public unit tests, where no test of ours said so before.

Read as `tests/llama_index_adapter/test_peers_promises.py` says; each promise is a case in our own
words. These aren't ours: what a model's name means (`gpt-5` without a temperature, `o3` with the
developer role, the Responses API for `-pro`), the files that OpenAI keeps, `custom` and `mcp`
tools, streams without usage at other addresses, and `total_tokens: 0` of a call that had tokens.
"""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import (
    AIMessage,
    FunctionMessage,
    HumanMessage,
    ToolMessage,
)
from pydantic import BaseModel

from lunos_core import LunosBadRequestError
from tests.langchain_adapter.wire import (
    WAYS,
    Wire,
    answer,
    ask,
    both_kinds,
    call,
    chat,
    reply,
    sent_messages,
    streamed,
)

OLDER_CALL = {"name": "weather", "arguments": '{"city": "Rome"}'}


class Trip(BaseModel):
    """A journey."""

    city: str


class Meal(BaseModel):
    """Something to eat."""

    dish: str


@pytest.mark.parametrize("as_dicts", [False, True])
@pytest.mark.parametrize("way", WAYS)
async def test_a_function_call_of_before_tools_is_sent_as_a_tool_call(
    way: str, as_dicts: bool
) -> None:
    """Its result raised, and the call was left out."""
    history: list[Any] = [
        HumanMessage("Weather in Rome?"),
        AIMessage("", additional_kwargs={"function_call": OLDER_CALL}),
        FunctionMessage(name="weather", content="sunny"),
    ]
    if as_dicts:
        history[1:] = [
            {"role": "assistant", "content": "", "function_call": OLDER_CALL},
            {"role": "function", "name": "weather", "content": "sunny"},
        ]
    wire = both_kinds()
    await ask(chat(wire), way, history)
    assert sent_messages(wire)[1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [call("weather", '{"city": "Rome"}', "weather")],
        },
        {"role": "tool", "tool_call_id": "weather", "content": "sunny"},
    ]


def test_a_function_call_is_not_sent_beside_tool_calls_or_without_a_result() -> None:
    wire = both_kinds()
    tool_call = {"name": "weather", "args": {"city": "Rome"}, "id": "c1"}
    extra = {"function_call": OLDER_CALL}
    both = AIMessage("", additional_kwargs=extra, tool_calls=[tool_call])
    chat(wire).invoke([HumanMessage("a"), both, ToolMessage("sunny", tool_call_id="c1")])
    assert sent_messages(wire)[1]["tool_calls"] == [call()]
    chat(wire).invoke([HumanMessage("a"), AIMessage("b", additional_kwargs=extra)])
    assert sent_messages(wire)[1] == {"role": "assistant", "content": "b"}


@pytest.mark.parametrize(
    "thought",
    [
        {"type": "thinking", "thinking": "Hm."},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "reasoning", "reasoning": "Hm."},
        {"type": "reasoning_content", "reasoning_content": {"text": "Hm."}},  # Bedrock's
    ],
)
def test_reasoning_of_another_model_in_a_question_is_left_out(thought: dict[str, Any]) -> None:
    """An agent's answer becomes the next one's question; it raised."""
    wire = both_kinds()
    chat(wire).invoke([HumanMessage([thought, {"type": "text", "text": "So: 42"}])])
    assert sent_messages(wire) == [
        {"role": "user", "content": [{"type": "text", "text": "So: 42"}]},
    ]


def test_ids_of_text_blocks_do_not_travel() -> None:
    wire = both_kinds()
    call_of_tool = AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "d"}])
    result = ToolMessage([{"type": "text", "text": "foo", "id": "lc_abc"}], tool_call_id="d")
    chat(wire).invoke([HumanMessage("a"), call_of_tool, result])
    assert sent_messages(wire)[-1]["content"] == [{"type": "text", "text": "foo"}]


def test_arguments_are_written_in_their_own_letters() -> None:
    wire = both_kinds()
    said = AIMessage("", tool_calls=[{"name": "f", "args": {"city": "北京"}, "id": "d"}])
    chat(wire).invoke([HumanMessage("a"), said, ToolMessage("b", tool_call_id="d")])
    assert sent_messages(wire)[1]["tool_calls"][0]["function"]["arguments"] == '{"city":"北京"}'
    assert "北京".encode() in wire.requests[0].content


def test_a_file_without_a_name_is_given_one() -> None:
    wire = both_kinds()
    kinds = {None: "document.pdf", "application/pdf": "document.pdf", "text/csv": "document.csv"}
    for mime, name in kinds.items():
        block = {"type": "file", "base64": "QUJD", **({"mime_type": mime} if mime else {})}
        chat(wire).invoke([HumanMessage([block])])
        assert sent_messages(wire)[0]["content"][0]["file"]["filename"] == name


@pytest.mark.parametrize("effort", ["none", "minimal", "low", "high", "xhigh"])
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_an_effort_is_sent_beside_a_bound_of_either_name(name: str, effort: str) -> None:
    wire = both_kinds()
    chat(wire, reasoning_effort=effort, **{name: 100}).invoke("a")
    assert (wire.bodies[0]["reasoning_effort"], wire.bodies[0][name]) == (effort, 100)


@pytest.mark.parametrize("strict", [True, False, None])
@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("any", "required"),
        ("required", "required"),
        (True, "required"),
        ("none", "none"),
        ("auto", "auto"),
        ("Trip", {"type": "function", "function": {"name": "Trip"}}),
        ({"type": "function", "function": {"name": "Meal"}},) * 2,
        (False, None),
        (None, None),
    ],
)
def test_every_way_to_choose_a_tool_goes_with_every_strictness(
    choice: Any, sent: Any, strict: bool | None
) -> None:
    wire = both_kinds()
    chat(wire).bind_tools([Trip, Meal], tool_choice=choice, strict=strict).invoke("a")
    (body,) = wire.bodies
    assert body.get("tool_choice") == sent
    assert [tool["function"].get("strict") for tool in body["tools"]] == [strict, strict]


@pytest.mark.parametrize("include_raw", [True, False])
@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
def test_an_object_comes_by_every_method_for_a_class_and_its_schema(
    method: Any, include_raw: bool
) -> None:
    text = '{"city": "Rome"}'
    for schema in (Trip, Trip.model_json_schema()):
        whole = answer(None, tool_calls=[call("Trip", text)])
        wire = Wire(reply(whole if method == "function_calling" else answer(text)))
        model = chat(wire).with_structured_output(schema, method=method, include_raw=include_raw)
        result = model.invoke("Where?")
        parsed = result["parsed"] if include_raw else result
        assert parsed == (Trip(city="Rome") if schema is Trip else {"city": "Rome"})


@pytest.mark.parametrize(
    "words",
    [
        "Input tokens exceed the configured limit of 272000 tokens.",
        "Your input exceeds the context window of this model. Please adjust your input.",
        "prompt is too long: 300000 tokens > 200000 maximum",
    ],
)
@pytest.mark.parametrize("way", WAYS)
async def test_a_prompt_that_is_too_long_is_an_overflow_in_any_words(way: str, words: str) -> None:
    code = "context_length_exceeded" if words.startswith("Input") else "invalid_request_error"
    body = {"error": {"message": words, "type": "invalid_request_error", "code": code}}
    with pytest.raises(ContextOverflowError, match=words.split(":")[0]) as caught:
        await ask(chat(Wire(reply(body, 400))), way)
    assert isinstance(caught.value, LunosBadRequestError)


@pytest.mark.parametrize("way", ["stream", "astream", "v3", "av3"])
async def test_text_and_a_call_of_one_stream_are_blocks_side_by_side(way: str) -> None:
    def piece(arguments: str, **more: Any) -> dict[str, Any]:
        function = {"arguments": arguments, **more.pop("function", {})}
        return {"tool_calls": [{"index": 0, "function": function, **more}]}

    wire = Wire(
        streamed(
            {"role": "assistant", "content": ""},
            {"content": "Let me look."},
            piece('{"ci', id="c1", function={"name": "weather"}),
            piece('ty":"Rome"}'),
            finish="tool_calls",
        )
    )
    message = await ask(chat(wire, output_version="v1"), way)
    text, tool = (
        block for block in message.content_blocks if block["type"] in ("text", "tool_call")
    )
    assert (text["text"], tool["name"], tool["args"]) == (
        "Let me look.",
        "weather",
        {"city": "Rome"},
    )


def test_the_versions_are_in_the_metadata_and_tokens_may_be_counted_by_a_function() -> None:
    model = chat(both_kinds(), custom_get_token_ids=lambda text: [*range(len(text))])
    assert {"langchain-core", "lunos-integrations"} <= (model.metadata or {})["lc_versions"].keys()
    assert model.get_num_tokens("four") == 4
