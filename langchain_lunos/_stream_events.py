"""Content-block events for `stream_events(version="v3")`, straight from the wire's chunks.

LangChain can derive the events from message chunks. These say more: a block of text is finished
when the next block begins, not at the end of the stream, and audio comes as deltas.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from langchain_lunos._content_blocks import (
    REFUSAL_IS_STANDARD,
    audio_block,
    image_block,
    text_annotations,
)
from langchain_lunos._results import PROVIDER, Streamed, to_message, to_tool_calls
from lunos_core.endpoints.chat.types import Chunk, Completion, Delta, ToolCallDelta

Event = dict[str, Any]


class EventBuilder:
    """Makes the events of one stream; blocks are in the order in which they began.

    Args:
        message_id: the id of the stream's message.
    """

    def __init__(self, message_id: str) -> None:
        self._message_id = message_id
        self._started = False
        self._next = 0
        self._open: tuple[str, int, list[str]] | None = None  # kind, index and pieces
        self._citations: list[dict[str, Any]] = []
        self._calls: dict[int, int] = {}  # from the call's index to its block's
        self._audio: int | None = None
        self._streamed = Streamed()

    def feed(self, chunk: Chunk) -> list[Event]:
        """Return the events of a chunk."""
        events: list[Event] = []
        if not self._started:
            self._started = True
            start = {"event": "message-start", "role": "ai", "id": self._message_id}
            events.append({**start, "metadata": {"provider": PROVIDER}})
        if chunk.last is not None:
            events += self._end(chunk.last)
        elif choice := self._streamed.shown(chunk):
            events += self._delta(choice.delta)
        return events

    def _delta(self, delta: Delta) -> list[Event]:
        events: list[Event] = []
        if delta.reasoning:
            events += self._text("reasoning", delta.reasoning)
        self._citations += text_annotations(delta.annotations)
        if delta.content:
            events += self._text("text", delta.content)
        for url in delta.images:
            events += self._whole(image_block(url))
        for call in delta.tool_calls:
            events += self._call(call)
        if delta.audio and delta.audio.get("data"):
            events += self._sound(delta.audio["data"])
        return events

    def _text(self, kind: str, text: str) -> list[Event]:
        events: list[Event] = []
        if self._open is None or self._open[0] != kind:
            events += self._close()
            self._open = (kind, self._take(), [])
            events.append(_start(self._open[1], {"type": kind, kind: ""}))
        self._open[2].append(text)
        events.append(_delta_event(self._open[1], {"type": f"{kind}-delta", kind: text}))
        return events

    def _close(self) -> list[Event]:
        if self._open is None:
            return []
        kind, index, pieces = self._open
        self._open = None
        block: dict[str, Any] = {"type": kind, kind: "".join(pieces)}
        if kind == "text" and self._citations:
            block["annotations"], self._citations = self._citations, []
        return [_finish(index, block)]

    def _call(self, call: ToolCallDelta) -> list[Event]:
        events: list[Event] = []
        if call.index not in self._calls:
            events += self._close()
            index = self._calls[call.index] = self._take()
            skeleton = {"type": "tool_call_chunk", "id": call.id, "name": call.name, "args": ""}
            events.append(_start(index, {**skeleton, "index": call.index}))
        if call.arguments:
            delta = {"type": "tool-call-delta", "args": call.arguments}
            events.append(_delta_event(self._calls[call.index], delta))
        return events

    def _sound(self, data: str) -> list[Event]:
        events: list[Event] = []
        if self._audio is None:
            events += self._close()
            self._audio = self._take()
            events.append(_start(self._audio, {"type": "audio"}))
        delta = {"type": "data-delta", "data": data, "encoding": "base64"}
        return [*events, _delta_event(self._audio, delta)]

    def _whole(self, block: dict[str, Any]) -> list[Event]:
        """Return the events of a block that arrives whole; only its finish has the data."""
        events = self._close()
        index = self._take()
        skeleton = {name: value for name, value in block.items() if name not in ("base64", "value")}
        if block["type"] == "non_standard":
            skeleton["value"] = {}
        return [*events, _start(index, skeleton), _finish(index, block)]

    def _end(self, answer: Completion) -> list[Event]:
        events = self._close()
        choice = answer.choices[0] if answer.choices else None
        end: Event = {"event": "message-finish"}
        if choice is not None:
            if self._citations:  # they came without text
                annotated = {"type": "text", "text": "", "annotations": self._citations}
                events += self._whole(annotated)
            for i, index in self._calls.items():
                call = choice.message.tool_calls[i]
                valid, invalid = to_tool_calls([call], choice.finish_reason)
                block = dict(valid[0] if valid else invalid[0])
                events.append(_finish(index, {**block, "type": _CALL_TYPES[bool(valid)]}))
            for call in choice.message.tool_calls:
                if not call.name:  # then it wasn't shown before
                    _, invalid = to_tool_calls([call], choice.finish_reason)
                    events += self._whole(dict(invalid[0]))
            if self._audio is not None and choice.message.audio:
                events.append(_finish(self._audio, audio_block(choice.message.audio)))
            if choice.message.refusal:
                refusal = {"type": "refusal", "refusal": choice.message.refusal}
                events += self._whole({"type": "non_standard", "value": refusal})
            message = to_message(answer, choice)
            if message.usage_metadata is not None:
                end["usage"] = message.usage_metadata
            end["metadata"] = message.response_metadata
            if message.additional_kwargs:
                end["additional_kwargs"] = message.additional_kwargs
        return [*events, end]

    def _take(self) -> int:
        self._next += 1
        return self._next - 1


_CALL_TYPES = {True: "tool_call", False: "invalid_tool_call"}


def one_by_one(events: list[Event]) -> Iterator[Event]:
    """Yield the last events, and turn a refusal into LangChain's standard block once consumed.

    As of langchain-core 1.8.3 the v3 message drops blocks of type "refusal", which the refusal
    middleware looks for. It keeps "non_standard" blocks, as the same dict object.
    """
    for event in events:
        yield event
        block = event.get("content") or {}
        value = block.get("value") or {}
        if REFUSAL_IS_STANDARD and value.get("type") == "refusal":
            del block["value"]
            block.update(value)


def _start(index: int, block: dict[str, Any]) -> Event:
    return {"event": "content-block-start", "index": index, "content": block}


def _delta_event(index: int, delta: dict[str, Any]) -> Event:
    return {"event": "content-block-delta", "index": index, "delta": delta}


def _finish(index: int, block: dict[str, Any]) -> Event:
    return {"event": "content-block-finish", "index": index, "content": block}
