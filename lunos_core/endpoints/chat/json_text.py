"""Find the JSON object in a model's text, whatever the model wrote around it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

_DECODER = json.JSONDecoder(strict=False)  # models write line breaks into strings
_TAGS = "(?:think|thinking|thought|reasoning)"
# Mistral and Kimi have their own brackets
_THINKING = re.compile(
    rf"\s*(?:<({_TAGS})>.*?</\1>|\[THINK\].*?\[/THINK\]|◁think▷.*?◁/think▷)",
    re.DOTALL | re.IGNORECASE,
)
_TAG = re.compile(rf"<(/?){_TAGS}>|\[(/?)THINK\]|◁(/?)think▷", re.IGNORECASE)
# A text of only braces would be tried at each of them: the search stops after this many.
MOST_CANDIDATES = 1000


def strip_thinking(text: str) -> str:
    """Remove the `<think>…</think>` blocks at the beginning of a text.

    Some models' opening tag is in the prompt: then the text up to the closing tag is removed.

    Example:
        >>> from lunos_core.endpoints.chat.json_text import strip_thinking
        >>> strip_thinking("<think>Hm.</think>Oslo")
        'Oslo'
    """
    while (block := _THINKING.match(text)) is not None:
        text = text[block.end() :]
    tag = _TAG.search(text)
    return text[tag.end() :] if tag is not None and any(tag.groups()) else text


def is_thinking(text: str) -> bool:
    """Return whether a text begins with reasoning that hasn't ended."""
    return _TAG.match(strip_thinking(text).lstrip()) is not None


def json_objects(text: str) -> Iterator[str]:
    """Yield the JSON text of each object in `text`, in order; objects inside objects don't count.

    Braces that begin no object are skipped, and so are leading `<think>` blocks, unless no object
    follows them.

    Example:
        >>> from lunos_core.endpoints.chat.json_text import json_objects
        >>> list(json_objects('See [1]: {"a": 1}, or {x}, or {"b": "}"}.'))
        ['{"a": 1}', '{"b": "}"}']
    """
    answer = strip_thinking(text)
    is_empty = True
    for item in _objects(answer):
        is_empty = False
        yield item
    if is_empty and answer != text:
        yield from _objects(text)


def _objects(text: str) -> Iterator[str]:
    start = text.find("{")
    for _ in range(MOST_CANDIDATES):
        if start < 0:
            return
        try:
            _, end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            yield text[start:end]
        start = text.find("{", end)
