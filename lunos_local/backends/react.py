"""ReAct: tool calls as plain text, for prompts that describe the tools to a model.

Such a prompt has `Action:`, `Action Input:` and `Observation:` and lists its tools, each with a
name and possibly a JSON schema (`Tool Name: …`, `Tool Args: {…}`). The answer is an action or,
after an observation, the final answer.
"""

from __future__ import annotations

import json
import re
from typing import Any

from lunos_local.backends import conversation
from lunos_local.backends.schema_args import generate
from lunos_local.backends.tool_rules import named_in, overlap
from lunos_local.checks.schemas import check_schema

_MARKS = ("Action:", "Action Input:", "Observation:")
_NAME = re.compile(r"Tool Name:\s*(\S+)")
_DESCRIPTION = re.compile(r"Tool Description:\s*(.*?)(?=\n\W{0,20}Tool Args:|\Z)", re.DOTALL)
_ARGS = re.compile(r"Tool Args:\s*(\{.*\})\s*$", re.MULTILINE)


def step(messages: list[dict[str, Any]]) -> str | None:
    """Return the next step of a ReAct conversation; None for any other conversation."""
    asked = "\n".join(
        conversation.text_of(message)
        for message in messages
        if message["role"] in ("system", "developer")
    )
    tools = _tools(asked) if all(mark in asked for mark in _MARKS) else []
    if not tools:
        return None
    last = conversation.text_of(messages[-1]).strip()
    if last.startswith("Observation:"):
        observed = last.removeprefix("Observation:").strip()
        return f"Thought: I can answer without using any more tools.\nAnswer: {observed}"
    question = conversation.last_user_text(messages)
    tool = max(tools, key=lambda tool: (named_in(tool, question), overlap(tool, question)))
    arguments = generate({"type": "object", **tool["parameters"]}, question)
    return (
        "Thought: I need to use a tool to help me answer the question.\n"
        f"Action: {tool['name']}\n"
        f"Action Input: {json.dumps(arguments, ensure_ascii=False)}"
    )


def _tools(text: str) -> list[dict[str, Any]]:
    return [
        {
            "name": block_name[1],
            "description": _first(_DESCRIPTION, block),
            "parameters": _parameters(_first(_ARGS, block)),
        }
        for block in re.split(r"(?=Tool Name:)", text)
        if (block_name := _NAME.match(block))
    ]


def _first(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[1] if match else ""


def _parameters(text: str) -> dict[str, Any]:
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(schema, dict):
        return {}
    check_schema(schema, "Tool Args")
    return schema
