"""LangChain's content blocks to the wire's content parts.

One table serves every role: an image is the same part in a human message, in an answer that is sent
back, and in a tool's result. It reads LangChain's v1 and v0 blocks, OpenAI's and Anthropic's. A
block that the wire cannot carry raises an error that names it, except in a tool's result, where it
is sent as text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from lunos_core.endpoints.chat.content_parts import (
    audio_part,
    check_url,
    data_url,
    file_part,
    image_part,
    split_data_url,
    text_part,
    video_part,
)

Block = Mapping[str, Any]


def to_parts(content: Any, where: str) -> str | list[dict[str, Any]]:
    """Return a message's content in the wire's form: text stays text, blocks become parts.

    Args:
        content: text, or a list of texts and blocks.
        where: its name in errors, such as "messages[2].content".

    Raises:
        TypeError: an item is neither text nor a block.
        ValueError: a block that the wire cannot carry.
    """
    if isinstance(content, str):
        return content
    # an empty list, as a tool without output returns it, is refused on the wire
    return [to_part(block, f"{where}[{i}]") for i, block in enumerate(content)] or ""


def to_result_parts(content: Any, where: str) -> str | list[dict[str, Any]]:
    """Return a tool's result in the wire's form.

    A tool passes on what its server or library returned, in the middle of a paid conversation. So a
    block that the wire cannot carry, such as a search result or a file by id, raises nothing: the
    model gets it as JSON, without long base64.
    """
    if isinstance(content, str):
        return content
    return [_result_part(block, f"{where}[{i}]") for i, block in enumerate(content)] or ""


def _result_part(block: Any, where: str) -> dict[str, Any]:
    try:
        return to_part(block, where)
    except (TypeError, ValueError):
        return text_part(json.dumps(_short(block), ensure_ascii=False, default=str))


def _short(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            str(name): f"({len(item)} characters)"
            if name in _DATA and isinstance(item, str) and len(item) > _LONG
            else _short(item)
            for name, item in value.items()
        }
    return [_short(item) for item in value] if isinstance(value, list) else value


_DATA = ("data", "base64", "blob", "file_data", "url")
_LONG = 1000


def to_part(block: Any, where: str) -> dict[str, Any]:
    """Return one block as a part."""
    if isinstance(block, str):
        return text_part(block)
    if not isinstance(block, Mapping):
        raise TypeError(f"{where} must be a str or a dict, not {type(block).__name__}")
    kind = kind_of(block)
    make = _BLOCKS.get(kind) if isinstance(kind, str) else None
    if make is None:
        raise ValueError(
            f"{where}: a content block of type {kind!r} cannot be sent to Lunos; "
            f"it carries {', '.join(sorted(_BLOCKS))}"
        )
    try:
        part = make(block)
    except KeyError as error:
        raise ValueError(f"{where}: the block of type {kind!r} has no {error}") from None
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where} (type {kind!r}): {error}") from None
    mark = _field(block, "cache_control")
    if mark is not None:
        part["cache_control"] = mark
    return part


def kind_of(block: Mapping[str, Any]) -> Any:
    """Return a block's type; Bedrock and Google write text blocks without one."""
    kind = block.get("type")
    return "text" if kind is None and isinstance(block.get("text"), str) else kind


def _text(block: Block) -> dict[str, Any]:
    text = block["text"]
    if not isinstance(text, str):
        raise TypeError(f"the text of a text block must be a str, not {type(text).__name__}")
    return text_part(text)


def _image_url(block: Block) -> dict[str, Any]:
    image = block["image_url"]
    if isinstance(image, str):
        return image_part(image, block.get("detail"))
    if not isinstance(image, Mapping):
        raise TypeError(f"image_url must be a dict or a str, not {type(image).__name__}")
    check_url(image["url"], "image_url")
    return {"type": "image_url", "image_url": dict(image)}


def _image(block: Block) -> dict[str, Any]:
    return image_part(_url_of(block, "image/jpeg"), _extra(block, "detail"))


