"""Tokens and cost of a call, from the wire's `usage` object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# a larger number from a server is a mistake, and counts as unknown so that it ruins no sum
MOST_TOKENS = 10**12
MOST_COST = 10**6


@dataclass(slots=True, unsafe_hash=True)  # frozen, each takes 2 µs longer
class Usage:
    """Tokens and cost of one call, or of several added up.

    Attributes:
        input_tokens: tokens of the prompt (`prompt_tokens` on the wire), including those read from
            a cache and written to one, however the provider counts them.
        output_tokens: tokens of the answer (`completion_tokens`), including reasoning.
        total_tokens: the server's total, or the sum of the two if it sent none.
        cached_tokens: input tokens read from a cache, or `None` if the server sent no count.
        cache_write_tokens: input tokens written to a cache.
        input_audio_tokens: audio tokens of the prompt.
        reasoning_tokens: output tokens spent on reasoning.
        output_audio_tokens: audio tokens of the answer.
        image_tokens: output tokens spent on images.
        cost: the cost of the call in USD; an unknown cost is `None`, never 0.
        cost_source: "gateway" if the gateway sent the cost, "catalog" if it is tokens times the
            catalog's prices; `None` without a cost, and for a sum of both.
        raw: the wire's original object.

    Example:
        >>> from lunos_core.accounting.usage import parse_usage
        >>> usage = parse_usage({"prompt_tokens": 9, "completion_tokens": 3, "cost": 0.5})
        >>> usage.total_tokens, (usage + usage).cost
        (12, 1.0)
    """

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    input_audio_tokens: int | None = None
    reasoning_tokens: int | None = None
    output_audio_tokens: int | None = None
    image_tokens: int | None = None
    cost: float | None = None
    cost_source: str | None = field(default=None, compare=False)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def prompt_tokens(self) -> int:
        """`input_tokens` under the wire's name."""
        return self.input_tokens

    @property
    def completion_tokens(self) -> int:
        """`output_tokens` under the wire's name."""
        return self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        """Add field by field; a field that neither side knows stays `None`."""
        if not isinstance(other, Usage):
            return NotImplemented
        counts = {name: _plus(getattr(self, name), getattr(other, name)) for name in _COUNTS}
        sources = {item.cost_source for item in (self, other) if item.cost is not None}
        return Usage(**counts, cost_source=sources.pop() if len(sources) == 1 else None)


_COUNTS = tuple(name for name in Usage.__dataclass_fields__ if name not in ("raw", "cost_source"))


def _plus(left: Any, right: Any) -> Any:
    if left is None:
        return right
    return left if right is None else left + right


def parse_usage(value: object) -> Usage | None:
    """Read the wire's `usage`, or return `None` if it is missing or has no counts.

    Source of the format: OpenAI's usage object with OpenRouter's additions (`cost`,
    `cache_write_tokens`). Fields of a wrong type, and numbers that no call can have, count as
    missing. OpenAI includes cached tokens and reasoning in prompt and answer; Anthropic counts the
    cache separately, Google and xAI the reasoning, so these are added.

    Example:
        >>> from lunos_core.accounting.usage import parse_usage
        >>> parse_usage({"input_tokens": 2, "cache_read_input_tokens": 7}).input_tokens
        9
        >>> parse_usage({"prompt_tokens": 9, "prompt_cache_hit_tokens": 7}).input_tokens
        9
    """
    if not isinstance(value, dict):
        return None
    raw, counted = value, value.get("tokens")
    if isinstance(counted, dict):  # Cohere's, beside the billed counts
        value = {**value, **counted}
    sent = _count(value, *_SENT)
    got = _count(value, *_GOT)
    total = _count(value, *_TOTAL)
    cost = _number(value.get("cost"), MOST_COST)
    if sent is None and got is None and total is None and cost is None:
        return None
    if sent is None and total is not None:
        sent = max(total - (got or 0), 0)
    of_input = _details(value, "prompt_tokens_details", "input_tokens_details")
    of_output = _details(value, "completion_tokens_details", "output_tokens_details")
    inputs, outputs = {**value, **of_input}, {**value, **of_output}
    cached, written = _count(inputs, *_CACHED), _count(inputs, *_CACHE_WRITES)
    reasoning = _count(outputs, *_REASONING)
    if _is_cache_beside(value, (cached or 0) + (written or 0) > (sent or 0)):
        sent = (sent or 0) + (cached or 0) + (written or 0)
    if reasoning and _is_reasoning_beside(value, sent or 0, got or 0, reasoning, total):
        got = (got or 0) + reasoning
    return Usage(
        input_tokens=sent or 0,
        output_tokens=got or 0,
        total_tokens=(sent or 0) + (got or 0) if total is None else total,
        cost=cost,
        cost_source=None if cost is None else "gateway",
        raw=raw,
        cached_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=reasoning,
        image_tokens=_count(outputs, "image_tokens"),
        # only from the details: beside the totals they could be input or output
        input_audio_tokens=_count(of_input, "audio_tokens"),
        output_audio_tokens=_count(of_output, "audio_tokens"),
    )


