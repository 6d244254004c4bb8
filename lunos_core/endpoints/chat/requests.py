"""`POST /chat/completions` and `/completions`: the requests, and how whole answers are read.

Source of the format: the Lunos API reference names the endpoint and gives its Python example;
the rest is OpenAI's chat dialect with OpenRouter's additions. Text completion is the endpoint that
the reference documents; its answer has OpenAI's flat form, or an envelope with `data.choices`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from lunos_core.endpoints.build import check_params, fallback_of, json_call
from lunos_core.endpoints.chat.content_parts import mark_for_cache, text_part
from lunos_core.endpoints.chat.message import completion_from, parse_message, text_of
from lunos_core.endpoints.chat.stream import ChatStreamReader
from lunos_core.endpoints.chat.tool_calls import fill_empty_arguments, with_unique_ids
from lunos_core.endpoints.chat.tool_names import rename, with_sendable_format
from lunos_core.endpoints.chat.types import Choice, Chunk, Completion
from lunos_core.endpoints.params import CHAT, COMPLETION
from lunos_core.errors import LunosServerError
from lunos_core.request import Reply, Request, StreamRequest
from lunos_core.wire.error_bodies import error_in_answer

NOT_RUN = "The tool wasn't run."
"""The result of a call without one in a history, because an agent was stopped."""

PATH = "/chat/completions"
COMPLETION_PATH = "/completions"


def chat_request(
    messages: Sequence[Mapping[str, Any]], /, *, model: str, **params: Any
) -> Request[Completion]:
    """Build the request for a chat answer.

    Args:
        messages: wire messages, `{"role": …, "content": …}`.
        model: the model's id, such as "openai/gpt-4".
        **params: the wire's parameters (`endpoints.params.CHAT`), and `app_id`, `extra_headers`,
            `extra_body`, `extra_query` and `timeout` for this call; `None` means "not set".
            Two are converted: `web_search=True`, or a dict of its parameters, adds the
            server's search tool; `cache_control=True` marks the last tool, the system message and
            the last message for the provider's prompt cache.

    Raises:
        TypeError: a parameter of the wrong type.
        ValueError: a parameter out of range.

    Example:
        >>> from lunos_core import chat_request
        >>> request = chat_request([{"role": "user", "content": "Hi"}], model="m", temperature=0)
        >>> request.body
        b'{"model":"m","messages":[{"role":"user","content":"Hi"}],"temperature":0}'
    """
    fields, rest, names = _prepared(messages, params)
    return Request(
        **json_call(PATH, {"model": model, **fields}, rest, CHAT),
        parse=functools.partial(parse_chat, **_reading(names, params)),
        fallback=fallback_of(chat_request, messages, params),
    )


def chat_stream_request(
    messages: Sequence[Mapping[str, Any]], /, *, model: str, **params: Any
) -> StreamRequest[Chunk]:
    """Build the request for a streamed chat answer; the arguments are those of `chat_request`.

    The usage is requested (`stream_options: {"include_usage": true}`) unless `stream_options` is
    given; `stream_options={}` requests nothing.

    Args:
        messages: wire messages, `{"role": …, "content": …}`.
        model: the model's id.
        **params: those of `chat_request`.

    Raises:
        TypeError: a parameter of the wrong type.
        ValueError: a parameter out of range.

    Example:
        >>> from lunos_core import chat_stream_request
        >>> hello = [{"role": "user", "content": "Hi"}]
        >>> chat_stream_request(hello, model="m", stream_options={}).body
        b'{"model":"m","messages":[{"role":"user","content":"Hi"}],"stream":true}'
    """
    prepared, rest, names = _prepared(messages, params)
    fields = {"model": model, **prepared, "stream": True}
    return StreamRequest(
        **json_call(PATH, fields, with_usage(rest), CHAT),
        reader=functools.partial(ChatStreamReader, **_reading(names, params)),
        fallback=fallback_of(chat_stream_request, messages, params),
    )


def _prepared(
    messages: Sequence[Mapping[str, Any]], params: Mapping[str, Any]
) -> tuple[dict[str, Any], Mapping[str, Any], dict[str, str]]:
    search, mark = params.get("web_search"), params.get("cache_control")
    if search is not None or mark is not None:  # checked before they are converted
        check_params(params, CHAT)
    if search is not None:
        params = {name: value for name, value in params.items() if name != "web_search"}
        if search is not False:
            tool: dict[str, Any] = {"type": "web_search"}
            if search is not True and search:
                tool["parameters"] = search
            params["tools"] = [*(params.get("tools") or ()), tool]
    if params.get("response_format"):
        params = {**params, "response_format": with_sendable_format(params["response_format"])}
    sent, names = messages, dict[str, str]()
    if params.get("tools") or any("name" in item or "tool_calls" in item for item in messages):
        sent, params, names = rename(messages, params)
    if mark is not None:
        sent, params = mark_for_cache(sent, params)
    return {"messages": sent}, params, names


def _reading(names: dict[str, str], params: Mapping[str, Any]) -> dict[str, Any]:
    n = {**params, **(params.get("extra_body") or {})}.get("n")
    return {"names": names, "single": bool(names) and n in (None, 1)}


def with_usage(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters, with a request for the usage unless the user decided otherwise."""
    options = params.get("stream_options")
    if options is None:
        return {**params, "stream_options": {"include_usage": True}}
    return {**params, "stream_options": options or None}


