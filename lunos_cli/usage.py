"""`lunos usage`: what the apps have spent, from a ledger's file or a usage store."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from lunos_cli import output
from lunos_core import UsageStore
from lunos_core.accounting.questions import NUMBERS, is_store
from lunos_core.accounting.report import csv_text, read_file, to_table
from lunos_core.accounting.report import plot as draw


@click.command()
@click.argument("file", type=click.Path(path_type=Path), envvar="LUNOS_USAGE_DB")
@click.option("--wide", is_flag=True, help="All columns: by app, model and endpoint.")
@click.option(
    "--plot", type=click.Path(path_type=Path), help="Draw cost and tokens into this file."
)
@click.option("--by", help="Of a store: app, user, model, endpoint, day, hour, tag:NAME.")
@click.option("--since", help='Of a store: "7d", "12h" or a date.')
@click.option("--until", help="Of a store: the same; the calls before it.")
@click.option("--app", help="Of a store: only this app id.")
@click.option("--model", help="Of a store: only this model.")
@click.option("--user", help="Of a store: only this user.")
@click.option("--top", type=click.IntRange(1), help="Of a store: the first rows only.")
@click.option("--csv", is_flag=True, help="Of a store: as CSV.")
@output.JSON
def usage(
    file: Path,
    wide: bool,
    plot: Path | None,
    as_json: bool,
    by: str | None,
    top: int | None,
    csv: bool,
    **chosen: str | None,
) -> None:
    """Show what the apps have used.

    FILE is a usage store (LUNOS_USAGE_DB), or from a ledger's write_json or write_csv.
    """
    if is_store(file):
        _from_store(file, by or "app", chosen, wide=wide, as_json=as_json, top=top, csv=csv)
        return
    given = {"by": by, "top": top, "csv": csv or None, **chosen}
    for name, value in given.items():
        if value is not None:
            raise click.ClickException(f"--{name} needs a usage store, and {file} isn't one")
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


def _from_store(
    file: Path,
    by: str,
    chosen: dict[str, Any],
    *,
    wide: bool,
    as_json: bool,
    top: int | None,
    csv: bool,
) -> None:
    with UsageStore(file) as store:
        rows = store.summary(by, **chosen)[:top]
    names = [name.strip() for name in by.split(",")]
    columns = [*names, *(NUMBERS if wide else _SHORT)]
    if csv:
        click.echo(csv_text(rows, [*names, *NUMBERS]), nl=False)
    elif as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        click.echo(to_table(rows, columns, keys=len(names)))


_SHORT = ("calls", "errors", "input_tokens", "output_tokens", "cost", "p50_seconds")


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
