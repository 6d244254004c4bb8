"""Reasoning, which servers send in several spellings: shown once, and kept unchanged.

`reasoning_content`, `reasoning` and `reasoning_details` may carry the same text, in one delta or in
two that follow each other. Ollama writes `thinking`, Copilot `reasoning_text`, and Cohere's plan
before its calls is a `tool_plan`; LiteLLM repeats Anthropic's as `thinking_blocks`. The value is
mostly text, but some send objects that contain it.
"""

from __future__ import annotations

import io
from typing import Any

_PLAIN = (
    *("reasoning_content", "reasoning", "reasoning_text", "thinking", "tool_plan"),
    *("reasoningContent", "reasoningText", "thinking_content", "thinking_blocks"),
    *("thoughts", "thought"),
)
REASONING = frozenset({*_PLAIN, "reasoning_details"})
"""The fields of a delta that hold reasoning."""

_JOINED = ("text", "summary", "data")  # in fragments of one detail; other fields are replaced


class ReasoningMerger:
    """Assemble the reasoning of one streamed answer."""

    def __init__(self) -> None:
        self._shown = io.StringIO()  # read at an offset, so that a comparison costs its own length
        self._length = 0
        self._offsets: dict[str, int] = {}  # how many characters each spelling has sent
        self._details: list[dict[str, Any]] = []

    def add(self, delta: dict[str, Any], from_parts: str = "") -> str:
        """Take a delta, and return the reasoning text that it adds.

        Args:
            delta: the delta.
            from_parts: the reasoning from the parts of its content.
        """
        shown = self._say("content", from_parts, already=False) if from_parts else ""
        for spelling in _PLAIN:
            if (value := delta.get(spelling)) and (piece := text_inside(value)):
                shown += self._say(spelling, piece, already=bool(shown))
        details = delta.get("reasoning_details")
        if isinstance(details, list) and details:
            kept = [detail for detail in details if isinstance(detail, dict)]
            for detail in kept:
                self._keep(detail)
            piece = "".join(map(_readable, kept))
            if piece:
                shown += self._say("reasoning_details", piece, already=bool(shown))
        return shown

    def details(self) -> list[dict[str, Any]]:
        """Return the `reasoning_details` to send back, with the fragments of each joined."""
        return [
            {name: "".join(value) if name in _JOINED else value for name, value in detail.items()}
            for detail in self._details
        ]

    def _say(self, spelling: str, piece: str, *, already: bool) -> str:
        start = self._offsets.get(spelling, 0)
        self._offsets[spelling] = start + len(piece)
        if already:  # another spelling had it in this delta
            return ""
        if start < self._length:  # another spelling was ahead: does this one repeat its words?
            self._shown.seek(start)
            if self._shown.read(len(piece)) == piece:
                return ""
            self._shown.seek(0, io.SEEK_END)
        self._shown.write(piece)
        self._length += len(piece)
        self._offsets[spelling] = self._length
        return piece

    def _keep(self, detail: dict[str, Any]) -> None:
        last = self._details[-1] if self._details else None
        if last is None or not _continues(last, detail):
            last = {}
            self._details.append(last)
        for name, value in detail.items():
            if name in _JOINED:
                # a list of pieces: joining strings each time would cost their length
                if isinstance(value, str):
                    last.setdefault(name, []).append(value)
            elif value is not None or name not in last:
                last[name] = value


def parse_reasoning(message: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """Return the reasoning of a whole message: its text, and its original details."""
    sent = message.get("reasoning_details")
    details = [item for item in sent if isinstance(item, dict)] if isinstance(sent, list) else []
    for spelling in _PLAIN:
        text = text_inside(message.get(spelling))
        if text:
            return text, details
    return "".join(map(_readable, details)), details


_THOUGHTS = ("thinking", "reasoning", "summary", "reasoningText")


def text_inside(part: object, *names: str) -> str:
    """Return the text of a part: of the first field that has some, however deep.

    Args:
        part: text, an object with text in it, or a list of such.
        names: of the fields to look into first; by default those of reasoning.
    """
    if isinstance(part, str):
        return part
    try:
        return _text_inside(part, (*(names or _THOUGHTS), "text", "value", "content"))
    except RecursionError:  # such deep nesting is never intended
        return ""


def _text_inside(part: object, names: tuple[str, ...]) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, list):
        return "".join(_text_inside(item, names) for item in part)
    if isinstance(part, dict):
        return next(filter(None, (_text_inside(part.get(name), names) for name in names)), "")
    return ""


def _readable(detail: dict[str, Any]) -> str:
    piece = detail.get("text") or detail.get("summary")
    return piece if isinstance(piece, str) else ""


def _continues(last: dict[str, Any], detail: dict[str, Any]) -> bool:
    if last.get("type") != detail.get("type") or last.get("signature"):
        return False
    if "encrypted" in str(detail.get("type")) and detail.get("index") is None:
        # each is whole, unless it has the last one's id
        return "id" in detail and detail["id"] == last.get("id")
    if detail.get("index") is not None and detail.get("index") != last.get("index"):
        return False
    identifier = detail.get("id")
    return identifier is None or last.get("id") is None or identifier == last["id"]
