"""Programs that stand on LlamaIndex."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.filterwarnings("default")
SERVER = str(Path(__file__).with_name("mcp_server.py"))


@pytest.mark.package("llama-index-tools-mcp")
async def test_a_function_agent_calls_a_tool_of_an_mcp_server(llm: Callable[[], Any]) -> None:
    mcp = pytest.importorskip("llama_index.tools.mcp")
    from llama_index.core.agent.workflow import FunctionAgent

    spec = mcp.McpToolSpec(mcp.BasicMCPClient(sys.executable, args=[SERVER]))
    agent = FunctionAgent(tools=await spec.to_tool_list_async(), llm=llm())
    assert "Sunny in Oslo" in str(await agent.run("What is the weather in Oslo?"))


@pytest.mark.package("llama-index-tools-mcp")
async def test_the_tools_of_an_mcp_server_are_called_in_a_workflow_that_streams(
    llm: Callable[[], Any],
) -> None:
    mcp = pytest.importorskip("llama_index.tools.mcp")
    from llama_index.core.agent.workflow import AgentStream, AgentWorkflow

    spec = mcp.McpToolSpec(mcp.BasicMCPClient(sys.executable, args=[SERVER]))
    tools = await spec.to_tool_list_async()
    workflow = AgentWorkflow.from_tools_or_functions(tools, llm=llm())
    handler = workflow.run("What is the weather in Oslo?")
    pieces = [event.delta async for event in handler.stream_events() if type(event) is AgentStream]
    said = str(await handler)
    assert "Sunny in Oslo" in said
    assert said in "".join(pieces)


@pytest.mark.package("llama-index-core")
async def test_llama_index_own_evaluators_judge_an_answer(llm: Callable[[], Any]) -> None:
    pytest.importorskip("llama_index.core")
    from llama_index.core.evaluation import FaithfulnessEvaluator, RelevancyEvaluator

    question = {"query": "Is it sunny?", "response": "YES", "contexts": ["YES, it is sunny."]}
    for evaluator in (FaithfulnessEvaluator(llm=llm()), RelevancyEvaluator(llm=llm())):
        result = await evaluator.aevaluate(**question)
        assert result.feedback
        assert result.passing in (True, False)


@pytest.mark.package("llama-index-core")
def test_a_query_engine_answers_from_documents(llm: Callable[[], Any]) -> None:
    pytest.importorskip("llama_index.core")
    from llama_index.core import Document, MockEmbedding, VectorStoreIndex

    documents = [Document(text="The harbour opens at six.")]
    index = VectorStoreIndex.from_documents(documents, embed_model=MockEmbedding(embed_dim=4))
    for mode in ("compact", "refine", "tree_summarize"):
        engine = index.as_query_engine(llm=llm(), response_mode=mode, streaming=mode == "refine")
        assert "harbour" in str(engine.query("When does the harbour open?"))


@pytest.mark.package("ragas")
def test_ragas_asks_a_llama_index_llm(llm: Callable[[], Any]) -> None:
    llms = pytest.importorskip("ragas.llms")
    from langchain_core.prompt_values import StringPromptValue

    wrapped = llms.LlamaIndexLLMWrapper(llm())
    result = wrapped.generate_text(StringPromptValue(text="Say hello"))
    assert "hello" in result.generations[0][0].text
