"""From LlamaIndex's content blocks to the wire's content parts.

URLs are sent unchanged; nothing is downloaded here. Content that the wire can't carry raises an
error that names it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    BaseContentBlock,
    CachePoint,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    VideoBlock,
)

from lunos_core.endpoints.chat.content_parts import (
    audio_part,
    data_url,
    file_part,
    image_part,
    text_part,
    video_part,
)

Part = dict[str, Any]


def to_parts(block: BaseContentBlock, where: str) -> list[Part]:
    """Return the parts of a block.

    Args:
        block: text, image, audio, video, document, citable or citation.
        where: the block's place, for errors ("messages[2].blocks[0]").

    Raises:
        TypeError: the wire doesn't know this kind of block.
        ValueError: the block is empty, or the wire can't carry its content.
    """
    convert = _CONVERTERS.get(type(block)) or next(
        (function for kind, function in _CONVERTERS.items() if isinstance(block, kind)), None
    )
    if convert is None:
        raise TypeError(f"{where}: the Lunos API has no place for a {type(block).__name__} here")
    try:
        return convert(block)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def mark_for_cache(parts: list[Part], point: CachePoint, where: str) -> None:
    """Put a cache point on the part before it.

    Raises:
        ValueError: there is no part before it.
    """
    if not parts:
        raise ValueError(f"{where}: a CachePoint needs a block before it in the same message")
    control = point.cache_control
    parts[-1]["cache_control"] = {"type": control.type}
    if control.ttl != "5m":  # providers' default
        parts[-1]["cache_control"]["ttl"] = control.ttl


def joined(parts: list[Part]) -> str | list[Part]:
    """Return the shortest form of `content`: a string if all parts are plain text."""
    if all(part.keys() == {"type", "text"} for part in parts):
        return "\n".join(part["text"] for part in parts)  # as `ChatMessage.content` joins them
    return parts


def _text(block: TextBlock) -> list[Part]:
    return [text_part(block.text)]


def _image(block: ImageBlock) -> list[Part]:
    if block.url is not None and block.image is None:
        return [image_part(str(block.url), block.detail)]
    data = _read(block.resolve_image)
    mimetype = block.image_mimetype or ImageBlock(image=data).image_mimetype
    return [image_part(_data_url(mimetype, data, "image_mimetype='image/png'"), block.detail)]


def _audio(block: AudioBlock) -> list[Part]:
    if block.url is not None and block.audio is None and not str(block.url).startswith("data:"):
        raise ValueError(
            f"the Lunos API takes audio by value only: load {block.url} yourself and "
            "give AudioBlock(audio=<bytes>)"
        )
    data = _read(block.resolve_audio)
    kind = block.format or AudioBlock(audio=data).format
    if not kind:
        raise ValueError("cannot tell the kind of audio: give format='wav' or 'mp3'")
    return [audio_part(_encode(data), kind)]


def _video(block: VideoBlock) -> list[Part]:
    for name in ("fps", "detail"):
        if getattr(block, name) is not None:
            raise ValueError(f"the Lunos API cannot carry a video's {name!r}")
    if block.url is not None and block.video is None:
        return [video_part(str(block.url))]
    data = _read(block.resolve_video)
    mimetype = block.video_mimetype or VideoBlock(video=data).video_mimetype
    return [video_part(_data_url(mimetype, data, "video_mimetype='video/mp4'"))]


def _document(block: DocumentBlock) -> list[Part]:
    name = str(block.title)  # LlamaIndex fills it in
    if block.url is not None and block.data is None:
        return [file_part(str(block.url), name)]
    data = _read(block.resolve_document)
    mimetype = block.document_mimetype or DocumentBlock(data=data).document_mimetype
    if mimetype is not None and not mimetype.startswith("text/"):
        return [file_part(data_url(_encode(data), mimetype), name)]
    try:
        return [text_part(f"{name}:\n{data.decode()}")]
    except UnicodeDecodeError:
        raise ValueError(
            "cannot tell what kind of document this is: give document_mimetype='application/pdf'"
        ) from None


def _citable(block: CitableBlock) -> list[Part]:
    return [
        _source(block),
        *(part for inner in block.content for part in _CONVERTERS[type(inner)](inner)),
    ]


def _citation(block: CitationBlock) -> list[Part]:
    return [_source(block), *_CONVERTERS[type(block.cited_content)](block.cited_content)]


def _source(block: CitableBlock | CitationBlock) -> Part:
    return text_part(f"[{block.title}]({block.source}):")


def _read(resolve: Callable[[], Any]) -> bytes:
    try:
        data: bytes = resolve().read()
    except ValueError as error:
        raise ValueError(f"nothing can be read from this block: {error}") from error
    return data


def _data_url(mimetype: str | None, data: bytes, hint: str) -> str:
    if not mimetype:
        raise ValueError(f"cannot tell the kind of data: give {hint}")
    return data_url(_encode(data), mimetype)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


_CONVERTERS: Mapping[type[BaseContentBlock], Callable[[Any], list[Part]]] = {
    TextBlock: _text,
    ImageBlock: _image,
    AudioBlock: _audio,
    VideoBlock: _video,
    DocumentBlock: _document,
    CitableBlock: _citable,
    CitationBlock: _citation,
}
