"""A store's usage as one HTML page that needs nothing else: tables, dark and light."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any

from lunos_core.accounting.files import write_whole
from lunos_core.accounting.report import visible

if TYPE_CHECKING:
    from lunos_core.accounting.store import Moment, UsageStore

_MOST_ROWS = 50
_TABLES = (("By app", ("app",)), ("By model", ("model",)), ("By day", ("day",)))
_NUMBERS = (
    *("calls", "errors", "retries", "input_tokens", "output_tokens", "cost", "p50_seconds"),
    *("p95_seconds", "first_token_p50_seconds"),
)
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Lunos usage</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }}
body {{ margin: 0 auto; max-width: 70rem; padding: 1rem }}
section {{ overflow-x: auto }}
table {{ border-collapse: collapse; white-space: nowrap }}
th, td {{ padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #8884 }}
th:first-child, td:first-child {{ text-align: left; max-width: 20rem; overflow: hidden;
  text-overflow: ellipsis }}
</style></head><body><h1>Lunos usage</h1><p>{head}</p>{tables}</body></html>
"""


def write_page(store: UsageStore, path: str | os.PathLike[str], *, since: Moment) -> None:
    """Write the page.

    Raises:
        OSError: it can't be written.
        ValueError: `since` isn't a point in time.
    """
    made = datetime.fromtimestamp(store.clock(), UTC)
    head = f"Made at {made:%Y-%m-%d %H:%M} UTC, since {since if since is not None else 'ever'}."
    tables = "".join(_table(title, by[0], store.summary(by, since=since)) for title, by in _TABLES)
    page = _PAGE.format(head=escape(head), tables=tables)
    write_whole(path, page.encode("utf-8", "replace"))


def _table(title: str, name: str, rows: Sequence[dict[str, Any]]) -> str:
    heads = "".join(f"<th>{head.replace('_', ' ')}</th>" for head in (name, *_NUMBERS))
    shown = rows[-_MOST_ROWS:] if name == "day" else rows[:_MOST_ROWS]
    lines = "".join(
        "<tr>" + "".join(_cell(key, row[key]) for key in (name, *_NUMBERS)) + "</tr>"
        for row in shown
    )
    more = f"<p>{len(rows) - len(shown)} more</p>" if len(rows) > len(shown) else ""
    empty = "" if rows else "<p>No calls.</p>"
    return f"<h2>{title}</h2><section><table><tr>{heads}</tr>{lines}</table></section>{more}{empty}"


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "<td>–</td>"  # noqa: RUF001 - a dash, as tables have it
    if isinstance(value, float):
        return f"<td>{value:,.{6 if name == 'cost' else 3}f}</td>"
    if isinstance(value, int):
        return f"<td>{value:,}</td>"
    text = escape(visible(value))
    return f'<td title="{text}">{text}</td>'
