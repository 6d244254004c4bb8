"""`lunos/scripted`: scripted responses. The same request always has the same answer.

It calls tools, fills JSON schemas, reasons, makes images and caches on request.
"""

from __future__ import annotations

import json
from typing import Any

from lunos_local.backends import conversation, limits, react, tokens
from lunos_local.backends.answer import Answer, Choice, usage
from lunos_local.backends.base import Body
from lunos_local.backends.extractive import Extractive
from lunos_local.backends.schema_args import Generator, generate, quoted
from lunos_local.backends.scripted_audio import spoken
from lunos_local.backends.scripted_images import png_data_url
from lunos_local.backends.tool_rules import choose, make_call, named_in, overlap

_ECHO_TOKENS = 40
_COMPLETION_MAX_TOKENS = 16
_IMAGE_TOKENS = 64
_AUDIO_TOKENS = 16
_KINDS = {"image_url": "image", "file": "file", "input_audio": "audio clip", "video_url": "video"}


class Scripted:
    """The rules, and the cached prefixes that they have seen."""

    def __init__(self, quotes: Extractive | None = None) -> None:
        self._prefixes: set[str] = set()
        self._quotes = quotes

    def forget(self) -> None:
        """Forget the cached prefixes."""
        self._prefixes.clear()

    def chat(self, body: Body) -> Answer:
        """Answer a checked chat request."""
        reasoning = _reasoning_text(body)
        shown = None if (body.get("reasoning") or {}).get("exclude") else reasoning
        choices = [
            limits.limit(self._choice(body, index), body) for index in range(body.get("n") or 1)
        ]
        for choice in choices:
            choice.reasoning = shown
            if choice.text and "audio" in (body.get("modalities") or ()):
                choice.audio = spoken(choice.text)
        heard = _AUDIO_TOKENS * sum(bool(choice.audio) for choice in choices)
        seen = _IMAGE_TOKENS if _wants_image(body) else 0
        thought = tokens.count(reasoning or "")
        return Answer(
            id="chatcmpl-" + conversation.fingerprint(body),
            model=body["model"],
            choices=choices,
            usage=usage(
                tokens.of_chat(body),
                sum(map(limits.size, choices)) + thought + heard + seen,
                prompt_details={**self._cache(body), "audio_tokens": tokens.of_audio(body)},
                completion_details={
                    "reasoning_tokens": thought,
                    "audio_tokens": heard,
                    "image_tokens": seen,
                },
            ),
        )

    def complete(self, body: Body) -> Answer:
        """Answer a checked completion request."""
        prompts = [body["prompt"]] if isinstance(body["prompt"], str) else body["prompt"]
        choices = []
        for prompt in prompts:
            for index in range(body.get("n") or 1):
                quote = self._quotes and self._quotes.quote_prompt(prompt)
                text = quote or f" Scripted continuation of: {_echo(prompt)}{_rank(index)}"
                choice = limits.limit(Choice(text=text), body, _COMPLETION_MAX_TOKENS)
                if body.get("echo"):
                    choice.text = prompt + (choice.text or "")
                choices.append(choice)
        return limits.completion(body, prompts, choices)

    def _choice(self, body: Body, index: int) -> Choice:
        messages = body["messages"]
        text = conversation.last_user_text(messages)
        tools = self._tools(body, text)
        if tools:
            calls = [make_call(tool, text, [messages, index, i]) for i, tool in enumerate(tools)]
            return Choice(finish_reason="tool_calls", tool_calls=calls)
        choice = Choice(text=self._text(body, text, index))
        if any(tool["type"] == "web_search" for tool in body.get("tools") or ()):
            choice.annotations = [_citation(text)]
        if _wants_image(body):
            choice.images = [png_data_url(text)]
        if body.get("logprobs"):
            choice.logprobs = body.get("top_logprobs") or 0
        return choice

    def _text(self, body: Body, text: str, index: int) -> str:
        results = conversation.tool_results(body["messages"])
        wanted: dict[str, Any] = body.get("response_format") or {"type": "text"}
        if wanted["type"] == "json_schema":
            known = "\n".join([text, *(result for _, result in results)])
            value = generate(wanted["json_schema"]["schema"], known)
            return json.dumps(value, ensure_ascii=False)
        if wanted["type"] == "json_object":
            return json.dumps(_json_object(text), ensure_ascii=False)
        step = react.step(body["messages"])
        if step is not None and not results:
            return step
        quote = self._quotes and self._quotes.quote(body)
        if quote:
            return quote
        if results:
            return " ".join(f"The tool {name} answered: {result}" for name, result in results)
        return f"Scripted answer to: {_echo(text)}{_seen(body)}{_rank(index)}"

    def _tools(self, body: Body, text: str) -> list[dict[str, Any]]:
        tools = choose(body)
        if self._quotes is None or (body.get("tool_choice") or "auto") != "auto":
            return tools
        return [tool for tool in tools if _is_asked_for(tool, text)]

    def _cache(self, body: Body) -> dict[str, int]:
        prefix = conversation.cached_prefix(body["messages"])
        if not prefix:
            return {}
        size = sum(tokens.of_message(message) for message in prefix)
        name = conversation.fingerprint([body["model"], prefix])
        if name in self._prefixes:
            return {"cached_tokens": size}
        self._prefixes.add(name)
        return {"cache_write_tokens": size}


def _is_asked_for(tool: dict[str, Any], text: str) -> bool:
    parameters = tool.get("parameters") or {}
    if named_in(tool, text) or overlap(tool, text):
        return True
    return bool(parameters.get("required")) and Generator(text, parameters).can_fill()


def _json_object(text: str) -> dict[str, Any]:
    keys = [phrase for phrase in dict.fromkeys(quoted(text)) if phrase.isidentifier()]
    if not keys:
        return {"answer": _echo(text)}
    schema = {"type": "object", "properties": {key: {} for key in keys}, "required": keys}
    # the quoted phrases are the keys, so they can't be values too
    for key in keys:
        text = text.replace(key, " ")
    value: dict[str, Any] = generate(schema, text)
    return value


def _echo(text: str) -> str:
    start, was_cut = tokens.cut(text.strip(), _ECHO_TOKENS)
    return f"{start} ..." if was_cut else start or "(nothing)"


def _seen(body: Body) -> str:
    media = conversation.last_user_media(body["messages"])
    named = [f"{number} {_KINDS[kind]}" for kind, number in sorted(media.items()) if kind in _KINDS]
    return f" [seen: {', '.join(named)}]" if named else ""


def _rank(index: int) -> str:
    return f" (choice {index + 1})" if index else ""


def _reasoning_text(body: Body) -> str | None:
    reasoning = body.get("reasoning") or {}
    effort = reasoning.get("effort") or body.get("reasoning_effort")
    asked = effort or reasoning.get("max_tokens") or reasoning.get("enabled")
    if not asked or effort == "none":
        return None
    text, _ = tokens.cut(conversation.last_user_text(body["messages"]), 12)
    return f"The user wrote: {text}. I answer by rule."


def _wants_image(body: Body) -> bool:
    return "image" in (body.get("modalities") or ())


def _citation(text: str) -> dict[str, Any]:
    title, _ = tokens.cut(text, 6)
    return {
        "type": "url_citation",
        "url_citation": {
            "url": "https://example.com/" + conversation.fingerprint(text, 8),
            "title": title,
            "content": f"A page about {title}.",
            "start_index": 0,
            "end_index": 8,
        },
    }
