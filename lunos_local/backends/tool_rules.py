"""How a rule-based model chooses tools and their arguments."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from lunos_local.backends import conversation
from lunos_local.backends.schema_args import content_words, generate


@dataclass(frozen=True)
class ToolCall:
    """A call of a function tool; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str

    def to_wire(self) -> dict[str, Any]:
        """Return the entry of `message.tool_calls`."""
        return {
            "id": self.id,
            "type": "function",
            "function": {"name": self.name, "arguments": self.arguments},
        }


def overlap(tool: dict[str, Any], text: str) -> int:
    """Count the words that `text` shares with the tool's name and description."""
    about = re.sub(r"[_-]", " ", tool["name"]) + " " + str(tool.get("description") or "")
    return len(set(content_words(about)) & set(content_words(text)))


def named_in(tool: dict[str, Any], text: str) -> bool:
    """Return whether `text` has the exact name of the tool."""
    return re.search(rf"(?<![\w-]){re.escape(tool['name'])}(?![\w-])", text) is not None


def make_call(tool: dict[str, Any], text: str, seed: object) -> ToolCall:
    """Return a call of `tool` with arguments from `text`; equal seeds give equal ids."""
    arguments = generate({"type": "object", **(tool.get("parameters") or {})}, text)
    return ToolCall(
        id="call_" + conversation.fingerprint([seed, tool["name"]]),
        name=tool["name"],
        arguments=json.dumps(arguments, ensure_ascii=False),
    )


def choose(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the tools to call now: the best one, or all that the user names, or none."""
    tools = conversation.function_tools(body)
    choice = body.get("tool_choice") or "auto"
    messages = body["messages"]
    answered = messages[-1]["role"] == "tool"
    if not tools or choice == "none" or (answered and choice == "auto"):
        return []
    if isinstance(choice, dict):
        return [tool for tool in tools if tool["name"] == choice["function"]["name"]]
    text = conversation.last_user_text(messages)
    if not answered and body.get("parallel_tool_calls") is not False:
        named = [tool for tool in tools if named_in(tool, text)]
        if len(named) > 1:
            return named
    done = conversation.tools_called(messages)
    fresh = [tool for tool in tools if tool["name"] not in done] or tools
    # max() returns the first of equal items
    return [max(fresh, key=lambda tool: (named_in(tool, text), overlap(tool, text)))]
