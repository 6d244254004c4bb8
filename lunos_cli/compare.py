"""`lunos compare`: the same question to several models, side by side."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import click

from lunos_cli import output
from lunos_core import AsyncLunos, Lunos, LunosError
from lunos_core.compatibility.advice import one_line

_COLUMNS = ("model", "seconds", "input", "output", "USD")


@click.command()
@click.argument("prompt")
@click.option("-m", "--model", "models", multiple=True, required=True, help="Several times.")
@output.CLIENT
@output.SYSTEM
@output.JSON
def compare(
    prompt: str, models: tuple[str, ...], lunos: Lunos, messages: list[Any], as_json: bool
) -> None:
    """Ask several models at once. Shows their answers, seconds, tokens and cost."""
    results = asyncio.run(_ask(lunos, models, [*messages, {"role": "user", "content": prompt}]))
    for result in results:  # after all have answered: the catalog may be asked
        cost = output.cost_of(result.pop("usage"), result["model"], lunos)
        result["USD"] = None if cost is None else float(cost)
    if as_json:
        output.print_json(results)
    else:
        for result in results:
            click.secho(output.safe(f"== {result['model']}"), bold=True)
            failed = f"failed: {result['error']}"
            click.echo(output.safe(result["text"] if result["error"] is None else failed) + "\n")
        rows = [[_cell(result[name]) for name in _COLUMNS] for result in results]
        output.print_table([_COLUMNS, *rows])
    if all(result["error"] for result in results):
        raise SystemExit(1)


async def _ask(lunos: Lunos, models: tuple[str, ...], messages: list[Any]) -> list[dict[str, Any]]:
    async def ask(model: str) -> dict[str, Any]:
        result: dict[str, Any] = dict.fromkeys((*_COLUMNS, "text", "error", "usage"))
        result["model"] = model
        started = time.perf_counter()
        try:
            whole = await asked.chat.completions.create(model=model, messages=messages)
        except LunosError as error:
            return {**result, "error": one_line(error)}
        refused = [f"refused: {c.message.refusal}" for c in whole.choices if c.message.refusal]
        result["text"] = "\n".join(filter(None, [whole.text, *refused]))
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
