"""From the core's answers to LangChain's messages, chunks and results.

A stream says everything once, because LangChain concatenates repeated text ("stopstop") and fails
on two different floats. So each chunk has only what it adds, and the last one has the metadata.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk, InvalidToolCall, ToolCall
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.messages.tool import (
    ToolCallChunk,
    invalid_tool_call,
    tool_call,
    tool_call_chunk,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.utils.json import parse_partial_json

from lunos_core.accounting.usage import Usage
from lunos_core.endpoints.chat.tool_arguments import read_arguments
from lunos_core.endpoints.chat.types import Choice, Chunk, ChunkChoice, Completion, Delta, Message
from lunos_core.endpoints.chat.types import ToolCall as CoreCall
from lunos_core.logs import quiet_logger

PROVIDER = "lunos"
CALL_EXTRAS = "tool_call_extras"
"""The key in `additional_kwargs` of what providers want back with a call, by the call's id."""

log = quiet_logger("langchain_lunos")


def to_result(completion: Completion) -> ChatResult:
    """Return a whole answer, with a generation for each choice."""
    generations = []
    for choice in completion.choices:
        message = to_message(completion, choice)
        if len(completion.choices) > 1 and choice is not completion.choices[0]:
            # usage and cost belong to the whole call, and count once
            message.usage_metadata = None
            for name in ("cost", "cost_source"):
                message.response_metadata.pop(name, None)
        info = {"finish_reason": choice.finish_reason, "model_name": completion.model}
        generations.append(ChatGeneration(message=message, generation_info=info))
    return ChatResult(generations=generations, llm_output=to_llm_output(completion))


def to_llm_output(completion: Completion) -> dict[str, Any]:
    """Return what LangChain's callbacks read as `llm_output`."""
    usage = completion.usage
    facts = {
        "id": completion.id,
        "system_fingerprint": completion.system_fingerprint,
        # LangSmith's name; in a message's usage_metadata LangChain fails on a float
        "total_cost": None if usage is None else usage.cost,
    }
    return {
        "token_usage": {} if usage is None else to_token_usage(usage),
        "model_name": completion.model,
        "model_provider": PROVIDER,
        **_known(facts),
    }


def to_token_usage(usage: Usage) -> dict[str, Any]:
    """Return token counts under OpenAI's names, with the details that the server gave.

    The cost is beside them under two names: the one that gateways use, and LangSmith's.
    """
    details = {
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "audio_tokens": usage.input_audio_tokens,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.output_audio_tokens,
            "image_tokens": usage.image_tokens,
        },
    }
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        **{group: known for group, counts in details.items() if (known := _known(counts))},
        **({} if usage.cost is None else {"cost": usage.cost, "total_cost": usage.cost}),
    }