# the same facts in the terms of OpenAI, Anthropic, Google, Bedrock, DeepSeek, Vercel, watsonx,
# Ollama, TGI, llama.cpp, OpenRouter's records and DeepInfra
_SENT = (
    *("prompt_tokens", "input_tokens", "promptTokenCount", "prompt_token_count", "inputTokens"),
    *("promptTokens", "input_token_count", "prompt_eval_count", "tokens_prompt"),
    *("tokens_evaluated", "prompt_n", "num_input_tokens"),
)
_GOT = (
    *("completion_tokens", "output_tokens", "candidatesTokenCount", "candidates_token_count"),
    *("outputTokens", "completionTokens", "generated_token_count", "eval_count"),
    *("generated_tokens", "tokens_completion", "tokens_predicted", "predicted_n"),
    "num_output_tokens",
)
_TOTAL = ("total_tokens", "totalTokenCount", "totalTokens", "total_token_count")
_REASONING_BESIDE = ("thoughtsTokenCount", "thoughts_token_count")
_REASONING = ("reasoning_tokens", "reasoningTokens", *_REASONING_BESIDE)
_CACHED = (
    "cached_tokens",
    "cache_read_input_tokens",
    "cache_read_tokens",
    "prompt_cache_hit_tokens",
    "cachedContentTokenCount",
    "cached_content_token_count",
    "cachedInputTokens",
    "cacheReadInputTokens",
)
_CACHE_WRITES = (
    "cache_write_tokens",
    "cache_creation_input_tokens",
    "cache_creation_tokens",
    "cacheWriteInputTokens",
)
_CACHE_BESIDE = {
    *("cache_read_input_tokens", "cache_creation_input_tokens"),  # Anthropic
    *("cacheReadInputTokens", "cacheWriteInputTokens"),  # Bedrock
}


def _is_cache_beside(value: Mapping[str, Any], is_more: bool) -> bool:
    # proxies send Anthropic's names beside OpenAI's count, which includes them if it can
    return not _CACHE_BESIDE.isdisjoint(value) and (is_more or "prompt_tokens" not in value)


def _is_reasoning_beside(
    value: Mapping[str, Any], sent: int, got: int, reasoning: int, total: int | None
) -> bool:
    is_added_up = total is not None and total == sent + got + reasoning  # as xAI does
    return any(name in value for name in _REASONING_BESIDE) or reasoning > got or is_added_up


def merge_usage(earlier: object, later: object) -> object:
    """Merge two usages of a stream: the later one wins, field by field."""
    if not isinstance(later, dict):
        return earlier
    if not isinstance(earlier, dict):
        return later
    return {**earlier, **{key: value for key, value in later.items() if value is not None}}


def _details(value: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        details = value.get(name)
        if isinstance(details, dict):
            return details
    return {}


def _count(value: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        if name in value:
            number = _number(value[name], MOST_TOKENS)
            if number is not None:
                return int(number)
    return None


def _number(value: object, most: float) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # excludes NaN, infinities, negatives and impossible numbers in one comparison
    return value if 0 <= value <= most else None


def usage_with_cost(value: Mapping[str, Any]) -> Usage | None:
    """Read the usage of an answer, which may have its `cost` beside `usage`."""
    usage = value.get("usage")
    return parse_usage({"cost": value.get("cost"), **(usage if isinstance(usage, dict) else {})})
