"""Objects: three ways of asking, four forms of the method, and why there is none."""

from __future__ import annotations

import json
from enum import Enum
from itertools import pairwise
from typing import Any, Generic, TypeVar

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.program import FunctionCallingProgram
from llama_index.core.prompts import ChatPromptTemplate, PromptTemplate
from llama_index.core.types import PydanticProgramMode
from pydantic import BaseModel, Field, RootModel

from llama_index_lunos import Lunos, LunosStructuredOutputError, _structured_output
from llama_index_lunos._structured_output import strict_schema, to_response_format
from lunos_core import LunosBadRequestError, LunosResponseError, LunosStreamInterruptedError
from tests.llama_index_adapter.wire import (
    Way,
    Wire,
    answer,
    delta,
    error,
    stream,
    tool_call,
    usage_event,
)


class Song(BaseModel):
    """A song."""

    title: str
    seconds: int = Field(default=180, description="Length.")


class Album(BaseModel):
    """An album."""

    name: str
    songs: list[Song]


PROMPT = PromptTemplate("An album about {topic}")
ALBUM = Album(name="Sea", songs=[Song(title="Tide", seconds=60), Song(title="Foam", seconds=90)])
JSON = ALBUM.model_dump_json()
CALL = tool_call("c", "Album", JSON)

Thing = TypeVar("Thing")


class Box(BaseModel, Generic[Thing]):
    """A box."""

    content: Thing


def in_pieces(size: int = 7) -> Any:
    pieces = [JSON[index : index + size] for index in range(0, len(JSON), size)]
    return stream(*map(delta, pieces), delta(finish="stop"), usage_event())


def call_in_pieces(size: int = 7) -> Any:
    pieces = [JSON[index : index + size] for index in range(0, len(JSON), size)]
    first = {"index": 0, "id": "c", "function": {"name": "Album", "arguments": ""}}
    calls = [first, *({"index": 0, "function": {"arguments": piece}} for piece in pieces)]
    return stream(*(delta(tool_calls=[item]) for item in calls), delta(finish="tool_calls"))


def called() -> Any:
    return answer({"content": None, "tool_calls": [CALL]}, "tool_calls")


METHODS = ["structured_predict", "stream_structured_predict"]


def whole(result: Any) -> Any:
    return result[-1] if isinstance(result, list) else result


@pytest.mark.parametrize("method", METHODS)
async def test_the_schema_of_the_class_is_asked_for(way: Way, method: str) -> None:
    wire = Wire(in_pieces() if "stream" in method else answer(JSON))
    result = await way(way.llm(wire), method, Album, PROMPT, topic="the sea")
    assert whole(result) == ALBUM
    sent = wire.body
    assert sent["messages"] == [{"role": "user", "content": "An album about the sea"}]
    wanted = sent["response_format"]["json_schema"]
    assert (wanted["name"], wanted["strict"]) == ("Album", True)
    assert wanted["schema"]["additionalProperties"] is False
    assert "tools" not in sent


@pytest.mark.parametrize("method", METHODS)
async def test_the_tool_is_forced_where_that_is_the_way(way: Way, method: str) -> None:
    wire = Wire(call_in_pieces() if "stream" in method else called())
    llm = way.llm(wire, structured_output="function_calling")
    assert whole(await way(llm, method, Album, PROMPT, topic="the sea")) == ALBUM
    assert wire.body["tool_choice"] == {"type": "function", "function": {"name": "Album"}}
    assert "response_format" not in wire.body


@pytest.mark.parametrize("method", METHODS)
async def test_the_schema_is_put_into_words_where_that_is_the_way(way: Way, method: str) -> None:
    fenced = f"Sure!\n```json\n{JSON}\n```\nEnjoy."
    wire = Wire(
        stream(delta(fenced), delta(finish="stop")) if "stream" in method else answer(fenced)
    )
    llm = way.llm(wire, structured_output="prompt")
    assert whole(await way(llm, method, Album, PROMPT, topic="the sea")) == ALBUM
    (message,) = wire.body["messages"]
    assert message["content"].startswith("An album about the sea\n")
    assert '"songs"' in message["content"]
    assert "{{" not in message["content"]
    assert wire.body.keys() <= {"model", "messages", "stream", "stream_options"}


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({}, "response_format"),
        ({"pydantic_program_mode": PydanticProgramMode.FUNCTION}, "tools"),
        ({"pydantic_program_mode": PydanticProgramMode.LLM}, None),
        ({"is_chat_model": False}, None),
    ],
)
async def test_llama_index_own_modes_are_honoured(
    way: Way, settings: dict[str, Any], field: str | None
) -> None:
    wire = Wire(called() if field == "tools" else answer(JSON))
    result = await way(way.llm(wire, **settings), "structured_predict", Album, PROMPT, topic="x")
    assert result == ALBUM
    asked = {name for name in ("response_format", "tools") if name in wire.body}
    assert asked == ({field} if field else set())


