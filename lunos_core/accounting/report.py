"""A ledger's rows as a table, frame, file or plot; only this module needs optional libraries."""

from __future__ import annotations

import contextlib
import csv
import importlib
import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lunos_core.accounting.files import write_whole
from lunos_core.accounting.totals import COLUMNS, COUNTED, KEYS, History, Sum, amount_of

_MOST_LINES = 10
_LONGEST_LABEL = 24
_LABEL_HEIGHT = 0.085  # as a fraction of the panel's
_MORE_FONTS = (
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans Arabic", "Noto Sans Hebrew"),
    *("Noto Sans Devanagari", "Noto Sans Thai", "WenQuanYi Zen Hei", "Arial Unicode MS"),
)
Rows = Sequence[Mapping[str, Any]]
Histories = Mapping[str, Sequence[Sequence[float]]]

JOINERS = "\u200c\u200d"
"""They join several emoji into one: not printable, but harmless."""
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")

# fourteen columns at their full names are wider than most terminals
_HEADS = {
    "input_tokens": "input",
    "output_tokens": "output",
    "cached_tokens": "cached",
    "reasoning_tokens": "reasoning",
    "first_token_seconds": "first_token",
}


def to_table(
    rows: Rows,
    columns: Sequence[str] = COLUMNS,
    keys: int = len(KEYS),
    width: int = sys.maxsize,
) -> str:
    """Return the rows as text, followed by their sums if there are several rows.

    Args:
        rows: a ledger's rows, or a store's summary.
        columns: the names of the columns to show.
        keys: how many of the first columns identify a row; the others are numbers.
        width: of the terminal. A wider table becomes a block for each row, with a line per column.
    """
    lines = [[_cell(name, row[name]) for name in columns] for row in rows]
    if len(rows) > 1 and keys:
        total = totals(rows)
        cells = [_cell(name, total.get(name)) for name in columns[keys:]]
        lines.append(["total", *["-"] * (keys - 1), *cells])
    heads = [_HEADS.get(name, name) for name in columns]
    table = aligned([heads, *lines], keys)
    if max(map(len, table.splitlines())) <= width:
        return table
    return "\n\n".join(aligned([*zip(heads, line, strict=True)], keys=2) for line in lines)


def totals(rows: Rows) -> dict[str, Any]:
    """Return the sums of all columns that can be added up."""
    sums: dict[str, Any] = {name: sum(row[name] for row in rows) for name in COUNTED}
    cost = Sum()
    for row in rows:
        cost.add(amount_of(row["cost"]))
    seconds = [row["seconds"] for row in rows if "seconds" in row]
    return {**sums, "cost": cost.value(), "seconds": sum(seconds) if seconds else None}


def to_frame(rows: Rows) -> Any:
    """Return the rows as a `DataFrame` of pandas if it is installed, else of polars."""
    with contextlib.suppress(ImportError):
        return importlib.import_module("pandas").DataFrame(list(rows), columns=list(COLUMNS))
    with contextlib.suppress(ImportError):
        polars = importlib.import_module("polars")
        return polars.DataFrame(list(rows), schema=list(COLUMNS), infer_schema_length=None)
    raise ImportError("to_frame() needs pandas or polars, neither is installed: pip install pandas")


def write_csv(path: str | os.PathLike[str], rows: Rows) -> None:
    """Write the rows with a header."""
    write_whole(path, csv_text(rows).encode("utf-8", "replace"))


def csv_text(rows: Rows, columns: Sequence[str] = COLUMNS) -> str:
    """Return the rows as CSV with a header.

    A text that a spreadsheet would take for a formula gets a leading apostrophe.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows([_csv_cell(row[name]) for name in columns] for row in rows)
    return out.getvalue()


def write_json(path: str | os.PathLike[str], rows: Rows, history: Histories) -> None:
    """Write rows and history."""
    value = {"rows": list(rows), "history": history}
    write_whole(path, (json.dumps(value, indent=2) + "\n").encode())


def visible(text: str, keep: str = "") -> str:
    """Return a text with escaped control characters, which a terminal would obey.

    Args:
        text: a text from someone else.
        keep: characters that stay, such as line breaks.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode()
        for char in text
    )


