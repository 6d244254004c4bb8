"""From LangChain's tools to the wire's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.tools import Tool as TextTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from langchain_lunos._schemas import to_function
from lunos_core.arguments import check_flag_or_none

Tool = Mapping[str, Any] | type | Callable[..., Any] | BaseTool


def to_wire_tools(tools: Sequence[Tool], *, strict: bool | None = None) -> list[dict[str, Any]]:
    """Return the tools in the wire's form.

    Args:
        tools: LangChain tools, pydantic classes, TypedDicts, functions, JSON schemas, and tools
            that the server runs, such as `{"type": "web_search"}`, which stay unchanged.
        strict: ask for arguments that follow the schema exactly.

    Raises:
        ValueError: `strict` is neither True, False nor `None`.
    """
    check_flag_or_none("strict", strict)
    return [_to_wire(tool, strict) for tool in tools]


def _to_wire(tool: Tool, strict: bool | None) -> dict[str, Any]:
    if isinstance(tool, Mapping):
        if "function" in tool or _runs_on_server(tool):
            return dict(tool)
        # OpenAI's Responses API has no wrapper
        tool = {
            name: value for name, value in tool.items() if (name, value) != ("type", "function")
        }
    if isinstance(tool, TextTool) and (tool.metadata or {}).get("type") == "custom_tool":
        return convert_to_openai_tool(tool)
    return {"type": "function", "function": to_function(tool, strict)}


def _runs_on_server(tool: Mapping[str, Any]) -> bool:
    kind = tool.get("type")
    return isinstance(kind, str) and kind not in ("function", "object") and "name" not in tool
