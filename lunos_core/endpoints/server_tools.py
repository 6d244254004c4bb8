"""The server's own tools: web search, and the reading of PDFs.

Source of the format: the vendor's later pages; web search is a beta there, and neither was seen
live.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict

SearchEngine = Literal["auto", "native", "exa", "firecrawl", "parallel"]
PdfEngine = Literal["mistral-ocr", "cloudflare-ai", "native"]


class WebSearch(TypedDict, total=False):
    """The parameters of the server's search tool: `web_search={"max_results": 3}`.

    Attributes:
        engine: the search engine; "native" is the provider's own search.
        max_results: of one search; the server's default is 5.
        max_total_results: of all searches for one answer.
        search_context_size: how much of the pages the model reads, such as "low" or "high".
        allowed_domains: search only these.
        excluded_domains: don't search these.

    Example:
        >>> from lunos_core import WebSearch
        >>> from lunos_core import chat_request
        >>> search: WebSearch = {"engine": "exa", "allowed_domains": ["example.com"]}
        >>> request = chat_request([{"role": "user", "content": "?"}], model="m", web_search=search)
        >>> b'"tools":[{"type":"web_search","parameters":{"engine":"exa",' in request.body
        True
    """

    engine: SearchEngine
    max_results: int
    max_total_results: int
    search_context_size: str
    allowed_domains: list[str]
    excluded_domains: list[str]


class PdfOptions(TypedDict):
    """How PDFs are read: by OCR, by a converter, or by the model itself ("native")."""

    engine: PdfEngine


class FileParser(TypedDict):
    """The plugin that reads files: `plugins=[{"id": "file-parser", "pdf": {"engine": …}}]`."""

    id: Literal["file-parser"]
    pdf: PdfOptions


if TYPE_CHECKING:
    WebSearchSetting = bool | WebSearch | dict[str, Any] | None
    Plugins = list[FileParser | dict[str, Any]] | list[FileParser] | list[dict[str, Any]]
else:  # pydantic would silently remove unknown names from a TypedDict
    WebSearchSetting = bool | dict[str, Any] | None
    Plugins = list[dict[str, Any]]
