"""A first program with LangChain, where the wheel is installed, against a gateway that
LUNOS_BASE_URL and LUNOS_API_KEY name. It fails with an AssertionError, or prints one line.

python call_langchain.py [package that must not be there...]
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys

from langchain_core.tools import tool
from pydantic import BaseModel

from langchain_lunos import ChatLunos, LunosEmbeddings, LunosLLM


class City(BaseModel):
    name: str
    people: int


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


async def main(absent: list[str]) -> None:
    for name in absent:
        assert importlib.util.find_spec(name) is None, f"{name} is here too"
    chat = ChatLunos(model="lunos/scripted", app_id="alone")
    assert "Hello" in chat.invoke("Hello").text
    assert "Hello" in (await chat.ainvoke("Hello")).text
    assert "Hello" in "".join(chunk.text for chunk in chat.stream("Hello"))
    assert "Hello" in "".join([chunk.text async for chunk in chat.astream("Hello")])
    (call,) = chat.bind_tools([multiply]).invoke("multiply 6 and 7").tool_calls
    assert multiply.invoke(call["args"]) == 42
    told = "About 700000 people live in 'Oslo'."
    assert chat.with_structured_output(City).invoke(told) == City(name="Oslo", people=700000)
    assert LunosLLM(model="lunos/scripted").invoke("Once upon a time")
    embeddings = LunosEmbeddings(model="lunos/scripted-embedding")
    assert embeddings.embed_query("cats") == (await embeddings.aembed_documents(["cats"]))[0]
    print("langchain: chat, streams, tools, structured output, completion, embeddings")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
