"""`LunosEmbeddings`: any embedding model behind Lunos, as LangChain embeddings."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from langchain_core.embeddings import Embeddings
from langchain_core.runnables.config import ContextThreadPoolExecutor
from pydantic import AliasChoices, Field

from langchain_lunos._settings import LunosConnection, check_call, config_app_id, config_metadata
from lunos_core.endpoints.build import RUN_METADATA, merge_options
from lunos_core.endpoints.embedding_arrays import embedding_array_request, join_arrays
from lunos_core.endpoints.embeddings import embedding_request, text_list
from lunos_core.request import Request
from lunos_core.transport.loop_cleanup import running_loop

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float32]
else:  # so that type hints can be read at run time without numpy, which is optional
    Array = Any

__all__ = ["LunosEmbeddings"]

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")


class LunosEmbeddings(LunosConnection, Embeddings, defer_build=False):
    """An embedding model behind Lunos.

    Texts are sent unchanged: no tokenizer, no download, newlines kept. Several batches are sent at
    once and returned in order; an answer with too few vectors is an error.

    Example:
        >>> from langchain_lunos import LunosEmbeddings
        >>> embeddings = LunosEmbeddings(model="lunos/scripted-embedding")
        >>> vectors = embeddings.embed_documents(["one text", "another"])
        >>> len(vectors), len(vectors[0]) == len(embeddings.embed_query("a question"))
        (2, True)

    Raises:
        LunosConfigError: no key (`api_key` or `LUNOS_API_KEY`), or settings that cannot work.
    """

    model: str = Field(validation_alias=AliasChoices("model", "model_name"))
    """The model's id, such as "openai/text-embedding-3-small"."""
    dimensions: int | None = Field(default=None, ge=1)
    """The length of the vectors, if the model lets you choose."""
    chunk_size: int = Field(default=256, ge=1)
    """How many texts go into one request."""
    max_concurrency: int = Field(default=4, ge=1)
    """How many requests are sent at once."""
    encoding_format: Literal["base64", "float"] | None = None
    """How vectors are sent. Default: base64, which takes a quarter of the bytes."""
    user: str | None = None
    """Your end user's id, for the provider's abuse checks."""
    extra_query: dict[str, Any] | None = None
    """Parameters of the URL's query; those of a call are added."""
    extra_body: dict[str, Any] | None = None
    """Fields of the request body that this class doesn't know."""
    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """The same; a separate field because LangChain's users know both names."""
    show_progress_bar: bool = False
    """Show a progress bar while embedding; needs tqdm."""

    @property
    def model_name(self) -> str:
        """`model` under the name that LlamaIndex's users know."""
        return self.model

    def embed_documents(
        self, texts: list[str], chunk_size: int | None = None, **kwargs: Any
    ) -> list[list[float]]:
        """Return the vectors of texts, in their order.

        Args:
            texts: any number; an empty list sends no request.
            chunk_size: how many texts go into one request of this call.
            **kwargs: the wire's parameters for this call, and `app_id`.

        Raises:
            TypeError: a text isn't a `str`.
            LunosError: the call failed, or the answer has too few vectors.
        """
        kwargs["chunk_size"] = chunk_size
        answers = self._send(self._batches(texts, kwargs, embedding_request))
        return [vector for answer in answers for vector in answer.vectors]

    async def aembed_documents(
        self, texts: list[str], chunk_size: int | None = None, **kwargs: Any
    ) -> list[list[float]]:
        """`embed_documents`, awaited."""
        kwargs["chunk_size"] = chunk_size
        answers = await self._asend(self._batches(texts, kwargs, embedding_request))
        return [vector for answer in answers for vector in answer.vectors]

    def embed_documents_array(self, texts: list[str], **kwargs: Any) -> Array:
        """`embed_documents` as one numpy array of float32, with a row for each text.

        For vector stores that take arrays: it creates no Python float for each number.

        Raises:
            ImportError: numpy is not installed.
        """
        answers = self._send(self._batches(texts, kwargs, embedding_array_request))
        return join_arrays(answers, self.dimensions)

    async def aembed_documents_array(self, texts: list[str], **kwargs: Any) -> Array:
        """`embed_documents_array`, awaited."""
        answers = await self._asend(self._batches(texts, kwargs, embedding_array_request))
        return join_arrays(answers, self.dimensions)

    def embed_query(self, text: str, **kwargs: Any) -> list[float]:
        """Return the vector of one text."""
        return self.embed_documents([text], **kwargs)[0]

    async def aembed_query(self, text: str, **kwargs: Any) -> list[float]:
        """`embed_query`, awaited."""
        return (await self.aembed_documents([text], **kwargs))[0]

    def _send(self, batches: list[Request[T]]) -> list[T]:
        answers = map_in_threads(self.client.send, batches, self.max_concurrency)
        return list(self._progress(answers, len(batches)))

    async def _asend(self, batches: list[Request[T]]) -> list[T]:
        bar = iter(self._progress(range(len(batches)), len(batches)))

        async def send(batch: Request[T]) -> T:
            answer = await self.async_client.send(batch)
            next(bar, None)
            return answer

        answers = await map_in_tasks(send, batches, self.max_concurrency)
        next(bar, None)
        return answers

    def _batches(
        self, texts: Iterable[str], kwargs: dict[str, Any], make: Callable[..., Request[T]]
    ) -> list[Request[T]]:
        """Return all requests before any is sent, so that bad input costs nothing."""
        several = text_list(texts)
        check_call(kwargs)
        more = kwargs.get("model_kwargs") or {}
        params: dict[str, Any] = {
            "model": self.model,
            "dimensions": self.dimensions,
            "encoding_format": self.encoding_format,
            "user": self.user,
            **self.model_kwargs,
            **more,
            **kwargs,
        }
        params.pop("model_kwargs", None)
        if params.get("app_id") is None:
            # in a chain's retriever: from the config that the chain was called with
            params["app_id"] = config_app_id()
        params[RUN_METADATA] = config_metadata()
        merge_options(params, self.model_kwargs, self.__dict__, more, kwargs)
        size = params.pop("chunk_size", None)
        size = self.chunk_size if size is None else size
        if isinstance(size, bool) or not isinstance(size, int):
            raise TypeError(f"chunk_size must be an int, not {type(size).__name__}")
        if size < 1:  # with a negative size range() would be empty
            raise ValueError(f"chunk_size must be 1 or more, not {size}")
        return [
            make(several[start : start + size], **params) for start in range(0, len(several), size)
        ]

    def _progress(self, steps: Iterable[T], total: int) -> Iterable[T]:
        if not self.show_progress_bar:
            return steps
        try:
            tqdm = importlib.import_module("tqdm.auto").tqdm
        except ImportError:
            raise ImportError("show_progress_bar=True needs tqdm: pip install tqdm") from None
        bar: Iterable[T] = tqdm(steps, total=total, desc="Embedding")
        return bar


def map_in_threads(work: Callable[[A], B], items: Sequence[A], limit: int) -> Iterator[B]:
    """Yield the results in the order of `items`, working on at most `limit` at a time.

    LangChain's executor copies the context, so that ledgers and callbacks see the calls.
    """
    if min(limit, len(items)) <= 1:
        yield from map(work, items)
        return
    # after a failure `map` starts nothing more, and leaving the block waits for running calls
    with ContextThreadPoolExecutor(max_workers=limit) as executor:
        yield from executor.map(work, items)


async def map_in_tasks(
    work: Callable[[A], Awaitable[B]], items: Iterable[A], limit: int
) -> list[B]:
    """Return the results in the order of `items`, working on at most `limit` at a time.

    The first failure is raised and the others are cancelled, as their results would be lost.
    """
    running_loop()  # raises a clear error if the loop isn't asyncio's
    bound = asyncio.Semaphore(limit)
    failed = False

    async def bounded(item: A) -> B:
        nonlocal failed
        async with bound:
            if failed:  # the failure is on its way to gather(), which cancels
                raise asyncio.CancelledError
            try:
                return await work(item)
            except BaseException:
                failed = True
                raise

    tasks = [asyncio.ensure_future(bounded(item)) for item in items]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
