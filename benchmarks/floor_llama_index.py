"""LlamaIndex's minimum: a model that answers without any server.

What it takes is what LlamaIndex itself takes, in whatever adapter. Its streams are cumulative, as
the framework wants them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.llms import CustomLLM
from llama_index.core.llms.callbacks import llm_chat_callback

from benchmarks.bodies import TEXT, tool_arguments
from benchmarks.plain import Lean


class Floor(CustomLLM):
    """Answer with constants; the URL says which kind and how many, as for the server."""

    url: str

    @property
    def metadata(self) -> LLMMetadata:
        """Nothing of interest."""
        return LLMMetadata()

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Never asked."""
        raise NotImplementedError

    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        """Never asked."""
        raise NotImplementedError

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """A constant."""
        return ChatResponse(message=_said([TextBlock(text=TEXT)]))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """The same constant."""
        return ChatResponse(message=_said([TextBlock(text=TEXT)]))

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Constants."""
        kind, _, number = self.url.rstrip("/").split("/")[-2].partition("-")
        return _call(int(number)) if kind == "tool" else _text(int(number))


class OnLean(Floor):
    """The smallest possible LlamaIndex adapter: httpx, the text alone, and nothing else.

    More than the sum of the two: each evicts the other's code from the processor's caches.
    """

    _lean: Lean = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Create the HTTP clients."""
        super().model_post_init(context)
        self._lean = Lean(self.url)

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """The text of an answer."""
        return ChatResponse(message=_said([TextBlock(text=self._lean.call())]))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """The text of an answer."""
        return ChatResponse(message=_said([TextBlock(text=await self._lean.acall())]))

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Return the text of a stream."""
        return _lean_text(self._lean)


def _lean_text(lean: Lean) -> ChatResponseGen:
    text = ""
    for delta in lean.deltas():
        piece = delta.get("content") or ""
        text += piece
        yield ChatResponse(message=_said([TextBlock(text=text)]), delta=piece)


def _text(count: int) -> ChatResponseGen:
    text = ""
    for _ in range(count):
        text += "word "
        yield ChatResponse(message=_said([TextBlock(text=text)]), delta="word ")


def _call(count: int) -> ChatResponseGen:
    arguments = ""
    for piece in tool_arguments(count):
        arguments += piece
        call = ToolCallBlock(tool_call_id="call_1", tool_name="write", tool_kwargs=arguments)
        yield ChatResponse(message=_said([call]), delta="")


def _said(blocks: list[Any]) -> ChatMessage:
    return ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks)
