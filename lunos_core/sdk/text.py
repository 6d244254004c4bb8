"""`lunos.chat`, `lunos.completions` and `lunos.embeddings`: check arguments, send requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar, overload

from lunos_core.endpoints.chat.requests import (
    chat_request,
    chat_stream_request,
    completion_request,
    completion_stream_request,
)
from lunos_core.endpoints.chat.types import Chunk, Completion
from lunos_core.endpoints.embedding_arrays import EmbeddingArray, embedding_array_request
from lunos_core.endpoints.embeddings import Embeddings as Vectors
from lunos_core.endpoints.embeddings import embedding_request
from lunos_core.endpoints.params import check_messages
from lunos_core.transport.client import AsyncClient, Client
from lunos_core.transport.streams import AsyncStream, Stream

Messages = Sequence[Mapping[str, Any]]
Prompt = str | Sequence[str]
C = TypeVar("C")


class Resource(Generic[C]):
    """Methods that send requests with a client."""

    def __init__(self, client: C) -> None:
        self._client = client


class Chat:
    """`lunos.chat`."""

    def __init__(self, client: Client) -> None:
        self.completions = ChatCompletions(client)


class AsyncChat:
    """`lunos.chat`, awaited."""

    def __init__(self, client: AsyncClient) -> None:
        self.completions = AsyncChatCompletions(client)


class ChatCompletions(Resource[Client]):
    """`lunos.chat.completions`."""

    @overload
    def create(
        self, *, model: str, messages: Messages, stream: Literal[False] = False, **params: Any
    ) -> Completion: ...

    @overload
    def create(
        self, *, model: str, messages: Messages, stream: Literal[True], **params: Any
    ) -> Stream[Chunk]: ...

    def create(
        self, *, model: str, messages: Messages, stream: bool = False, **params: Any
    ) -> Completion | Stream[Chunk]:
        """Ask a chat model.

        Args:
            model: the model's id, such as "openai/gpt-4".
            messages: dicts such as `{"role": …, "content": …}`.
            stream: whether to return the answer in chunks, as they arrive.
            **params: the wire's parameters, and `app_id`, `extra_headers`, `extra_body`, `timeout`.

        Raises:
            TypeError: a message or parameter has the wrong type.
            ValueError: a message or parameter cannot be sent.
            LunosError: the call failed.
        """
        checked = check_messages(messages)
        if stream:
            return self._client.stream(chat_stream_request(checked, model=model, **params))
        return self._client.send(chat_request(checked, model=model, **params))


class AsyncChatCompletions(Resource[AsyncClient]):
    """`lunos.chat.completions`, awaited."""

    @overload
    async def create(
        self, *, model: str, messages: Messages, stream: Literal[False] = False, **params: Any
    ) -> Completion: ...

    @overload
    async def create(
        self, *, model: str, messages: Messages, stream: Literal[True], **params: Any
    ) -> AsyncStream[Chunk]: ...

    async def create(
        self, *, model: str, messages: Messages, stream: bool = False, **params: Any
    ) -> Completion | AsyncStream[Chunk]:
        """Ask a chat model: see `Lunos`."""
        checked = check_messages(messages)
        if stream:
            return await self._client.stream(chat_stream_request(checked, model=model, **params))
        return await self._client.send(chat_request(checked, model=model, **params))


class TextCompletions(Resource[Client]):
    """`lunos.completions`."""

    @overload
    def create(
        self, *, model: str, prompt: Prompt, stream: Literal[False] = False, **params: Any
    ) -> Completion: ...

    @overload
    def create(
        self, *, model: str, prompt: Prompt, stream: Literal[True], **params: Any
    ) -> Stream[Chunk]: ...

    def create(
        self, *, model: str, prompt: Prompt, stream: bool = False, **params: Any
    ) -> Completion | Stream[Chunk]:
        """Continue a prompt; the text is in `choices[0].text`."""
        if stream:
            return self._client.stream(completion_stream_request(prompt, model=model, **params))
        return self._client.send(completion_request(prompt, model=model, **params))


class AsyncTextCompletions(Resource[AsyncClient]):
    """`lunos.completions`, awaited."""

    @overload
    async def create(
        self, *, model: str, prompt: Prompt, stream: Literal[False] = False, **params: Any
    ) -> Completion: ...

    @overload
    async def create(
        self, *, model: str, prompt: Prompt, stream: Literal[True], **params: Any
    ) -> AsyncStream[Chunk]: ...

    async def create(
        self, *, model: str, prompt: Prompt, stream: bool = False, **params: Any
    ) -> Completion | AsyncStream[Chunk]:
        """Continue a prompt: see `Lunos`."""
        if stream:
            request = completion_stream_request(prompt, model=model, **params)
            return await self._client.stream(request)
        return await self._client.send(completion_request(prompt, model=model, **params))


class Embeddings(Resource[Client]):
    """`lunos.embeddings`."""

    def create(self, *, model: str, input: str | Sequence[str], **params: Any) -> Vectors:
        """Embed texts: `vectors` has one vector for each text, in their order."""
        return self._client.send(embedding_request(input, model=model, **params))

    def create_array(
        self, *, model: str, input: str | Sequence[str], **params: Any
    ) -> EmbeddingArray:
        """Embed texts as one float32 numpy array: `array` has a row for each text."""
        return self._client.send(embedding_array_request(input, model=model, **params))


class AsyncEmbeddings(Resource[AsyncClient]):
    """`lunos.embeddings`, awaited."""

    async def create(self, *, model: str, input: str | Sequence[str], **params: Any) -> Vectors:
        """Embed texts: see `Lunos`."""
        return await self._client.send(embedding_request(input, model=model, **params))

    async def create_array(
        self, *, model: str, input: str | Sequence[str], **params: Any
    ) -> EmbeddingArray:
        """Embed texts as one numpy array: see `Lunos`."""
        return await self._client.send(embedding_array_request(input, model=model, **params))
