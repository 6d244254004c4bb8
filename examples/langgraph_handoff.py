"""Agents in a LangGraph graph: a clerk answers, or hands the task to a buyer, who orders.

Each agent has its own app id, so the ledger shows what each used. Without LUNOS_API_KEY the local
gateway answers with scripted responses. `llamaindex_workflow.py` is the same with LlamaIndex.

python examples/langgraph_handoff.py
"""

from __future__ import annotations

from typing import Literal

from _gateway import connect, run
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, Send

from langchain_lunos import ChatLunos
from lunos_core import UsageLedger

STOCK = {"tea": 12, "coffee": 3}
TASKS = (
    'Look up the stock of "coffee".',
    'Transfer this to the buyer: "order 20 of `coffee`".',
)


@tool
def look_up_stock(item: str) -> str:
    """Look up how many of an item are in stock."""
    return f"{STOCK.get(item.lower(), 0)} of {item} are in stock"


@tool
def order(item: str, quantity: int) -> str:
    """Order a quantity of an item from the supplier."""
    return f"{quantity} of {item} are ordered"


@tool
def transfer_to_buyer(task: str) -> Command[Literal["buyer"]]:
    """Transfer a task to the buyer, who orders from the supplier."""
    # the buyer begins with the task alone: it need not read the clerk's conversation
    handed = Send("buyer", {"messages": [HumanMessage(task)]})
    return Command(goto=[handed], graph=Command.PARENT)


def main() -> None:
    """Two agents as two nodes; a tool's answer is the edge between them."""
    with connect() as connection, UsageLedger() as ledger:
        model = ChatLunos(
            model="openai/gpt-4o-mini",
            base_url=connection.base_url,
            api_key=connection.api_key,
        )
        clerk = create_agent(
            model.model_copy(update={"app_id": "clerk"}),
            tools=[look_up_stock, transfer_to_buyer],
            system_prompt="Look up the stock. Leave orders to the buyer.",
        )
        buyer = create_agent(model.model_copy(update={"app_id": "buyer"}), tools=[order])
        graph = StateGraph(MessagesState)
        graph.add_node("clerk", clerk, destinations=("buyer",))
        graph.add_node("buyer", buyer)
        graph.add_edge(START, "clerk")
        team = graph.compile()
        for task in TASKS:
            print(f"task: {task}")
            steps = team.stream({"messages": [("human", task)]}, stream_mode="updates")
            for step in steps:
                for name, update in step.items():
                    said = update["messages"][-1].text if update else "hands over"
                    print(f"  {name}: {said}")
        for row in ledger.rows():
            print(f"{row['app_id']}: {row['calls']} calls")


if __name__ == "__main__":
    run(main)
