"""Hooks of mkdocs for this site: notebooks become pages, and links out of the site become paths."""

from __future__ import annotations

import os
import re
from html import escape, unescape
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

# pages that were renamed: old links lead to the new name
_RENAMED = {"what-works.html": "supported-features.html"}
_MANY, _LONG = 3, 26  # columns, and letters of a word, that don't fit on a phone
_TABLE = re.compile(r"<table>(\s*<thead>.*?</thead>)(.*?)</table>", re.DOTALL)
_OPTION = re.compile(r"<code>(?=--[^<]{1,24}</code>)")
_HEAD = re.compile(r"<th\b[^>]*>(.*?)</th>", re.DOTALL)
_ASSET = re.compile(r"<(?:script|img|iframe|link|source)\b[^>]*?\b(?:src|href)=\W?https?:[^>]*>")
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s#]+)(#[^)\s]*)?(?: \"([^\"]*)\")?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add each notebook as a page."""
    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            files.remove(file)
            page = File.generated(config, file.src_uri, content=_markdown_of(file.content_bytes))
            page.is_documentation_page = lambda: True  # type: ignore[method-assign]  # by its name
            page.dest_uri = file.src_uri.removesuffix(".ipynb") + ".html"
            page.url = page.dest_uri
            files.append(page)
    return files


def _markdown_of(notebook: bytes) -> str:
    """Convert the cells: text as it is, code as blocks, each followed by its output."""
    parts = []
    for cell in nbformat.reads(notebook.decode(), as_version=4).cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        printed = "".join(_text_of(output) for output in cell.outputs).strip()
        if printed:
            parts.append(f"```{{ .text .printed }}\n{printed}\n```")
    return "\n\n".join(parts) + "\n"


def _text_of(output: Any) -> str:
    return str(output.text if output.output_type == "stream" else output.data["text/plain"])


@event_priority(-100)  # after the included pages are in place
def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Turn a link to a repository file that is not a page of the site into its path."""
    here = (Path(config.docs_dir) / page.file.src_uri).parent
    root = Path(config.config_file_path).parent

    def shown(link: re.Match[str]) -> str:
        text, target = link[1], link[2]
        path = Path(os.path.normpath(here / target))
        if ":" in target or path.is_relative_to(config.docs_dir) or not path.exists():
            return link[0]
        page_of = {"README": "index", "LICENSE": None}.get(path.stem, path.stem.lower())
        if page_of and path.parent == root and (Path(config.docs_dir) / f"{page_of}.md").exists():
            return f"[{text}]({os.path.relpath(Path(config.docs_dir) / f'{page_of}.md', here)})"
        if link[4]:  # a test's name is too long for a table's cell: it shows when pointed at
            return f'<abbr title="{link[4]}">{text}</abbr>'
        name = path.relative_to(root).as_posix()
        return text if text in (name, path.name) or page_of is None else f"{text} (`{name}`)"

    return _LINK.sub(shown, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Name the column in each cell of a table with many: narrow screens show a row as a list.

    An option of a command isn't broken behind its hyphens.
    """
    return _TABLE.sub(_labelled, _OPTION.sub('<code class="option">', html))


def _labelled(table: re.Match[str]) -> str:
    head, rows = table[1], table[2]
    labels = [escape(_text(name).strip()) for name in _HEAD.findall(head)]
    if len(labels) < _MANY and max(map(len, _text(rows).split()), default=0) <= _LONG:
        return table[0]

    def row(cells: re.Match[str]) -> str:
        names = iter(labels)
        return re.sub("<td", lambda _: f'<td data-label="{next(names, "")}"', cells[0])

    return f"<table data-stacked>{head}{re.sub('<tr.*?</tr>', row, rows, flags=re.DOTALL)}</table>"


def _text(html: str) -> str:
    return unescape(re.sub("<.*?>", "", html))


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """Refuse pages that load something from another host.

    Raises:
        PluginError: the page does.
    """
    foreign = _ASSET.search(output)
    if foreign:
        raise PluginError(f"{page.file.src_uri} asks another host: {foreign[0]}")
    return output


def on_post_build(config: MkDocsConfig) -> None:
    """Write a page under each old name that leads to the new one."""
    for old, new in _RENAMED.items():
        refresh = f'<!doctype html><meta http-equiv="refresh" content="0; url={new}">'
        (Path(config.site_dir) / old).write_text(f'{refresh}<a href="{new}">{new}</a>', "utf-8")
