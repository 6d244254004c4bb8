"""`with_structured_output`: what is sent, what comes of it, and what is said of a bad answer."""

from __future__ import annotations

import json
import re
from typing import Any, TypedDict

import pytest
from langchain_core.exceptions import OutputParserException
from pydantic import BaseModel

from langchain_lunos import ChatLunos, LunosRefusalError, LunosTruncatedError
from lunos_local import LocalGateway
from tests.langchain_adapter.wire import Wire, answer, both_kinds, call, chat, reply, streamed


class City(BaseModel):
    """A city."""

    name: str
    people: int


class CityDict(TypedDict):
    """A city."""

    name: str
    people: int


CITY_SCHEMA = {
    "title": "City",
    "description": "A city.",
    "type": "object",
    "properties": {"name": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["name", "people"],
}
VALUE = {"name": "Rome", "people": 3}
TEXT = json.dumps(VALUE)

SCHEMAS = {"pydantic": City, "typeddict": CityDict, "json_schema": CITY_SCHEMA}
METHODS = ("json_schema", "function_calling", "json_mode")
EVERY_METHOD = pytest.mark.parametrize("method", METHODS)
EVERY_SCHEMA = pytest.mark.parametrize("schema", SCHEMAS)
ASYNC = pytest.mark.parametrize("is_async", [False, True])


def _wire(method: str, schema: str, text: str = TEXT, finish: str = "stop") -> Wire:
    if method == "function_calling":
        name = "CityDict" if schema == "typeddict" else "City"
        return both_kinds(content=None, finish=finish, tool_calls=[call(name, text)])
    return both_kinds(content=text, finish=finish)


async def _run(runnable: Any, is_async: bool) -> Any:
    return await runnable.ainvoke("Which?") if is_async else runnable.invoke("Which?")


async def _stream(runnable: Any, is_async: bool) -> list[Any]:
    if is_async:
        return [piece async for piece in runnable.astream("Which?")]
    return list(runnable.stream("Which?"))


@ASYNC
@pytest.mark.parametrize("version", [None, "v1"])
@EVERY_SCHEMA
@EVERY_METHOD
async def test_each_method_gives_the_object(
    method: Any, schema: str, version: str | None, is_async: bool
) -> None:
    wire = _wire(method, schema)
    llm = chat(wire, output_version=version)
    runnable = llm.with_structured_output(SCHEMAS[schema], method=method)
    expected = City(**VALUE) if schema == "pydantic" else VALUE
    assert await _run(runnable, is_async) == expected
    (body,) = wire.bodies
    name = "CityDict" if schema == "typeddict" else "City"
    if method == "json_schema":
        assert body["response_format"]["type"] == "json_schema"
        sent = body["response_format"]["json_schema"]
        assert sent["name"] == name
        assert sent["schema"]["properties"].keys() == VALUE.keys()
        assert "strict" not in sent
    elif method == "function_calling":
        assert body["tools"][0]["function"]["name"] == name
        assert body["tool_choice"] == {"type": "function", "function": {"name": name}}
        assert body["parallel_tool_calls"] is False
    else:
        assert body["response_format"] == {"type": "json_object"}
    assert "ls_structured_output_format" not in body
    assert "strict" not in body


@ASYNC
@EVERY_SCHEMA
@EVERY_METHOD
async def test_streaming_gives_what_is_known_so_far(
    method: Any, schema: str, is_async: bool
) -> None:
    halves = [TEXT[:9], TEXT[9:20], TEXT[20:]]
    if method == "function_calling":
        name = "CityDict" if schema == "typeddict" else "City"
        first = {"index": 0, "id": "c1", "function": {"name": name, "arguments": halves[0]}}
        more = [{"index": 0, "function": {"arguments": half}} for half in halves[1:]]
        deltas = [{"tool_calls": [fragment]} for fragment in [first, *more]]
    else:
        deltas = [{"content": half} for half in halves]
    runnable = chat(Wire(streamed(*deltas))).with_structured_output(SCHEMAS[schema], method=method)
    pieces = await _stream(runnable, is_async)
    expected = City(**VALUE) if schema == "pydantic" else VALUE
    assert pieces[-1] == expected
    if schema != "pydantic":
        assert len(pieces) > 1
        assert all(isinstance(piece, dict) for piece in pieces)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_strict_is_sent_where_it_belongs(method: Any, strict: bool) -> None:
    wire = _wire(method, "pydantic")
    chat(wire).with_structured_output(City, method=method, strict=strict).invoke("Which?")
    (body,) = wire.bodies
    if method == "json_schema":
        assert body["response_format"]["json_schema"]["strict"] is strict
    else:
        assert body["tools"][0]["function"]["strict"] is strict
    assert "strict" not in body


@ASYNC
@EVERY_SCHEMA
@EVERY_METHOD
async def test_include_raw_gives_the_answer_beside_the_object(
    method: Any, schema: str, is_async: bool
) -> None:
    runnable = chat(_wire(method, schema)).with_structured_output(
        SCHEMAS[schema], method=method, include_raw=True
    )
    result = await _run(runnable, is_async)
    assert result["parsed"] == (City(**VALUE) if schema == "pydantic" else VALUE)
    assert result["parsing_error"] is None
    assert result["raw"].usage_metadata["total_tokens"] == 12


def _refusal(method: str) -> Wire:
    return both_kinds(content=None, refusal="I cannot.")


BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "a refusal": (_refusal, LunosRefusalError, "I cannot."),
    "the content filter": (
        lambda method: _wire(method, "pydantic", '{"name":"Ro', "content_filter"),
        LunosRefusalError,
        "content filter",
    ),
    "cut off": (
        lambda method: _wire(method, "pydantic", '{"name":"Ro', "length"),
        LunosTruncatedError,
        "max_tokens",
    ),
    "cut without a word": (
        lambda method: _wire(method, "pydantic", '{"name":"Rome","people":3'),
        OutputParserException,
        "JSON",
    ),
    "broken": (
        lambda method: _wire(method, "pydantic", "{name: Rome]"),
        OutputParserException,
        "(?i)json",
    ),
}


