"""A stream's bytes in batches: all that has arrived is read before the consumer goes to work.

Parsing and the frameworks' own work for a chunk each fill the processor's fastest cache. Where a
server is quicker than the consumer, taking turns for every chunk costs 10 µs each; reading first
what is here already costs nothing, and no chunk waits for one that is not.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator

from lunos_core.transport.deadline import Patience


def batches(pieces: Iterator[bytes], patience: Patience) -> Generator[bytes]:
    """Each piece of bytes, with those behind it that can be had without a wait."""
    for piece in pieces:
        patience.consumed(piece)
        if patience.at_hand <= 0:
            yield piece
            continue
        batch = [piece]
        try:
            while patience.at_hand > 0:
                piece = next(pieces, b"")
                patience.consumed(piece)
                batch.append(piece)
        except Exception:
            yield b"".join(batch)  # what came before an error is shown
            raise
        yield b"".join(batch)


async def abatches(pieces: AsyncIterator[bytes], patience: Patience) -> AsyncGenerator[bytes]:
    """`batches`, awaited."""
    async for piece in pieces:
        patience.consumed(piece)
        if patience.at_hand <= 0:
            yield piece
            continue
        batch = [piece]
        try:
            while patience.at_hand > 0:
                piece = await anext(pieces, b"")
                patience.consumed(piece)
                batch.append(piece)
        except Exception:
            yield b"".join(batch)
            raise
        yield b"".join(batch)