def _csv_cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return f"'{visible(value)}" if value.startswith(_FORMULA_STARTS) else visible(value)


def read_file(path: str | os.PathLike[str]) -> tuple[list[dict[str, Any]], Histories]:
    """Return the rows and history of a written file; a CSV file has no history.

    Raises:
        OSError: it cannot be read.
        ValueError: it wasn't written by a ledger.
    """
    data = Path(path).read_bytes()
    try:
        text = data.decode("utf-8")
        if text.lstrip().startswith("{"):
            value = json.loads(text)
            rows = [{name: row[name] for name in COLUMNS} for row in value["rows"]]
            return rows, value.get("history") or {}
        table = csv.DictReader(io.StringIO(text))
        if not {*COLUMNS} <= {*(table.fieldnames or ())}:
            raise KeyError("a column")
        return [_from_csv(row) for row in table], {}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ValueError(f"{path} isn't a file that a UsageLedger has written") from None


def plot(history: Histories, path: str | os.PathLike[str] | None = None) -> Any:
    """Plot USD so far and tokens so far over one axis of dates, with a step line for each app.

    The app's name is at the end of its line. With more than ten apps, only the most expensive have
    a line, and "other" is the rest.
    """
    _needed("matplotlib", "plot()")
    history = _largest(history)
    # Figure, not pyplot: no window, no global state, safe in any thread
    figure = importlib.import_module("matplotlib.figure").Figure(
        figsize=(8, 5), layout="constrained"
    )
    above, below = figure.subplots(2, 1, sharex=True)
    times = [point[0] for points in history.values() for point in points]
    begin = min(times, default=0.0)
    end = max(times, default=0.0)
    for app_id, points in history.items():
        if not points:
            continue
        # from zero at its first call, then at its last height to the end of the plot
        steps = [(points[0][0], 0.0, 0), *points, (end, *points[-1][1:])]
        moments = [datetime.fromtimestamp(point[0], UTC) for point in steps]
        # matplotlib omits labels that begin with an underscore
        label = _short(f" {app_id}" if app_id.startswith("_") else app_id)
        for panel, height in ((above, 1), (below, 2)):
            heights = [point[height] for point in steps]
            # a dot at the end: an app with only the last calls would be just a vertical line
            panel.step(
                *(moments, heights),
                where="post", label=label, marker="o", markersize=4, markevery=[-1],
            )  # fmt: skip
    above.set_ylabel("cost so far, USD")
    below.set_ylabel("tokens so far")
    if times:
        dates = importlib.import_module("matplotlib.dates")
        locator = dates.AutoDateLocator(tz=UTC)
        below.xaxis.set_major_locator(locator)
        below.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, tz=UTC))
        margin = max((end - begin) / 50, 1.0)
        limits = (begin - margin, end + margin)
        below.set_xlim(*(datetime.fromtimestamp(limit, UTC) for limit in limits))
    below.set_xlabel("UTC")
    for panel in (above, below):
        panel.set_ylim(bottom=0)
        _name_lines(panel)
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    if not any(point[1] for points in history.values() for point in points):
        # an axis from 0 to a few hundredths would suggest that there is something to see
        above.set_yticks([0])
        above.text(
            0.5, 0.5, "nothing was charged, as far as is known",
            transform=above.transAxes, ha="center", va="center", color="gray",
        )  # fmt: skip
    for text in figure.findobj(importlib.import_module("matplotlib.text").Text):
        text.set_family(_fonts())
        text.set_parse_math(False)  # "$" in an app id doesn't start a formula
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure


