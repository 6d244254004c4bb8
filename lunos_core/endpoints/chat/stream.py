"""Reads a streamed answer of `/chat/completions` or `/completions`, event by event.

Whatever the provider's habits, a consumer sees each fact once: the pieces of text as they arrive,
tool calls with `id` and `name` on their first piece, one `finish_reason` for each choice, and one
last chunk with usage, id and model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lunos_core.accounting.usage import merge_usage
from lunos_core.endpoints.chat.message import (
    Content,
    completion_from,
    objects_of,
    parse_content,
    parse_images,
    text_of,
    tool_call_fragments,
    usage_in,
)
from lunos_core.endpoints.chat.reasoning import REASONING, ReasoningMerger
from lunos_core.endpoints.chat.tool_calls import ToolCallAssembler, fill_empty_arguments
from lunos_core.endpoints.chat.types import Choice, Chunk, ChunkChoice, Completion, Delta, Message
from lunos_core.errors import LunosResponseError, LunosServerError, LunosStreamInterruptedError
from lunos_core.request import Reply, unwrap
from lunos_core.wire import json
from lunos_core.wire.error_bodies import error_in_answer
from lunos_core.wire.scrub import scrub
from lunos_core.wire.text import TextPieces, decode

_FACTS = ("id", "model", "provider", "system_fingerprint", "service_tier")


class ChatStreamReader:
    """Read the events of one stream. It is a `lunos_core.request.StreamReader`.

    Args:
        reply: the facts of the answer; its body is empty.
        names: the names of the request's tools as sent, each with the user's name.
        single: one answer was requested: some servers put each of its calls into a choice.
    """

    def __init__(
        self, reply: Reply, names: Mapping[str, str] | None = None, *, single: bool = False
    ) -> None:
        self._reply = reply
        self._single = single
        self._names = names or {}
        self._choices: dict[int, _ChoiceReader] = {}
        self._ended: dict[int, bool] = {}
        self._speaker: int | None = None  # the choice with the answer's text, if it isn't 0
        self._facts: dict[str, Any] = {}
        self._latest: dict[str, Any] = {}
        self._usage: object = None
        self._odd: bytes | None = None  # the last event without any part of an answer
        self.done = False
        """Whether `[DONE]` was received."""

    @property
    def whole(self) -> bool:
        """Whether `[DONE]` was received, or every choice that began has its `finish_reason`."""
        return self.done or (bool(self._ended) and all(self._ended.values()))

    def read(self, event: bytes) -> Chunk | None:
        """Read one event."""
        if self.done:
            return None
        try:
            value = json.loads(event, keep_halves=True)
        except ValueError:
            return self._read_no_json(event.strip())
        # calls that most events don't need are skipped: 1 µs for each event
        if not isinstance(value, dict) or "error" in value or "choices" not in value:
            value = self._unusual(event, value)
        self._latest = value
        # the tier may come at the end, when the provider knows it
        news = value.get("model") != self._facts.get("model") or value.get("service_tier")
        if news or not self._facts:
            facts = {name: value.get(name) for name in _FACTS}
            if isinstance(value.get("created"), int):
                self._facts["created"] = value["created"]
            # only a text replaces a text
            self._facts |= {name: fact for name, fact in facts.items() if isinstance(fact, str)}
        usage = usage_in(value)
        if usage is not None:
            # kept until the end: some providers send it on every chunk, or twice
            self._usage = merge_usage(self._usage, usage)
        sent = value.get("choices")
        if not sent:
            return None
        if not isinstance(sent, list):
            raise self._malformed(event)
        choices = []
        for i, choice in enumerate(sent):
            if isinstance(choice, dict):
                index = choice.get("index")
                if not isinstance(index, int):
                    index = i
                reason = choice.get("finish_reason")
                has_ended = isinstance(reason, str) and reason != ""
                self._ended[index] = has_ended or self._ended.get(index, False)
                if self._single and (index or self._speaker):
                    choice = self._of_the_answer(index, choice)
                    index = 0
                choices.append(self._reader(index).read(choice))
                if "usage" in choice:  # Moonshot's place for it
                    self._usage = merge_usage(self._usage, choice["usage"])
        return Chunk(choices, value)

    def end(self) -> Chunk | None:
        """Return the last chunk, unless `[DONE]` has returned it already."""
        if self.done:
            return None
        if self.whole:
            return self._last()
        what = "in the middle of the answer" if self._choices else "before the answer began"
        raise LunosStreamInterruptedError(
            f"the stream ended {what}: neither finish_reason nor [DONE] came",
            status=self._reply.status,
        )

    def partial(self) -> Completion | None:
        """What has arrived so far; with an empty `raw`: the last event may have failed."""
        if not self._choices:
            return None
        completion = self._completion()
        completion.raw = {}
        return completion

    def _reader(self, index: int) -> _ChoiceReader:
        reader = self._choices.get(index)
        if reader is None:
            reader = self._choices[index] = _ChoiceReader(index, self._reply, self._names)
        return reader

    def _of_the_answer(self, index: int, choice: dict[str, Any]) -> dict[str, Any]:
        """Return what a choice adds to the only answer: its calls, and the text of one choice.

        The text of another is an answer that nobody requested, and stays apart.
        """
        sent = choice.get("delta") or choice.get("message")
        if not isinstance(sent, dict):
            sent = {"content": choice.get("text")}
        fragments = tool_call_fragments(sent)
        fragments = fragments if isinstance(fragments, list) else [fragments]
        calls = []
        for i, item in enumerate(objects_of(fragments)):
            place = item.get("index")
            place = place if isinstance(place, int) else i
            calls.append({**item, "index": (index << 20) + place})  # apart from other choices'
        own = {name: value for name, value in sent.items() if name not in _OF_CALLS}
        if any(value for name, value in own.items() if name != "role"):
            if self._speaker is None:
                self._speaker = 0 if self._reader(0).has_spoken else index
            if index != self._speaker:
                self._reader(index or self._speaker).read({**choice, "delta": own})
                return {"delta": {"tool_calls": calls}}
        return {**choice, "delta": {**own, "tool_calls": calls}}

    def _unusual(self, event: bytes, value: Any) -> dict[str, Any]:
        """Return a value as an event if it can be read as one, although it isn't a usual chunk."""
        error = error_in_answer(value, status=self._reply.status, secret=self._reply.secret)
        if error is not None:
            raise error
        if not isinstance(value, dict):
            raise self._malformed(event)
        chunk = unwrap(value)
        if not chunk.keys() & {"choices", "usage"}:
            self._odd = event
        return chunk

    def _read_no_json(self, event: bytes) -> Chunk | None:
        if not event:
            return None
        if event == b"[DONE]":
            return self._last()
        raise self._malformed(event)

    def _last(self) -> Chunk:
        if self._odd is not None and not self._choices:
            raise self._malformed(self._odd)  # an error in an unknown form
        self.done = True
        return Chunk((), self._latest, self._completion())

    def _completion(self) -> Completion:
        choices = [reader.choice() for _, reader in sorted(self._choices.items())]
        value = {**self._latest, **self._facts, "usage": self._usage}
        return completion_from(value, choices, self._reply)

    def _malformed(self, event: bytes) -> LunosResponseError:
        start = scrub(decode(event), self._reply.secret)[:200]
        return LunosResponseError(
            f"an event of the stream is invalid: {start!r}", status=self._reply.status
        )


