"""The parameters and messages of the wire, and their checks, made before any request.

Names and ranges are those of the API reference and of OpenAI's dialect. Parameters that aren't
listed are sent unchecked: the server may be newer than this file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from lunos_core.endpoints.server_tools import PdfEngine, SearchEngine

Check = Callable[[str, Any], None]


def number(low: float, high: float) -> Check:
    """Return a check for a number, both limits included."""

    def check(name: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{name} must be a number, not {type(value).__name__}")
        if not low <= value <= high or not math.isfinite(value):
            raise ValueError(f"{name} must be from {low:g} to {high:g}, not {value}")

    return check


def integer(low: int | None = None, high: int | None = None) -> Check:
    """Return a check for a whole number, both limits included."""

    def check(name: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an int, not {type(value).__name__}")
        if low is not None and value < low:
            raise ValueError(f"{name} must be {low} or more, not {value}")
        if high is not None and value > high:
            raise ValueError(f"{name} must be at most {high}, not {value}")

    return check


def _of_type(kind: type | tuple[type, ...], said: str) -> Check:
    def check(name: str, value: Any) -> None:
        if not isinstance(value, kind):
            raise TypeError(f"{name} must be {said}, not {type(value).__name__}")

    return check


def _list_of(kind: type, said: str, *, empty: bool = True) -> Check:
    def check(name: str, value: Any) -> None:
        if not isinstance(value, list | tuple) or not all(isinstance(item, kind) for item in value):
            raise TypeError(f"{name} must be a list of {said}")
        if not value and not empty:
            raise ValueError(f"{name} must not be empty: leave it out")

    return check


def _stop(name: str, value: Any) -> None:
    if not isinstance(value, str):
        _list_of(str, "str (or one str)")(name, value)


def _logit_bias(name: str, value: Any) -> None:
    _of_type(Mapping, "a mapping of token id to bias")(name, value)
    for token, bias in value.items():
        number(-100, 100)(f"{name}[{token!r}]", bias)


def _reasoning(name: str, value: Any) -> None:
    _of_type(Mapping, "a mapping with effort or max_tokens, and maybe exclude")(name, value)
    if value.get("effort") is not None:
        _of_type(str, "a str")(f"{name}.effort", value["effort"])
    if value.get("max_tokens") is not None:
        integer(1)(f"{name}.max_tokens", value["max_tokens"])


def _plugins(name: str, value: Any) -> None:
    _list_of(Mapping, "mappings with an id")(name, value)
    for i, plugin in enumerate(value):
        if not isinstance(plugin.get("id"), str):
            raise ValueError(f"{name}[{i}] needs an id, such as 'file-parser'")
        pdf = plugin.get("pdf")
        if plugin["id"] == "file-parser" and isinstance(pdf, Mapping):
            _one_of(PdfEngine)(f"{name}[{i}].pdf.engine", pdf.get("engine"))


def _one_of(literal: Any) -> Check:
    words = get_args(literal)

    def check(name: str, value: Any) -> None:
        if value not in (None, *words):
            hint = "pass another one that the server knows in extra_body"
            raise ValueError(f"{name} must be one of {', '.join(words)}, not {value!r}: {hint}")

    return check


def _text(name: str, value: Any) -> None:
    _of_type(str, "a str")(name, value)
    if not value:
        raise ValueError(f"{name} must not be empty")


def _web_search(name: str, value: Any) -> None:
    _of_type((bool, Mapping), "True or a mapping of its parameters")(name, value)
    for key, setting in value.items() if isinstance(value, Mapping) else ():
        if key not in WEB_SEARCH:
            known = ", ".join(sorted(WEB_SEARCH))
            raise ValueError(f"{name} doesn't take {key!r}: use one of {known}")
        WEB_SEARCH[key](f"{name}.{key}", setting)


_DOMAINS = _list_of(str, "str", empty=False)
WEB_SEARCH: dict[str, Check] = {
    "engine": _one_of(SearchEngine),
    "max_results": integer(1),
    "max_total_results": integer(1),
    "search_context_size": _text,
    "allowed_domains": _DOMAINS,
    "excluded_domains": _DOMAINS,
}
"""The checks of the parameters of the server's search tool."""


