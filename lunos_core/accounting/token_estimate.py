"""Estimate the tokens of a text or a message's content without a tokenizer."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

CHARACTERS_PER_TOKEN = 4
"""In scripts with spaces between words."""

# Scripts without spaces between words, and Hangul: about one token per character.
_DENSE = (  # `re` compiles it when it is first used, which takes 3 ms
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff"
    "\uf900-\ufaff\uff00-\uffef\U0001f000-\U0003ffff]"
)
# Vision models' count for an image of usual size. The wire doesn't have its size.
_IMAGE = 1000
_VIDEO = 10_000
_AUDIO_BYTES_PER_TOKEN = 3000  # about 10 tokens for a second of 16-bit speech
_DOCUMENT_BYTES_PER_TOKEN = 200  # a PDF page of 100 KB is about 500 words
_MOST_MEDIA = 10_000
"""The most tokens of one file: media mustn't push the conversation out of a chat memory."""


def estimate_tokens(content: Any) -> int:
    """Estimate the tokens of a text, or of the wire's content parts.

    Text counts one token for every four characters, and one for each character of a script without
    spaces. Media count by their kind, not by the length of their base64.

    Args:
        content: a `str`, a list of content parts, or `None`.

    Example:
        >>> from lunos_core.accounting.token_estimate import estimate_tokens
        >>> estimate_tokens("The quick brown fox"), estimate_tokens("日本語")
        (5, 3)
        >>> estimate_tokens([{"type": "image_url", "image_url": {"url": "data:…"}}])
        1000
    """
    if isinstance(content, str):
        dense = 0 if content.isascii() else len(re.findall(_DENSE, content))
        return dense + -(-(len(content) - dense) // CHARACTERS_PER_TOKEN)
    if not isinstance(content, list | tuple):
        return 0
    return sum(map(_part_tokens, content))


def cut_to_tokens(text: str, most: int) -> str:
    """Return the longest beginning of a text with an estimate of at most `most` tokens."""
    if len(text) <= most or estimate_tokens(text) <= most:
        return text
    lengths = range(1, most * CHARACTERS_PER_TOKEN + 1)
    return text[: bisect_right(lengths, most, key=lambda length: estimate_tokens(text[:length]))]


def batches_by_tokens(
    texts: Iterable[str], tokens: int, *, most_texts: int = 2048
) -> Iterator[list[str]]:
    """Split texts into batches of about `tokens` tokens each, in order.

    Args:
        texts: the texts; one with more tokens gets a separate batch.
        tokens: the estimated tokens of a batch.
        most_texts: the most texts in a batch; embedding services accept 2,048.
    """
    batch: list[str] = []
    left = tokens
    for text in texts:
        size = estimate_tokens(text)
        if batch and (size > left or len(batch) == most_texts):
            yield batch
            batch, left = [], tokens
        batch.append(text)
        left -= size
    if batch:
        yield batch


def _part_tokens(part: Any) -> int:
    if isinstance(part, str):
        return estimate_tokens(part)
    if not isinstance(part, Mapping):
        return 0
    kind = str(part.get("type"))
    text = part.get("text")
    if isinstance(text, str):
        return estimate_tokens(text)
    if "image" in kind:
        return _IMAGE
    if "video" in kind:
        return _VIDEO
    size = _size_of(part) * 3 // 4  # base64
    per_token = _AUDIO_BYTES_PER_TOKEN if "audio" in kind else _DOCUMENT_BYTES_PER_TOKEN
    if size or kind in ("file", "input_audio", "audio", "document"):
        return min(max(size // per_token, _IMAGE), _MOST_MEDIA)
    return 0


def _size_of(part: Mapping[str, Any]) -> int:
    """Return the length of the longest text inside a part, which is its data."""
    longest = 0
    for value in part.values():
        if isinstance(value, Mapping):
            longest = max(longest, _size_of(value))
        elif isinstance(value, str | bytes):
            longest = max(longest, len(value))
    return longest if longest > 200 else 0  # shorter ones are names and addresses
