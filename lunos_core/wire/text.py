"""Decode bytes in whatever encoding they came, and join halves of characters."""

from __future__ import annotations

import re
from json import detect_encoding

_SURROGATES = re.compile("[\ud800-\udfff]")
_HIGH = re.compile("[\ud800-\udbff]\\Z")
BOM = b"\xef\xbb\xbf"


def decode(data: bytes | bytearray) -> str:
    """Decode an answer, without its byte order mark; what can't be read becomes U+FFFD.

    UTF-8, else UTF-16 or UTF-32 as the byte order mark or the zero bytes say (RFC 4627, 3).
    """
    if b"\0" in data[:4] or data[:2] in _MARKS:
        try:
            return data.decode(detect_encoding(data))
        except UnicodeDecodeError:
            pass
    # not utf-8-sig: Python would import that codec in the midst of the first call
    return data.removeprefix(BOM).decode("utf-8", "replace")


_MARKS = (b"\xff\xfe", b"\xfe\xff")


def join_surrogates(text: str) -> str:
    r"""Join the halves of characters in a text; a lone half becomes U+FFFD.

    JSON can carry a half (`"\ud83d"`), UTF-8 cannot.

    Example:
        >>> join_surrogates("\ud83d\ude00 and \ud83d") == "\U0001f600 and \ufffd"
        True
    """
    if not _SURROGATES.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class SurrogateJoiner:
    r"""Joins the halves of a character that a stream split over two of its pieces.

    Example:
        >>> joiner = SurrogateJoiner()
        >>> joiner.feed("a\ud83d"), joiner.feed("\ude00b") == "\U0001f600b", joiner.end()
        ('a', True, '')
    """

    __slots__ = ("_half",)

    def __init__(self) -> None:
        self._half = ""

    def feed(self, text: str) -> str:
        """Return the next piece without a first half at its end, which is kept for later."""
        if self._half:
            text, self._half = self._half + text, ""
        elif text.isascii():
            return text
        if _HIGH.search(text):
            text, self._half = text[:-1], text[-1]
        return join_surrogates(text)

    def end(self) -> str:
        """Return what is still kept: U+FFFD for a first half without a second, else nothing."""
        half, self._half = self._half, ""
        return join_surrogates(half)
