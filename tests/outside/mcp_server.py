"""An MCP server over stdin and stdout, with one tool."""

from __future__ import annotations

try:
    from mcp.server.mcpserver import MCPServer as FastMCP
except ImportError:  # mcp 1
    from mcp.server.fastmcp import FastMCP

server = FastMCP("weather", log_level="ERROR")


@server.tool()
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"Sunny in {city}"


if __name__ == "__main__":
    server.run("stdio")
