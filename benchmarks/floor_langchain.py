"""LangChain's minimum: a chat model that answers without any server.

What it takes is what LangChain itself takes, in whatever adapter; each answer is a new object, as
LangChain writes into the ones that it is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr

from benchmarks.bodies import TEXT, tool_arguments
from benchmarks.plain import Lean


class Floor(BaseChatModel):
    """Answer with constants; the URL says which kind and how many, as for the server."""

    url: str

    @property
    def _llm_type(self) -> str:
        return "floor"

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=TEXT))])

    async def _agenerate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return self._generate(messages)

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        kind, _, number = self.url.rstrip("/").split("/")[-2].partition("-")
        if kind == "tool":
            first, *rest = tool_arguments(int(number))
            calls = [tool_call_chunk(name="write", args=first, id="call_1", index=0)]
            calls += [tool_call_chunk(args=piece, index=0) for piece in rest]
            for call in calls:
                yield ChatGenerationChunk(
                    message=AIMessageChunk(content="", tool_call_chunks=[call])
                )
            return
        for _ in range(int(number)):
            yield ChatGenerationChunk(message=AIMessageChunk(content="word "))


class OnLean(Floor):
    """The smallest possible LangChain adapter: httpx, the text alone, and nothing else.

    More than the sum of the two: each evicts the other's code from the processor's caches.
    """

    _lean: Lean = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Create the HTTP clients."""
        self._lean = Lean(self.url)

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        message = AIMessage(content=self._lean.call())
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        message = AIMessage(content=await self._lean.acall())
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for delta in self._lean.deltas():
            text = delta.get("content") or ""
            yield ChatGenerationChunk(message=AIMessageChunk(content=text))
