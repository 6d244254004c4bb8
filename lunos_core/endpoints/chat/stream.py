"""Reading a streamed answer of `/chat/completions` or `/completions`, event by event.

Whatever habit the provider has, a consumer sees each thing once: the pieces of text as they come,
tool calls with `id` and `name` on their first piece, one `finish_reason` for each choice, and one
last chunk with usage, id and model.
"""

from __future__ import annotations

from typing import Any

from lunos_core.accounting.usage import merge_usage
from lunos_core.endpoints.chat.message import (
    completion_from,
    objects_of,
    parse_content,
    parse_images,
    text_of,
    tool_call_fragments,
)
from lunos_core.endpoints.chat.reasoning import ReasoningMerger
from lunos_core.endpoints.chat.tool_calls import ToolCallAssembler
from lunos_core.endpoints.chat.types import Choice, Chunk, ChunkChoice, Completion, Delta, Message
from lunos_core.errors import LunosResponseError, LunosServerError, LunosStreamInterruptedError
from lunos_core.request import Reply, unwrap
from lunos_core.wire import json
from lunos_core.wire.error_bodies import error_in_answer, scrub

_FACTS = ("id", "model", "created", "provider", "system_fingerprint")


class ChatStreamReader:
    """Reads one stream; see `lunos_core.request.StreamReader`."""

    __slots__ = ("_choices", "_facts", "_latest", "_reply", "_usage", "done")

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._choices: dict[int, _ChoiceReader] = {}
        self._facts: dict[str, Any] = {}
        self._latest: dict[str, Any] = {}
        self._usage: object = None
        self.done = False
        """`[DONE]` came."""

    @property
    def whole(self) -> bool:
        """`[DONE]` came, or every choice that began has its `finish_reason`."""
        choices = self._choices.values()
        return self.done or (bool(choices) and all(choice.finish_reason for choice in choices))

    def read(self, event: bytes) -> Chunk | None:
        """Read one event."""
        if self.done:
            return None
        try:
            value = json.loads(event)
        except ValueError:
            return self._read_no_json(event.strip())
        # the calls that most events do not need are left out here: 1 µs for each event
        if not isinstance(value, dict) or "error" in value or "choices" not in value:
            value = self._unusual(event, value)
        self._latest = value
        if not self._facts or value.get("model") != self._facts.get("model"):
            self._facts |= {name: value[name] for name in _FACTS if value.get(name) is not None}
        if value.get("usage") is not None:
            # kept to the end: some providers send it on every chunk, or twice
            self._usage = merge_usage(self._usage, value["usage"])
        sent = value.get("choices")
        if not sent:
            return None
        if not isinstance(sent, list):
            raise self._nonsense(event)
        if len(sent) == 1:
            choice = _text_alone(sent[0], self._choices) or self._read_choice(sent[0], 0)
            return Chunk([] if choice is None else [choice], value)
        choices = [self._read_choice(choice, at) for at, choice in enumerate(sent)]
        return Chunk([choice for choice in choices if choice is not None], value)

    def end(self) -> Chunk | None:
        """The last chunk, unless `[DONE]` has given it."""
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
        """What has come so far; its `raw` is empty: the last event may be the one that failed."""
        if not self._choices:
            return None
        completion = self._completion()
        completion.raw = {}
        return completion

    def _unusual(self, event: bytes, value: Any) -> dict[str, Any]:
        """The event, if it is one, of a value that is not plainly a chunk."""
        error = error_in_answer(value, status=self._reply.status, secret=self._reply.secret)
        if error is not None:
            raise error
        if not isinstance(value, dict):
            raise self._nonsense(event)
        return unwrap(value)

    def _read_no_json(self, event: bytes) -> Chunk | None:
        if not event:
            return None
        if event == b"[DONE]":
            return self._last()
        raise self._nonsense(event)

    def _read_choice(self, choice: Any, position: int) -> ChunkChoice | None:
        if not isinstance(choice, dict):
            return None
        index = choice.get("index")
        if not isinstance(index, int):
            index = position
        reader = self._choices.get(index)
        if reader is None:
            reader = self._choices[index] = _ChoiceReader()
        delta = reader.read(choice)
        reason = choice.get("finish_reason")
        if not reason or reader.finish_reason or not isinstance(reason, str):
            return ChunkChoice(index, delta, None, choice.get("logprobs"))
        if reason == "error":
            reply = self._reply
            explained = error_in_answer(choice, status=reply.status, secret=reply.secret)
            raise explained or LunosServerError(
                "the model stopped with an error that the server does not explain",
                status=reply.status,
            )
        reader.finish_reason = reason
        return ChunkChoice(index, delta, reason, choice.get("logprobs"))

    def _last(self) -> Chunk:
        self.done = True
        return Chunk((), self._latest, self._completion())

    def _completion(self) -> Completion:
        choices = [reader.choice(index) for index, reader in sorted(self._choices.items())]
        value = {**self._latest, **self._facts, "usage": self._usage}
        return completion_from(value, choices, self._reply)

    def _nonsense(self, event: bytes) -> LunosResponseError:
        start = scrub(event[:200].decode("utf-8", "replace"), self._reply.secret)
        return LunosResponseError(
            f"an event of the stream makes no sense: {start!r}", status=self._reply.status
        )