@ASYNC
@pytest.mark.parametrize("streamed_too", [False, True])
@pytest.mark.parametrize("name", BAD)
@EVERY_METHOD
async def test_a_bad_answer_is_explained_and_not_parsed(
    method: Any, name: str, streamed_too: bool, is_async: bool
) -> None:
    make, kind, said = BAD[name]
    runnable = chat(make(method)).with_structured_output(City, method=method)
    with pytest.raises(kind, match=said):
        await (_stream if streamed_too else _run)(runnable, is_async)


@ASYNC
@pytest.mark.parametrize("name", BAD)
@EVERY_METHOD
async def test_include_raw_keeps_the_reason(method: Any, name: str, is_async: bool) -> None:
    make, kind, said = BAD[name]
    runnable = chat(make(method)).with_structured_output(City, method=method, include_raw=True)
    result = await _run(runnable, is_async)
    assert result["parsed"] is None
    assert isinstance(result["parsing_error"], kind)
    assert re.search(said, str(result["parsing_error"]))
    assert result["raw"].response_metadata["model_name"] == "served"


@pytest.mark.parametrize(
    ("profile", "key"),
    [
        (None, "tools"),
        ({"structured_output": False}, "tools"),
        ({"structured_output": True}, "response_format"),
    ],
)
def test_the_profile_decides_the_method_that_is_not_named(profile: Any, key: str) -> None:
    method = "function_calling" if key == "tools" else "json_schema"
    wire = _wire(method, "pydantic")
    llm = chat(wire, profile=profile)
    assert llm.with_structured_output(City).invoke("Which?") == City(**VALUE)
    assert key in wire.bodies[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"schema": City, "method": "xml"}, "xml"),
        ({"schema": None}, "schema"),
        ({"schema": City, "method": "json_mode", "strict": True}, "strict"),
    ],
)
def test_what_cannot_work_raises_at_once(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        chat(None).with_structured_output(**arguments)


@ASYNC
@pytest.mark.parametrize(
    "text", [f"As in [a]:\n```json\n{TEXT}\n```", f"{TEXT}\n\nAnything else?", f"\n {TEXT}"]
)
@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
async def test_words_around_the_json_do_no_harm(method: Any, text: str, is_async: bool) -> None:
    runnable = chat(_wire(method, "pydantic", text)).with_structured_output(City, method=method)
    assert await _run(runnable, is_async) == City(**VALUE)


def test_json_mode_needs_no_schema() -> None:
    wire = Wire(reply(answer(TEXT)))
    assert chat(wire).with_structured_output(method="json_mode").invoke("Which?") == VALUE


@ASYNC
@EVERY_SCHEMA
@pytest.mark.parametrize("method", METHODS)
async def test_the_gateway_fills_the_form(
    method: Any, schema: str, is_async: bool, gateway: LocalGateway
) -> None:
    llm = ChatLunos(model="lunos/scripted", api_key=gateway.api_key, base_url=gateway.base_url)
    runnable = llm.with_structured_output(SCHEMAS[schema], method=method, include_raw=True)
    result = await _run(runnable, is_async)
    assert gateway.requests()[-1]["status"] == 200
    assert method == "json_mode" or result["parsed"]
