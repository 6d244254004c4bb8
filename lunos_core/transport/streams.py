"""The streams that `stream()` returns: chunks as they arrive, and a way to stop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")

OPENED: Any = object()
"""A generator of chunks yields this first, once its stream is open; consumers never see it."""


class Stream(Generic[T]):
    """The chunks of an answer as they arrive: an iterator and a context manager.

    Leaving the `with` block, or `close()`, releases the connection at once.

    Example:
        >>> from lunos_core import Lunos
        >>> lunos = Lunos()
        >>> hello = [{"role": "user", "content": "Hello"}]
        >>> with lunos.chat.completions.create(
        ...     model="lunos/scripted", messages=hello, stream=True
        ... ) as stream:
        ...     "".join(chunk.text for chunk in stream)
        'Scripted answer to: Hello'
    """

    def __init__(self, chunks: Generator[T]) -> None:
        self._chunks = chunks

    @classmethod
    def opened(cls, chunks: Generator[T]) -> Self:
        """Open the stream, and raise here if that fails."""
        next(chunks)
        return cls(chunks)

    def __iter__(self) -> Generator[T]:
        """Return the generator itself, which saves a call for each chunk."""
        return self._chunks

    def __next__(self) -> T:
        return next(self._chunks)

    def close(self) -> None:
        """Stop reading."""
        self._chunks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncStream(Generic[T]):
    """`Stream`, awaited.

    Example:
        >>> import asyncio
        >>> from lunos_core import AsyncLunos
        >>> hello = [{"role": "user", "content": "Hello"}]
        >>> async def read():
        ...     async with AsyncLunos() as lunos:
        ...         stream = await lunos.chat.completions.create(
        ...             model="lunos/scripted", messages=hello, stream=True
        ...         )
        ...         async with stream:
        ...             return "".join([chunk.text async for chunk in stream])
        >>> asyncio.run(read())
        'Scripted answer to: Hello'
    """

    def __init__(self, chunks: AsyncGenerator[T]) -> None:
        self._chunks = chunks

    @classmethod
    async def opened(cls, chunks: AsyncGenerator[T]) -> Self:
        """Open the stream, and raise here if that fails."""
        await anext(chunks)
        return cls(chunks)

    def __aiter__(self) -> AsyncIterator[T]:
        return self._chunks

    async def __anext__(self) -> T:
        return await anext(self._chunks)

    async def close(self) -> None:
        """Stop reading."""
        await self._chunks.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
