"""Two agents that hand tasks over to each other, each with its own app id.

Without LUNOS_API_KEY the local gateway answers with scripted responses.

python examples/llamaindex_workflow.py
"""

from __future__ import annotations

import asyncio

from _gateway import connect, run
from llama_index.core.agent.workflow import (
    AgentOutput,
    AgentWorkflow,
    FunctionAgent,
    ToolCallResult,
)

from llama_index_lunos import Lunos
from lunos_core import UsageLedger

STOCK = {"tea": 12, "coffee": 3}


def look_up_stock(item: str) -> str:
    """Look up how many of an item are in stock."""
    return f"{STOCK.get(item.lower(), 0)} of {item} are in stock"


def order(item: str, quantity: int) -> str:
    """Order a quantity of an item from the supplier."""
    return f"{quantity} of {item} are ordered"


async def main() -> None:
    """A clerk who looks up, and a buyer who orders."""
    with connect() as connection, UsageLedger() as ledger:
        clerk = Lunos(
            "openai/gpt-4o-mini",
            api_base=connection.base_url,
            api_key=connection.api_key,
            app_id="clerk",
        )
        buyer = clerk.model_copy(update={"app_id": "buyer"})
        workflow = AgentWorkflow(
            agents=[
                FunctionAgent(
                    name="clerk",
                    description="Knows the stock.",
                    system_prompt="Look up the stock. Leave orders to the buyer: hand off.",
                    tools=[look_up_stock],
                    llm=clerk,
                    can_handoff_to=["buyer"],
                ),
                FunctionAgent(
                    name="buyer",
                    description="Orders from the supplier.",
                    system_prompt="Order what is asked for.",
                    tools=[order],
                    llm=buyer,
                ),
            ],
            root_agent="clerk",
        )
        handler = workflow.run('Please handoff to_agent "buyer", who is to order 20 of "coffee".')
        async for event in handler.stream_events():
            if isinstance(event, ToolCallResult):
                print(f"  {event.tool_name}({event.tool_kwargs}) = {event.tool_output}")
            elif isinstance(event, AgentOutput) and event.response.content:
                print(f"  {event.current_agent_name}: {event.response.content}")
        await handler
        print(f"\n{ledger.table()}")
        await clerk.aclose()
        await buyer.aclose()


if __name__ == "__main__":
    run(lambda: asyncio.run(main()))
