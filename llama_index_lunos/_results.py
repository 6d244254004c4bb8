"""From Lunos's answers to LlamaIndex's types: whole ones, and streams, which become cumulative."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    ChatResponse,
    CitationBlock,
    CompletionResponse,
    ContentBlock,
    ImageBlock,
    LogProb,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from lunos_core.accounting.usage import Usage
from lunos_core.endpoints.chat.content_parts import split_data_url
from lunos_core.endpoints.chat.types import Choice, Chunk, Completion, Message, ToolCall
from lunos_core.logs import quiet_logger

log = quiet_logger("llama_index_lunos")
"""This adapter's log; requests are logged by `lunos_core`."""

DETAILS = "reasoning_details"
"""The key under which a ThinkingBlock keeps the original reasoning and its signatures."""
SPELLING = "field"
"""The key under which it keeps the name of the wire's field for plain-text reasoning."""

_USAGE_EXTRAS = ("cached_tokens", "cache_write_tokens", "reasoning_tokens", "cost", "cost_source")
# the details of token counts as the wire and tracers for OpenAI name them
_USAGE_DETAILS = {
    "prompt_tokens_details": {
        "cached_tokens": "cached_tokens",
        "cache_write_tokens": "cache_write_tokens",
        "audio_tokens": "input_audio_tokens",
    },
    "completion_tokens_details": {
        "reasoning_tokens": "reasoning_tokens",
        "audio_tokens": "output_audio_tokens",
        "image_tokens": "image_tokens",
    },
}


def to_response(completion: Completion) -> ChatResponse:
    """Return a whole answer; only the first of several choices."""
    choice = completion.choices[0]
    spelling = _reasoning_field(completion.raw, "message")
    return ChatResponse(
        message=to_message(choice.message, usage=completion.usage, spelling=spelling),
        raw=_raw(completion.raw, completion.usage),
        logprobs=to_logprobs(choice.logprobs),
        additional_kwargs=_facts(completion, choice),
    )


def to_completion(response: ChatResponse) -> CompletionResponse:
    """Return a chat answer as a text completion."""
    return CompletionResponse(
        text=response.message.content or "",
        delta=response.delta,
        raw=response.raw,
        logprobs=response.logprobs,
        additional_kwargs={**response.message.additional_kwargs, **response.additional_kwargs},
    )


def to_message(
    message: Message, *, usage: Usage | None = None, spelling: str | None = None
) -> ChatMessage:
    """Return a message as blocks: thinking, text, citations, images, audio, tool calls.

    Tool calls are also in `additional_kwargs["tool_calls"]`, as the wire's plain dicts: parts of
    LlamaIndex look only there.
    """
    blocks: list[ContentBlock] = []
    if message.reasoning or message.reasoning_details:
        blocks.append(_thinking(message, usage, spelling))
    transcript = (message.audio or {}).get("transcript")
    text = message.content or message.refusal or str(transcript or "")
    named = [call for call in message.tool_calls if call.name]
    if len(named) < len(message.tool_calls):
        log.warning("the model called a tool without saying which: that call is left out")
    calls: list[ContentBlock] = [_tool_call_block(call) for call in named]
    images: list[ContentBlock] = [*to_images(message.images)]
    if text or not (calls or images or message.audio):
        blocks.append(TextBlock(text=text))
    blocks += [block for item in message.annotations for block in _citation(item)]
    blocks += images
    if message.audio and message.audio.get("data"):
        blocks.append(AudioBlock(audio=str(message.audio["data"]).encode()))
    blocks += calls
    return ChatMessage(
        role=MessageRole.ASSISTANT,
        blocks=blocks,
        additional_kwargs=_message_extras(message),
    )


