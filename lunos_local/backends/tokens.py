"""A simple token count: words and punctuation marks. Real models use their own tokenizers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

_TOKEN = re.compile(r"\w+|[^\w\s]")
_PIECE = re.compile(r"\s*\S+|\s+$")
# fixed counts for media, which the rule-based models don't read
_MEDIA_TOKENS = {"image_url": 85, "file": 200, "input_audio": 50, "video_url": 300}
_TOKENS_PER_MESSAGE = 3
# streaming millions of words would take minutes
_MOST_WORDS = 20_000
_BLOCK = 64 * 2**10


def count(text: str) -> int:
    """Count the words and punctuation marks of `text`."""
    return sum(1 for _ in _TOKEN.finditer(text))  # a list would take 50 times the text's memory


def cut(text: str, most: int | None) -> tuple[str, bool]:
    """Return the first `most` tokens of `text`, and whether anything was cut off."""
    if most is None:
        return text, False
    for seen, match in enumerate(_TOKEN.finditer(text)):
        if seen == most:
            return text[: match.start()].rstrip(), True
    return text, False


def pieces(text: str) -> Iterator[str]:
    """Split `text` into words with the whitespace before them, and a long rest into blocks."""
    end = 0
    for match in islice(_PIECE.finditer(text), _MOST_WORDS):
        end = match.end()
        yield match[0]
    for i in range(end, len(text), _BLOCK):
        yield text[i : i + _BLOCK]


def of_part(part: dict[str, Any]) -> int:
    """Count the tokens of a content part."""
    if part["type"] in ("text", "refusal"):
        return count(str(part[part["type"]]))
    return _MEDIA_TOKENS[part["type"]]


def of_message(message: dict[str, Any]) -> int:
    """Count the tokens of a message, with its tool calls."""
    content = message.get("content")
    total = _TOKENS_PER_MESSAGE
    if isinstance(content, str):
        total += count(content)
    elif content:
        total += sum(of_part(part) for part in content)
    if message.get("tool_calls"):
        total += count(json.dumps(message["tool_calls"], ensure_ascii=False))
    return total


def of_chat(body: dict[str, Any]) -> int:
    """Count the tokens of a chat request: messages, tools and response format."""
    total = sum(of_message(message) for message in body["messages"])
    for name in ("tools", "response_format"):
        if body.get(name):
            total += count(json.dumps(body[name], ensure_ascii=False))
    return total


def of_audio(body: dict[str, Any]) -> int:
    """Count the tokens of the audio parts of a chat request."""
    return sum(
        of_part(part)
        for message in body["messages"]
        if isinstance(message.get("content"), list)
        for part in message["content"]
        if part["type"] == "input_audio"
    )
