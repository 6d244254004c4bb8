"""`lunos usage`: what the apps have spent, from a ledger's file."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from lunos_cli import output
from lunos_core.accounting.report import plot as draw
from lunos_core.accounting.report import read_file, to_table


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--wide", is_flag=True, help="All columns: by app, model and endpoint.")
@click.option(
    "--plot", type=click.Path(path_type=Path), help="Draw cost and tokens into this file."
)
@output.JSON
def usage(file: Path, wide: bool, plot: Path | None, as_json: bool) -> None:
    """Show what a UsageLedger wrote: FILE is from write_json or write_csv."""
    rows, history = read_file(file)
    if plot is not None and not history:
        raise click.ClickException(f"{file} holds no times to draw: write_json keeps them")
    if as_json:
        click.echo(json.dumps([{k: _plain(v) for k, v in row.items()} for row in rows], indent=2))
    elif wide:
        click.echo(to_table(rows))
    else:
        by_app(rows)
    if plot is not None:
        draw(history, plot)
        output.note(f"drawn: {plot}")


def by_app(rows: list[dict[str, Any]]) -> None:
    """Print calls, tokens and cost of each app: it fits 80 columns."""
    sums: dict[str, list[Any]] = {}
    for row in rows:
        for app in (str(row["app_id"]), "total"):
            entry = sums.setdefault(app, [0, 0, None])
            entry[0] += row["calls"]
            entry[1] += row["input_tokens"] + row["output_tokens"]
            if row["cost"] is not None:
                entry[2] = (entry[2] or Decimal(0)) + Decimal(str(row["cost"]))
    total = sums.pop("total", None)
    lines = list(sums.items()) + ([("total", total)] if total and len(sums) > 1 else [])
    cells = [
        [a, f"{n[0]:,}", f"{n[1]:,}", "-" if n[2] is None else f"{n[2]:.6f}"] for a, n in lines
    ]
    output.table(("app", "calls", "tokens", "cost in USD"), cells, numbers=3)


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value