class ChatAccumulator:
    """Makes a stream cumulative: every response has the message so far, in new lists.

    Add the core's chunks in order; it does no I/O.
    """

    def __init__(self) -> None:
        # plain strings: every response has the whole text so far, and joining a list of pieces for
        # each would also cost time for each piece
        self._text = ""
        self._reasoning = ""
        self._spelling: str | None = None
        self._calls: list[ToolCall] = []
        self._others: list[ContentBlock] = []
        self._choices: object = ()

    def add(self, chunk: Chunk) -> ChatResponse | None:
        """Return the response after this chunk, or `None` if nothing visible is new."""
        if chunk.last is not None:
            return self._end(chunk.last)
        self._choices = chunk.raw.get("choices")
        for choice in chunk.choices:
            if choice.index == 0:
                break
        else:
            return None
        delta = choice.delta
        if not (delta.content or delta.reasoning or delta.tool_calls or delta.images):
            return None
        self._text += delta.content
        extras: dict[str, Any] = {}
        if delta.reasoning:
            self._reasoning += delta.reasoning
            self._spelling = self._spelling or _reasoning_field(chunk.raw, "delta")
            extras["thinking_delta"] = delta.reasoning
        for piece in delta.tool_calls:
            while len(self._calls) <= piece.index:
                self._calls.append(ToolCall("", "", ""))
            call = self._calls[piece.index]
            call.id = call.id or piece.id or ""
            call.name += piece.name or ""
            call.arguments += piece.arguments
        if delta.images:
            self._others += to_images(delta.images)
        return ChatResponse(
            message=self._message(),
            delta=delta.content,
            raw=chunk.raw,
            additional_kwargs=extras,
        )

    def _message(self) -> ChatMessage:
        blocks: list[ContentBlock] = []
        if self._reasoning:
            blocks.append(ThinkingBlock(content=self._reasoning))
        if self._text:
            blocks.append(TextBlock(text=self._text))
        blocks += self._others
        if not self._calls:
            return ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks)
        blocks += [_tool_call_block(call) for call in self._calls]
        calls = [call.to_wire() for call in self._calls]
        return ChatMessage(
            role=MessageRole.ASSISTANT, blocks=blocks, additional_kwargs={"tool_calls": calls}
        )

    def _end(self, completion: Completion) -> ChatResponse:
        choice = completion.choices[0] if completion.choices else Choice(0, Message())
        message = to_message(choice.message, usage=completion.usage, spelling=self._spelling)
        shown, whole = self._text, message.content or ""
        # the last event often has only the usage; tracers look for the choices beside it
        raw = {**completion.raw, "choices": self._choices}
        return ChatResponse(
            message=message,
            # a refusal or a transcript becomes text only at the end
            delta=whole[len(shown) :] if whole.startswith(shown) else "",
            raw=_raw(raw, completion.usage),
            logprobs=to_logprobs(choice.logprobs),
            additional_kwargs=_facts(completion, choice),
        )


def to_logprobs(value: Any) -> list[list[LogProb]] | None:
    """Return each token's candidates, from chat's `{"content": […]}` or completions' lists.

    The first candidate is the token that was chosen.
    """
    if not isinstance(value, Mapping):
        return None
    content = value.get("content")
    if isinstance(content, list):
        return [
            [_logprob(item) for item in _candidates(token)]
            for token in content
            if isinstance(token, Mapping)
        ]
    tokens, chosen = value.get("tokens"), value.get("token_logprobs")
    if not isinstance(tokens, list) or not isinstance(chosen, list):
        return None
    return [
        [LogProb(token=str(token), logprob=0.0 if number is None else float(number))]
        for token, number in zip(tokens, chosen, strict=False)
    ]


def to_images(urls: Sequence[str]) -> list[ImageBlock]:
    """Return generated images: the bytes if the answer has them, else the address.

    An invalid address is left out without losing the rest; `raw` still has it.
    """
    images = []
    for url in urls:
        try:
            images.append(to_image(url))
        except ValueError:  # pydantic's error, and that of half a surrogate pair
            log.warning("an image in the answer has no valid address: left out")
    return images


def to_image(url: str) -> ImageBlock:
    """Return a generated image.

    Raises:
        ValueError: its address isn't valid.
    """
    parts = split_data_url(url)
    if parts is None:
        return ImageBlock(url=url)
    mimetype, data = parts
    return ImageBlock(image=data.encode(), image_mimetype=mimetype or None)


