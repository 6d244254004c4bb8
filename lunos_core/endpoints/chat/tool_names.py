"""Renames tools whose names the wire can't carry, and finds the user's names again.

Source of the rule: OpenAI's function names, `^[a-zA-Z0-9_-]{1,64}$`; strict servers answer any
other name with 400.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_ALLOWED = re.compile(r"[a-zA-Z0-9_-]{1,64}", re.ASCII)
_LONGEST = 64


def sendable_name(name: str) -> str:
    """Return a name that the wire allows, always the same for the same name.

    Example:
        >>> from lunos_core.endpoints.chat.tool_names import sendable_name
        >>> sendable_name("my helper"), sendable_name("größe"), sendable_name("search")
        ('my_helper', 'gro_e', 'search')
    """
    if _ALLOWED.fullmatch(name):
        return name
    letters = unicodedata.normalize("NFKD", name)
    letters = "".join(letter for letter in letters if not unicodedata.combining(letter))
    short = re.sub(r"[^a-zA-Z0-9_-]+", "_", letters).strip("_")
    return short if short and len(short) <= _LONGEST else _hashed(short, name)


def _hashed(short: str, name: str) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{(short or 'tool')[: _LONGEST - 9]}_{digest}"


def sent_names(names: Sequence[str]) -> dict[str, str]:
    """Return a different name to send for each name."""
    sent = {name: name for name in names if _ALLOWED.fullmatch(name)}
    for name in dict.fromkeys(names):
        if name not in sent:
            short = sendable_name(name)
            sent[name] = _hashed(short, name) if short in sent.values() else short
    return sent


_BEFORE = r"[\s\"'`]*(?:(?:functions?|tools?|default_api)[.:/])?"
_WRITTEN = re.compile(_BEFORE + r"([\w-]+)(?:\(\)|:\d+|<\|.*)?[\s\"'`]*", re.DOTALL)


def bare_name(name: str) -> str:
    """Return a name, or its beginning, without the prefix, quotes and spaces before it."""
    return re.sub(r"\A" + _BEFORE, "", name)


def offered_name(name: str, own: Mapping[str, str]) -> str:
    """Return the sent name of the tool that a model means, or the model's text if none matches.

    Models write `functions.f`, `default_api.f`, `f()`, `f:0`, `f<|channel|>json`, or spaces around
    it, depending on their templates.

    Args:
        name: as the model wrote it.
        own: maps each name that was sent to the user's name.

    Example:
        >>> from lunos_core.endpoints.chat.tool_names import offered_name
        >>> offered_name(" functions.f()", {"f": "f"}), offered_name("other.f", {"f": "f"})
        ('f', 'other.f')
    """
    if name not in own and name not in own.values():
        written = _WRITTEN.fullmatch(name)
        if written is not None and written[1] in own:
            return written[1]
    return name


def with_sendable_format(form: Any) -> Any:
    """Return a `response_format` whose schema has a name that the wire allows."""
    schema = form.get("json_schema") if isinstance(form, Mapping) else None
    if not isinstance(schema, Mapping):
        return form
    name = schema.get("name")
    if not isinstance(name, str) or _ALLOWED.fullmatch(name):
        return form
    return {**form, "json_schema": {**schema, "name": sendable_name(name)}}


def rename(
    messages: Sequence[Any], params: Mapping[str, Any]
) -> tuple[Sequence[Any], Mapping[str, Any], dict[str, str]]:
    """Rename every tool whose name can't be sent, in the tools, the choice and the history.

    Args:
        messages: wire messages.
        params: the wire's parameters.

    Returns:
        The messages and the parameters, the same objects if nothing had to change; and a mapping
        from each name that is sent to the user's name.
    """
    tools = params.get("tools")
    tools = tools if isinstance(tools, list | tuple) else []
    declared = [name for tool in tools for name in _function_names(tool)]
    used = [name for message in messages for name in _names_in(message)]
    sent = sent_names([*declared, *used])
    own = {sent[name]: name for name in declared}
    if all(name == other for name, other in sent.items()):
        return messages, params, own
    changed: dict[str, Any] = {}
    if tools:
        changed["tools"] = [_with_function_name(tool, sent) for tool in tools]
    if isinstance(params.get("tool_choice"), Mapping):
        changed["tool_choice"] = _with_function_name(params["tool_choice"], sent)
    return [_renamed(message, sent) for message in messages], {**params, **changed}, own


def _function_names(item: Any) -> Iterator[str]:
    function = item.get("function") if isinstance(item, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if isinstance(name, str) and name:
        yield name


def _names_in(message: Any) -> Iterator[str]:
    if not isinstance(message, Mapping):
        return
    if isinstance(message.get("name"), str) and message["name"]:
        yield message["name"]
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list | tuple) else ():
        yield from _function_names(call)


def _with_function_name(item: Any, sent: Mapping[str, str]) -> Any:
    for name in _function_names(item):
        return {**item, "function": {**item["function"], "name": sent.get(name, name)}}
    return item


def _renamed(message: Any, sent: Mapping[str, str]) -> Any:
    if not any(sent[name] != name for name in _names_in(message)):
        return message
    message = dict(message)
    if message.get("name"):
        message["name"] = sent.get(message["name"], message["name"])
    if message.get("tool_calls"):
        message["tool_calls"] = [_with_function_name(call, sent) for call in message["tool_calls"]]
    return message
