"""A first program with LlamaIndex, where the wheel is installed, against a gateway that
LUNOS_BASE_URL and LUNOS_API_KEY name. It fails with an AssertionError, or prints one line.

python call_llama_index.py [package that must not be there...]
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from llama_index.embeddings.lunos import LunosEmbedding
from llama_index.llms.lunos import Lunos


class City(BaseModel):
    """A city."""

    name: str
    people: int


def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


async def main(absent: list[str]) -> None:
    for name in absent:
        assert importlib.util.find_spec(name) is None, f"{name} is here too"
    llm = Lunos("lunos/scripted", app_id="alone")
    hello = [ChatMessage("Hello")]
    assert "Hello" in str(llm.chat(hello))
    assert "Hello" in str(await llm.achat(hello))
    assert "Hello" in "".join(piece.delta or "" for piece in llm.stream_chat(hello))
    assert "Hello" in "".join([piece.delta or "" async for piece in await llm.astream_chat(hello)])
    answer = llm.predict_and_call([FunctionTool.from_defaults(multiply)], "multiply 6 and 7")
    assert "42" in str(answer)
    told = "About 700000 people live in 'Oslo'."
    assert llm.as_structured_llm(City).complete(told).raw == City(name="Oslo", people=700000)
    index = VectorStoreIndex.from_documents(
        [Document(text="Cats sleep most of the day."), Document(text="The tax return is due.")],
        embed_model=LunosEmbedding("lunos/scripted-embedding"),
    )
    result = index.as_query_engine(llm=llm, similarity_top_k=1).query("When do cats sleep?")
    assert "Cats sleep" in result.source_nodes[0].text
    print("llama-index: chat, streams, tools, structured output, embeddings, an index")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
