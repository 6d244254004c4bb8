"""`lunos compare`: the same question to several models, side by side."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import click

from lunos_cli import output
from lunos_core import Lunos, LunosError

_COLUMNS = ("model", "seconds", "input", "output", "USD")


@click.command()
@click.argument("prompt")
@click.option("-m", "--model", "models", multiple=True, required=True, help="Several times.")
@output.APP_ID
@output.SYSTEM
@output.JSON
def compare(
    prompt: str, models: tuple[str, ...], app_id: str | None, system: str | None, as_json: bool
) -> None:
    """Ask several models at once. Shows their answers, seconds, tokens and cost."""
    messages = output.messages_of(system, prompt)
    with output.client(app_id, needs_key=True) as lunos, ThreadPoolExecutor(len(models)) as pool:
        results = list(pool.map(lambda model: _ask(lunos, model, messages), models))
    if as_json:
        click.echo(json.dumps(results, indent=2))
    else:
        for result in results:
            click.secho(output.safe(f"== {result['model']}"), bold=True)
            click.echo(output.safe(result["text"] or f"failed: {result['error']}") + "\n")
        rows = [[_cell(result[name]) for name in _COLUMNS] for result in results]
        output.table(_COLUMNS, rows, numbers=4)
    if all(result["error"] for result in results):
        raise SystemExit(1)


def _ask(lunos: Lunos, model: str, messages: list[Any]) -> dict[str, Any]:
    result: dict[str, Any] = dict.fromkeys((*_COLUMNS, "text", "error")) | {"model": model}
    started = time.perf_counter()
    try:
        whole = lunos.chat.completions.create(model=model, messages=messages)
    except LunosError as error:
        return {**result, "error": output.one_line(error, lunos)}
    result |= {"seconds": round(time.perf_counter() - started, 2), "text": whole.text}
    if whole.usage is not None:
        result |= {"input": whole.usage.input_tokens, "output": whole.usage.output_tokens}
    cost = output.cost_of(whole.usage, model, lunos)
    return result | {"USD": None if cost is None else float(cost)}


def _cell(value: Any) -> str:
    if isinstance(value, float) and 0 < value < 0.01:
        return f"{value:.6f}"
    return "-" if value is None else str(value)