def parse_chat(
    reply: Reply, names: Mapping[str, str] | None = None, *, single: bool = False
) -> Completion:
    """Read a whole answer, with or without its envelope.

    Args:
        reply: the answer.
        names: the names of the request's tools as sent, each with the user's name.
        single: one answer was requested: some servers put each of its calls into a choice.

    Raises:
        LunosResponseError: the answer is invalid.
        LunosAPIError: an error sent with a successful status.
    """
    value = reply.json()
    sent = value.get("choices")
    if not isinstance(sent, list) or not sent:
        raise reply.malformed("has no choices")
    choices = [_parse_choice(reply, value, choice, i, names) for i, choice in enumerate(sent)]
    choices.sort(key=lambda choice: choice.index)
    if single and len(choices) > 1:
        calls = (call for choice in choices for call in choice.message.tool_calls)
        choices[0].message.tool_calls = with_unique_ids(calls)
    return completion_from(value, choices, reply)


_FILTERED = ("content_filter", "refusal")
"""Finish reasons after which there may be no message."""


def _parse_choice(
    reply: Reply,
    value: dict[str, Any],
    choice: Any,
    position: int,
    names: Mapping[str, str] | None,
) -> Choice:
    if not isinstance(choice, dict):
        raise reply.malformed(f"has a choices[{position}] that isn't an object")
    message = choice.get("message")
    if not isinstance(message, dict):
        # the reference's envelope has `text`, and may appear on chat as well; a filter may leave
        # nothing at all
        if not isinstance(choice.get("text"), str) and choice.get("finish_reason") not in _FILTERED:
            raise reply.malformed(f"has neither message nor text in choices[{position}]")
        message = {"content": choice.get("text")}
    reason = text_of(choice.get("finish_reason")) or None
    index = choice.get("index")
    parsed = Choice(
        index=index if isinstance(index, int) else position,
        message=parse_message(message, names),
        finish_reason=reason,
        logprobs=choice.get("logprobs"),
        native_finish_reason=text_of(choice.get("native_finish_reason")) or None,
    )
    if parsed.message.tool_calls:
        fill_empty_arguments(parsed.message.tool_calls, reason)
    if reason == "error":
        error = error_in_answer(choice, status=reply.status, secret=reply.secret)
        error = error or LunosServerError(
            "the model stopped with an error that the server does not explain",
            status=reply.status,
        )
        error.partial = completion_from(value, [parsed], reply)
        error.partial.raw = {}  # it may repeat the key
        raise error
    return parsed


