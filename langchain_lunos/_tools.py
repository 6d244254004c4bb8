"""LangChain's tools to the wire's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.utils.function_calling import convert_to_openai_tool

if TYPE_CHECKING:  # four modules that a model without tools does not need
    from langchain_core.tools import BaseTool

    Tool = Mapping[str, Any] | type | Callable[..., Any] | BaseTool


def to_wire_tools(tools: Sequence[Tool], *, strict: bool | None = None) -> list[dict[str, Any]]:
    """Return the tools as they are sent.

    Args:
        tools: LangChain tools, pydantic classes, TypedDicts, functions, JSON schemas, and tools
            that the server runs, such as `{"type": "web_search"}`, which pass as they are.
        strict: ask for arguments that keep to the schema exactly.
    """
    return [
        dict(tool)
        if isinstance(tool, Mapping) and _runs_on_server(tool)
        else convert_to_openai_tool(
            dict(tool) if isinstance(tool, Mapping) else tool,
            strict=strict,
        )
        for tool in tools
    ]


def _runs_on_server(tool: Mapping[str, Any]) -> bool:
    kind = tool.get("type")
    return isinstance(kind, str) and kind not in ("function", "object") and "name" not in tool
