"""The answers of the chat and completion endpoints, as values.

One shape for every spelling of the wire: flat or in an envelope, reasoning in three spellings, tool
calls whole or in fragments. The names are OpenAI's, so that `response.choices[0].message.content`
works as it does elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lunos_core.accounting.usage import Usage


@dataclass(slots=True)
class ToolCall:
    """A tool call that the model asks for.

    Attributes:
        id: the provider's id, or one made here where it sent none.
        name: the function's name.
        arguments: JSON text as the model wrote it: it may be cut or broken.
        extras: what the provider wants back with the call, by its field: Gemini's signature of
            its thought is in `extra_content`, from LiteLLM in `provider_specific_fields`.
    """

    id: str
    name: str
    arguments: str
    extras: dict[str, Any] = field(default_factory=dict)

    def to_wire(self) -> dict[str, Any]:
        """Return the call as it stands in a message."""
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.id, "type": "function", "function": function, **self.extras}


@dataclass(slots=True)
class ToolCallDelta:
    """A piece of a tool call: `id` and `name` are on its first piece only.

    `index` counts the calls of one answer from 0, whatever numbers the provider used.
    """

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(slots=True)
class Message:
    """What the model said.

    Attributes:
        content: the text; "" where there is none.
        tool_calls: the calls it asks for.
        reasoning: its reasoning as text, once, whichever spelling it came in.
        reasoning_details: the reasoning as it came, to be sent back unchanged.
        refusal: why it refused, where it did.
        images: URLs (mostly `data:`) of generated images.
        annotations: citations, as they came.
        audio: {id, data, transcript, …} as it came, where the model spoke.
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
    """The provider's own word for it, where a gateway says both."""

    @property
    def text(self) -> str:
        """The text: `/completions` calls it so."""
        return self.message.content


@dataclass(slots=True, kw_only=True)
class Completion:
    """An answer: whole, or as far as it arrived (`error.partial`).

    Attributes:
        choices: at least one, in order of `index`; may be empty in a partial answer.
        usage: tokens and cost, or `None` where the server said nothing.
        id: the provider's id of the answer.
        model: the model that answered, as the server names it.
        created: Unix time in seconds.
        provider: who served the model, where the server says.
        system_fingerprint: the provider's configuration id.
        service_tier: the tier that the provider served the answer at ("default", "flex", …).
        request_id: the server's id of the request.
        attempts: requests made until the answer came.
        fallback: whether `fallback_model` answered.
        raw: the answer as it came; of a stream, the last event; empty in a partial answer.
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
        """The first answer's text; "" where there is none."""
        return self.choices[0].message.content if self.choices else ""

    @property
    def finish_reasons(self) -> tuple[str, ...]:
        """Why the choices ended, as far as the server said."""
        return tuple([choice.finish_reason for choice in self.choices if choice.finish_reason])


@dataclass(slots=True)
class Delta:
    """What one event adds to a choice; empty fields add nothing.

    `reasoning_details` are not here but, whole, on the last chunk: a fragment is of no use alone,
    and the signature comes with the last one.
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
        """The text: `/completions` calls it so."""
        return self.delta.content


@dataclass(slots=True)
class Chunk:
    """One piece of a streamed answer.

    Everything is said once: a `finish_reason` is on one chunk of each choice, and the last chunk
    (`last`), which has no choices, holds what belongs to the whole: usage, id, model.
    """

    choices: Sequence[ChunkChoice]
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)
    last: Completion | None = None
    """On the last chunk: the whole answer, put together."""

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
            found: str | None = getattr(self.last, name)
            return found
        value = self.raw.get(name)
        return value if isinstance(value, str) else None
