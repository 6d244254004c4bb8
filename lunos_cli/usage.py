"""`lunos usage`: what the apps have spent, from a ledger's file or a usage store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lunos_cli import output
from lunos_core import UsageStore
from lunos_core.accounting.questions import NUMBERS, is_store
from lunos_core.accounting.report import app_table, csv_text, plot, read_file, to_table

_PATH = click.Path(path_type=Path, dir_okay=False)
_SHORT = ("calls", "errors", "input_tokens", "output_tokens", "cost", "p50_seconds")


@click.command()
@output.USAGE_FILE
@click.option("--wide", is_flag=True, help="All columns: by app, model and endpoint.")
@click.option("--plot", "picture", type=_PATH, help="Draw cost and tokens into this file.")
@click.option("--by", help="Group by: app, user, model, endpoint, day, hour, tag:NAME.")
@click.option("--since", help='Calls since then: "7d", "12h" or a date.')
@click.option("--until", help="Calls before then.")
@click.option("--app", help="Only this app id.")
@click.option("--model", help="Only this model.")
@click.option("--user", help="Only this user.")
@click.option("--top", type=click.IntRange(1), help="The first rows only.")
@click.option("--csv", is_flag=True, default=None, help="Print CSV.")
@output.JSON
def usage(file: Path, wide: bool, picture: Path | None, as_json: bool, **options: Any) -> None:
    """Show what the apps have used.

    FILE is a usage store (LUNOS_USAGE_DB), or a file written by a ledger's write_json or write_csv.
    Only a store takes --by, --since, --until, --app, --model, --user, --top and --csv.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if as_json and options["csv"]:
        raise click.UsageError("--json or --csv, not both")
    if picture is not None:
        if picture == Path():
            raise click.UsageError("--plot is empty: name a file")
        output.need("--plot", "matplotlib", install="matplotlib")
    if is_store(file):
        if picture is not None:
            raise click.UsageError("--plot draws a ledger's file; a store has `lunos dashboard`")
        _from_store(file, wide=wide, as_json=as_json, **given)
        return
    for name in given:
        raise click.ClickException(f"--{name} needs a usage store, and {file} isn't one")
    rows, history = read_file(file)
    if picture is not None and not history:
        raise click.ClickException(f"{file} holds no times to draw: write_json keeps them")
    if as_json:
        output.print_json(rows)
    else:
        width = output.width()
        click.echo(to_table(rows, width=width) if wide else app_table(rows, width))
    if picture is not None:
        plot(history, picture)
        output.note(f"drawn: {picture}")


def _from_store(
    file: Path, wide: bool, as_json: bool, by: str = "app", csv: bool = False, **chosen: Any
) -> None:
    top = chosen.pop("top", None)
    with UsageStore(file) as store:
        rows = store.summary(by, **chosen)[:top]
    names = [name.strip() for name in by.split(",")]
    if csv:
        click.echo(csv_text(rows, [*names, *NUMBERS]), nl=False)
    elif as_json:
        output.print_json(rows)
    else:
        columns = [*names, *(NUMBERS if wide else _SHORT)]
        click.echo(to_table(rows, columns, len(names), output.width()))
