"""Agents and workflows, which are async by nature."""

from __future__ import annotations

import gc
import json
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ImageBlock
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.span_handlers import NullSpanHandler
from llama_index.core.tools import FunctionTool

from llama_index_lunos import Lunos
from tests.llama_index_adapter.wire import Way, Wire, delta, stream, tool_call

# LlamaIndex's workflows look at every member of a pydantic object, deprecated ones too
pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step"),
]


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def now() -> str:
    """The time."""
    return "noon"


ADD = FunctionTool.from_defaults(add)
NOW = FunctionTool.from_defaults(now)
CALL = tool_call("c1", "add", '{"a": 1, "b": 2}')


def called_in_a_stream(*calls: dict[str, Any]) -> Any:
    pieces = [delta(tool_calls=[{"index": i, **call}]) for i, call in enumerate(calls)]
    return stream(*pieces, delta(finish="tool_calls"))


@pytest.fixture(autouse=True, scope="module")
def _agents_memories() -> Iterator[None]:
    """An agent's memory is a SQLite database that LlamaIndex never closes."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def llm(gateway: Any) -> Any:
    return Lunos("lunos/scripted", api_key=gateway.api_key, base_url=gateway.base_url)


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_function_agent_calls_its_tool_and_answers(llm: Lunos, streaming: bool) -> None:
    agent = FunctionAgent(tools=[ADD], llm=llm, streaming=streaming)
    said = await agent.run("Please add a=3 and b=4")
    assert [call.tool_name for call in said.tool_calls] == ["add"]
    assert said.tool_calls[0].tool_output.raw_output == 7
    assert "7" in str(said)
    assert said.raw["usage"]["prompt_tokens"] > 0
    await llm.aclose()


async def test_a_function_agents_reasoning_reaches_its_stream(llm: Lunos) -> None:
    llm.reasoning_effort = "low"
    handler = FunctionAgent(tools=[ADD], llm=llm).run("Please add a=3 and b=4")
    thoughts = [getattr(event, "thinking_delta", None) async for event in handler.stream_events()]
    await handler
    assert any(thoughts)
    await llm.aclose()


async def test_an_initial_tool_choice_is_a_bare_name(awaited: Way) -> None:
    wire = Wire(called_in_a_stream(CALL), stream(delta("3"), delta(finish="stop")))
    agent = FunctionAgent(tools=[ADD, NOW], llm=awaited.llm(wire), initial_tool_choice="add")
    await agent.run("1 + 2?")
    choice = {"type": "function", "function": {"name": "add"}}
    assert [body.get("tool_choice") for body in wire.bodies] == [choice, None]


async def test_a_tools_image_reaches_the_model(awaited: Way) -> None:
    def photo() -> ImageBlock:
        """Take a photo."""
        return ImageBlock(url="https://no.test/a.png")

    wire = Wire(
        called_in_a_stream(tool_call("c", "photo", "{}")),
        stream(delta("A cat."), delta(finish="stop")),
    )
    agent = FunctionAgent(tools=[FunctionTool.from_defaults(photo)], llm=awaited.llm(wire))
    assert "cat" in str(await agent.run("What is there?"))
    assert "https://no.test/a.png" in json.dumps(wire.bodies[1]["messages"][-1])


async def test_a_react_agent_works_without_the_tools_of_the_wire(awaited: Way) -> None:
    wire = Wire(
        stream(
            delta('Thought: add.\nAction: add\nAction Input: {"a": 1, "b": 2}'),
            delta(finish="stop"),
        ),
        stream(delta("Thought: done.\nAnswer: three"), delta(finish="stop")),
    )
    agent = ReActAgent(tools=[ADD], llm=awaited.llm(wire, is_function_calling_model=False))
    assert str(await agent.run("1 + 2?")) == "three"
    assert all("tools" not in body for body in wire.bodies)


async def test_agents_hand_over_to_each_other(awaited: Way) -> None:
    hand_over = tool_call("c", "handoff", '{"to_agent": "second", "reason": "sums"}')
    wire = Wire(
        called_in_a_stream(hand_over),
        called_in_a_stream(CALL),
        stream(delta("3"), delta(finish="stop")),
    )
    llm = awaited.llm(wire)
    first = FunctionAgent(
        name="first", description="a", llm=llm, can_handoff_to=["second"], tools=[NOW]
    )
    second = FunctionAgent(name="second", description="b", llm=llm, tools=[ADD])
    said = await AgentWorkflow(agents=[first, second], root_agent="first").run("1 + 2?")
    assert str(said) == "3"
    assert [tool["function"]["name"] for tool in wire.bodies[1]["tools"]] == ["add", "handoff"]


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("name", ["retrieval tool", "größe", "x" * 100])
async def test_an_agent_finds_a_tool_whose_name_the_wire_cannot_spell(
    llm: Lunos, streaming: bool, name: str
) -> None:
    tool = FunctionTool.from_defaults(add, name=name)
    agent = FunctionAgent(tools=[tool], llm=llm, streaming=streaming)
    said = await agent.run("Please add a=3 and b=4")
    assert [call.tool_name for call in said.tool_calls] == [name]
    assert said.tool_calls[0].tool_output.raw_output == 7
    await llm.aclose()


async def test_tracers_see_one_span_of_the_model_for_each_of_its_calls(llm: Lunos) -> None:
    """LlamaIndex traces every abstract method, the one that only prepares a request too."""
    names: list[str] = []

    class Spans(NullSpanHandler):
        def span_enter(self, id_: str, *args: Any, **kwargs: Any) -> None:
            names.append(id_)

    root = get_dispatcher()
    handler = Spans()
    root.add_span_handler(handler)
    try:
        await FunctionAgent(tools=[ADD], llm=llm).run("Please add a=3 and b=4")
    finally:
        root.span_handlers.remove(handler)
    of_the_model = [name.partition("-")[0] for name in names if name.startswith("Lunos.")]
    assert of_the_model == ["Lunos.astream_chat"] * 2
    await llm.aclose()
