"""Tools and their choice, from LangChain's many spellings to the wire's one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.utils.function_calling import convert_to_openai_tool

if TYPE_CHECKING:  # four modules that a model without tools does not need
    from langchain_core.tools import BaseTool

    Tool = Mapping[str, Any] | type | Callable[..., Any] | BaseTool


def to_wire_tools(tools: Sequence[Tool], *, strict: bool | None = None) -> list[dict[str, Any]]:
    """The tools as they are sent.

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


def to_wire_choice(choice: Any, tools: Sequence[Mapping[str, Any]]) -> Any:
    """What the model shall do with the tools.

    Args:
        choice: "auto", "none", "required", "any", True (the same as "any"), a tool's name, or the
            dict of OpenAI or Anthropic; `None` and False leave the choice to the server's default.
        tools: the tools as they are sent.

    Raises:
        ValueError: a name that none of the tools has.
        TypeError: something that is none of these.
    """
    if choice is None or choice is False:
        return None
    if choice is True or choice == "any":
        return "required"
    if choice in ("auto", "none", "required"):
        return choice
    if isinstance(choice, str):
        return _named(choice, tools)
    if isinstance(choice, Mapping):
        kind = choice.get("type")
        if kind in ("auto", "none", "any"):  # Anthropic's
            return to_wire_choice(kind, tools)
        if kind == "tool":
            return _named(str(choice.get("name")), tools)
        return dict(choice)
    raise TypeError(
        f"tool_choice must be a str, bool or dict, not {type(choice).__name__}: "
        "'auto', 'none', 'any', or the name of a tool"
    )


def _named(name: str, tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    for tool in tools:
        if tool.get("type") == name:  # a tool of the server's has no other name
            return {"type": name}
        if (tool.get("function") or {}).get("name") == name:
            return {"type": "function", "function": {"name": name}}
    known = ", ".join(
        str((tool.get("function") or {}).get("name") or tool.get("type")) for tool in tools
    )
    raise ValueError(f"tool_choice {name!r} is none of the tools: {known or 'there are none'}")
