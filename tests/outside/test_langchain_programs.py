"""Programs that stand on LangChain: agents, memory, evaluation, guardrails."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lunos_local import LocalGateway

# they warn of their own affairs
pytestmark = pytest.mark.filterwarnings("default")
QUESTION = {"messages": [{"role": "user", "content": "What is the weather in Oslo?"}]}
SERVER = str(Path(__file__).with_name("mcp_server.py"))


def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"Sunny in {city}"


@pytest.mark.package("deepagents")
def test_a_deep_agent_calls_a_tool_and_answers(chat: Callable[[], Any]) -> None:
    deepagents = pytest.importorskip("deepagents")
    agent = deepagents.create_deep_agent(model=chat(), tools=[weather], system_prompt="Be brief.")
    messages = agent.invoke(QUESTION)["messages"]
    assert [message.type for message in messages] == ["human", "ai", "tool", "ai"]
    assert "Sunny in Oslo" in messages[-1].text


@pytest.mark.package("langgraph-supervisor")
async def test_a_supervisor_hands_over_to_an_agent_with_a_space_in_its_name(
    chat: Callable[[], Any],
) -> None:
    supervisor = pytest.importorskip("langgraph_supervisor")
    from langchain.agents import create_agent

    expert = create_agent(chat(), [weather], name="weather expert")
    team = supervisor.create_supervisor([expert], model=chat(), prompt="Route.").compile()
    for messages in (
        team.invoke(QUESTION, {"recursion_limit": 12})["messages"],
        (await team.ainvoke(QUESTION, {"recursion_limit": 12}))["messages"],
    ):
        assert "transfer_to_weather_expert" in [message.name for message in messages]
        assert messages[-1].type == "ai"


@pytest.mark.package("langmem")
def test_a_memory_manager_extracts_a_memory(chat: Callable[[], Any]) -> None:
    langmem = pytest.importorskip("langmem")
    from pydantic import BaseModel

    class Fact(BaseModel):
        """A fact about the user."""

        content: str

    manager = langmem.create_memory_manager(chat(), schemas=[Fact], instructions="Remember facts.")
    memories = manager.invoke({"messages": [{"role": "user", "content": "I like tea."}]})
    assert [type(memory.content).__name__ for memory in memories] == ["Fact"]


@pytest.mark.package("ragas")
async def test_an_answer_is_judged(gateway: LocalGateway, chat: Callable[[], Any]) -> None:
    metrics = pytest.importorskip("ragas.metrics")
    from ragas.dataset_schema import SingleTurnSample
    from ragas.exceptions import RagasOutputParserException
    from ragas.llms import LangchainLLMWrapper

    metric = metrics.AspectCritic(
        name="correct", definition="Is the answer correct?", llm=LangchainLLMWrapper(chat())
    )
    before = len(gateway.requests())
    # the scripted model may give no verdict in the form that ragas asks for: what counts is that
    # its prompt is sent and an answer read, with both classes alike
    with contextlib.suppress(RagasOutputParserException):
        score = await metric.single_turn_ascore(SingleTurnSample(user_input="1+1?", response="2"))
        assert score in (0, 1)
    assert len(gateway.requests()) > before


@pytest.mark.package("langchain-mcp-adapters")
async def test_an_agent_calls_a_tool_of_an_mcp_server(chat: Callable[[], Any]) -> None:
    client = pytest.importorskip("langchain_mcp_adapters.client")
    from langchain.agents import create_agent

    servers = client.MultiServerMCPClient(
        {"weather": {"command": sys.executable, "args": [SERVER], "transport": "stdio"}}
    )
    agent = create_agent(chat(), await servers.get_tools())
    messages = (await agent.ainvoke(QUESTION))["messages"]
    assert "Sunny in Oslo" in messages[-1].text


@pytest.mark.package("mem0ai")
def test_mem0_generates_a_response(chat: Callable[[], Any]) -> None:
    langchain = pytest.importorskip("mem0.llms.langchain")
    from mem0.configs.llms.base import BaseLlmConfig

    llm = langchain.LangchainLLM(BaseLlmConfig(model=chat()))
    answer = llm.generate_response([{"role": "user", "content": "Hello"}])
    assert answer == "Scripted answer to: Hello"


@pytest.mark.package("nemoguardrails")
async def test_guardrails_pass_an_answer_on(chat: Callable[[], Any]) -> None:
    rails = pytest.importorskip("nemoguardrails")
    config = rails.RailsConfig.from_content(yaml_content="models: []\n")
    answer = await rails.LLMRails(config, llm=chat()).generate_async(
        messages=[{"role": "user", "content": "Hello"}]
    )
    # the rails send instructions of their own before the message
    assert answer["content"].startswith("Scripted answer to: ")
