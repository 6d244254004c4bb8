"""Converts requests to llama.cpp's format and its answers back."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from lunos_local.backends import conversation
from lunos_local.backends.answer import PROVIDER, Answer, Choice, usage
from lunos_local.backends.base import Body, include_usage
from lunos_local.backends.llama import Kind, Llama
from lunos_local.backends.tool_rules import ToolCall

# without a limit, a small model would fill its whole context
DEFAULT_MAX_TOKENS = 512
COMPLETION_MAX_TOKENS = 16
_PASSED_ON = (
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "parallel_tool_calls",
    "presence_penalty",
    "response_format",
    "seed",
    "stop",
    "temperature",
    "tool_choice",
    "top_logprobs",
    "top_p",
)
_COUNT = itertools.count(1)


class LlamaBackend:
    """A GGUF model as a chat backend."""

    def __init__(self, llama: Llama, *, small: bool = False) -> None:
        self._llama = llama
        self._small = small

    def _put(self, body: Body) -> Body:
        return _fold(body) if self._small and _wants_speech(body) else body

    async def chat(self, body: Body) -> Body:
        """Answer a chat request."""
        if _forced(body):
            return (await self._forced_calls(body)).to_chat()
        return await self._whole("chat", self._put(body))

    async def chat_chunks(self, body: Body) -> AsyncIterator[Body]:
        """Answer a chat request in chunks."""
        if _forced(body):
            answer = await self._forced_calls(body)
            for chunk in answer.chat_chunks(include_usage=include_usage(body)):
                yield chunk
            return
        async for chunk in self._streamed("chat", self._put(body)):
            yield chunk

    async def complete(self, body: Body) -> Body:
        """Answer a completion request."""
        return await self._whole("completion", body)

    async def completion_chunks(self, body: Body) -> AsyncIterator[Body]:
        """Answer a completion request in chunks."""
        async for chunk in self._streamed("completion", body):
            yield chunk

    async def _whole(self, kind: Kind, body: Body) -> Body:
        head = _head(kind, body, streamed=False)
        choices: list[Body] = []
        counts = _Counts()
        for request in _requests(kind, body):
            answer = await self._llama.answer(kind, request)
            counts.add(answer.get("usage"))
            choices.append(_choice(answer["choices"][0], len(choices)))
        return {**head, "choices": choices, "usage": counts.to_wire()}

    async def _streamed(self, kind: Kind, body: Body) -> AsyncIterator[Body]:
        head = _head(kind, body, streamed=True)
        counts = _Counts()
        for index, request in enumerate(_requests(kind, body)):
            asked = {**request, "stream_options": {"include_usage": True}}
            async for chunk in self._llama.chunks(kind, asked):
                counts.add(chunk.get("usage"))
                for choice in chunk["choices"]:
                    yield {**head, "choices": [_choice(choice, index)]}
        if include_usage(body):
            yield {**head, "choices": [], "usage": counts.to_wire()}

    async def _forced_calls(self, body: Body) -> Answer:
        tools = _forced(body)
        plain = {name: value for name, value in body.items() if name not in _TOOL_FIELDS}
        plain["tools"] = [{"type": "function", "function": tool} for tool in tools]
        plain["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "call", "schema": _call_schema(tools)},
        }
        counts = _Counts()
        choices = []
        for request in _requests("chat", plain):
            answer = await self._llama.answer("chat", request)
            counts.add(answer.get("usage"))
            first = answer["choices"][0]
            choices.append(_call_choice(first["message"]["content"], first["finish_reason"]))
        head = _head("chat", body, streamed=False)
        return Answer(head["id"], body["model"], choices, counts.to_wire(), head["created"])


_TOOL_FIELDS = ("tools", "tool_choice", "parallel_tool_calls", "response_format")


def _forced(body: Body) -> list[dict[str, Any]]:
    choice = body.get("tool_choice")
    tools = conversation.function_tools(body)
    if isinstance(choice, dict):
        return [tool for tool in tools if tool["name"] == choice["function"]["name"]]
    return tools if choice == "required" else []


def _call_schema(tools: list[dict[str, Any]]) -> Body:
    options = []
    shared: Body = {}
    for tool in tools:
        parameters = {"type": "object", **(tool.get("parameters") or {})}
        # references begin at the root, so the definitions must be there
        shared.update(parameters.pop("$defs", {}))
        options.append(
            {
                "type": "object",
                "properties": {"name": {"const": tool["name"]}, "arguments": parameters},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
        )
    schema: Body = options[0] if len(options) == 1 else {"anyOf": options}
    return {**schema, "$defs": shared} if shared else schema


def _call_choice(text: str, finish_reason: str) -> Choice:
    try:
        call = json.loads(text)
    except ValueError:
        # cut off by max_tokens, so there is no call
        return Choice(text=text, finish_reason=finish_reason)
    arguments = json.dumps(call["arguments"], ensure_ascii=False)
    call_id = f"call_{conversation.fingerprint([call, time.time_ns()])}"
    made = ToolCall(call_id, call["name"], arguments)
    return Choice(finish_reason="tool_calls", tool_calls=[made])


def _requests(kind: Kind, body: Body) -> Iterator[Body]:
    """Yield one llama.cpp request per choice, since it miscounts the tokens of several."""
    most = body.get("max_completion_tokens") or body.get("max_tokens")
    default = DEFAULT_MAX_TOKENS if kind == "chat" else COMPLETION_MAX_TOKENS
    base = {name: body[name] for name in _PASSED_ON if body.get(name) is not None}
    base["max_tokens"] = most or default
    if kind == "chat":
        base["messages"] = [_message(message) for message in body["messages"]]
        tools = conversation.function_tools(body)
        if tools and body.get("tool_choice") != "none":
            base["tools"] = [{"type": "function", "function": tool} for tool in tools]
        prompts: list[Body] = [base]
    else:
        texts = [body["prompt"]] if isinstance(body["prompt"], str) else body["prompt"]
        prompts = [{**base, "prompt": text} for text in texts]
    for prompt in prompts:
        for rank in range(body.get("n") or 1):
            # with the same seed all n choices would be the same
            yield {**prompt, "seed": prompt["seed"] + rank} if "seed" in prompt else prompt


def _message(message: Body) -> Body:
    role = "system" if message["role"] == "developer" else message["role"]
    plain: Body = {"role": role, "content": conversation.text_of(message)}
    for name in ("tool_calls", "tool_call_id"):
        if message.get(name):
            plain[name] = message[name]
    return plain


def _head(kind: Kind, body: Body, *, streamed: bool) -> Body:
    what = "chat.completion" + (".chunk" if streamed else "")
    prefix = "chatcmpl-" if kind == "chat" else "cmpl-"
    created = int(time.time())
    return {
        "id": prefix + conversation.fingerprint([body, created, next(_COUNT)]),
        "object": what if kind == "chat" else "text_completion",
        "created": created,
        "model": body["model"],
        "provider": PROVIDER,
    }


_CHOICE_FIELDS = ("text", "delta", "message")


def _choice(choice: Body, index: int) -> Body:
    kept: Body = {name: choice[name] for name in _CHOICE_FIELDS if name in choice}
    for body in (kept.get("message"), kept.get("delta")):
        for call in (body or {}).get("tool_calls") or ():
            if call.get("id"):
                call["id"] = "call_" + call["id"]
    message = kept.get("message")
    if message and message.get("tool_calls"):
        message["content"] = message.get("content") or None
    if choice.get("logprobs"):
        kept["logprobs"] = choice["logprobs"]
    return {"index": index, **kept, "finish_reason": choice.get("finish_reason")}


class _Counts:
    def __init__(self) -> None:
        self._prompt = self._completion = self._cached = 0

    def add(self, counted: Body | None) -> None:
        if counted:
            self._prompt += counted["prompt_tokens"]
            self._completion += counted["completion_tokens"]
            details = counted.get("prompt_tokens_details") or {}
            self._cached += details.get("cached_tokens") or 0

    def to_wire(self) -> Body:
        return usage(self._prompt, self._completion, prompt_details={"cached_tokens": self._cached})


def _wants_speech(body: Body) -> bool:
    may_answer = body.get("tool_choice") in (None, "auto", "none")
    return may_answer and body["messages"][-1]["role"] == "tool"


def _fold(body: Body) -> Body:
    """Return `body` for a small model: calls and results as plain text, and no tools.

    With its tools it would repeat the same call forever; with the results as tool
    messages it would repeat their markup.
    """
    messages: list[Body] = []
    for message in body["messages"]:
        text = conversation.text_of(message)
        if message["role"] == "tool":
            text = f"The result of the tool is: {text}"
            if messages and messages[-1]["role"] == "user":
                messages[-1] = {**messages[-1], "content": f"{messages[-1]['content']}\n{text}"}
            else:
                messages.append({"role": "user", "content": text})
        elif message.get("tool_calls"):
            if text:
                messages.append({"role": "assistant", "content": text})
        else:
            messages.append({**message, "content": text})
    messages[-1]["content"] += "\nRepeat the result of the tool."
    dropped = ("tools", "tool_choice", "parallel_tool_calls")
    return {
        **{name: value for name, value in body.items() if name not in dropped},
        "messages": messages,
    }
