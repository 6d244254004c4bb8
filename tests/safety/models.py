"""The models of both adapters, asked alike: what must hold of one holds of all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage

from langchain_lunos import ChatLunos, LunosEmbeddings, LunosLLM
from llama_index_lunos import Lunos, LunosEmbedding
from tests.safety.answering_server import TEXT, vector_of


@dataclass(frozen=True)
class Kind:
    """One class, and how to ask it.

    Attributes:
        make: from settings of the connection.
        ask: its plain answer, which is `answer`.
        aask: the same, awaited.
        stream: its pieces, where it streams.
        astream: the same, to be awaited by `pieces_of`.
        answer: what it must say.
    """

    make: Callable[..., Any]
    ask: Callable[[Any], Any]
    aask: Callable[[Any], Any]
    stream: Callable[[Any], Any] | None = None
    astream: Callable[[Any], Any] | None = None
    answer: Any = TEXT


async def _text(answer: Any) -> Any:
    return (await answer).text


async def _content(answer: Any) -> Any:
    return (await answer).message.content


HELLO = [ChatMessage("Hello")]
KINDS = {
    "ChatLunos": Kind(
        lambda **settings: ChatLunos(model="m", **settings),
        lambda model: model.invoke("Hello").text,
        lambda model: _text(model.ainvoke("Hello")),
        lambda model: model.stream("Hello"),
        lambda model: model.astream("Hello"),
    ),
    "LunosLLM": Kind(
        lambda **settings: LunosLLM(model="m", **settings),
        lambda model: model.invoke("Hello"),
        lambda model: model.ainvoke("Hello"),
        lambda model: model.stream("Hello"),
        lambda model: model.astream("Hello"),
    ),
    "LunosEmbeddings": Kind(
        lambda **settings: LunosEmbeddings(model="m", **settings),
        lambda model: model.embed_query("7"),
        lambda model: model.aembed_query("7"),
        answer=vector_of("7"),
    ),
    "Lunos": Kind(
        lambda **settings: Lunos("m", **settings),
        lambda model: model.chat(HELLO).message.content,
        lambda model: _content(model.achat(HELLO)),
        lambda model: model.stream_chat(HELLO),
        lambda model: model.astream_chat(HELLO),
    ),
    "LunosEmbedding": Kind(
        lambda **settings: LunosEmbedding("m", **settings),
        lambda model: model.get_text_embedding("7"),
        lambda model: model.aget_text_embedding("7"),
        answer=vector_of("7"),
    ),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
every_stream = pytest.mark.parametrize(
    "kind", [one for one in KINDS.values() if one.stream], ids=[n for n in KINDS if KINDS[n].stream]
)


async def opened(stream: Any) -> Any:
    """A stream as an async iterator: LlamaIndex' must be awaited first."""
    return await stream if hasattr(stream, "__await__") else stream


async def close(model: Any) -> None:
    """Close what the instance has open, here."""
    model.client.close()
    await model.async_client.close()
