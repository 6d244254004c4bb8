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