@pytest.mark.parametrize("method", METHODS)
async def test_a_model_that_refuses_schemas_is_asked_by_tool_and_then_in_words(
    way: Way, method: str
) -> None:
    no_schema = error(400, "Unsupported parameter: 'response_format'", param="response_format")
    no_tools = error(400, "tool_choice is not supported")
    good = stream(delta(JSON), delta(finish="stop")) if "stream" in method else answer(JSON)
    wire = Wire(no_schema, no_tools, good)
    llm = way.llm(wire)
    assert whole(await way(llm, method, Album, PROMPT, topic="x")) == ALBUM
    assert whole(await way(llm, method, Album, PROMPT, topic="x")) == ALBUM
    asked = [{"response_format", "tools"} & body.keys() for body in wire.bodies]
    assert asked == [{"response_format"}, {"tools"}, set(), set()]  # the second time it is known


REFUSED_SCHEMAS = [
    (400, "This model does not support structured outputs"),
    (422, "Structured output is not enabled for this deployment"),
    (400, "json_schema: unsupported"),
    (404, "No endpoints found that can handle the requested parameters."),
    (501, "response_format is not implemented"),
]


@pytest.mark.parametrize(("status", "words"), REFUSED_SCHEMAS)
@pytest.mark.parametrize("method", METHODS)
async def test_a_schema_is_refused_in_many_words(
    way: Way, method: str, status: int, words: str
) -> None:
    played = call_in_pieces() if "stream" in method else called()
    wire = Wire(error(status, words), played)
    llm = way.llm(wire, max_retries=0)
    assert whole(await way(llm, method, Album, PROMPT, topic="x")) == ALBUM
    assert whole(await way(llm, method, Album, PROMPT, topic="x")) == ALBUM
    assert ["response_format" in body for body in wire.bodies] == [True, False, False]


async def test_tools_that_no_provider_has_are_replaced_by_the_prompt(way: Way) -> None:
    refused = error(404, "No endpoints found that support tool use.")
    wire = Wire(error(400, "no response_format"), refused, answer(JSON))
    assert await way(way.llm(wire), "structured_predict", Album, PROMPT, topic="x") == ALBUM


async def test_a_refused_schema_of_one_class_does_not_affect_the_next(way: Way) -> None:
    wire = Wire(error(400, "Invalid schema for response_format 'Album'"), called(), answer(JSON))
    llm = way.llm(wire)
    for _ in range(2):
        assert await way(llm, "structured_predict", Album, PROMPT, topic="x") == ALBUM
    assert ["response_format" in body for body in wire.bodies] == [True, False, True]


class Titles(RootModel[list[str]]):
    """Titles."""


@pytest.mark.parametrize("method", METHODS)
async def test_a_list_is_asked_for_in_the_prompt_since_no_tool_takes_one(
    way: Way, method: str
) -> None:
    played = stream(delta('["Sea"]', "stop")) if "stream" in method else answer('["Sea"]')
    wire = Wire(played)
    llm = way.llm(wire, structured_output="function_calling")
    assert whole(await way(llm, method, Titles, PROMPT, topic="x")) == Titles(["Sea"])
    assert "tools" not in wire.body


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("wrong", [dict, "Album", None, list[Album], ALBUM, {"type": "object"}])
async def test_a_class_that_is_none_raises_before_the_network(
    way: Way, method: str, wrong: Any
) -> None:
    wire = Wire(answer(JSON))
    with pytest.raises(TypeError, match=r"output_cls must be a pydantic class.*RootModel"):
        await way(way.llm(wire), method, wrong, PROMPT, topic="x")
    assert not wire.requests


