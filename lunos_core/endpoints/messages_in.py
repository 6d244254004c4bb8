"""The check of wire messages that a caller wrote by hand, before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

ROLES = ("system", "developer", "user", "assistant", "tool")
PARTS = ("text", "image_url", "file", "input_audio", "video_url")


def check_messages(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The messages, if the wire can carry them.

    Raises:
        TypeError: something is not of the type that belongs there; the text says where.
        ValueError: an unknown role or kind of part, or no message at all.
    """
    if isinstance(messages, str | Mapping) or not isinstance(messages, Sequence):
        raise TypeError(
            f"messages must be a list of {{'role': …, 'content': …}}, not {type(messages).__name__}"
        )
    if not messages:
        raise ValueError("messages is empty: give at least one")
    for at, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise TypeError(f"messages[{at}] must be a mapping, not {type(message).__name__}")
        if message.get("role") not in ROLES:
            raise ValueError(
                f"messages[{at}].role must be one of {', '.join(ROLES)}, "
                f"not {message.get('role')!r}"
            )
        _check_content(f"messages[{at}].content", message.get("content"))
    return list(messages)


def _check_content(where: str, content: Any) -> None:
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, Sequence) or isinstance(content, bytes):
        raise TypeError(f"{where} must be a str or a list of parts, not {type(content).__name__}")
    for at, part in enumerate(content):
        if not isinstance(part, Mapping):
            raise TypeError(f"{where}[{at}] must be a mapping, not {type(part).__name__}")
        kind = part.get("type")
        if kind not in PARTS:
            raise ValueError(f"{where}[{at}].type must be one of {', '.join(PARTS)}, not {kind!r}")
        if part.get("text" if kind == "text" else kind) is None:
            raise ValueError(f"{where}[{at}] of type {kind!r} has no {kind!r}")