def completion_request(
    prompt: str | Sequence[str], /, *, model: str, **params: Any
) -> Request[Completion]:
    """Build the request for one text completion or several.

    With several prompts and `n`, the answers of prompt `i` are the choices `i*n` to `i*n + n - 1`.

    Args:
        prompt: the text to go on from, or several.
        model: the model's id.
        **params: the wire's parameters (`endpoints.params.COMPLETION`; the server's default for
            `max_tokens` is 16), and `app_id`, `extra_headers`, `extra_body`, `timeout` for this
            call; `None` means "not set".

    Raises:
        TypeError: a parameter of the wrong type.
        ValueError: a parameter out of range, or no prompt.

    Example:
        >>> from lunos_core import completion_request
        >>> completion_request("Once upon", model="m", max_tokens=9).body
        b'{"model":"m","prompt":"Once upon","max_tokens":9}'
    """
    return Request(
        **json_call(COMPLETION_PATH, _fields(prompt, model), params, COMPLETION),
        parse=parse_chat,  # reads `text` if there is no `message`
        fallback=fallback_of(completion_request, prompt, params),
    )


def completion_stream_request(
    prompt: str | Sequence[str], /, *, model: str, **params: Any
) -> StreamRequest[Chunk]:
    """Build the request for a streamed text completion; see `completion_request`.

    Args:
        prompt: the text to go on from, or several.
        model: the model's id.
        **params: those of `completion_request`. The usage is requested unless `stream_options` is
            given.

    Raises:
        TypeError: a parameter of the wrong type.
        ValueError: a parameter out of range, or no prompt.

    Example:
        >>> from lunos_core import completion_stream_request
        >>> completion_stream_request("Once", model="m", stream_options={}).body
        b'{"model":"m","prompt":"Once","stream":true}'
    """
    fields = {**_fields(prompt, model), "stream": True}
    return StreamRequest(
        **json_call(COMPLETION_PATH, fields, with_usage(params), COMPLETION),
        reader=ChatStreamReader,
        fallback=fallback_of(completion_stream_request, prompt, params),
    )


def _fields(prompt: str | Sequence[str], model: str) -> dict[str, Any]:
    texts = [prompt] if isinstance(prompt, str) else list(prompt)
    if not texts:
        raise ValueError("prompt is an empty list: give at least one text")
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"prompt[{position}] must be a str, not {type(text).__name__}")
    return {"model": model, "prompt": prompt if isinstance(prompt, str) else texts}


def pair_calls(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    r"""Return a history in which each call has a unique id and its result right behind it.

    Providers refuse any other. But an agent may have been stopped, a memory trimmed, a question
    asked before a late result, and some models give all their calls the same id or none. A call
    without a result gets `NOT_RUN`, unless it is in the last message. A result without a call
    becomes a user message, unless the history has no answer: then the server may know the call.
    The given messages aren't changed.

    Example:
        >>> from lunos_core.endpoints.chat.requests import pair_calls
        >>> result = {"role": "tool", "tool_call_id": "c", "content": "42"}
        >>> pair_calls([result, {"role": "assistant", "content": "It's 42."}])[0]
        {'role': 'user', 'content': 'What the tool call c returned:\n42'}
    """
    if all(message["role"] != "assistant" for message in messages):
        return list(messages)
    paired: list[dict[str, Any]] = []
    open_results: dict[str, list[dict[str, Any]]] = {}
    taken: dict[str, int] = {}
    for message in messages:
        if message["role"] == "tool":
            waiting = open_results.get(message["tool_call_id"])
            if waiting:
                result = waiting.pop(0)
                result |= {**message, "tool_call_id": result["tool_call_id"]}
            else:
                paired.append(_told_by_user(message))
            continue
        calls = message.get("tool_calls")
        if not calls:
            paired.append(message)
            continue
        open_results |= {call["id"]: [] for call in calls}
        own = [{**call, "id": _own_id(call["id"], taken)} for call in calls]
        paired.append({**message, "tool_calls": own})
        if message is not messages[-1]:
            for call, sent in zip(calls, own, strict=True):
                result = {"role": "tool", "tool_call_id": sent["id"], "content": NOT_RUN}
                paired.append(result)
                open_results[call["id"]].append(result)
    return paired


def _own_id(identifier: str, taken: dict[str, int]) -> str:
    base = own = identifier or "call"
    while own in taken:
        taken[base] += 1
        own = f"{base}_{taken[base]}"
    taken[own] = 1
    return own


def _told_by_user(result: dict[str, Any]) -> dict[str, Any]:
    said, content = f"What the tool call {result['tool_call_id']} returned:", result["content"]
    both = f"{said}\n{content}" if isinstance(content, str) else [text_part(said), *content]
    return {"role": "user", "content": both}
