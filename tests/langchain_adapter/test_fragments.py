"""Fragments of tool calls are the chunks that LangChain itself makes of them."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.messages.tool import tool_call_chunk

from langchain_lunos._results import to_chunk
from lunos_core.endpoints.chat.types import Chunk, ChunkChoice, Delta, ToolCallDelta

PIECES = [
    "",
    " ",
    "{",
    '{"a"',
    ' {"a": 1}',
    "word",
    '"',
    '": "',
    "1",
    "null",
    "[1",
    "}",
    "\n",
    "\\",
]


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("name", [None, "write"])
def test_a_fragment_is_what_langchain_makes_of_it(piece: str, name: str | None) -> None:
    delta = Delta(tool_calls=[ToolCallDelta(0, "call_1" if name else None, name, piece)])
    generation = to_chunk(Chunk([ChunkChoice(0, delta)]), [])
    assert generation is not None
    plain = AIMessageChunk(
        content="",
        response_metadata={"model_provider": "lunos"},
        tool_call_chunks=[
            tool_call_chunk(name=name, args=piece, id="call_1" if name else None, index=0)
        ],
    )
    assert generation.message == plain
    assert generation.message.model_dump() == plain.model_dump()
    assert (generation.message + plain) == (plain + plain)