class _ChoiceReader:
    def __init__(self, index: int, reply: Reply, names: Mapping[str, str]) -> None:
        self._index = index
        self._reply = reply
        self._text = TextPieces()
        self._refusal = TextPieces()
        self._thoughts = TextPieces()
        self._reasoning = ReasoningMerger()
        self._tools = ToolCallAssembler(names)
        self._images: dict[str, None] = {}
        self._annotations: list[dict[str, Any]] = []
        self._audio: dict[str, list[Any]] = {}
        self._logprobs: list[dict[str, Any]] = []
        self._native_reason: str | None = None
        self.finish_reason: str | None = None

    def read(self, choice: dict[str, Any]) -> ChunkChoice:
        sent = choice.get("delta")
        if not isinstance(sent, dict):
            sent = self._without_delta(choice)
        text = sent.get("content")
        if isinstance(text, str) and text:
            delta = Delta(self._text.add(text))
            if len(sent) > 1:  # most deltas contain only text
                self._read_rarer(sent, delta, _TEXT_ALONE)
        else:
            content = parse_content(text) if text else _TEXT_ALONE
            delta = Delta(self._text.add(content.text))
            self._read_rarer(sent, delta, content)
        logprobs = choice.get("logprobs")
        if isinstance(logprobs, dict):
            self._logprobs.append(logprobs)
        reason = choice.get("finish_reason")
        if not reason or not isinstance(reason, str):
            return ChunkChoice(self._index, delta, None, logprobs)
        if self.finish_reason:
            self._show_held(reason, delta)
            return ChunkChoice(self._index, delta, None, logprobs)
        if reason == "error":
            reply = self._reply
            explained = error_in_answer(choice, status=reply.status, secret=reply.secret)
            raise explained or LunosServerError(
                "the model stopped with an error that the server does not explain",
                status=reply.status,
            )
        self._finish(reason, choice.get("native_finish_reason"), delta)
        return ChunkChoice(self._index, delta, reason, logprobs)

    @property
    def has_spoken(self) -> bool:
        return bool(self._text.whole or self._thoughts.whole)

    def choice(self) -> Choice:
        message = Message(
            content=self._text.whole,
            tool_calls=self._tools.calls(),
            reasoning=self._thoughts.whole,
            reasoning_details=self._reasoning.details(),
            refusal=self._refusal.whole,
            images=list(self._images),
            annotations=self._annotations,
            audio=_join(self._audio) or None,
        )
        fill_empty_arguments(message.tool_calls, self.finish_reason)
        logprobs = _join_logprobs(self._logprobs)
        return Choice(self._index, message, self.finish_reason, logprobs, self._native_reason)

    def _without_delta(self, choice: dict[str, Any]) -> dict[str, Any]:
        """Return what is new in a whole message, or the text of `/completions`."""
        message = choice.get("message")
        if not isinstance(message, dict):
            return {"content": text_of(choice.get("text"))}
        streamed = (
            (("content",), self._text.whole),
            (("refusal",), self._refusal.whole),
            (("audio",), self._audio),
            (_OF_CALLS, self._tools.calls()),
            (REASONING, self._thoughts.whole),
        )
        known = {name for names, value in streamed if value for name in names}
        return {name: value for name, value in message.items() if name not in known}

    def _finish(self, reason: str, native: Any, delta: Delta) -> None:
        """Note why the answer ended, and show what was held back."""
        self.finish_reason = reason
        self._native_reason = text_of(native) or None
        delta.content += self._text.end()
        self._show_held(reason, delta)

    def _show_held(self, reason: str, delta: Delta) -> None:
        begun = {call.index: call for call in delta.tool_calls}
        for held in self._tools.finish(reason):
            if held.index in begun:  # it began in this event
                begun[held.index].arguments += held.arguments
            else:
                delta.tool_calls = [*delta.tool_calls, held]

    def _read_rarer(self, sent: dict[str, Any], delta: Delta, content: Content) -> None:
        if content.reasoning or not REASONING.isdisjoint(sent):
            delta.reasoning = self._thoughts.add(self._reasoning.add(sent, content.reasoning))
        calls = tool_call_fragments(sent)
        if calls:
            delta.tool_calls = self._tools.add(calls)
        refusal = content.refusal
        if sent.get("refusal"):
            refusal = text_of(sent["refusal"]) or refusal
        if refusal:
            delta.refusal = self._refusal.add(refusal)
        images = content.images
        if sent.get("images"):
            images = [*images, *parse_images(sent["images"])]
        if images:  # the last chunk may repeat them
            delta.images = [url for url in dict.fromkeys(images) if url not in self._images]
            self._images.update(dict.fromkeys(images))
        if sent.get("annotations"):
            new = [
                item for item in objects_of(sent["annotations"]) if item not in self._annotations
            ]
            delta.annotations = new
            self._annotations += new
        audio = sent.get("audio")
        if isinstance(audio, dict):
            delta.audio = audio
            for name, value in audio.items():
                self._audio.setdefault(name, []).append(value)


_OF_CALLS = ("tool_calls", "toolCalls", "function_call", "functionCall")
_TEXT_ALONE = Content()  # of a delta whose content is only its text
_ADDED_UP = ("data", "transcript")  # fields of `audio`; others are replaced


def _join(pieces: dict[str, list[Any]]) -> dict[str, Any]:
    return {
        name: "".join(map(text_of, values)) if name in _ADDED_UP else values[-1]
        for name, values in pieces.items()
    }


def _join_logprobs(pieces: list[dict[str, Any]]) -> dict[str, Any] | None:
    joined: dict[str, Any] = {}
    for piece in pieces:
        for name, value in piece.items():
            if isinstance(value, list) and isinstance(joined.get(name), list):
                joined[name] = joined[name] + value
            elif value is not None or name not in joined:
                joined[name] = value
    return joined or None
