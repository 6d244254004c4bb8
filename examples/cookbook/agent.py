"""An agent that calls tools, and what each step was.

python examples/cookbook/agent.py ["a task"]
"""

import sys

from langchain.agents import create_agent
from langchain_core.tools import tool

from langchain_lunos import ChatLunos
from lunos_core import UsageLedger

STOCK = {"coffee": 3, "tea": 12}
TASKS = ('Use look_up_stock for "coffee".', "Multiply 128 and 46.")


@tool
def look_up_stock(name: str) -> str:
    """Look up how many packets of a product are in stock."""
    if name not in STOCK:
        return f"There is no {name}. There are: {', '.join(STOCK)}."  # the model can correct itself
    return f"{STOCK[name]} packets of {name} are in stock"


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    return a * b


def main(tasks: tuple[str, ...]) -> None:
    """Give the agent each task, and print what it did."""
    llm = ChatLunos(model="openai/gpt-4o-mini", app_id="agent", temperature=0)
    agent = create_agent(llm, [look_up_stock, multiply])
    with UsageLedger() as ledger:
        for task in tasks:
            print(task)
            for update in agent.stream({"messages": [("human", task)]}, stream_mode="updates"):
                for step in update.values():
                    for message in step["messages"]:
                        for call in getattr(message, "tool_calls", []):
                            print(f"  calls {call['name']}({call['args']})")
                        if message.text:
                            print(f"  {message.type}: {message.text}")
    for row in ledger.rows():
        print(f"{row['app_id']}: {row['calls']} calls, {row['cost']:.6f} USD")


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or TASKS)
