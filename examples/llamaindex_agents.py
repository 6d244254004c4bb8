"""Two LlamaIndex agents with the same tool, through Lunos.

The first calls its tool through the API, the second (ReAct) in plain text, for models without tool
calling. Without LUNOS_API_KEY the local gateway answers with scripted responses.

python examples/llamaindex_agents.py
"""

from __future__ import annotations

import asyncio

from _gateway import connect, run
from llama_index.core.agent.workflow import (
    AgentStream,
    BaseWorkflowAgent,
    FunctionAgent,
    ReActAgent,
    ToolCallResult,
)

from llama_index_lunos import Lunos
from lunos_core import UsageLedger


def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    return a * b


async def show(agent: BaseWorkflowAgent, task: str) -> None:
    """Run an agent and show its steps as they come."""
    print(f"\n{agent.name}: {task}")
    handler = agent.run(task)
    async for event in handler.stream_events():
        if isinstance(event, ToolCallResult):
            print(f"  {event.tool_name}({event.tool_kwargs}) = {event.tool_output}")
        elif isinstance(event, AgentStream) and event.thinking_delta:
            print(f"  thinks: {event.thinking_delta}")
    print(f"  says: {await handler}")


async def main() -> None:
    """One task for both."""
    with connect() as connection, UsageLedger() as ledger:
        llm = Lunos(
            "openai/gpt-4o-mini",
            api_base=connection.base_url,
            api_key=connection.api_key,
            app_id="agents",
        )
        in_words = llm.model_copy(update={"is_function_calling_model": False, "app_id": "react"})
        task = "Multiply 128 and 46."
        await show(FunctionAgent(name="function agent", tools=[multiply], llm=llm), task)
        await show(ReActAgent(name="ReAct agent", tools=[multiply], llm=in_words), task)
        print(f"\n{ledger.table()}")
        await llm.aclose()
        await in_words.aclose()


if __name__ == "__main__":
    run(lambda: asyncio.run(main()))
