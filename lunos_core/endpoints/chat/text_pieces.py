"""Join text that arrives in pieces, where a server may have cut characters in two."""

from __future__ import annotations

from lunos_core.wire.text import SurrogateJoiner


class TextPieces:
    """Join pieces of text; the first half of a character waits for the second."""

    __slots__ = ("_joiner", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._joiner = SurrogateJoiner()

    def add(self, piece: str) -> str:
        """Take the next piece, and return the text to show."""
        piece = self._joiner.feed(piece)
        if piece:
            self._pieces.append(piece)
        return piece

    def end(self) -> str:
        """Return what is left at the end: U+FFFD for half a character, mostly nothing."""
        half = self._joiner.end()
        if half:
            self._pieces.append(half)
        return half

    @property
    def whole(self) -> str:
        """Return all the text so far."""
        return "".join(self._pieces)
