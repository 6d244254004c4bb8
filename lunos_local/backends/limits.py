"""Applies `stop` and `max_tokens` to an answer and counts its tokens."""

from __future__ import annotations

from dataclasses import replace

from lunos_local.backends import conversation, tokens
from lunos_local.backends.answer import Answer, Choice, usage
from lunos_local.backends.base import Body


def limit(choice: Choice, body: Body, default_max_tokens: int | None = None) -> Choice:
    """Cut `choice` at `stop`, then at `max_tokens`."""
    most = body.get("max_completion_tokens") or body.get("max_tokens") or default_max_tokens
    if choice.text is not None:
        stops = body.get("stop") or []
        ends = [choice.text.find(stop) for stop in ([stops] if isinstance(stops, str) else stops)]
        choice.text = choice.text[: min((end for end in ends if end >= 0), default=None)]
        choice.text, was_cut = tokens.cut(choice.text, most)
        if was_cut:
            choice.finish_reason = "length"
    if most is not None and choice.tool_calls:
        _limit_calls(choice, most)
    return choice


def _limit_calls(choice: Choice, most: int) -> None:
    kept = []
    for call in choice.tool_calls:
        arguments, was_cut = tokens.cut(call.arguments, most)
        kept.append(replace(call, arguments=arguments))
        if was_cut:
            choice.finish_reason = "length"
            break
        most -= tokens.count(arguments)
        if most <= 0:
            break
    choice.tool_calls = kept


def size(choice: Choice) -> int:
    """Count the tokens of a choice's text and tool calls."""
    written = tokens.count(choice.text or "")
    return written + sum(tokens.count(call.name + call.arguments) for call in choice.tool_calls)


def completion(body: Body, prompts: list[str], choices: list[Choice]) -> Answer:
    """Return the answer to a completion request, with its usage."""
    return Answer(
        id="cmpl-" + conversation.fingerprint(body),
        model=body["model"],
        choices=choices,
        usage=usage(sum(map(tokens.count, prompts)), sum(map(size, choices))),
    )
