"""A LangGraph agent with memory: two turns in one thread, and a new thread without memory.

Without LUNOS_API_KEY the local gateway answers: its model quotes from what it was told.

python examples/langgraph_memory.py
"""

from __future__ import annotations

import asyncio

from _gateway import connect, run
from langchain.agents import create_agent
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from langchain_lunos import ChatLunos
from lunos_core import UsageLedger

TURNS = (
    ("anna", "My cat is called Mia and she is four years old."),
    ("anna", "What is my cat called?"),
    ("anna", "Multiply 4 and 7."),
    ("ben", "What is my cat called?"),
)


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    return a * b


async def main() -> None:
    """Ask in two threads; each is a conversation of its own in the checkpointer."""
    with connect() as connection, UsageLedger() as ledger:
        model = ChatLunos(
            model="openai/gpt-4o-mini",
            base_url=connection.base_url,
            api_key=connection.api_key,
        )
        # SqliteSaver or PostgresSaver in its place outlives the program
        agent = create_agent(model, tools=[multiply], checkpointer=InMemorySaver())
        for thread, text in TURNS:
            # the config names the conversation, and the application that pays for it
            config = {"configurable": {"thread_id": thread, "app_id": f"chat-{thread}"}}
            state = await agent.ainvoke({"messages": [("human", text)]}, config)
            print(f"{thread}: {text}\n  -> {state['messages'][-1].text}")
        for thread in ("anna", "ben"):
            kept = await agent.aget_state({"configurable": {"thread_id": thread}})
            print(f"{thread}'s thread holds {len(kept.values['messages'])} messages")
        for row in ledger.rows():
            print(f"{row['app_id']}: {row['calls']} calls, {row['input_tokens']} tokens in")


if __name__ == "__main__":
    run(lambda: asyncio.run(main()))