def _thinking(message: Message, usage: Usage | None, spelling: str | None) -> ThinkingBlock:
    information: dict[str, Any] = {}
    if message.reasoning_details:
        information[DETAILS] = message.reasoning_details
    elif spelling is not None:
        information[SPELLING] = spelling
    return ThinkingBlock(
        content=message.reasoning or None,
        num_tokens=usage.reasoning_tokens if usage is not None else None,
        additional_information=information,
    )


def _reasoning_field(raw: Mapping[str, Any], holder: str) -> str | None:
    """Return the field that had plain-text reasoning, which is sent back in the same one."""
    message = _first_choice(raw).get(holder)
    if not isinstance(message, Mapping):
        return None
    return next((name for name in ("reasoning_content", "reasoning") if message.get(name)), None)


def _first_choice(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = raw.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, Mapping) else {}


def _tool_call_block(call: ToolCall) -> ToolCallBlock:
    return ToolCallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=call.arguments)


def _citation(annotation: Mapping[str, Any]) -> list[ContentBlock]:
    cited = annotation.get("url_citation")
    if not isinstance(cited, Mapping) or not isinstance(cited.get("url"), str):
        return []
    title = str(cited.get("title") or cited["url"])
    places = ("start_index", "end_index")
    return [
        CitationBlock(
            cited_content=TextBlock(text=str(cited.get("content") or title)),
            source=cited["url"],
            title=title,
            additional_location_info={
                name: cited[name] for name in places if isinstance(cited.get(name), int)
            },
        )
    ]


def _message_extras(message: Message) -> dict[str, Any]:
    extras: dict[str, Any] = {}
    named = [call.to_wire() for call in message.tool_calls if call.name]
    if named:
        extras["tool_calls"] = named
    if message.refusal:
        extras["refusal"] = message.refusal
    if message.annotations:
        extras["annotations"] = message.annotations
    if message.audio:
        audio = message.audio.items()
        extras["audio"] = {name: value for name, value in audio if name != "data"}
    return extras


def _raw(raw: Mapping[str, Any], usage: Usage | None) -> dict[str, Any]:
    """Return the original answer, with its usage under LlamaIndex's and tracers' names."""
    if usage is None:
        return {**raw, "usage": None}
    counts: dict[str, Any] = {**usage.raw, **_counts(usage)}
    if usage.cost is not None:
        counts["cost"] = usage.cost
    for holder, names in _USAGE_DETAILS.items():
        known = {name: getattr(usage, field) for name, field in names.items()}
        details = {name: count for name, count in known.items() if count is not None}
        if details:
            sent = counts.get(holder)
            counts[holder] = {**details, **(sent if isinstance(sent, Mapping) else {})}
    return {**raw, "usage": counts}


def _counts(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }


def _facts(completion: Completion, choice: Choice) -> dict[str, Any]:
    usage = completion.usage
    facts: dict[str, Any] = {}
    if usage is not None:
        facts |= _counts(usage)
        facts |= {name: getattr(usage, name) for name in _USAGE_EXTRAS}
        facts |= {"total_cost": usage.cost, "cost_details": usage.raw.get("cost_details")}
    facts |= {
        "finish_reason": choice.finish_reason,
        "native_finish_reason": choice.native_finish_reason,
        "service_tier": completion.service_tier,
        "model": completion.model,
        "request_id": completion.request_id,
        "fallback": completion.fallback or None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _candidates(token: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    top = token.get("top_logprobs")
    if not isinstance(top, list):
        return [token]
    others = [item for item in top if isinstance(item, Mapping)]
    return [token, *(item for item in others if item.get("token") != token.get("token"))]


def _logprob(value: Mapping[str, Any]) -> LogProb:
    number = value.get("logprob")
    return LogProb(
        token=str(value.get("token", "")),
        logprob=float(number) if isinstance(number, int | float) else 0.0,
        bytes=value.get("bytes") or [],
    )
