"""A refusal is LangChain's own: its error, its block, and what its middleware looks for."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core import exceptions
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import content
from pydantic import BaseModel

from langchain_lunos import LunosRefusalError
from tests.langchain_adapter.wire import WAYS, ask, beta, both_kinds, chat

STANDARD = hasattr(content, "RefusalContentBlock")
needs_standard = pytest.mark.skipif(not STANDARD, reason="langchain-core 1.7.5 and newer")


class City(BaseModel):
    """A city."""

    name: str


def refusing() -> Any:
    return both_kinds(content=None, refusal="I cannot.")


def filtered() -> Any:
    return both_kinds(content='{"na', finish="content_filter")


@needs_standard
def test_the_error_is_the_cores_as_well() -> None:
    assert issubclass(LunosRefusalError, exceptions.ModelRefusalError)
    assert issubclass(LunosRefusalError, OutputParserException)
    assert not LunosRefusalError("no").is_retryable


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
@pytest.mark.parametrize("version", [None, "v0", "v1"])
@pytest.mark.parametrize("make", [refusing, filtered])
async def test_it_is_raised_alike_whole_and_streamed(
    make: Any, method: Any, way: str, version: str | None
) -> None:
    llm = chat(make(), output_version=version)
    runnable = llm.with_structured_output(City, method=method)
    with pytest.raises(LunosRefusalError) as caught:
        await _run(runnable, way)
    assert caught.value.raw_message.response_metadata["model_name"] == "served"
    assert caught.value.llm_output == ("I cannot." if make is refusing else '{"na')


async def _run(runnable: Any, way: str) -> None:
    if way == "invoke":
        runnable.invoke("Which?")
    elif way == "ainvoke":
        await runnable.ainvoke("Which?")
    elif way == "stream":
        list(runnable.stream("Which?"))
    else:
        _ = [part async for part in runnable.astream("Which?")]


@needs_standard
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("version", [None, "v1"])
async def test_every_way_gives_the_standard_block(way: str, version: str | None) -> None:
    message = await ask(chat(refusing(), output_version=version), way)
    block = message.content_blocks[-1]
    assert block["type"] == "refusal"
    assert block["refusal"] == "I cannot."
    assert message.response_metadata["normalized_finish_reason"] == "refusal"


@needs_standard
def test_the_events_of_a_v3_stream_hold_the_standard_block() -> None:
    with beta():
        events = list(chat(refusing()).stream_events("Hello", version="v3"))
    finished = [event["content"] for event in events if event["event"] == "content-block-finish"]
    assert [block["type"] for block in finished] == ["refusal"]


@needs_standard
@pytest.mark.parametrize("streaming", [False, True])
async def test_the_refusal_middleware_sees_it(streaming: bool) -> None:
    agents = pytest.importorskip("langchain.agents")
    middleware = pytest.importorskip("langchain.agents.middleware")
    agent = agents.create_agent(
        chat(refusing(), streaming=streaming), middleware=[middleware.ModelRefusalMiddleware()]
    )
    turn: Any = {"messages": [("user", "Hello")]}
    with pytest.raises(exceptions.ModelRefusalError, match=r"I cannot\."):
        agent.invoke(turn)
    with pytest.raises(exceptions.ModelRefusalError, match=r"I cannot\."):
        await agent.ainvoke(turn)
    with pytest.raises(exceptions.ModelRefusalError, match=r"I cannot\."), beta():
        list(agent.stream_events(turn, version="v3"))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("native", "normalized"),
    [
        ("stop", "stop"),
        ("end_turn", "stop"),
        ("MAX_TOKENS", "length"),
        ("tool_use", "tool_calls"),
        ("SAFETY", "content_filter"),
        ("something new", None),
    ],
)
async def test_the_finish_reason_is_there_in_one_vocabulary(
    native: str, normalized: str | None, way: str
) -> None:
    message = await ask(chat(both_kinds(finish=native)), way)
    assert message.response_metadata["finish_reason"] == native
    assert message.response_metadata.get("normalized_finish_reason") == normalized