def _file(block: Block) -> dict[str, Any]:
    if isinstance(block.get("file"), Mapping):  # OpenAI's
        file = dict(block["file"])
        if "fileData" in file:  # the vendor's pages also spell it so
            file.setdefault("file_data", file.pop("fileData"))
        return {"type": "file", "file": file}
    mime = _mime_of(block) or ""
    if mime.startswith("image/"):
        return _image(block)
    if mime.startswith("audio/"):
        return _audio(block)
    if mime.startswith("video/"):
        return _video(block)
    source = block.get("source")
    if isinstance(source, Mapping) and source.get("type") == "text":  # Anthropic's
        return text_part(source["data"])
    if block.get("source_type") == "text" or isinstance(block.get("text"), str):
        return text_part(block["text"])
    name = _extra(block, "filename") or _extra(block, "name") or _extra(block, "title")
    # the wire requires a name: take the MIME type's second half as its suffix
    suffix = (mime or "application/pdf").rpartition("/")[2].split(";")[0]
    return file_part(_url_of(block, "application/pdf"), name or f"document.{suffix}")


def _audio(block: Block) -> dict[str, Any]:
    parts = split_data_url(_url_of(block, "audio/wav"))
    if parts is None:
        raise ValueError("audio by URL cannot be sent: send it as base64")
    mime_type, data = parts
    return audio_part(data, mime_type)


def _input_audio(block: Block) -> dict[str, Any]:
    audio = block["input_audio"]
    return audio_part(audio["data"], audio["format"])


def _video(block: Block) -> dict[str, Any]:
    return video_part(_url_of(block, "video/mp4"))


def _video_url(block: Block) -> dict[str, Any]:
    video = block["video_url"]
    return video_part(video if isinstance(video, str) else video["url"])


def _media(block: Block) -> dict[str, Any]:
    return _file({"url": block.get("file_uri"), **block})


def _input_file(block: Block) -> dict[str, Any]:
    return _file({**block, "url": block.get("file_url") or block.get("file_data")})


def _non_standard(block: Block) -> dict[str, Any]:
    return to_part(block["value"], "value")


_BLOCKS: dict[str, Callable[[Block], dict[str, Any]]] = {
    "text": _text,
    "text-plain": _file,
    "input_text": _text,
    "output_text": _text,
    "image_url": _image_url,
    "input_image": _image_url,
    "image": _image,
    "file": _file,
    "document": _file,
    "input_file": _input_file,
    "media": _media,
    "audio": _audio,
    "input_audio": _input_audio,
    "video": _video,
    "video_url": _video_url,
    "non_standard": _non_standard,
}


def _url_of(block: Block, default_mime: str) -> str:
    """Return the URL of a block's data: its https URL, or a `data:` URL of its base64."""
    source = block.get("source")
    if isinstance(source, Mapping):  # Anthropic's
        block = source
    mime = _mime_of(block) or default_mime
    if block.get("url"):
        return str(block["url"])
    data = block.get("base64") or block.get("data")  # v1; v0 and Anthropic's
    if data:
        if not isinstance(data, str):
            raise TypeError(f"base64 data must be a str, not {type(data).__name__}")
        return data if data.startswith("data:") else data_url(data, mime)
    if block.get("file_id") or block.get("source_type") == "id" or block.get("type") == "file":
        raise ValueError("a file by id cannot be sent: Lunos keeps no files, send base64 or a URL")
    raise ValueError("it has neither url nor base64")


def _mime_of(block: Block) -> str | None:
    for holder in (block, block.get("source")):
        if isinstance(holder, Mapping):
            mime = holder.get("mime_type") or holder.get("media_type")
            if isinstance(mime, str):
                return mime
    return None


def _extra(block: Block, name: str) -> str | None:
    value = _field(block, name)
    return value if isinstance(value, str) else None


def _field(block: Block, name: str) -> Any:
    """Return a field that LangChain keeps on the block, in `extras` (v1) or in `metadata` (v0).

    LangChain converts v0 blocks and some of OpenAI's to v1 before a model sees them, and moves
    fields that it doesn't know into `extras`, such as `metadata` and `cache_control`.
    """
    extras = block.get("extras")
    inner = extras.get("metadata") if isinstance(extras, Mapping) else None
    for holder in (block, extras, block.get("metadata"), inner):
        if isinstance(holder, Mapping) and holder.get(name) is not None:
            return holder[name]
    return None
