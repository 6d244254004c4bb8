"""`lunos models`: the catalog, one line per model."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import fields
from decimal import Decimal
from typing import Any

import click

from lunos_cli import output
from lunos_core import LunosNotFoundError, ModelInfo, models_request
from lunos_core.catalog.search import ModelFilter, completed, is_lean, matching

_PER = Decimal(1_000_000)
_USD = click.FloatRange(0)
_HEADS = ("model", "reads", "writes", "context", "in $/M", "out $/M")


def _price(_context: click.Context, _option: click.Parameter, value: float | None) -> Any:
    # as text: a float divided by a million isn't the price that was meant
    return None if value is None else Decimal(str(value)) / _PER


@click.command()
@click.argument("search", nargs=-1)
@click.option("--provider", help='Such as "openai".')
@click.option("--input", help='Modalities that it reads: "text,image".')
@click.option("--output", help="Modalities that it writes.")
@click.option("--capability", help='Such as "chat" or "embeddings".')
@click.option("--parameter", help='Request fields that it takes: "tools".')
@click.option("--reasoning/--no-reasoning", default=None, help="Whether it reasons first.")
@click.option("--max-input-price", type=_USD, callback=_price, help="USD per million tokens.")
@click.option("--max-output-price", type=_USD, callback=_price, help="USD per million tokens.")
@click.option("--min-context", type=click.IntRange(0), help="Smallest context window, in tokens.")
@click.option(
    "--faults", is_flag=True, help="Include the local gateway's models that fail on demand."
)
@output.JSON
def models(search: tuple[str, ...], faults: bool, as_json: bool, **options: Any) -> None:
    """List the models. SEARCH is words of their ids or names.

    With options, only those known to meet them all, cheapest first. JSON has prices per token.
    """
    given = {name: value for name, value in options.items() if value is not None}
    wanted = ModelFilter.of(**given)
    lunos = output.client()
    has_key = lunos.client.config.api_key is not None
    listed = lunos.models.list()
    if has_key and all(map(is_lean, listed)):
        with contextlib.suppress(LunosNotFoundError):  # the reference alone has no /v1/models
            detailed: list[ModelInfo] = lunos.client.send(models_request(public=False))
            listed = completed(listed, detailed)
    shown = [
        model
        for model in (matching(listed, wanted) if given else listed)
        if all(word.lower() in f"{model.id} {model.name}".lower() for word in search)
        and (faults or "fault" not in (model.capabilities or ()))
    ]
    if as_json:
        names = [item.name for item in fields(ModelInfo) if item.name != "raw"]
        output.print_json([{name: getattr(model, name) for name in names} for model in shown])
        return
    output.print_table([_HEADS, *map(_row, shown)], keys=3)
    said = output.counted(len(shown), "model")
    if given and not shown and all(map(is_lean, listed)):
        said = "No model is known to match: this catalog gives few details"
        said += "" if has_key else " without a key (LUNOS_API_KEY)"
    if sys.stdout.isatty() or not shown:
        output.note(said)


def _row(model: ModelInfo) -> list[str]:
    context, prices = model.context_window, (model.input_price, model.output_price)
    return [
        model.id if model.enabled is not False else f"{model.id} (disabled)",
        ",".join(model.input_modalities or "-"),
        ",".join(model.output_modalities or "-"),
        "-" if context is None else f"{context:,}",
        *("-" if price is None else f"{price * _PER:.2f}" for price in prices),
    ]
