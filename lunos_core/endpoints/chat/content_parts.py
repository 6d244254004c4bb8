"""The parts of a message's content, in the wire's form.

Source of the format: OpenAI's content parts, with OpenRouter's `video_url` and `file_data` by URL.
Both adapters build their parts here, so that both send the same.
"""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

_AUDIO_FORMATS = {
    "wav": "wav",
    "x-wav": "wav",
    "wave": "wav",
    "vnd.wave": "wav",
    "mp3": "mp3",
    "mpeg": "mp3",
    "mpeg3": "mp3",
    "x-mp3": "mp3",
}


def data_url(data: str, mime_type: str) -> str:
    """Return a `data:` URL from base64 text and its media type."""
    return f"data:{mime_type};base64,{data}"


def split_data_url(url: str) -> tuple[str, str] | None:
    """Return the media type and the base64 text of a `data:` URL; `None` for any other URL.

    Example:
        >>> from lunos_core.endpoints.chat.content_parts import split_data_url
        >>> split_data_url("data:image/png;base64,iVBORw0=")
        ('image/png', 'iVBORw0=')
    """
    head, comma, data = url.partition(",")
    if not comma or not head.lower().startswith("data:"):
        return None
    mime_type, *options = head[len("data:") :].split(";")
    if "base64" not in options:
        data = base64.b64encode(unquote_to_bytes(data)).decode()
    return mime_type, data


def data_of(url: str) -> bytes | None:
    """Return the bytes in a `data:` URL; `None` for any other URL.

    Raises:
        ValueError: they aren't valid base64.
    """
    parts = split_data_url(url)
    return None if parts is None else base64.b64decode(parts[1], validate=True)


def without_blanks(parts: Sequence[Any]) -> list[Any]:
    """Return the parts of an answer without blank text, which some servers refuse beside calls."""
    texts = [part.get("text") if isinstance(part, Mapping) else part for part in parts]
    return [
        part
        for part, text in zip(parts, texts, strict=True)
        if not isinstance(text, str) or text.strip()
    ]


def text_part(text: str) -> dict[str, Any]:
    """Return a part of text."""
    return {"type": "text", "text": text}


def image_part(url: str, detail: str | None = None) -> dict[str, Any]:
    """Return the part of an image, by https or `data:` URL; `detail` is "low", "high" or "auto"."""
    image = {"url": check_url(url, "image_url")}
    return {
        "type": "image_url",
        "image_url": image if detail is None else image | {"detail": detail},
    }


def file_part(url: str, filename: str) -> dict[str, Any]:
    """Return the part of a document (usually a PDF), by https or `data:` URL."""
    return {"type": "file", "file": {"filename": filename, "file_data": check_url(url, "file")}}


def part_of_file(name: str, data: bytes) -> dict[str, Any]:
    r"""Return a local file as a part: an image, a PDF, or text under its name.

    Args:
        name: of the file; ".png", ".jpg", ".webp" and so on make it an image.
        data: the whole file.

    Raises:
        ValueError: it is none of these, or an empty image.

    Example:
        >>> from lunos_core.endpoints.chat.content_parts import part_of_file
        >>> part_of_file("notes.txt", b"Buy milk.")
        {'type': 'text', 'text': 'notes.txt:\nBuy milk.'}
    """
    media_type = mimetypes.guess_type(name)[0] or ""
    if media_type.startswith("image/"):
        if not data:
            raise ValueError(f"{name} is empty")
        return image_part(data_url(base64.b64encode(data).decode(), media_type))
    if data.startswith(b"%PDF"):
        return file_part(data_url(base64.b64encode(data).decode(), "application/pdf"), name)
    try:
        return text_part(f"{name}:\n{data.decode()}")
    except UnicodeDecodeError:
        raise ValueError(f"{name} is neither an image, nor a PDF, nor text in UTF-8") from None


def audio_part(data: str, format_or_mime: str) -> dict[str, Any]:
    """Return the part of a recording, in bare base64; the wire carries WAV and MP3.

    Raises:
        ValueError: another format.
    """
    name = format_or_mime.lower().removeprefix("audio/").split(";")[0]
    if name not in _AUDIO_FORMATS:
        raise ValueError(
            f"audio of type {format_or_mime!r} cannot be sent: the wire carries wav and mp3, "
            "so convert it first"
        )
    return {"type": "input_audio", "input_audio": {"data": data, "format": _AUDIO_FORMATS[name]}}


def video_part(url: str) -> dict[str, Any]:
    """Return the part of a video, by https or `data:` URL."""
    return {"type": "video_url", "video_url": {"url": check_url(url, "video_url")}}


def check_url(url: Any, what: str) -> str:
    """Return the URL, checked.

    Raises:
        TypeError: it isn't a `str`.
        ValueError: it is neither http(s) nor `data:`, such as a local path.
    """
    if not isinstance(url, str):
        raise TypeError(f"the URL of a {what} part must be a str, not {type(url).__name__}")
    if not url.lower().startswith(("https://", "http://", "data:")):
        raise ValueError(
            f"the URL of a {what} part must begin with https:// or data:, not {url[:40]!r}: "
            "read a local file and send it as base64"
        )
    return url


def mark_for_cache(
    messages: Sequence[Any], params: Mapping[str, Any]
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Move `params["cache_control"]` to the parts at which the stable prompt ends.

    These are the last tool, the last system message and the last message. The arguments aren't
    changed, and parts that have a mark keep it. Source of the format: Anthropic's
    `cache_control`, which gateways pass on inside OpenAI's dialect.

    Args:
        messages: wire messages.
        params: the wire's parameters; `cache_control` is True, or the mark, such as
            `{"type": "ephemeral", "ttl": "1h"}`.
    """
    control = params.get("cache_control")
    rest = {name: value for name, value in params.items() if name != "cache_control"}
    if not control:
        return messages, rest
    control = {"type": "ephemeral"} if control is True else control
    if rest.get("tools"):
        *tools, last = rest["tools"]
        rest["tools"] = [*tools, {"cache_control": control, **last}]
    marked = list(messages)
    system = [
        i
        for i, message in enumerate(marked)
        if isinstance(message, Mapping) and message.get("role") in ("system", "developer")
    ]
    for i in {*system[-1:], len(marked) - 1}:
        if isinstance(marked[i], Mapping):
            marked[i] = _marked(marked[i], control)
    return marked, rest


def _marked(message: Mapping[str, Any], control: Any) -> Mapping[str, Any]:
    content = message.get("content")
    if isinstance(content, str) and content:
        content = [text_part(content)]
    if not isinstance(content, list | tuple) or not content:
        return message
    *parts, last = content
    if not isinstance(last, Mapping):
        return message
    return {**message, "content": [*parts, {"cache_control": control, **last}]}
