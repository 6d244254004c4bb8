"""The answers of the chat and completion endpoints, as values.

One form for every spelling of the wire: flat or in an envelope, reasoning in three spellings, tool
calls whole or in fragments. The names are OpenAI's: `response.choices[0].message.content` works.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lunos_core.accounting.usage import Usage


@dataclass(slots=True)
class ToolCall:
    """A tool call by the model.

    Attributes:
        id: the provider's id, or one made here if it sent none.
        name: the function's name.
        arguments: JSON text as the model wrote it: it may be cut or broken.
        extras: fields to send back with the call: Gemini's signature of its reasoning is in
            `extra_content`, from LiteLLM in `provider_specific_fields`.
    """

    id: str
    name: str
    arguments: str
    extras: dict[str, Any] = field(default_factory=dict)

    def to_wire(self) -> dict[str, Any]:
        """Return the call in the form of a message's `tool_calls`."""
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.id, "type": "function", "function": function, **self.extras}


@dataclass(slots=True)
class ToolCallDelta:
    """A piece of a tool call: `id` and `name` are on its first piece only.

    `index` counts the calls of one answer from 0, whatever the provider's numbers are.
    """

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(slots=True)
class Message:
    """The model's message.

    Attributes:
        content: the text; "" if there is none.
        tool_calls: the tool calls.
        reasoning: the reasoning as text, once, whichever spellings the server used.
        reasoning_details: the original reasoning, to be sent back unchanged.
        refusal: the reason for a refusal.
        images: URLs (mostly `data:`) of generated images.
        annotations: the original citations.
        audio: the original {id, data, transcript, …}, if the model spoke.
        role: always "assistant" so far.
    """

    content: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)
    reasoning: str = ""
    reasoning_details: list[dict[str, Any]] = field(default_factory=list)
    refusal: str = ""
    images: list[str] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    audio: dict[str, Any] | None = None
    role: str = "assistant"


@dataclass(slots=True)
class Choice:
    """One of the `n` answers."""

    index: int
    message: Message
    finish_reason: str | None = None
    logprobs: Any = None
    native_finish_reason: str | None = None
    """The provider's original value, if a gateway sends both."""

    @property
    def text(self) -> str:
        """The text, under the name that `/completions` uses."""
        return self.message.content


@dataclass(slots=True, kw_only=True)
class Completion:
    """An answer: whole, or the part that had arrived (`error.partial`).

    Attributes:
        choices: at least one, in order of `index`; may be empty in a partial answer.
        usage: tokens and cost, or `None` if the server sent neither.
        id: the provider's id of the answer.
        model: the model that answered, as the server names it.
        created: Unix time in seconds.
        provider: the provider that served the model, if the server names it.
        system_fingerprint: the provider's configuration id.
        service_tier: the provider's service tier for the answer ("default", "flex", …).
        request_id: the server's id of the request.
        attempts: requests sent for this answer, retries included.
        fallback: whether `fallback_model` answered.
        raw: the original answer; for a stream, the last event; empty in a partial answer.
    """

    choices: list[Choice]
    usage: Usage | None = None
    id: str | None = None
    model: str | None = None
    created: int | None = None
    provider: str | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    request_id: str | None = None
    attempts: int = 1
    fallback: bool = False
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def text(self) -> str:
        """The first answer's text; "" if there is none."""
        return self.choices[0].message.content if self.choices else ""

    @property
    def finish_reasons(self) -> tuple[str, ...]:
        """The finish reasons of the choices that have one."""
        return tuple([choice.finish_reason for choice in self.choices if choice.finish_reason])


@dataclass(slots=True)
class Delta:
    """What one event adds to a choice; empty fields add nothing.

    `reasoning_details` are whole on the last chunk instead: a fragment alone is useless, and the
    signature comes with the last one.
    """

    content: str = ""
    reasoning: str = ""
    tool_calls: Sequence[ToolCallDelta] = ()
    refusal: str = ""
    images: Sequence[str] = ()
    annotations: Sequence[dict[str, Any]] = ()
    audio: dict[str, Any] | None = None


@dataclass(slots=True)
class ChunkChoice:
    """The part of a chunk that belongs to one choice."""

    index: int
    delta: Delta
    finish_reason: str | None = None
    logprobs: Any = None

    @property
    def text(self) -> str:
        """The text, under the name that `/completions` uses."""
        return self.delta.content


@dataclass(slots=True)
class Chunk:
    """One piece of a streamed answer.

    Each fact appears once: a `finish_reason` on one chunk of each choice, and on the last chunk
    (`last`), which has no choices, the facts of the whole answer: usage, id, model.
    """

    choices: Sequence[ChunkChoice]
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)
    last: Completion | None = None
    """On the last chunk: the whole answer, assembled."""

    @property
    def usage(self) -> Usage | None:
        """Tokens and cost, on the last chunk."""
        return self.last.usage if self.last is not None else None

    @property
    def text(self) -> str:
        """The text that this chunk adds to the first answer."""
        return self.choices[0].delta.content if self.choices else ""

    @property
    def id(self) -> str | None:
        """The provider's id of the answer."""
        return self._fact("id")

    @property
    def model(self) -> str | None:
        """The model that answers, as the server names it."""
        return self._fact("model")

    def _fact(self, name: str) -> str | None:
        if self.last is not None:
            fact: str | None = getattr(self.last, name)
            return fact
        value = self.raw.get(name)
        return value if isinstance(value, str) else None