def add_llm_outputs(outputs: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
    """Return the `llm_output` of several calls, with the sums of all counts."""
    given = [output for output in outputs if output]
    usage: dict[str, Any] = {}
    for output in given:
        _add(usage, output.get("token_usage") or {})
    facts = given[0] if len(given) == 1 else {}  # an id belongs to one call
    total = {**facts, "token_usage": usage, "model_provider": PROVIDER}
    costs = [output["total_cost"] for output in given if "total_cost" in output]
    if costs:
        usage["total_cost"] = usage["cost"] = total["total_cost"] = math.fsum(costs)
    return total


def _add(total: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(value, int | float):
            total[name] = total.get(name, 0) + value
        elif isinstance(value, Mapping):
            _add(total.setdefault(name, {}), value)


def to_message(completion: Completion, choice: Choice) -> AIMessage:
    """Return one choice of a whole (or partial) answer."""
    said = choice.message
    valid, invalid = to_tool_calls(said.tool_calls, choice.finish_reason)
    extra = _additional_kwargs(said)
    if said.reasoning:
        extra["reasoning_content"] = said.reasoning
    if said.images:
        extra["images"] = [_image(url, i) for i, url in enumerate(said.images)]
    if said.annotations:
        extra["annotations"] = said.annotations
    if said.audio:
        extra["audio"] = said.audio
    metadata = _metadata(completion, choice)
    if choice.logprobs is not None:
        metadata["logprobs"] = choice.logprobs
    fields: dict[str, Any] = {}
    if extra:
        fields["additional_kwargs"] = extra
    if valid or invalid:
        fields |= {"tool_calls": valid, "invalid_tool_calls": invalid}
    return AIMessage(
        content=said.content,
        response_metadata=metadata,
        usage_metadata=to_usage_metadata(completion.usage),
        **fields,
    )


@dataclass(slots=True)
class Streamed:
    """The images of a stream so far, and its first choice, the only one that is shown."""

    images: list[str] = field(default_factory=list)
    choice: int | None = None

    def shown(self, chunk: Chunk) -> ChunkChoice | None:
        choice = next(iter(chunk.choices), None)
        if choice is None or self.choice not in (None, choice.index):
            return None  # of an answer that nobody requested
        self.choice = choice.index
        return choice


def to_chunk(chunk: Chunk, streamed: Streamed) -> ChatGenerationChunk | None:
    """Return one event of a stream, or `None` if it adds nothing that LangChain shows.

    Args:
        chunk: the event.
        streamed: what came before; it is changed.
    """
    if chunk.last is not None:
        return _last_chunk(chunk.last)
    choice = streamed.shown(chunk)
    if choice is None:
        return None
    delta = choice.delta
    fields: dict[str, Any] = {"response_metadata": {"model_provider": PROVIDER}}
    if choice.logprobs is not None:
        fields["response_metadata"]["logprobs"] = choice.logprobs
    if delta.reasoning or delta.images or delta.annotations or delta.audio:
        fields["additional_kwargs"] = _delta_kwargs(delta, len(streamed.images))
        streamed.images += delta.images
    if not delta.tool_calls:
        return ChatGenerationChunk(message=AIMessageChunk(content=delta.content, **fields))
    calls = [
        tool_call_chunk(name=call.name, args=call.arguments, id=call.id, index=call.index)
        for call in delta.tool_calls
    ]
    if not all(map(_is_inside, calls)):
        message = AIMessageChunk(content=delta.content, tool_call_chunks=calls, **fields)
        return ChatGenerationChunk(message=message)
    message = AIMessageChunk(content=delta.content, **fields)
    # what LangChain arrives at after it has tried three times to parse such a piece, which takes
    # longer than everything else; most pieces of a tool call are of this kind
    message.tool_call_chunks = calls
    message.invalid_tool_calls = [
        invalid_tool_call(name=call["name"], args=call["args"], id=call["id"]) for call in calls
    ]
    return ChatGenerationChunk(message=message)


def _last_chunk(completion: Completion) -> ChatGenerationChunk:
    calls: list[ToolCallChunk] = []
    choice = completion.choices[0] if completion.choices else Choice(0, Message())
    extra = _additional_kwargs(choice.message)
    if choice.message.audio:
        # data and transcript came in pieces; the rest cannot be added up and comes here, once
        extra["audio"] = {
            name: value
            for name, value in choice.message.audio.items()
            if name not in ("data", "transcript")
        }
    for index, call in enumerate(choice.message.tool_calls):
        mark = _mark_of_invalid(call, choice.finish_reason)
        if not call.name:  # then it wasn't shown before
            calls.append(tool_call_chunk(args=call.arguments + mark, id=call.id, index=index))
        elif mark:
            calls.append(tool_call_chunk(args=mark, index=index))
    message = AIMessageChunk(
        content="",
        additional_kwargs=extra,
        response_metadata=_metadata(completion, choice),
        usage_metadata=to_usage_metadata(completion.usage),
        tool_call_chunks=calls,
        chunk_position="last",
    )
    info = {"finish_reason": choice.finish_reason, "model_name": completion.model}
    return ChatGenerationChunk(message=message, generation_info=info)


def to_usage_metadata(usage: Usage | None) -> UsageMetadata | None:
    """Return token counts in LangChain's form: only integers, because it adds them up.

    Return `None` if the server gave none: no number is invented.
    """
    if usage is None:
        return None
    metadata = UsageMetadata(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.total_tokens,
    )
    inputs = {
        "cache_read": usage.cached_tokens,
        "cache_creation": usage.cache_write_tokens,
        "audio": usage.input_audio_tokens,
    }
    outputs = {"reasoning": usage.reasoning_tokens, "audio": usage.output_audio_tokens}
    if known := _known(inputs):
        metadata["input_token_details"] = cast("InputTokenDetails", known)
    if known := _known(outputs):
        metadata["output_token_details"] = cast("OutputTokenDetails", known)
    return metadata


def _known(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None}


def to_tool_calls(
    calls: list[CoreCall], finish_reason: str | None
) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    """Return the calls whose arguments are a JSON object, and the others with their errors."""
    valid: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    for call in calls:
        arguments = _arguments(call, finish_reason)
        if arguments is None:
            error = "the arguments aren't a JSON object: cut off, or written wrongly by the model"
            if not call.name:
                error = "the call has no name"
            log.warning("a call of %r is in invalid_tool_calls: %s", call.name, error)
            invalid.append(
                invalid_tool_call(name=call.name, args=call.arguments, id=call.id, error=error)
            )
        else:
            valid.append(tool_call(name=call.name, args=arguments, id=call.id))
    return valid, invalid


def _arguments(call: CoreCall, finish_reason: str | None) -> dict[str, Any] | None:
    if not call.name or (not call.arguments and finish_reason == "length"):
        return None  # it cannot be run, or it was cut off before its arguments
    return read_arguments(call.arguments)


def _mark_of_invalid(call: CoreCall, finish_reason: str | None) -> str:
    """Return a suffix for broken arguments that makes LangChain treat them as broken.

    When it adds up chunks, LangChain completes JSON that was cut off ('{"path": "/ho') and would
    run the tool with half an argument. It cannot complete JSON with an unmatched closing bracket.
    Quotes before the bracket end a string, in case the cut is inside one.
    """
    if _arguments(call, finish_reason) is not None:
        return ""
    for mark in ("]", "}", '"]', '"}', '""]', '""}'):
        try:
            if not isinstance(parse_partial_json(call.arguments + mark), dict):
                return mark
        except ValueError:
            return mark
    return "]"


def _is_inside(call: ToolCallChunk) -> bool:
    """Return whether a piece of arguments isn't the beginning of an object."""
    arguments = (call["args"] or "").lstrip()
    return arguments != "" and arguments[0] != "{"


def _delta_kwargs(delta: Delta, images_before: int) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    if delta.reasoning:
        extra["reasoning_content"] = delta.reasoning
    if delta.images:
        extra["images"] = [_image(url, images_before + i) for i, url in enumerate(delta.images)]
    if delta.annotations:
        extra["annotations"] = list(delta.annotations)
    if delta.audio:
        pieces = {name: delta.audio.get(name) for name in ("data", "transcript")}
        extra["audio"] = {name: piece for name, piece in pieces.items() if piece}
    return extra


def _additional_kwargs(said: Message) -> dict[str, Any]:
    """Return fields that make sense only when whole; a stream has them on the last chunk."""
    extra: dict[str, Any] = {}
    if said.reasoning_details:
        extra["reasoning_details"] = said.reasoning_details
    if said.refusal:  # LangChain's v3 stream would keep only its last piece
        extra["refusal"] = said.refusal
    extras = {call.id: call.extras for call in said.tool_calls if call.extras}
    if extras:
        extra[CALL_EXTRAS] = extras
    return extra


def _metadata(completion: Completion, choice: Choice) -> dict[str, Any]:
    usage = completion.usage
    facts = {
        "model_provider": PROVIDER,
        "model_name": completion.model,
        "finish_reason": choice.finish_reason,
        "normalized_finish_reason": normalize_finish_reason(choice),
        "native_finish_reason": choice.native_finish_reason,
        "id": completion.id,
        "created": completion.created,
        "provider": completion.provider,
        "system_fingerprint": completion.system_fingerprint,
        "service_tier": completion.service_tier,
        "request_id": completion.request_id,
        # a float, so here and not in usage_metadata, where LangChain adds up integers
        "cost": None if usage is None else usage.cost,
        "cost_source": None if usage is None else usage.cost_source,
        "cost_details": None if usage is None else _details(usage.raw.get("cost_details")),
        "attempts": completion.attempts if completion.attempts > 1 else None,
        "fallback": completion.fallback or None,
    }
    return _known(facts)


def _details(value: Any) -> dict[str, Any] | None:
    return dict(value) if value and isinstance(value, Mapping) else None


def normalize_finish_reason(choice: Choice) -> str | None:
    """Return the finish reason in OpenAI's terms, or `None` if the provider's is unknown."""
    if choice.message.refusal:
        return "refusal"
    return _FINISH_REASONS.get((choice.finish_reason or "").lower())


_FINISH_REASONS = {
    reason: normalized
    for normalized, reasons in {
        "stop": ("stop", "end_turn", "stop_sequence", "completed", "eos", "complete"),
        "length": ("length", "max_tokens", "max_output_tokens", "model_context_window_exceeded"),
        "tool_calls": ("tool_calls", "tool_use", "function_call"),
        "content_filter": ("content_filter", "safety", "recitation", "prohibited_content"),
        "refusal": ("refusal",),
        "error": ("error",),
    }.items()
    for reason in reasons
}


def _image(url: str, index: int) -> dict[str, Any]:
    # without an index LangChain would join two images of a stream into one
    return {"type": "image_url", "image_url": {"url": url}, "index": index}
