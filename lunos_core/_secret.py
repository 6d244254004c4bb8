"""A text that no text shows."""

from __future__ import annotations

from typing import Any


class Secret:
    """Holds a key; only `reveal()` gives it.

    Example:
        >>> key = Secret("sk-123")
        >>> print(key, [key], key.reveal())
        ********** [Secret('**********')] sk-123
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __str__(self) -> str:
        """Stars."""
        return "**********"

    def __repr__(self) -> str:
        """Stars."""
        return "Secret('**********')"

    def __eq__(self, other: object) -> bool:
        """Equal to a secret with the same text."""
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        """By the text."""
        return hash(self._text)

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickled client works where it is unpickled, so the text travels in a pickle."""
        return Secret, (self._text,)
