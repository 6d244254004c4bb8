"""Assembles tool calls from fragments."""

from __future__ import annotations

import re
import sys
import uuid
from collections.abc import Iterable, Mapping
from json import JSONDecodeError
from json import loads as parse_json
from typing import Any

from lunos_core.endpoints.chat.tool_arguments import read_arguments
from lunos_core.endpoints.chat.tool_names import bare_name, offered_name
from lunos_core.endpoints.chat.types import ToolCall, ToolCallDelta
from lunos_core.wire import json
from lunos_core.wire.text import TextPieces

_ARGUMENTS = ("arguments", "input", "args", "parameters")  # models use other names, too
_NO_ARGUMENTS = "null"
_EMPTY = "{}"
_EMPTY_BEFORE = re.compile(r"\A\s*\{\}\s*(?=\{)")  # the real object

UNNAMED = "unnamed_tool"
"""The name with which a call without a name is sent back to the model in a history."""

EXTRAS = ("extra_content", "provider_specific_fields")
"""The fields of a call that are sent back with it: see `ToolCall.extras`."""
_EXTRAS = frozenset(EXTRAS)

_NOT_SHOWN = sys.maxsize  # sorts behind all that were


class _Call:
    def __init__(self, identifier: str) -> None:
        self.index = _NOT_SHOWN
        self.is_announced = False  # its name hasn't been shown
        # an id made here stays even if the provider's comes later: it may have been shown
        self.wants_id = not identifier
        self.id = identifier or _new_id()
        self.name = ""
        self.extras: dict[str, Any] = {}
        self.text = TextPieces()
        self.pieces = self.text.pieces
        self.repeated = ""  # the last fragment, if each repeats the ones before
        self.shown = 0  # pieces

    @property
    def arguments(self) -> str:
        """The arguments so far; "" if the model sent none, `null` or an empty list."""
        arguments = "".join(self.pieces)
        begun = arguments.lstrip()[:1]
        if begun == "{":
            return _EMPTY_BEFORE.sub("", arguments)
        if (value := read_arguments(arguments)) is None:
            return arguments
        # JSON within a JSON string, or one of the spellings of nothing
        return json.dumps(value).decode() if begun == '"' else ""

    def whole_object(self) -> str | None:
        """Return the arguments if they are a whole JSON object by now."""
        if not self.pieces or not self.pieces[-1].rstrip().endswith("}"):
            return None
        arguments = self.arguments
        try:
            return arguments if isinstance(json.loads(arguments), dict) else None
        except ValueError:
            return None

    def news(self, arguments: str) -> str:
        """Return what a later fragment adds: some servers repeat all earlier text in each.

        If the first ends before a value, the second may be an object inside it: that is kept.
        """
        before = self.repeated or (self.pieces[0] if len(self.pieces) == 1 else "")
        if not before or not arguments.startswith(before):
            return arguments
        if not self.repeated and not _cannot_follow(arguments, before):
            return arguments
        self.repeated = arguments
        return arguments[len(before) :]

    def to_show(self) -> str:
        """Return the arguments that arrived and weren't shown yet."""
        arguments = "".join(self.pieces[self.shown :])
        # held back until it is clearly more than white space, `null`, a list or a string, or
        # the empty object with which some begin, before the arguments come
        if not self.shown:
            begun = arguments.strip()
            if begun == _EMPTY or _NO_ARGUMENTS.startswith(begun) or begun[0] in '"[':
                return ""
            arguments = _EMPTY_BEFORE.sub("", arguments)
        self.shown = len(self.pieces)
        return arguments


