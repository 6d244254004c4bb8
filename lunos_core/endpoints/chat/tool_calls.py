"""Tool calls from fragments, in every form that providers behind the gateway send them."""

from __future__ import annotations

import uuid
from typing import Any

from lunos_core.endpoints.chat.types import ToolCall, ToolCallDelta
from lunos_core.wire import json


class _Slot:
    """One call on its way."""

    __slots__ = ("id", "index", "made_here", "name", "pieces")

    def __init__(self, index: int, identifier: str) -> None:
        self.index = index
        self.id = identifier or f"call_{uuid.uuid4().hex[:24]}"
        # an id that was made here stays, should the provider's come late: it was already shown
        self.made_here = not identifier
        self.name = ""
        self.pieces: list[str] = []

    def arguments(self) -> str:
        return "".join(self.pieces)

    def arguments_if_whole(self) -> str | None:
        """The arguments, if they are a JSON object by now; looked at only where it can be so."""
        if not self.pieces or not self.pieces[-1].rstrip().endswith("}"):
            return None
        arguments = self.arguments()
        try:
            return arguments if isinstance(json.loads(arguments), dict) else None
        except ValueError:
            return None


class ToolCallAssembler:
    """Sorts the fragments of one answer's tool calls.

    Fragments are joined by `index`. But some providers send a whole call in one delta, leave out
    `index`, say 0 for every call, repeat id and name on each fragment, or the whole call once more
    at the end. So: another id is another call, id and name are set and never appended, and without
    either a fragment continues the call before it.
    """

    __slots__ = ("_by_id", "_by_index", "_slots")

    def __init__(self) -> None:
        self._slots: list[_Slot] = []
        self._by_index: dict[int, _Slot] = {}
        self._by_id: dict[str, _Slot] = {}

    def feed(self, fragments: object) -> list[ToolCallDelta]:
        """Take a delta's `tool_calls`; give what they add. Whatever is no fragment is passed by."""
        if not isinstance(fragments, list):
            return []
        if len(fragments) == 1:
            delta = self._more(fragments[0])
            if delta is not None:
                return [delta]
        return [
            delta
            for fragment in fragments
            if isinstance(fragment, dict)
            for delta in self._take(fragment)
        ]

    def calls(self) -> list[ToolCall]:
        """The calls as far as they came."""
        return [ToolCall(slot.id, slot.name, slot.arguments()) for slot in self._slots]

    def _more(self, fragment: Any) -> ToolCallDelta | None:
        """More arguments of a call that has begun, as most fragments are; `None` for any other."""
        try:
            index, function = fragment["index"], fragment["function"]
            arguments = function["arguments"]
            if fragment.get("id") or function.get("name") or not arguments:
                return None
            if type(index) is not int or type(arguments) is not str:
                return None
            slot = self._by_index[index]
        except (KeyError, TypeError, AttributeError):
            return None
        slot.pieces.append(arguments)
        return ToolCallDelta(slot.index, None, None, arguments)

    def _take(self, fragment: dict[str, Any]) -> list[ToolCallDelta]:
        function = fragment.get("function")
        if not isinstance(function, dict):
            function = {}
        identifier = _text(fragment.get("id"))
        name = _text(function.get("name"))
        arguments = _arguments(function.get("arguments"))
        index = fragment.get("index")
        slot = self._find(index if isinstance(index, int) else None, identifier, name, arguments)
        if slot is None:
            if not (identifier or name or arguments):
                return []
            slot = self._open(index if isinstance(index, int) else None, identifier)
            delta = ToolCallDelta(slot.index, slot.id)
        else:
            if (
                (identifier or name)
                and len(arguments) > 1
                and arguments == slot.arguments_if_whole()
            ):
                return []  # the whole call once more, at the end
            delta = ToolCallDelta(slot.index)
        if name and not slot.name:
            slot.name = delta.name = name
        if arguments:
            slot.pieces.append(arguments)
            delta.arguments = arguments
        return [delta] if delta.id or delta.name or delta.arguments else []

    def _find(self, index: int | None, identifier: str, name: str, arguments: str) -> _Slot | None:
        """The call that a fragment continues, or `None` where it begins one."""
        if identifier and identifier in self._by_id:
            return self._by_id[identifier]
        slot = self._by_index.get(index) if index is not None else None
        if slot is None and index is None and self._slots:
            slot = self._slots[-1]
        if slot is None:
            return None
        if identifier:
            # an id that came late names the call that has none of the provider's yet
            if not slot.made_here or (name and slot.name and name != slot.name):
                return None
            whole = slot.arguments_if_whole()
            if whole is not None and arguments != whole and (name or arguments):
                return None
            slot.made_here = False  # the next new id is another call's
            self._by_id[identifier] = slot
            return slot
        if name and slot.name:
            whole = slot.arguments_if_whole()
            again = index is not None and arguments == whole  # the whole call, at the end
            if name != slot.name or (arguments and whole is not None and not again):
                return None  # a second call of a provider that numbers and names none
        return slot

    def _open(self, index: int | None, identifier: str) -> _Slot:
        slot = _Slot(len(self._slots), identifier)
        self._slots.append(slot)
        if index is not None:
            self._by_index[index] = slot
        if identifier:
            self._by_id[identifier] = slot
        return slot


def parse_tool_calls(value: object) -> list[ToolCall]:
    """The `tool_calls` of a whole message. Each entry is one call; nothing is joined."""
    calls: list[ToolCall] = []
    if isinstance(value, list):
        for entry in value:
            assembler = ToolCallAssembler()
            assembler.feed([entry])
            calls.extend(assembler.calls())
    return calls


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _arguments(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    try:
        return json.dumps(value).decode()  # some providers send the object itself
    except ValueError:  # it could be read, but is nested too deeply to be written
        return ""