def _largest(history: Histories) -> dict[str, Sequence[Sequence[float]]]:
    apps = [app_id for app_id, points in history.items() if points]
    if len(apps) <= _MOST_LINES:
        return dict(history)
    apps.sort(key=lambda app_id: tuple(history[app_id][-1][1:]), reverse=True)
    rest = History()
    for app_id in apps[_MOST_LINES - 1 :]:
        rest.add_history(History([(p[0], p[1], int(p[2])) for p in history[app_id]]))
    return {**{app_id: history[app_id] for app_id in apps[: _MOST_LINES - 1]}, "other": rest.points}


def _short(text: str) -> str:
    text = visible(text)
    return text if len(text) <= _LONGEST_LABEL else f"{text[:_LONGEST_LABEL]}…"


def _fonts() -> list[str]:
    fonts = importlib.import_module("matplotlib.font_manager").fontManager.ttflist
    names = {font.name for font in fonts}
    return ["DejaVu Sans", *(name for name in _MORE_FONTS if name in names)]


def _name_lines(panel: Any) -> None:
    """Write each line's name at its end, without overlaps."""
    lines = sorted(panel.lines, key=lambda line: float(line.get_ydata()[-1]))
    highest = panel.get_ylim()[1]
    places: list[float] = []
    for line in lines:
        lowest = places[-1] + _LABEL_HEIGHT if places else 0.0
        places.append(max(line.get_ydata()[-1] / highest, lowest))
    limit = 1.0
    for i in reversed(range(len(places))):
        places[i] = min(places[i], limit)
        limit = places[i] - _LABEL_HEIGHT
    for line, place in zip(lines, places, strict=True):
        panel.annotate(
            line.get_label(),
            (line.get_xdata()[-1], line.get_ydata()[-1]),
            (1.03, place), textcoords="axes fraction",
            color=line.get_color(), fontsize="small", va="center", annotation_clip=False,
            arrowprops={
                "arrowstyle": "-", "color": line.get_color(), "lw": 0.6, "relpos": (0, 0.5)
            },
        )  # fmt: skip


def aligned(lines: Sequence[Sequence[str]], keys: int, width: int = sys.maxsize) -> str:
    """Return lines of cells as text in columns.

    Args:
        lines: the cells of the head and of each row.
        keys: how many of the first columns identify a row; the others are right-aligned numbers.
        width: the terminal's width. If it is too narrow, columns after the first are left out.
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    if sum(widths) + 2 * len(widths) - 2 > width and len(widths) > 2:
        keys = max(keys - 1, 1)
        return aligned([[*line[:keys], *line[keys + 1 :]] for line in lines], keys, width)
    return "\n".join(
        "  ".join(
            f"{cell:{'<' if i < keys else '>'}{widths[i]}}" for i, cell in enumerate(line)
        ).rstrip()
        for line in lines
    )


def app_table(rows: Rows, width: int = sys.maxsize) -> str:
    """Return each app's calls, tokens and cost, and their sums, as text of 80 columns."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(visible(str(row["app_id"])), []).append(row)
    lines = [["app", "calls", "tokens", "cost in USD"]]
    for app, group in [*groups.items(), *([("total", rows)] if len(groups) > 1 else [])]:
        total = totals(group)
        tokens = total["input_tokens"] + total["output_tokens"]
        lines.append([app, f"{total['calls']:,}", f"{tokens:,}", _cell("cost", total["cost"])])
    return aligned(lines, 1, width)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name.endswith("cost"):
        return f"{value:.6f}"
    return f"{value:.3f}" if name.endswith("seconds") else visible(str(value))


def _from_csv(cells: Mapping[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {name: _unquoted(cells[name]) for name in KEYS}
    row |= {name: int(cells[name]) for name in COUNTED}
    for name in ("cost", "seconds", "first_token_seconds"):
        row[name] = float(cells[name]) if cells[name] else None
    return row


def _unquoted(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(_FORMULA_STARTS) else cell


def _needed(name: str, what: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ImportError(f"{what} needs {name}, not installed: pip install {name}") from None