class ToolCallAssembler:
    """Assemble the tool calls of one streamed answer.

    Fragments are joined by `index`; without one, a fragment continues the call that has its id, or
    the last call. But some providers send each call whole, send index 0 for all of them, give every
    fragment a different id, give two calls the same id, split a name, or repeat the whole call at
    the end. So a fragment without a name begins no call, an index overrides an id, and a second
    name at the same index begins a call, unless it continues the first name.

    Args:
        names: the names of the request's tools as sent, each with the user's name. They
            distinguish half a name from a whole one.
    """

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        self._names = names or {}
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._by_id: dict[str, _Call] = {}

    def add(self, fragments: object) -> list[ToolCallDelta]:
        """Take a delta's `tool_calls`, and return what they add. Anything else is ignored."""
        if isinstance(fragments, dict):
            fragments = [fragments]
        if not isinstance(fragments, list):
            return []
        deltas = (self._add(item) for item in fragments if isinstance(item, dict))
        return [delta for delta in deltas if delta is not None]

    def finish(self, reason: str) -> list[ToolCallDelta]:
        """Return what is still missing at the end of the answer.

        That is names that were held back because they could have grown, and `{}` for calls without
        arguments, unless the answer was cut before they came.
        """
        self._settle_nameless()
        missing: list[ToolCallDelta] = []
        for call in self._calls:
            delta = self._show(call) if call.name else None
            if call.is_announced and not call.shown:
                arguments = call.arguments or ("" if reason == "length" else "{}")
                call.pieces, call.shown = [arguments], 1
                delta = delta or (ToolCallDelta(call.index) if arguments else None)
                if delta is not None:
                    delta.arguments = arguments
            if delta is not None:
                missing.append(delta)
        return missing

    def calls(self) -> list[ToolCall]:
        """Return the calls in the order in which they were shown, then those without a name."""
        return [
            ToolCall(call.id, self._own_name(call.name), call.arguments, call.extras)
            for call in sorted(self._calls, key=lambda call: call.index)
        ]

    def _settle_nameless(self) -> None:
        """Join calls that never got a name to the call before, if that lacks arguments."""
        named: _Call | None = None
        for call in list(self._calls):
            if call.name:
                named = call
            elif not call.arguments:
                self._calls.remove(call)
            elif named is not None and named.whole_object() is None:
                named.pieces += call.pieces
                self._calls.remove(call)

    def _add(self, fragment: dict[str, Any]) -> ToolCallDelta | None:
        function = fragment.get("function") or fragment.get("custom")
        if not isinstance(function, dict):
            function = fragment  # some gateways leave the wrapper out
        identifier = _text(fragment.get("id"))
        name = _text(function.get("name"))
        arguments = _arguments(next(filter(None, map(function.get, _ARGUMENTS)), None))
        index = fragment.get("index")
        index = index if isinstance(index, int) else None
        call = self._continued(index, identifier, name, arguments)
        if call is None:
            if not (identifier or name or arguments):
                return None
            call = self._begin(index, identifier)
        elif (identifier or name) and len(arguments) > 1 and arguments == call.whole_object():
            return None  # the whole call again, at the end
        if not _EXTRAS.isdisjoint(fragment):
            call.extras |= {name: fragment[name] for name in EXTRAS if fragment.get(name)}
        if identifier and call.wants_id:
            call.wants_id = False
            self._by_id.setdefault(identifier, call)
        half = name if call.is_announced and name != call.name and not call.pieces else None
        if name and name != call.name and not call.pieces:
            call.name += name
        elif name and not call.name:
            call.name = name
        call.text.add(call.news(arguments) if call.pieces else arguments)
        if not call.name or not (call.pieces or call.is_announced or self._is_whole(call.name)):
            return None  # a call is useless without its name
        delta = self._show(call)
        if half:
            delta = delta or ToolCallDelta(call.index)
            delta.name = half
        return delta

    def _show(self, call: _Call) -> ToolCallDelta | None:
        arguments = call.to_show()
        if call.is_announced:
            return ToolCallDelta(call.index, None, None, arguments) if arguments else None
        call.index = sum(other.is_announced for other in self._calls)
        call.is_announced = True
        return ToolCallDelta(call.index, call.id, self._own_name(call.name), arguments)

    def _own_name(self, name: str) -> str:
        name = offered_name(name, self._names)
        return self._names.get(name, name)

    def _is_whole(self, name: str) -> bool:
        name = offered_name(name, self._names)
        tools = [tool for tool in self._names if tool.startswith(name)]
        return tools == [name] or not self._names

    def _continued(
        self, index: int | None, identifier: str, name: str, arguments: str
    ) -> _Call | None:
        if index is not None and index in self._by_index:
            call = self._by_index[index]
        elif index is not None and name:
            return None
        elif identifier in self._by_id:
            call = self._by_id[identifier]
        elif index is None and self._calls:
            call = self._calls[-1]
        else:
            return None
        if name and call.name and self._begins_another(call, identifier, name, arguments):
            return None
        return call

    def _begins_another(self, call: _Call, identifier: str, name: str, arguments: str) -> bool:
        is_new_id = (
            bool(identifier) and not call.wants_id and self._by_id.get(identifier) is not call
        )
        if name != call.name:
            if call.pieces:
                return True
            joined = bare_name(call.name + name)
            return bool(self._names) and not any(tool.startswith(joined) for tool in self._names)
        whole = call.whole_object()
        if whole is None:  # the name repeated, or two calls without arguments
            return is_new_id and not call.arguments and not arguments
        return is_new_id or (bool(arguments) and arguments != whole)

    def _begin(self, index: int | None, identifier: str) -> _Call:
        # a second call with the same id gets a new one, which identifies its result
        call = _Call("" if identifier in self._by_id else identifier)
        self._calls.append(call)
        if index is not None:
            self._by_index[index] = call
        if identifier:
            self._by_id.setdefault(identifier, call)
        return call


def _cannot_follow(arguments: str, before: str) -> bool:
    """Return whether no JSON has `arguments`, which begin like `before`, behind `before`."""
    if not before.lstrip().startswith("{"):
        return False
    text = before + arguments
    try:
        parse_json(text, strict=False)
    except JSONDecodeError as error:
        # text that is only cut at the end isn't wrong
        is_cut = error.msg.startswith(("Unterminated", "Expecting value")) or error.pos == len(text)
        return not is_cut and error.pos <= 2 * len(before)
    except (ValueError, RecursionError):
        pass
    return False


def parse_tool_calls(value: object, names: Mapping[str, str] | None = None) -> list[ToolCall]:
    """Read the `tool_calls` of a whole message. Each entry is one call; nothing is joined."""
    calls: list[ToolCall] = []
    for entry in value if isinstance(value, list) else [value]:
        assembler = ToolCallAssembler(names)
        assembler.add([entry])
        calls += assembler.calls()
    return with_unique_ids(calls)


def with_unique_ids(calls: Iterable[ToolCall]) -> list[ToolCall]:
    """Return calls in which each that repeats an id gets a new one, which identifies its result."""
    taken: dict[str, ToolCall] = {}
    for call in calls:
        call.id = _new_id() if call.id in taken else call.id
        taken[call.id] = call
    return list(taken.values())


def fill_empty_arguments(calls: Iterable[ToolCall], finish_reason: str | None) -> None:
    """Give calls without arguments the object `{}`, unless the answer was cut before they came."""
    if finish_reason != "length":
        for call in calls:
            call.arguments = call.arguments or "{}"


def _new_id() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _arguments(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    try:
        return json.dumps(value).decode()  # some providers send the object itself
    except ValueError:  # too deeply nested to be written
        return ""