def _cache_control(name: str, value: Any) -> None:
    _of_type((bool, Mapping), "True or a mapping")(name, value)
    if isinstance(value, Mapping):
        if not isinstance(value.get("type"), str):
            raise ValueError(f"{name} needs a type: {{'type': 'ephemeral'}}")
        _of_type((str, type(None)), "a str, such as '1h'")(f"{name}.ttl", value.get("ttl"))


_FLAG = _of_type(bool, "True or False")
_MAPPING = _of_type(Mapping, "a mapping")

SAMPLING: dict[str, Check] = {
    "max_tokens": integer(1),
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "n": integer(1),
    "stop": _stop,
    "seed": integer(),
    "presence_penalty": number(-2, 2),
    "frequency_penalty": number(-2, 2),
    "logit_bias": _logit_bias,
    "user": _text,
    "fallback_model": _text,
    "observability": _FLAG,
    "stream_options": _MAPPING,
}

COMPLETION: dict[str, Check] = {
    **SAMPLING,
    "logprobs": _of_type(int, "a number of tokens, or True"),
    "echo": _FLAG,
    "suffix": _of_type(str, "a str"),
    "best_of": integer(1),
}

CHAT: dict[str, Check] = {
    **SAMPLING,
    "max_completion_tokens": integer(1),
    "logprobs": _FLAG,
    "top_logprobs": integer(0, 20),
    "tools": _list_of(Mapping, "mappings", empty=False),
    "tool_choice": _of_type((str, Mapping), "a str or a mapping"),
    "parallel_tool_calls": _FLAG,
    "response_format": _MAPPING,
    "reasoning": _reasoning,
    "reasoning_effort": _text,
    "modalities": _list_of(str, "str", empty=False),
    "audio": _MAPPING,
    "image_config": _MAPPING,
    "plugins": _plugins,
    "session_id": _text,
    "provider": _MAPPING,
    "models": _list_of(str, "str", empty=False),
    "service_tier": _text,
    "cache_control": _cache_control,
    "prompt_cache_key": _text,
    "verbosity": _text,
    "prediction": _MAPPING,
    "top_k": integer(0),
    "min_p": number(0, 1),
    "web_search": _web_search,
}

EMBEDDING: dict[str, Check] = {
    "dimensions": integer(1),
    "user": _text,
    "fallback_model": _text,
}

ROLES = ("system", "developer", "user", "assistant", "tool")
PARTS = ("text", "image_url", "file", "input_audio", "video_url")


def check_messages(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Check messages that were written by hand, before they are sent.

    Raises:
        TypeError: a value has the wrong type; the message says where.
        ValueError: an unknown role or type of part, or no message.
    """
    if isinstance(messages, str | Mapping) or not isinstance(messages, Sequence):
        raise TypeError(
            f"messages must be a list of {{'role': …, 'content': …}}, not {type(messages).__name__}"
        )
    if not messages:
        raise ValueError("messages is empty: give at least one")
    for i, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise TypeError(f"messages[{i}] must be a mapping, not {type(message).__name__}")
        if message.get("role") not in ROLES:
            raise ValueError(
                f"messages[{i}].role must be one of {', '.join(ROLES)}, not {message.get('role')!r}"
            )
        _check_content(f"messages[{i}].content", message.get("content"))
    return list(messages)


def _check_content(where: str, content: Any) -> None:
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, Sequence) or isinstance(content, bytes):
        raise TypeError(f"{where} must be a str or a list of parts, not {type(content).__name__}")
    for i, part in enumerate(content):
        if not isinstance(part, Mapping):
            raise TypeError(f"{where}[{i}] must be a mapping, not {type(part).__name__}")
        kind = part.get("type")
        if kind not in PARTS:
            raise ValueError(f"{where}[{i}].type must be one of {', '.join(PARTS)}, not {kind!r}")
        if part.get(kind) is None:
            raise ValueError(f"{where}[{i}] of type {kind!r} has no {kind!r}")
