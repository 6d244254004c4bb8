"""How the models of each framework are called. Imported where they run: nothing at the top."""

from __future__ import annotations

import json
from typing import Any, Protocol

from benchmarks.prompts import PROMPT


class Verbs(Protocol):
    """What can be asked of a model, whatever its framework."""

    def call(self, model: Any) -> str:
        """Return the text of one answer."""

    async def acall(self, model: Any) -> str:
        """Return the text of one answer, asynchronously."""

    def stream(self, model: Any) -> int:
        """Return how many characters of text came; the pieces are dropped."""

    def tool(self, model: Any) -> str:
        """Return the arguments of the tool call that is streamed."""

    def embed_array(self, model: Any, texts: list[str]) -> Any:
        """Embed texts into one numpy array."""

    def embed(self, model: Any, texts: list[str]) -> list[Any]:
        """Embed texts."""


class Httpx:
    """The classes of `plain.py`."""

    def call(self, model: Any) -> str:
        """Return the text of one answer."""
        return str(model.call())

    async def acall(self, model: Any) -> str:
        """Return the text of one answer, asynchronously."""
        return str(await model.acall())

    def stream(self, model: Any) -> int:
        """Return how many characters of text came."""
        seen = 0
        for delta in model.deltas():
            seen += len(delta.get("content") or "")
        return seen

    def tool(self, model: Any) -> str:
        """Return the arguments of the tool call, joined at the end."""
        pieces: list[str] = []
        for delta in model.deltas():
            pieces += [call["function"]["arguments"] for call in delta.get("tool_calls") or ()]
        return "".join(pieces)

    def embed_array(self, model: Any, texts: list[str]) -> Any:
        """Embed texts, and convert the lists to one array."""
        import numpy as np

        return np.array(model.embed(texts), dtype=np.float32)

    def embed(self, model: Any, texts: list[str]) -> list[Any]:
        """Embed texts."""
        found: list[Any] = model.embed(texts)
        return found


class LangChain:
    """Any `BaseChatModel`."""

    def call(self, model: Any) -> str:
        """Return the text of one answer."""
        return str(model.invoke(PROMPT).content)

    async def acall(self, model: Any) -> str:
        """Return the text of one answer, asynchronously."""
        return str((await model.ainvoke(PROMPT)).content)

    def stream(self, model: Any) -> int:
        """Return how many characters of text came."""
        seen = 0
        for chunk in model.stream(PROMPT):
            seen += len(chunk.content)
        return seen

    def tool(self, model: Any) -> str:
        """Return the arguments of the tool call, joined at the end."""
        pieces: list[str] = []
        for chunk in model.stream(PROMPT):
            pieces += [call["args"] or "" for call in chunk.tool_call_chunks]
        return "".join(pieces)

    def embed_array(self, model: Any, texts: list[str]) -> Any:
        """Embed texts into one numpy array."""
        return model.embed_documents_array(texts)

    def embed(self, model: Any, texts: list[str]) -> list[Any]:
        """Embed texts."""
        found: list[Any] = model.embed_documents(texts)
        return found


class LlamaIndex:
    """Any LlamaIndex `LLM`."""

    def __init__(self) -> None:
        from llama_index.core.base.llms.types import ChatMessage

        self._messages = [ChatMessage(role="user", content=PROMPT)]

    def call(self, model: Any) -> str:
        """Return the text of one answer."""
        return str(model.chat(self._messages).message.content)

    async def acall(self, model: Any) -> str:
        """Return the text of one answer, asynchronously."""
        return str((await model.achat(self._messages)).message.content)

    def stream(self, model: Any) -> int:
        """Return how many characters of text came."""
        seen = 0
        for response in model.stream_chat(self._messages):
            seen += len(response.delta or "")
        return seen

    def tool(self, model: Any) -> str:
        """Return the arguments of the tool call, as the last message holds them."""
        last = None
        for response in model.stream_chat(self._messages):
            last = response.message
        assert last is not None, "nothing came"
        for block in last.blocks:
            given = getattr(block, "tool_kwargs", None)
            if given is not None:
                return given if isinstance(given, str) else json.dumps(given)
        return ""

    def embed_array(self, model: Any, texts: list[str]) -> Any:
        """Embed texts into one numpy array."""
        return model.get_text_embedding_array(texts)

    def embed(self, model: Any, texts: list[str]) -> list[Any]:
        """Embed texts."""
        found: list[Any] = model.get_text_embedding_batch(texts)
        return found


def verbs_of(framework: str) -> Verbs:
    """The verbs of a framework."""
    kinds: dict[str, type[Any]] = {
        "httpx": Httpx,
        "langchain": LangChain,
        "llama_index": LlamaIndex,
    }
    verbs: Verbs = kinds[framework]()
    return verbs
