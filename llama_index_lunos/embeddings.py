"""`LunosEmbedding`: every embedding model behind the gateway."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.bridge.pydantic import Field, PrivateAttr
from numpy.typing import NDArray

from llama_index_lunos._settings import Connection, run_options
from lunos_core.endpoints.build import check_params
from lunos_core.endpoints.embedding_arrays import (
    EmbeddingArray,
    embedding_array_request,
    join_arrays,
)
from lunos_core.endpoints.embeddings import (
    Embeddings,
    check_encoding,
    embedding_request,
    text_list,
)
from lunos_core.endpoints.params import EMBEDDING
from lunos_core.request import Request
from lunos_core.transport.loop_cleanup import running_loop

# the smallest limit of the known providers (Cohere's), so that every model takes a batch
DEFAULT_BATCH_SIZE = 96
DEFAULT_WORKERS = 4


class LunosEmbedding(Connection, BaseEmbedding):
    """An embedding model behind the Lunos gateway.

    Texts are sent unchanged, newlines included. Vectors are returned in the order of the texts,
    whatever the order of the response; too few vectors are an error.

    Args:
        model_name: the model's id, such as "openai/text-embedding-3-small" (`model` is accepted).
        **settings: the fields below. `base_url` is accepted for `api_base`; `http_client` and
            `async_http_client` are an `httpx.Client` and `httpx.AsyncClient` of your own.

    Raises:
        LunosConfigError: there is no key, or a base URL, timeout or number of retries is invalid.
        ValueError: a value is out of range.
        TypeError: a setting doesn't exist, or a value has the wrong type.

    Example:
        >>> from llama_index_lunos import LunosEmbedding
        >>> embedding = LunosEmbedding("lunos/scripted-embedding", dimensions=8)
        >>> len(embedding.get_text_embedding("A text"))
        8
        >>> embedding.close()
    """

    model_name: str = Field(description="The model's id.")
    embed_batch_size: int = Field(
        default=DEFAULT_BATCH_SIZE, gt=0, le=2048, description="The most texts in one request."
    )
    num_workers: int | None = Field(
        default=DEFAULT_WORKERS,
        gt=0,
        description="The most concurrent requests of the async methods.",
    )
    # excluded: an object in memory would change the hash of an ingestion in every process
    embeddings_cache: Any | None = Field(
        default=None, exclude=True, description="A key-value store in front of the model."
    )
    dimensions: int | None = Field(
        default=None, description="Length of the vectors, for models that can shorten them."
    )
    encoding_format: str | None = Field(
        default=None,
        description='"base64" (the default: a quarter of the bytes) or "float". Both are read.',
    )
    user: str | None = Field(default=None, description="The end user, for the provider.")
    extra_body: dict[str, Any] | None = Field(
        default=None, description="Fields added to the request body unchanged."
    )
    extra_query: dict[str, Any] | None = Field(
        default=None, description="Parameters added to the URL unchanged."
    )

    # one semaphore per event loop, which it is bound to
    _gates: Any = PrivateAttr(default=None)

    _spellings: ClassVar[Mapping[str, str]] = {"base_url": "api_base", "model": "model_name"}

    def __init__(self, model_name: str | None = None, **settings: Any) -> None:
        super().__init__(model_name=model_name, **settings)
        check_params({"dimensions": self.dimensions, "user": self.user}, EMBEDDING)
        check_encoding(self.encoding_format)

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex stores this class."""
        return "LunosEmbedding"

    def to_payload(self) -> dict[str, Any]:
        """Return what tracers see of this model: never the key, never headers."""
        return {
            **super().to_payload(),
            "model": self.model_name,
            "dimensions": self.dimensions,
        }

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._embed([query])[0]

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return (await self._aembed([query]))[0]

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._embed([text])[0]

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return (await self._aembed([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return self._embed(texts)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        # LlamaIndex forgets the limiter if there is a cache
        if self.rate_limiter is not None:
            await self.rate_limiter.async_acquire()
        return await self._aembed(texts)

    def get_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[Embedding]:
        """As LlamaIndex's, which embeds a `str` letter by letter, and a generator not at all.

        Raises:
            TypeError: `texts` isn't a list or another iterable.
        """
        return super().get_text_embedding_batch(text_list(texts), show_progress, **kwargs)

    async def aget_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[Embedding]:
        """As LlamaIndex's, which needs asyncio.

        Raises:
            LunosConfigError: the event loop isn't asyncio's.
        """
        running_loop()
        return await super().aget_text_embedding_batch(text_list(texts), show_progress, **kwargs)

    async def _aget_text_embeddings_rate_limited(self, texts: list[str]) -> list[Embedding]:
        return await self._aget_text_embeddings(texts)

    def get_text_embedding_array(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts as one numpy array of float32, with a row for each text.

        This is for indexes that take arrays: it creates no Python float for each number. The
        embeddings cache isn't used.

        Args:
            texts: any number of texts; an empty list sends no request.

        Raises:
            TypeError: a text isn't a `str`.
            LunosError: the call failed, or the response has too few vectors.
        """
        answers = []
        for request in self._array_requests(texts):
            if self.rate_limiter is not None:
                self.rate_limiter.acquire()
            answers.append(self.client.send(request))
        return join_arrays(answers, self.dimensions)

    async def aget_text_embedding_array(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """`get_text_embedding_array`, awaited, with `num_workers` concurrent requests."""

        async def send(request: Request[EmbeddingArray]) -> EmbeddingArray:
            async with self._gate():
                if self.rate_limiter is not None:
                    await self.rate_limiter.async_acquire()
                return await self.async_client.send(request)

        requests = self._array_requests(texts)
        try:
            async with asyncio.TaskGroup() as group:  # if one fails, the others aren't paid for
                tasks = [group.create_task(send(request)) for request in requests]
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return join_arrays([task.result() for task in tasks], self.dimensions)

    def _array_requests(self, texts: Sequence[str]) -> list[Request[EmbeddingArray]]:
        texts = text_list(texts)
        size = self.embed_batch_size
        several = [texts[start : start + size] for start in range(0, len(texts), size)]
        return [embedding_array_request(batch, **self._settings()) for batch in several]

    def _embed(self, texts: Sequence[str]) -> list[Embedding]:
        return self.client.send(self._request(texts)).vectors

    async def _aembed(self, texts: Sequence[str]) -> list[Embedding]:
        async with self._gate():
            return (await self.async_client.send(self._request(texts))).vectors

    def _request(self, texts: Sequence[str]) -> Request[Embeddings]:
        return embedding_request(texts, **self._settings())

    def _settings(self) -> dict[str, Any]:
        return {
            "model": self.model_name,
            "dimensions": self.dimensions,
            "encoding_format": self.encoding_format,
            "user": self.user,
            "extra_body": self.extra_body,
            "extra_query": self.extra_query,
            **run_options(),
        }

    def _gate(self) -> asyncio.Semaphore:
        """Return the bound on concurrent requests; LlamaIndex sometimes gathers without one."""
        if self._gates is None:
            self._gates = _Gates()
        gate: asyncio.Semaphore = self._gates.of_this_loop(self.num_workers or DEFAULT_WORKERS)
        return gate


class _Gates:
    """One semaphore for each event loop; copies and pickles start without any."""

    def __init__(self) -> None:
        self._by_loop: weakref.WeakKeyDictionary[
            asyncio.AbstractEventLoop, tuple[int, asyncio.Semaphore]
        ] = weakref.WeakKeyDictionary()

    def of_this_loop(self, width: int) -> asyncio.Semaphore:
        loop = running_loop()
        known = self._by_loop.get(loop)
        if known is None or known[0] != width:
            known = self._by_loop[loop] = (width, asyncio.Semaphore(width))
        return known[1]

    def __reduce__(self) -> tuple[Any, ...]:
        return _Gates, ()


def _register() -> None:
    try:
        from llama_index.core.embeddings.loading import RECOGNIZED_EMBEDDINGS
    except ImportError:  # another integration's import failed there
        return
    RECOGNIZED_EMBEDDINGS.setdefault(LunosEmbedding.class_name(), LunosEmbedding)


_register()
