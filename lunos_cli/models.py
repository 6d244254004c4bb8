"""`lunos models`: the catalog, one line per model."""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from decimal import Decimal
from typing import Any

import click

from lunos_cli import output
from lunos_core import Lunos, LunosError, LunosNotFoundError, ModelInfo, models_request
from lunos_core.catalog.search import ModelFilter, completed, is_lean, matching

_PER = Decimal(1_000_000)


@click.command()
@click.argument("search", nargs=-1)
@click.option("--provider", help='Such as "openai".')
@click.option("--input", "input_", help='Modalities that it reads: "text,image".')
@click.option("--output", "output_", help="Modalities that it writes.")
@click.option("--capability", help='Such as "chat" or "embeddings".')
@click.option("--parameter", help='Request fields that it takes: "tools".')
@click.option("--reasoning/--no-reasoning", default=None, help="Whether it reasons first.")
@click.option("--max-input-price", type=float, help="USD per million tokens, at most.")
@click.option("--max-output-price", type=float, help="USD per million tokens, at most.")
@click.option("--min-context", type=int, help="Tokens of the context window, at least.")
@click.option("--faults", is_flag=True, help="With the local gateway's models that fail on demand.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, prices in USD per token.")
def models(
    search: tuple[str, ...],
    input_: str | None,
    output_: str | None,
    max_input_price: float | None,
    max_output_price: float | None,
    faults: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """List the models whose id or name has every word of SEARCH.

    With options, only those known to meet them all, cheapest first.
    """
    ceilings = {"max_input_price": max_input_price, "max_output_price": max_output_price}
    # as text: a float divided by a million isn't the price that was meant
    prices = {
        name: None if price is None else Decimal(str(price)) / _PER
        for name, price in ceilings.items()
    }
    asked = {**options, **prices, "input": input_, "output": output_}
    given = {name: value for name, value in asked.items() if value is not None}
    with output.client() as lunos:
        try:
            wanted = ModelFilter.of(**given)
            listed = all_models(lunos)
        except (LunosError, ValueError) as error:  # ValueError: a price that isn't a number
            raise click.ClickException(output.one_line(error, lunos)) from None
    shown = [
        model
        for model in (matching(listed, wanted) if given else listed)
        if _has(model, search) and (faults or "fault" not in (model.capabilities or ()))
    ]
    if as_json:
        click.echo(json.dumps([_plain(model) for model in shown], indent=2))
        return
    heads = ("model", "reads", "writes", "context", "in $/M", "out $/M")
    output.table(heads, [_row(model) for model in shown], numbers=3)
    says_little = given and not shown and all(is_lean(model) for model in listed)
    hint = " that are known to be all that: this catalog says little" if says_little else ""
    if says_little and lunos.client.config.api_key is None:
        hint += " without a key (LUNOS_API_KEY)"
    if sys.stdout.isatty() or hint:
        output.note(f"{len(shown)} models{hint}")


def all_models(lunos: Lunos) -> list[ModelInfo]:
    """Return the catalog with all details: where the public list has none, the key is needed."""
    listed = lunos.models.list()
    if lunos.client.config.api_key is None or not all(is_lean(model) for model in listed):
        return listed
    try:
        detailed: list[ModelInfo] = lunos.client.send(models_request(public=False))
        return completed(listed, detailed)
    except LunosNotFoundError:
        return listed  # a deployment of the reference alone has no /v1/models


def _has(model: ModelInfo, words: tuple[str, ...]) -> bool:
    text = f"{model.id} {model.name or ''}".lower()
    return all(word.lower() in text for word in words)


def _row(model: ModelInfo) -> list[str]:
    return [
        model.id if model.enabled is not False else f"{model.id} (disabled)",
        _words(model.input_modalities),
        _words(model.output_modalities),
        "-" if model.context_window is None else f"{model.context_window:,}",
        _per_million(model.input_price),
        _per_million(model.output_price),
    ]


def _plain(model: ModelInfo) -> dict[str, Any]:
    names = [item.name for item in fields(model) if item.name != "raw"]
    values = {name: getattr(model, name) for name in names}
    return {
        name: format(value, "f") if isinstance(value, Decimal) else value
        for name, value in values.items()
    }


def _per_million(price: Decimal | None) -> str:
    return "-" if price is None else f"{price * _PER:.2f}"


def _words(words: tuple[str, ...] | None) -> str:
    return "-" if words is None else ",".join(words)
