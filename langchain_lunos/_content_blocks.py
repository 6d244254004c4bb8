"""Standard content blocks from our messages: the translator that LangChain looks up by provider.

In a stream each block has an index that names its kind ("lc_txt_0", "lc_tc_1"). LangChain would
number the blocks by position, and join a tool call (0) to the text (0) before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages import content as blocks
from langchain_core.messages.block_translators import register_translator

from langchain_lunos._results import PROVIDER
from lunos_core.endpoints.chat.content_parts import split_data_url

_INVALID = ("id", "name", "args", "error")
_ON_LAST_CHUNK = {"audio", "reasoning_details", "refusal"}  # of a stream, beside metadata
REFUSAL_IS_STANDARD = hasattr(blocks, "RefusalContentBlock")  # langchain-core 1.7.5 and newer


def content_blocks(message: AIMessage) -> list[blocks.ContentBlock]:
    """Return the blocks of a whole message."""
    result = _common(message, indexed=False)
    result += [
        {"type": "tool_call", "id": call["id"], "name": call["name"], "args": call["args"]}
        for call in message.tool_calls
    ]
    return cast("list[blocks.ContentBlock]", result)


def content_blocks_of_chunk(chunk: AIMessageChunk) -> list[blocks.ContentBlock]:
    """Return the blocks that a chunk adds, or those of the sum of all chunks."""
    calls = chunk.tool_call_chunks
    last = chunk.chunk_position == "last"
    if last and any(call.get("name") for call in calls):  # the sum of all chunks: calls are whole
        broken = [
            {"type": "invalid_tool_call", **{name: call.get(name) for name in _INVALID}}
            for call in chunk.invalid_tool_calls
        ]
        return [*content_blocks(chunk), *cast("list[blocks.ContentBlock]", broken)]
    said = chunk.content or chunk.additional_kwargs.keys() - _ON_LAST_CHUNK
    result = _common(chunk, indexed=not (last and said))
    for call in calls:
        block = {name: call.get(name) for name in ("id", "name", "args")}
        result.append({"type": "tool_call_chunk", **block, "index": f"lc_tc_{call.get('index')}"})
    return cast("list[blocks.ContentBlock]", result)


def _common(message: AIMessage, *, indexed: bool) -> list[dict[str, Any]]:
    if not isinstance(message.content, str):
        raise NotImplementedError  # already blocks, which LangChain reads itself
    extra = message.additional_kwargs
    result: list[dict[str, Any]] = []

    def add(index: str, block: dict[str, Any]) -> None:
        result.append({**block, "index": index} if indexed else block)

    if extra.get("reasoning_content"):
        add("lc_rsn_0", {"type": "reasoning", "reasoning": extra["reasoning_content"]})
    citations = text_annotations(extra.get("annotations") or ())
    if message.content or citations:
        text: dict[str, Any] = {"type": "text", "text": message.content}
        add("lc_txt_0", text | {"annotations": citations} if citations else text)
    for i, image in enumerate(extra.get("images") or ()):
        add(f"lc_img_{image.get('index', i)}", image_block(str(image["image_url"]["url"])))
    if extra.get("audio"):
        add("lc_aud_0", audio_block(extra["audio"]))
    if extra.get("refusal"):
        refusal = {"type": "refusal", "refusal": extra["refusal"]}
        if not REFUSAL_IS_STANDARD:
            refusal = {"type": "non_standard", "value": refusal}
        add("lc_rfs_0", refusal)
    return result


def image_block(url: str) -> dict[str, Any]:
    """Return a generated image as a block, from its https or `data:` URL."""
    parts = split_data_url(url)
    if parts is None:
        return {"type": "image", "url": url}
    mime_type, data = parts
    return {"type": "image", "base64": data, "mime_type": mime_type}


def audio_block(audio: dict[str, Any]) -> dict[str, Any]:
    """Return spoken audio as a block; the wire's `audio` doesn't name its format."""
    block: dict[str, Any] = {"type": "audio"}
    if audio.get("data"):
        block["base64"] = audio["data"]
    others = {name: value for name, value in audio.items() if name != "data"}
    return block | {"extras": others} if others else block


def text_annotations(annotations: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the wire's annotations in the form that text blocks have."""
    return [_citation(annotation) for annotation in annotations]


def _citation(annotation: dict[str, Any]) -> dict[str, Any]:
    """Return a `url_citation` as LangChain's citation, and others unchanged."""
    sent = annotation.get("url_citation")
    if not isinstance(sent, dict):
        return {"type": "non_standard_annotation", "value": annotation}
    named = {
        "url": sent.get("url"),
        "title": sent.get("title"),
        "start_index": sent.get("start_index"),
        "end_index": sent.get("end_index"),
        "cited_text": sent.get("content"),
    }
    known = {name: value for name, value in named.items() if value is not None}
    return {"type": "citation"} | known


register_translator(PROVIDER, content_blocks, content_blocks_of_chunk)
