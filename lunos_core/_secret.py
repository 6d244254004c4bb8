"""A key that isn't shown when it is printed."""

from __future__ import annotations

from typing import Any


class Secret:
    """Wraps a key; only `reveal()` returns it.

    Example:
        >>> from lunos_core import Secret
        >>> key = Secret("sk-123")
        >>> print(key, [key], key.reveal())
        ********** [Secret('**********')] sk-123
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the key."""
        return self._text

    def __str__(self) -> str:
        return "**********"

    def __repr__(self) -> str:
        return "Secret('**********')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> tuple[Any, ...]:
        # with the key: a pickled client must work where it is unpickled
        return Secret, (self._text,)
