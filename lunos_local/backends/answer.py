"""A local model's answer and its two forms on the wire: one JSON object, or chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lunos_local.backends import tokens
from lunos_local.backends.tool_rules import ToolCall

# not the time: a response must be the same when it is recorded again
CREATED = 1700000000
PROVIDER = "local"
_ARGUMENT_PIECES = 3


@dataclass
class Choice:
    """One choice of an answer."""

    text: str | None = None
    finish_reason: str = "stop"
    tool_calls: list[ToolCall] = field(default_factory=list)
    reasoning: str | None = None
    images: list[str] = field(default_factory=list)
    audio: dict[str, Any] = field(default_factory=dict)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    refusal: str | None = None
    logprobs: int | None = None
    """How many alternatives to list for each token; None for no `logprobs`."""


@dataclass
class Answer:
    """A model's answer to a chat or completion request."""

    id: str
    model: str
    choices: list[Choice]
    usage: dict[str, Any]
    created: int = CREATED

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "provider": PROVIDER,
        }

    def to_chat(self) -> dict[str, Any]:
        """Return the body of a chat completion."""
        choices = []
        for index, choice in enumerate(self.choices):
            entry: dict[str, Any] = {
                "index": index,
                "message": _message(choice),
                "finish_reason": choice.finish_reason,
            }
            if choice.logprobs is not None:
                parts = list(tokens.pieces(choice.text or ""))
                entry["logprobs"] = _logprobs(parts, choice.logprobs)
            choices.append(entry)
        return {**self._head("chat.completion"), "choices": choices, "usage": self.usage}

    def to_completion(self) -> dict[str, Any]:
        """Return the body of a text completion, flat as in OpenAI's API."""
        choices = [
            {
                "text": choice.text or "",
                "index": index,
                "logprobs": None,
                "finish_reason": choice.finish_reason,
            }
            for index, choice in enumerate(self.choices)
        ]
        return {**self._head("text_completion"), "choices": choices, "usage": self.usage}

    def chat_chunks(self, *, include_usage: bool) -> Iterator[dict[str, Any]]:
        """Yield the chunks of a streamed chat completion, choice by choice."""
        head = self._head("chat.completion.chunk")
        for index, choice in enumerate(self.choices):
            for delta, finish_reason in _deltas(choice):
                entry: dict[str, Any] = {
                    "index": index,
                    "delta": delta,
                    "finish_reason": finish_reason,
                }
                if choice.logprobs is not None and delta.get("content"):
                    entry["logprobs"] = _logprobs([delta["content"]], choice.logprobs)
                yield {**head, "choices": [entry]}
        if include_usage:
            yield {**head, "choices": [], "usage": self.usage}

    def completion_chunks(self, *, include_usage: bool) -> Iterator[dict[str, Any]]:
        """Yield the chunks of a streamed text completion."""
        head = self._head("text_completion")
        for index, choice in enumerate(self.choices):
            for piece in tokens.pieces(choice.text or ""):
                yield {**head, "choices": [{"text": piece, "index": index, "finish_reason": None}]}
            last = {"text": "", "index": index, "finish_reason": choice.finish_reason}
            yield {**head, "choices": [last]}
        if include_usage:
            yield {**head, "choices": [], "usage": self.usage}


def enveloped(body: dict[str, Any]) -> dict[str, Any]:
    """Move the choices under `data`, as in the envelope of the API reference."""
    return {
        "id": body["id"],
        "object": "completion",
        "created": body["created"],
        "model": body["model"],
        "provider": body["provider"],
        "data": {"choices": body["choices"]},
        "usage": body["usage"],
    }


def _image_parts(urls: list[str]) -> list[dict[str, Any]]:
    return [{"type": "image_url", "image_url": {"url": url}} for url in urls]


def _reasoning_detail(text: str) -> dict[str, Any]:
    return {
        "type": "reasoning.text",
        "text": text,
        "signature": None,
        "format": "local-v1",
        "index": 0,
    }


def _message(choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.text}
    if choice.tool_calls:
        message["tool_calls"] = [call.to_wire() for call in choice.tool_calls]
    if choice.reasoning is not None:
        message["reasoning"] = choice.reasoning
        detail = _reasoning_detail(choice.reasoning)
        message["reasoning_details"] = [{**detail, "signature": _SIGNATURE}]
    if choice.images:
        message["images"] = _image_parts(choice.images)
    if choice.audio:
        message |= {"content": None, "audio": choice.audio}
    if choice.annotations:
        message["annotations"] = choice.annotations
    if choice.refusal is not None:
        message["refusal"] = choice.refusal
    return message


_SIGNATURE = "bG9jYWwtc2lnbmF0dXJl"


def _deltas(choice: Choice) -> Iterator[tuple[dict[str, Any], str | None]]:
    yield {"role": "assistant"}, None
    if choice.reasoning is not None:
        for piece in tokens.pieces(choice.reasoning):
            yield {"reasoning": piece, "reasoning_details": [_reasoning_detail(piece)]}, None
        signed = {**_reasoning_detail(""), "signature": _SIGNATURE}
        yield {"reasoning_details": [signed]}, None
    if choice.refusal is not None:
        for piece in tokens.pieces(choice.refusal):
            yield {"refusal": piece}, None
    for piece in tokens.pieces(choice.text or ""):
        yield {"audio": {"transcript": piece}} if choice.audio else {"content": piece}, None
    if choice.audio:
        yield {"audio": {**choice.audio, "transcript": ""}}, None
    for index, call in enumerate(choice.tool_calls):
        start = {"index": index, **call.to_wire()}
        start["function"] = {"name": call.name, "arguments": ""}
        yield {"tool_calls": [start]}, None
        for piece in _thirds(call.arguments):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}, None
    if choice.annotations:
        yield {"annotations": choice.annotations}, None
    if choice.images:
        yield {"images": _image_parts(choice.images)}, None
    # some providers repeat the images in the last chunk; readers must show them once
    last = {"images": _image_parts(choice.images)} if choice.images else {}
    yield last, choice.finish_reason


def _thirds(text: str) -> list[str]:
    size = max(1, -(-len(text) // _ARGUMENT_PIECES))
    return [text[i : i + size] for i in range(0, len(text), size)]


def _logprobs(parts: list[str], alternatives: int) -> dict[str, Any]:
    def entry(token: str, value: float) -> dict[str, Any]:
        return {"token": token, "logprob": value, "bytes": list(token.encode())}

    content = []
    for part in parts:
        others = [entry(part, -0.1)]
        others += [entry(f"{part}{rank}", -1.0 - rank) for rank in range(1, alternatives)]
        content.append({**entry(part, -0.1), "top_logprobs": others[:alternatives]})
    return {"content": content}


def usage(
    prompt: int,
    completion: int,
    *,
    prompt_details: dict[str, int] | None = None,
    completion_details: dict[str, int] | None = None,
) -> dict[str, Any]:
    """Return the `usage` object: counts, details and a cost of 0."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": 0,
            "cache_write_tokens": 0,
            "audio_tokens": 0,
            **(prompt_details or {}),
        },
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "image_tokens": 0,
            **(completion_details or {}),
        },
        "cost": 0.0,
    }