def _text_alone(choice: Any, readers: dict[int, _ChoiceReader]) -> ChunkChoice | None:
    """A choice with more text and nothing else, as most are; `None` for any other."""
    try:
        index, delta = choice["index"], choice["delta"]
        text = delta.get("content")
        if len(delta) > 1 or choice.get("finish_reason") or choice.get("logprobs"):
            return None
        if type(index) is not int or type(text) is not str:
            return None
        reader = readers[index]
    except (KeyError, TypeError, AttributeError):
        return None
    if text:  # what shows nothing is no text: a whole message may follow
        reader.text.append(text)
    return ChunkChoice(index, Delta(text))


class _ChoiceReader:
    """What has come of one choice."""

    __slots__ = (
        "_annotations",
        "_audio",
        "_images",
        "_logprobs",
        "_reasoning",
        "_refusal",
        "_tools",
        "finish_reason",
        "text",
    )

    def __init__(self) -> None:
        self.text: list[str] = []
        self._refusal: list[str] = []
        self._reasoning = ReasoningMerger()
        self._tools = ToolCallAssembler()
        self._images: dict[str, None] = {}
        self._annotations: list[dict[str, Any]] = []
        self._audio: dict[str, list[Any]] = {}
        self._logprobs: list[dict[str, Any]] = []
        self.finish_reason: str | None = None

    def read(self, choice: dict[str, Any]) -> Delta:
        sent = choice.get("delta")
        if not isinstance(sent, dict):
            sent = self._without_delta(choice)
        if len(sent) == 1 and "tool_calls" in sent and choice.get("logprobs") is None:
            # a fragment of a call and nothing else, as thousands are: 3 µs less than the way below
            return Delta(tool_calls=self._tools.feed(sent["tool_calls"]))
        content = sent.get("content")
        images: list[str] = []
        if content is not None and not isinstance(content, str):
            content, images = parse_content(content)
        delta = Delta(content or "")
        if content:
            self.text.append(content)
        if len(sent) > 1 or "content" not in sent:  # most deltas hold content alone
            self._read_rarer(sent, delta)
            if sent.get("images"):
                images += parse_images(sent["images"])
        if images:  # the last chunk may repeat them
            delta.images = [url for url in dict.fromkeys(images) if url not in self._images]
            self._images.update(dict.fromkeys(images))
        logprobs = choice.get("logprobs")
        if isinstance(logprobs, dict):
            self._logprobs.append(logprobs)
        return delta

    def choice(self, index: int) -> Choice:
        """The choice as far as it came."""
        message = Message(
            content="".join(self.text),
            tool_calls=self._tools.calls(),
            reasoning=self._reasoning.text(),
            reasoning_details=self._reasoning.details(),
            refusal="".join(self._refusal),
            images=list(self._images),
            annotations=self._annotations,
            audio=_join(self._audio) or None,
        )
        return Choice(index, message, self.finish_reason, _join_logprobs(self._logprobs))

    def _without_delta(self, choice: dict[str, Any]) -> dict[str, Any]:
        """A whole message where a delta belongs, or `/completions`' text."""
        message = choice.get("message")
        if isinstance(message, dict):
            # an answer that did not stream, or one that repeats itself at the end
            return {} if self.text or self._tools.calls() else message
        return {"content": text_of(choice.get("text"))}

    def _read_rarer(self, sent: dict[str, Any], delta: Delta) -> None:
        delta.reasoning = self._reasoning.feed(sent)
        calls = tool_call_fragments(sent)
        if calls:
            delta.tool_calls = self._tools.feed(calls)
        if sent.get("refusal"):
            delta.refusal = text_of(sent["refusal"])
            self._refusal.append(delta.refusal)
        if sent.get("annotations"):
            new = [one for one in objects_of(sent["annotations"]) if one not in self._annotations]
            delta.annotations = new
            self._annotations += new
        audio = sent.get("audio")
        if isinstance(audio, dict):
            delta.audio = audio
            for name, value in audio.items():
                self._audio.setdefault(name, []).append(value)


_ADDED_UP = ("data", "transcript")  # of the fields of `audio`; the others are set


def _join(pieces: dict[str, list[Any]]) -> dict[str, Any]:
    return {
        name: "".join(map(text_of, values)) if name in _ADDED_UP else values[-1]
        for name, values in pieces.items()
    }


def _join_logprobs(pieces: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Chat's `{"content": […], "refusal": […]}`, or completions' lists, one behind the other."""
    joined: dict[str, Any] = {}
    for piece in pieces:
        for name, value in piece.items():
            if isinstance(value, list) and isinstance(joined.get(name), list):
                joined[name] = joined[name] + value
            elif value is not None or name not in joined:
                joined[name] = value
    return joined or None
