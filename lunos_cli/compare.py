"""`lunos compare`: the same question to several models, side by side."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import click

from lunos_cli import output
from lunos_core import Lunos, LunosError


@click.command()
@click.argument("prompt")
@click.option("-m", "--model", "models", multiple=True, required=True, help="Several times.")
@output.APP_ID
@click.option("-s", "--system", help="What the models are told first.")
@output.JSON
def compare(
    prompt: str, models: tuple[str, ...], app_id: str | None, system: str | None, as_json: bool
) -> None:
    """Ask several models at once: their answers, seconds, tokens and cost."""
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": prompt})
    with output.client(app_id) as lunos, ThreadPoolExecutor(len(models)) as pool:
        results = list(pool.map(lambda model: _ask(lunos, model, messages), models))
    if as_json:
        click.echo(json.dumps(results, indent=2))
    else:
        for result in results:
            click.secho(output.safe(f"== {result['model']}"), bold=True)
            click.echo(output.safe(result["text"] or f"failed: {result['error']}") + "\n")
        output.table(
            ("model", "seconds", "input", "output", "USD"),
            [[_cell(result[name]) for name in _COLUMNS] for result in results],
            numbers=4,
        )
    if all(result["error"] for result in results):
        raise SystemExit(1)


_COLUMNS = ("model", "seconds", "input_tokens", "output_tokens", "cost")


def _ask(lunos: Lunos, model: str, messages: list[Any]) -> dict[str, Any]:
    result: dict[str, Any] = dict.fromkeys((*_COLUMNS, "text", "error"))
    result["model"] = model
    started = time.perf_counter()
    try:
        whole = lunos.chat.completions.create(model=model, messages=messages)
    except LunosError as error:
        return {**result, "error": output.one_line(error, lunos)}
    result["seconds"] = round(time.perf_counter() - started, 2)
    result["text"] = whole.text
    cost = output.cost_of(whole.usage, model, lunos)
    result["cost"] = None if cost is None else float(cost)
    if whole.usage is not None:
        result["input_tokens"] = whole.usage.input_tokens
        result["output_tokens"] = whole.usage.output_tokens
    return result


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.6f}" if 0 < _small(value) < 0.01 else str(value)


def _small(value: Any) -> float:
    return value if isinstance(value, float) else 0.0
