"""The results as Markdown."""

# ruff: noqa: RUF001 - the multiplication sign is meant

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.bars import bars
from benchmarks.figures import Figures, Results
from benchmarks.measures import MEASURES, Measure

_MORE = {
    "concurrent": (("connections", "connections", 1.0), ("rate", "calls/s", 1.0)),
    "threads": (("connections", "connections", 1.0), ("rate", "calls/s", 1.0)),
    "call": (("cpu", "CPU, µs", 1e6), ("median", "median, µs", 1e6)),
    "acall": (("cpu", "CPU, µs", 1e6), ("median", "median, µs", 1e6)),
    "embed": (("peak", "peak, MB", 1e-6), ("bytes", "received, MB", 1e-6)),
    "objects": (("first_call", "first call, ms", 1e3), ("later", "each later, µs", 1e6)),
    "imports": (
        ("base", "its base, ms", 1e3),
        ("import_modules", "modules", 1.0),
        ("base_modules", "its base's modules", 1.0),
        ("embeddings", "embeddings, ms", 1e3),
    ),
}


def report(results: Results, about: Mapping[str, Any]) -> str:
    """Return the whole report: the limits, then a table for each measure."""
    figures = Figures(results)
    lines = ["# What a call costs", ""]
    lines += [f"- {name}: {value}" for name, value in about.items()]
    lines += ["", "## Bars", "", *_bars(figures, set(results))]
    for measure in MEASURES:
        if measure.name in results:
            lines += ["", f"## {measure.name}", "", *_table(figures, measure)]
    return "\n".join(lines) + "\n"


def _bars(figures: Figures, measured: set[str]) -> list[str]:
    groups = {measure.group for measure in MEASURES if measure.name in measured}
    rows = [("what", "found", "bar", "stretch", "")]
    for bar in bars(figures):
        if bar.group in groups:
            sign = "≥" if bar.at_least else "≤"
            met = {None: "not measured", True: "met", False: "**not met**"}[bar.met]
            stretch = "" if bar.stretch is None else f"{bar.stretch:g}"
            rows.append((bar.text, _short(bar.found), f"{sign} {bar.limit:.4g}", stretch, met))
    return _markdown(rows)


def _table(figures: Figures, measure: Measure) -> list[str]:
    unit, factor = measure.unit
    more = _MORE.get(measure.verb, ())
    rows = [("client", unit, "× httpx", *(title for _, title, _ in more), "")]
    for client in figures.clients(measure.name):
        value = figures.value(measure.name, client, measure.value)
        rows.append(
            (
                client,
                _short(None if value is None else value * factor),
                _short(figures.ratio(measure.name, client, "httpx", measure.value)),
                *(
                    _short(_times(figures.value(measure.name, client, key), scale))
                    for key, _, scale in more
                ),
                figures.wrong(measure.name, client),
            )
        )
    return _markdown(rows)


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _short(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _markdown(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return [lines[0], rule, *lines[1:]]
