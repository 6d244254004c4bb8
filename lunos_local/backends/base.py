"""The protocols that a model's backend implements."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from lunos_local.backends.answer import Answer

Body = dict[str, Any]


class ChatBackend(Protocol):
    """A model for chat and text completion. Bodies have the wire's form."""

    async def chat(self, body: Body) -> Body:
        """Answer a chat request."""
        ...

    def chat_chunks(self, body: Body) -> AsyncIterator[Body]:
        """Answer a chat request in chunks."""
        ...

    async def complete(self, body: Body) -> Body:
        """Answer a completion request."""
        ...

    def completion_chunks(self, body: Body) -> AsyncIterator[Body]:
        """Answer a completion request in chunks."""
        ...


class EmbeddingBackend(Protocol):
    """A model that embeds texts."""

    async def embed(self, body: Body) -> Body:
        """Answer an embedding request."""
        ...


def include_usage(body: Body) -> bool:
    """Return whether a streamed request asks for a chunk with the usage."""
    return bool((body.get("stream_options") or {}).get("include_usage"))


class RuleBackend:
    """A model that consists of two functions, for chat and for completion requests.

    The functions run in a worker thread, since some of them are slow.
    """

    def __init__(
        self,
        chat: Callable[[Body], Answer],
        complete: Callable[[Body], Answer],
        *,
        reshape: Callable[[Body], Body] | None = None,
        says_cost: bool = True,
    ) -> None:
        self._chat = chat
        self._complete = complete
        self._reshape = reshape or (lambda body: body)
        self._says_cost = says_cost

    async def chat(self, body: Body) -> Body:
        """Answer a chat request."""
        return self._whole((await asyncio.to_thread(self._chat, body)).to_chat())

    async def chat_chunks(self, body: Body) -> AsyncIterator[Body]:
        """Answer a chat request in chunks."""
        answer = await asyncio.to_thread(self._chat, body)
        for chunk in answer.chat_chunks(include_usage=include_usage(body)):
            yield self._billed(chunk)

    async def complete(self, body: Body) -> Body:
        """Answer a completion request."""
        return self._whole((await asyncio.to_thread(self._complete, body)).to_completion())

    async def completion_chunks(self, body: Body) -> AsyncIterator[Body]:
        """Answer a completion request in chunks."""
        answer = await asyncio.to_thread(self._complete, body)
        for chunk in answer.completion_chunks(include_usage=include_usage(body)):
            yield self._billed(chunk)

    def _whole(self, answer: Body) -> Body:
        return self._reshape(self._billed(answer))

    def _billed(self, body: Body) -> Body:
        if not self._says_cost and body.get("usage"):
            del body["usage"]["cost"]
        return body
