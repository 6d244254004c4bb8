"""A simple count of tokens: words and punctuation marks. Real models count with their own."""

from __future__ import annotations

import json
import re
from typing import Any

_TOKEN = re.compile(r"\w+|[^\w\s]")
# what a picture, a document, a clip costs when nothing reads it; fixed so that counts are stable
_MEDIA_TOKENS = {"image_url": 85, "file": 200, "input_audio": 50, "video_url": 300}
_TOKENS_PER_MESSAGE = 3


def count(text: str) -> int:
    """How many words and punctuation marks `text` has."""
    return len(_TOKEN.findall(text))


def cut(text: str, most: int | None) -> tuple[str, bool]:
    """The first `most` tokens of `text`, and whether something was cut off."""
    if most is None:
        return text, False
    for seen, match in enumerate(_TOKEN.finditer(text)):
        if seen == most:
            return text[: match.start()].rstrip(), True
    return text, False


def pieces(text: str) -> list[str]:
    """`text` in streamable pieces: words, each with the blanks before it."""
    return re.findall(r"\s*\S+|\s+$", text)


def of_part(part: dict[str, Any]) -> int:
    """Tokens of one content part."""
    if part["type"] in ("text", "refusal"):
        return count(str(part[part["type"]]))
    return _MEDIA_TOKENS[part["type"]]


def of_message(message: dict[str, Any]) -> int:
    """Tokens of one message, its tool calls included."""
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
    """Tokens of a chat request: its messages, its tools and its response format."""
    total = sum(of_message(message) for message in body["messages"])
    for name in ("tools", "response_format"):
        if body.get(name):
            total += count(json.dumps(body[name], ensure_ascii=False))
    return total


def of_audio(body: dict[str, Any]) -> int:
    """Tokens of the audio parts of a chat request."""
    return sum(
        of_part(part)
        for message in body["messages"]
        if isinstance(message.get("content"), list)
        for part in message["content"]
        if part["type"] == "input_audio"
    )
