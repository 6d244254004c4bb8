"""`lunos compare`: the same question to several models, side by side."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import click

from lunos_cli import output
from lunos_cli.ask import remarks, with_stdin
from lunos_core import AsyncLunos, Lunos, LunosError
from lunos_core.compatibility.advice import one_line

_NARROWEST = 36  # columns of text that are read with ease
_COLUMNS = ("model", "seconds", "input", "output", "USD")


@click.command()
@click.argument("prompt", nargs=-1, type=output.TEXT)
@click.option("-m", "--model", "models", multiple=True, required=True, help="May be repeated.")
@output.CLIENT
@output.SYSTEM
@output.JSON
def compare(
    prompt: tuple[str, ...],
    models: tuple[str, ...],
    lunos: Lunos,
    messages: list[Any],
    as_json: bool,
) -> None:
    """Ask several models at once. Shows their answers, seconds, tokens and cost."""
    question = with_stdin(prompt)
    if not question:
        raise click.UsageError("PROMPT is empty: what should the models be asked?")
    results = asyncio.run(_ask(lunos, models, [*messages, {"role": "user", "content": question}]))
    for result in results:  # after all have answered: the catalog may be asked
        cost = output.cost_of(result.pop("usage"), result["model"], lunos)
        result["USD"] = None if cost is None else float(cost)
    if as_json:
        output.print_json(results)
    else:
        _print_answers(results)
        rows = [[_cell(result[name]) for name in _COLUMNS] for result in results]
        output.print_table([_COLUMNS, *rows])
    if all(result["error"] for result in results):
        raise SystemExit(1)


def _print_answers(results: list[dict[str, Any]]) -> None:
    """Print the answers side by side if the terminal has room."""
    failed = "failed: {error}".format
    answers = [r["text"] if r["error"] is None else failed(**r) for r in results]
    pairs = [(f"== {r['model']}", text) for r, text in zip(results, answers, strict=True)]
    if sys.stdout.isatty() and output.width() >= len(pairs) * _NARROWEST:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2, 1, 0), expand=True)
        for _ in pairs:
            table.add_column(ratio=1)
        style = "" if click.get_current_context().color is False else "bold"
        table.add_row(*(Text(output.safe(head), style=style) for head, _ in pairs))
        table.add_row(*(Text(output.safe(text)) for _, text in pairs))
        Console().print(table)
        return
    for head, text in pairs:
        click.secho(output.safe(head), bold=True)
        click.echo(output.safe(text) + "\n")


async def _ask(lunos: Lunos, models: tuple[str, ...], messages: list[Any]) -> list[dict[str, Any]]:
    async def ask(model: str) -> dict[str, Any]:
        result: dict[str, Any] = dict.fromkeys((*_COLUMNS, "text", "error", "usage"))
        result["model"] = model
        started = time.perf_counter()
        try:
            whole = await asked.chat.completions.create(model=model, messages=messages)
        except LunosError as error:
            return {**result, "error": one_line(error)}
        result["text"] = "\n".join(filter(None, [whole.text, *remarks(whole)]))
        result |= {"seconds": round(time.perf_counter() - started, 2), "usage": whole.usage}
        if whole.usage is not None:
            result |= {"input": whole.usage.input_tokens, "output": whole.usage.output_tokens}
        return result

    # in one thread, so that Ctrl-C ends it
    async with AsyncLunos(app_id=lunos.client.config.app_id) as asked:
        return await asyncio.gather(*map(ask, models))


def _cell(value: Any) -> str:
    if isinstance(value, float) and 0 < value < 0.01:
        return f"{value:.6f}"
    return "-" if value is None else str(value)