@pytest.mark.parametrize("method", METHODS)
async def test_reasoning_in_the_arguments_is_not_an_object(way: Way, method: str) -> None:
    thought = f'<think>{{"name": "No", "songs": []}}</think>{JSON}'
    call = {"tool_calls": [tool_call("c", "Album", thought)]}
    played = (
        stream(delta(**call), delta(finish="tool_calls"))
        if "stream" in method
        else answer({"content": None, **call}, "tool_calls")
    )
    llm = way.llm(Wire(played), structured_output="function_calling")
    assert whole(await way(llm, method, Album, PROMPT, topic="x")) == ALBUM


async def test_arguments_without_an_object_are_shown_in_the_error(way: Way) -> None:
    call = {"content": None, "tool_calls": [tool_call("c", "Album", "{'name': 1}")]}
    llm = way.llm(Wire(answer(call, "tool_calls")), structured_output="function_calling")
    with pytest.raises(LunosStructuredOutputError, match=r"no JSON for an? Album.*'name': 1"):
        await way(llm, "structured_predict", Album, PROMPT, topic="x")


async def test_what_was_read_of_a_stream_is_not_read_again(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text with a hundred footnotes before the object took seconds."""
    looked_at: list[Any] = []
    validate = _structured_output._validate
    monkeypatch.setattr(
        _structured_output,
        "_validate",
        lambda output_cls, value: (looked_at.append(value), validate(output_cls, value))[1],
    )
    notes = [delta(f"See [{i}, 0] and {{x}}. ") for i in range(100)]
    llm = way.llm(Wire(stream(*notes, delta(JSON), delta(finish="stop"))))
    result = await way(llm, "stream_structured_predict", Album, PROMPT, topic="x")
    assert result[-1] == ALBUM
    assert len(looked_at) < 300  # 100 while it streams, 100 at its end


@pytest.mark.parametrize("method", METHODS)
async def test_other_refusals_of_the_server_are_not_tried_again(way: Way, method: str) -> None:
    wire = Wire(error(400, "max_tokens is too large", param="max_tokens"))
    with pytest.raises(LunosBadRequestError, match="too large"):
        await way(way.llm(wire), method, Album, PROMPT, topic="x")
    assert len(wire.requests) == 1


async def test_a_method_that_was_chosen_is_used(way: Way) -> None:
    wire = Wire(error(400, "no response_format here"))
    llm = way.llm(wire, structured_output="json_schema")
    with pytest.raises(LunosBadRequestError):
        await way(llm, "structured_predict", Album, PROMPT, topic="x")
    assert len(wire.requests) == 1


@pytest.mark.parametrize("how", ["json_schema", "function_calling", "prompt"])
@pytest.mark.parametrize("method", METHODS)
async def test_the_system_prompt_is_never_dropped(way: Way, method: str, how: Any) -> None:
    played = {
        ("function_calling", True): call_in_pieces(),
        ("function_calling", False): called(),
    }.get((how, "stream" in method), in_pieces() if "stream" in method else answer(JSON))
    wire = Wire(played)
    llm = way.llm(wire, system_prompt="Be brief.", structured_output=how)
    await way(llm, method, Album, PROMPT, topic="x")
    assert [item["role"] for item in wire.body["messages"]] == ["system", "user"]


async def test_a_stream_grows_and_ends_whole(way: Way) -> None:
    result = await way(
        way.llm(Wire(in_pieces())), "stream_structured_predict", Album, PROMPT, topic="x"
    )
    assert len(result) > 3
    names = [item.name for item in result if item.name is not None]
    assert names[-1] == "Sea"
    lengths = [len(item.songs or []) for item in result]
    assert lengths == sorted(lengths)
    assert isinstance(result[-1], Album)
    assert all(item != two for item, two in pairwise(result))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("message", "finish", "said"),
    [
        ({"content": None, "refusal": "I sing no songs."}, "stop", "refused.*I sing no songs"),
        ({"content": JSON[:30]}, "length", "cut off at max_tokens"),
        ({"content": "la la la"}, "stop", "has no JSON.*la la la"),
        ({"content": '{"name": "Sea"}'}, "stop", "isn.t a valid Album: songs: Field required"),
        ({"content": None}, "content_filter", "content filter"),
    ],
)
async def test_a_missing_object_is_an_error_with_its_reason(
    way: Way, method: str, message: dict[str, Any], finish: str, said: str
) -> None:
    said_once = {name: value for name, value in message.items() if value is not None}
    played = (
        stream(delta(**said_once), delta(finish=finish))
        if "stream" in method
        else answer(message, finish)
    )
    with pytest.raises(LunosStructuredOutputError, match=said) as caught:
        await way(way.llm(Wire(played)), method, Album, PROMPT, topic="x")
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, LunosResponseError)
    assert isinstance(caught.value.partial, ChatMessage)


async def test_a_stream_that_breaks_is_not_an_object(way: Way) -> None:
    wire = Wire(stream(delta(JSON), done=False))
    with pytest.raises(LunosStreamInterruptedError):
        await way(way.llm(wire), "stream_structured_predict", Album, PROMPT, topic="x")


@pytest.mark.parametrize("method", METHODS)
async def test_the_events_of_structured_prediction_are_sent_once(
    way: Way, events: Any, method: str
) -> None:
    wire = Wire(in_pieces(30) if "stream" in method else answer(JSON))
    await way(way.llm(wire), method, Album, PROMPT, topic="x")
    told = [name for name in events.names() if "Structured" in name]
    assert told[0] == "LLMStructuredPredictStartEvent"
    assert told[-1] == "LLMStructuredPredictEndEvent"
    assert len([name for name in told if "InProgress" not in name]) == 2


async def test_usage_of_objects_is_counted(way: Way) -> None:
    counter = TokenCountingHandler(tokenizer=str.split)
    llm = way.llm(Wire(answer(JSON)), callback_manager=CallbackManager([counter]))
    await way(llm, "structured_predict", Album, PROMPT, topic="x")
    assert counter.prompt_llm_token_count == 11


@pytest.mark.parametrize("method", METHODS)
async def test_the_callers_llm_kwargs_are_passed_and_not_changed(way: Way, method: str) -> None:
    wire = Wire(in_pieces() if "stream" in method else answer(JSON))
    given = {"temperature": 0.1, "tool_required": True, "app_id": "x"}
    await way(way.llm(wire), method, Album, PROMPT, llm_kwargs=given, topic="x")
    assert given == {"temperature": 0.1, "tool_required": True, "app_id": "x"}
    assert wire.body["temperature"] == 0.1
    assert "tool_required" not in wire.body
    assert wire.request.headers["x-app-id"] == "x"


async def test_the_private_streams_work_without_llm_kwargs(way: Way) -> None:
    """Core's `_structured_stream_call` may be called directly; OpenAI's breaks there."""
    llm = way.llm(Wire(in_pieces()))
    if way.is_async:
        result = [
            item async for item in await llm._structured_astream_call(Album, PROMPT, topic="x")
        ]
    else:
        result = list(llm._structured_stream_call(Album, PROMPT, topic="x"))
    assert result[-1] == ALBUM


# LlamaIndex's StructuredLLM calls pydantic's deprecated `.json()`
@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
@pytest.mark.parametrize("method", ["chat", "stream_chat"])
async def test_as_structured_llm_answers_with_objects(way: Way, method: str) -> None:
    wire = Wire(in_pieces() if "stream" in method else answer(JSON))
    structured = way.llm(wire).as_structured_llm(Album)
    messages = [
        ChatMessage("Use {braces} as they are.", role="system"),
        ChatMessage("An album about the sea"),
    ]
    response = whole(await way(structured, method, messages))
    assert response.raw == ALBUM
    assert Album.model_validate_json(response.message.content) == ALBUM
    assert wire.body["messages"][0]["content"] == "Use {braces} as they are."


async def test_chat_prompts_and_generic_classes_work(way: Way) -> None:
    wire = Wire(answer('{"content": 3}'))
    prompt = ChatPromptTemplate.from_messages([("system", "Be {how}."), ("user", "Go")])
    for how in ("json_schema", "function_calling", "prompt"):
        llm = way.llm(wire, structured_output=how)
        result = await way(llm, "structured_predict", Box[int], prompt, how="brief")
        assert result == Box[int](content=3)
    assert wire.bodies[0]["response_format"]["json_schema"]["name"] == "Box_int"
    assert wire.bodies[0]["messages"][0] == {"role": "system", "content": "Be brief."}


async def test_llama_index_own_programs_work_too(way: Way) -> None:
    wire = Wire(called())
    program = FunctionCallingProgram.from_defaults(
        output_cls=Album, llm=way.llm(wire), prompt=PROMPT
    )
    result = await program.acall(topic="x") if way.is_async else program(topic="x")
    assert result == ALBUM
    assert wire.body["tool_choice"] == "required"  # not overridden by the program's None


def test_strict_schemas_list_everything_and_allow_nothing_else() -> None:
    class Colour(Enum):
        RED = "red"

    class Deep(BaseModel):
        colour: Colour = Colour.RED
        song: Song = Field(default=Song(title="x"), description="One of them.")
        maybe: int | None = None
        more: list[Song] = []

    schema = strict_schema(Deep.model_json_schema())
    assert schema is not None
    assert schema["required"] == ["colour", "song", "maybe", "more"]
    text = json.dumps(schema)
    assert '"default"' not in text
    for node in (schema, schema["properties"]["song"], schema["$defs"]["Song"]):
        assert node["additionalProperties"] is False
    assert schema["properties"]["song"]["description"] == "One of them."
    assert "$ref" not in schema["properties"]["song"]


def test_a_class_that_cannot_be_strict_is_sent_as_it_is() -> None:
    class Free(BaseModel):
        anything: Any
        numbers: dict[str, int]

    wanted = to_response_format(Free)["json_schema"]
    assert "strict" not in wanted
    assert wanted["schema"] == Free.model_json_schema()


def test_a_class_that_holds_itself_can_be_strict() -> None:
    class Node(BaseModel):
        name: str
        children: list[Node] = []

    Node.model_rebuild(_types_namespace={"Node": Node})
    assert to_response_format(Node)["json_schema"]["strict"] is True


@pytest.mark.parametrize("how", ["json_schema", "function_calling"])
@pytest.mark.parametrize("method", METHODS)
async def test_the_local_gateway_fills_the_schema(
    way: Way, gateway: Any, method: str, how: Any
) -> None:
    llm = Lunos(
        "lunos/scripted", api_key=gateway.api_key, base_url=gateway.base_url, structured_output=how
    )
    prompt = PromptTemplate("The song 'Tide' is {n} seconds long")
    assert isinstance(whole(await way(llm, method, Song, prompt, n=42)), Song)
    llm.close()
    await llm.aclose()


@pytest.mark.parametrize("how", ["json_schema", "prompt"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("See [1]: ", ""),
        ("As {asked} in [2] and {'x': 1}: ", " (see [3], {more})"),
        ("Empty {} and [] first. ", ' and {"name": "Other", "songs": []}'),
        ('<think>{"name": "Draft", "songs": []}</think>', ""),
        ('<thinking>{"name": "Draft", "songs": []}</thinking>', ""),
        ("[", "]"),
        ("```json\n", "\n```"),
    ],
)
async def test_the_object_is_found_among_other_text(
    way: Way, method: str, how: Any, size: int, before: str, after: str
) -> None:
    text = before + JSON + after
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    played = (
        stream(*map(delta, pieces), delta(finish="stop")) if "stream" in method else answer(text)
    )
    llm = way.llm(Wire(played), structured_output=how)
    assert whole(await way(llm, method, Album, PROMPT, topic="x")) == ALBUM


async def test_a_part_of_a_cut_object_is_not_taken_for_the_whole(way: Way) -> None:
    class Maybe(BaseModel):
        title: str | None = None

    text = '{"title": "a", "inner": {"title": "b"}, "more": "'
    llm = way.llm(Wire(answer(text, "length")))
    with pytest.raises(LunosStructuredOutputError, match="cut off at max_tokens"):
        await way(llm, "structured_predict", Maybe, PROMPT, topic="x")


async def test_a_forced_tool_is_called_once(way: Way) -> None:
    wire = Wire(called())
    llm = way.llm(wire, structured_output="function_calling")
    await way(llm, "structured_predict", Album, PROMPT, topic="x")
    assert wire.body["parallel_tool_calls"] is False
