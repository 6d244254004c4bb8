"""Decode bytes in any encoding of Unicode, join halves of characters, read numbers and flags."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from json import detect_encoding
from typing import Any

_SURROGATES = re.compile("[\ud800-\udfff]")
_HIGH = re.compile("[\ud800-\udbff]\\Z")
_LONGEST_NUMBER = 40
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?")
_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
BOM = b"\xef\xbb\xbf"


def decode(data: bytes | bytearray) -> str:
    """Decode an answer without its byte order mark; undecodable bytes become U+FFFD.

    It is UTF-8, or UTF-16 or UTF-32 according to the byte order mark or zero bytes (RFC 4627, 3).
    """
    if b"\0" in data[:4] or data[:2] in _MARKS:
        try:
            return data.decode(detect_encoding(data))
        except UnicodeDecodeError:
            pass
    # not utf-8-sig: Python would import that codec during the first call
    return data.removeprefix(BOM).decode("utf-8", "replace")


_MARKS = (b"\xff\xfe", b"\xfe\xff")


def join_surrogates(text: str) -> str:
    r"""Join the halves of characters in a text; a lone half becomes U+FFFD.

    JSON can carry a half (`"\ud83d"`), UTF-8 cannot.

    Example:
        >>> from lunos_core.wire.text import join_surrogates
        >>> join_surrogates("\ud83d\ude00 and \ud83d") == "\U0001f600 and \ufffd"
        True
    """
    if not _SURROGATES.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class TextPieces:
    r"""Joins text that arrives in pieces, between which a server may have split characters.

    Attributes:
        pieces: the text so far, without the first half of a character still to be completed.

    Example:
        >>> from lunos_core.wire.text import TextPieces
        >>> text = TextPieces()
        >>> text.add("a\ud83d"), text.add("\ude00b") == "\U0001f600b", text.end()
        ('a', True, '')
    """

    __slots__ = ("_half", "pieces")

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._half = ""

    def add(self, piece: str) -> str:
        """Take the next piece, and return the text to show; a first half at its end waits."""
        if self._half or not piece.isascii():
            piece, self._half = self._half + piece, ""
            if _HIGH.search(piece):
                piece, self._half = piece[:-1], piece[-1]
            piece = join_surrogates(piece)
        if piece:
            self.pieces.append(piece)
        return piece

    def end(self) -> str:
        """Return the rest at the end: U+FFFD for half a character, usually nothing."""
        half, self._half = join_surrogates(self._half), ""
        if half:
            self.pieces.append(half)
        return half

    @property
    def whole(self) -> str:
        """All the text so far."""
        return "".join(self.pieces)


def flag_of(value: Any) -> bool | None:
    """Read a flag: `true`, 1, "1" or "true", or their opposites; `None` for anything else."""
    if isinstance(value, bool | int | str):
        return _FLAGS.get(str(value).strip().lower())
    return None


def decimal_of(value: Any) -> Decimal | None:
    """Read a finite number exactly, even if it is text; `None` for anything else.

    Example:
        >>> from lunos_core.wire.text import decimal_of
        >>> decimal_of(0.1), decimal_of("$1,234.50"), decimal_of("NaN")
        (Decimal('0.1'), Decimal('1234.50'), None)
    """
    if not isinstance(value, int | float | str):
        return None
    try:
        # a float's shortest text is the number that the server wrote
        text = str(value).strip()
        if isinstance(value, str):
            text = text.removeprefix("$").removesuffix("USD").strip()
            text = text.replace(",", "") if _THOUSANDS.fullmatch(text) else text
        number = Decimal(text) if len(text) <= _LONGEST_NUMBER else None
    except (InvalidOperation, ValueError):
        return None
    return number if number is not None and number.is_finite() else None
