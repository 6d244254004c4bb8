"""The commands: thin layers over the catalog, the ledger's files and the local gateway."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lunos_core import (
    Lunos,
    LunosAuthenticationError,
    LunosConfigError,
    LunosConnectionError,
    LunosError,
    LunosNotFoundError,
    LunosResponseError,
    ModelInfo,
    __version__,
    models_request,
)
from lunos_core.accounting.report import plot, read_file, to_table
from lunos_core.catalog.search import ModelFilter, completed, is_lean, matching

_PER = Decimal(1_000_000)


@click.group()
@click.version_option(__version__, prog_name="lunos")
def lunos() -> None:
    """One HTTP API in front of many AI models, from the command line.

    LUNOS_API_KEY, LUNOS_BASE_URL and LUNOS_APP_ID are read.
    """


@lunos.command()
@click.option("--provider", help='Such as "openai".')
@click.option("--input", "input_", help='Modalities that it reads: "text,image".')
@click.option("--output", help="Modalities that it writes.")
@click.option("--capability", help='Such as "chat" or "embeddings".')
@click.option("--parameter", help='Request fields that it takes: "tools".')
@click.option("--reasoning/--no-reasoning", default=None, help="Whether it thinks first.")
@click.option("--max-input-price", type=float, help="USD for a million tokens, at most.")
@click.option("--max-output-price", type=float, help="USD for a million tokens, at most.")
@click.option("--min-context", type=int, help="Tokens of the window, at least.")
@click.option("--json", "as_json", is_flag=True, help="For programs: prices in USD for one token.")
def models(
    input_: str | None,
    max_input_price: float | None,
    max_output_price: float | None,
    as_json: bool,
    **wishes: Any,
) -> None:
    """List the models, or find those that meet all options, cheapest first."""
    ceilings = {"max_input_price": max_input_price, "max_output_price": max_output_price}
    # as text: a float divided by a million is not the price that was meant
    prices = {
        name: None if price is None else Decimal(str(price)) / _PER
        for name, price in ceilings.items()
    }
    asked = {**wishes, **prices, "input": input_}
    given = {name: value for name, value in asked.items() if value is not None}

    client = _client()
    with client:
        try:
            asked_for = ModelFilter.of(**given)
            listed = _all_models(client)
        except (LunosError, ValueError) as error:  # ValueError: a price that is no number
            raise click.ClickException(_line(error, client)) from None
    found = matching(listed, asked_for) if given else listed
    if as_json:
        click.echo(json.dumps([_plain(model) for model in found], indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("model", "reads", "writes"):
        table.add_column(head, overflow="fold")
    for head in ("context", "in $/M", "out $/M"):
        table.add_column(head, justify="right", no_wrap=True)
    for model in found:
        table.add_row(
            Text(model.id, style="dim" if model.enabled is False else ""),
            _words(model.input_modalities),
            _words(model.output_modalities),
            "-" if model.context_window is None else f"{model.context_window:,}",
            _per_million(model.input_price),
            _per_million(model.output_price),
        )
    Console().print(table)
    says_little = given and not found and all(is_lean(model) for model in listed)
    hint = " that are known to be all that: this catalog says little" if says_little else ""
    if says_little and client.client.config.api_key is None:
        hint += " without a key (LUNOS_API_KEY)"
    Console(stderr=True).print(f"{len(found)} models{hint}", style="dim")


@lunos.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def local(arguments: Sequence[str]) -> None:
    """Start the gateway on this machine: no key, no network. `lunos local --help` says more."""
    try:
        from lunos_local.__main__ import main
    except ImportError as error:
        raise click.ClickException(str(error)) from None
    raise SystemExit(main(list(arguments)))


@lunos.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--plot", "picture", type=click.Path(path_type=Path), help="Draw into this file.")
def usage(file: Path, picture: Path | None) -> None:
    """Show what a UsageLedger wrote: FILE is from write_json or write_csv."""
    try:
        rows, history = read_file(file)
        click.echo(to_table(rows))
        if picture is not None:
            if not history:
                raise ValueError(f"{file} holds no times to draw: write_json keeps them")
            plot(history, picture)
            click.echo(f"drawn: {picture}")
    except (OSError, ValueError, ImportError) as error:
        raise click.ClickException(str(error)) from None


@lunos.command()
@click.option("--model", help="Ask this one; without it, the cheapest that chats.")
def check(model: str | None) -> None:
    """Say in one line each whether key, base URL, catalog and a small call work."""
    client = _client()
    config = client.client.config
    with client:
        done = _Checks(client)
        done.run("base URL", lambda: config.base_url)
        done.run("key", lambda: "is set" if config.key else "")
        found = done.run("catalog", client.models.list, lambda models: f"{len(models)} models")
        if model is None and found:
            chats = client.models.find(capability="chat")
            model = chats[0].id if chats else found[0].id
        name = model
        if name is None:
            click.echo("skipped a call: no catalog to choose a model from; name one with --model")
        elif config.api_key is None:
            click.echo("skipped a call: it needs a key")
        else:
            asked = [{"role": "user", "content": "Say hello."}]
            done.run(
                f"call of {name}",
                lambda: client.chat.completions.create(model=name, messages=asked, max_tokens=16),
                lambda answer: "answered" + _cost(answer.usage),
            )
    raise SystemExit(1 if done.failed else 0)


class _Checks:
    def __init__(self, client: Lunos) -> None:
        self.failed = False
        self._client = client

    def run(
        self, what: str, work: Callable[[], Any], say: Callable[[Any], str] = str
    ) -> Any | None:
        try:
            result = work()
        except LunosError as error:
            self.failed = True
            click.echo(f"FAILED  {what}: {_line(error, self._client)}")
            return None
        click.echo(f"ok      {what}: {say(result)}")
        return result


def _client() -> Lunos:
    try:
        return Lunos()
    except LunosConfigError as error:
        raise click.ClickException(error.message) from None


def _all_models(client: Lunos) -> list[ModelInfo]:
    """The catalog with all its details: where the public list has none, the key is needed."""
    listed = client.models.list()
    if client.client.config.api_key is None or not all(is_lean(model) for model in listed):
        return listed
    try:
        detailed = client.client.send(models_request(public=False))
    except LunosNotFoundError:
        return listed  # a deployment of the reference alone has no /v1/models
    return completed(listed, detailed)


def _line(error: Exception, client: Lunos) -> str:
    """What is wrong, in one line, and what to look at."""
    text = " ".join(str(error).split())
    url = client.client.config.base_url
    if isinstance(error, LunosConnectionError):
        return f"nothing answers at {url} (LUNOS_BASE_URL): {text}"
    if isinstance(error, LunosAuthenticationError):
        return f"{url} refuses the key (LUNOS_API_KEY): {text}"
    is_of_a_model = "model" in f"{getattr(error, 'code', '')}"
    if isinstance(error, LunosResponseError) or (
        isinstance(error, LunosNotFoundError) and not is_of_a_model
    ):
        return f"is {url} (LUNOS_BASE_URL) a Lunos gateway? {text}"
    return text


def _cost(usage: Any) -> str:
    if usage is None or usage.cost is None:
        return ", cost unknown"
    return f", {usage.cost:.6f} USD ({usage.cost_source})"


def _plain(model: ModelInfo) -> dict[str, Any]:
    names = [one.name for one in fields(model) if one.name != "raw"]
    values = {name: getattr(model, name) for name in names}
    return {
        name: format(value, "f") if isinstance(value, Decimal) else value
        for name, value in values.items()
    }


def _per_million(price: Decimal | None) -> str:
    return "-" if price is None else f"{price * _PER:.2f}"


def _words(words: tuple[str, ...] | None) -> str:
    return "-" if words is None else ", ".join(words)
