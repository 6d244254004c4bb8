"""What the commands share: options, the client, tables, and text that is safe to show."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lunos_core.accounting.report import JOINERS, aligned, visible
from lunos_core.compatibility.advice import one_line
from lunos_core.errors import LunosError
from lunos_core.lazy import is_installed
from lunos_core.wire.json import loads

if TYPE_CHECKING:
    from lunos_core import Lunos, Usage


def client(app_id: str | None = None, *, needs_key: bool = False) -> Lunos:
    """Return a client with the settings of the environment, closed when the command ends.

    Raises:
        ClickException: the key is needed and missing.
    """
    from lunos_core import Lunos  # and httpx: completion and help do without

    lunos = click.get_current_context().with_resource(Lunos(app_id=app_id))
    if needs_key and lunos.client.config.api_key is None:
        raise click.ClickException(
            "no key: set LUNOS_API_KEY, or start `lunos local` and set the variables that it prints"
        )
    return lunos


class _Text(click.types.StringParamType):
    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Refuse bytes that aren't text, which Python reads as halves of surrogate pairs."""
        text = super().convert(value, param, ctx)
        try:
            text.encode()
        except UnicodeEncodeError:
            self.fail("it isn't text in UTF-8", param, ctx)
        return text


TEXT = _Text()
_PAYS = "The app that pays; LUNOS_APP_ID sets it too."
APP_ID = click.option("-a", "--app-id", help=_PAYS)
CLIENT = click.option(
    *("-a", "--app-id", "lunos"),
    callback=lambda _context, _option, app_id: client(app_id, needs_key=True),
    help=_PAYS,
)
USAGE_FILE = click.argument(
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="LUNOS_USAGE_DB",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
_MODEL: Any = {"default": "openai/gpt-4o-mini", "envvar": "LUNOS_MODEL"}
MODEL = click.option("-m", "--model", help="The model; LUNOS_MODEL sets it too.", **_MODEL)
SYSTEM = click.option(
    *("-s", "--system", "messages"),
    type=TEXT,
    callback=lambda _context, _option, text: [{"role": "system", "content": text}] if text else [],
    help="What the model is told first.",
)


def _schema(context: click.Context, option: click.Parameter, value: str | None) -> Any:
    """Return a JSON schema as a `dict`, or a pydantic model."""
    if value is None:
        return None
    module, colon, name = value.partition(":")
    is_json = value.lstrip().startswith("{")
    is_model = module and colon and not is_json and not os.path.exists(value)
    wrong = f"{value[:60]} is neither a JSON object nor a pydantic model"
    try:
        if is_model:
            sys.path.insert(0, "")  # the user's folder, as `python -m` has it
            schema = getattr(importlib.import_module(module), name, None)
        elif is_json:
            schema = loads(value)
        else:
            with open(value, "rb") as file:
                schema = loads(file.read())
        if isinstance(schema, dict) or hasattr(schema, "model_json_schema"):
            return schema
    except Exception as error:  # a module isn't ours
        if is_model:
            wrong = f"{module} can't be imported: {error}"
        elif isinstance(error, OSError):
            wrong = one_line(error)
        else:
            wrong = f"{value[:60]} isn't valid JSON: {error}"
    raise click.BadParameter(wrong, context, option)


SCHEMA = click.option(
    "--schema",
    callback=_schema,
    help="The answer's schema: JSON, its file, or a pydantic model (package:Model).",
)


def need(what: str, *modules: str, install: str) -> None:
    """Say what to install where a module is missing: before the work."""
    if not all(map(is_installed, modules)):
        raise click.ClickException(f"{what} needs {modules[0]}: pip install {install}")


def safe(text: str) -> str:
    """Return a server's text with its control characters spelled out, except line breaks."""
    return visible(text, keep=f"\n\t{JOINERS}")


def note(text: str) -> None:
    """Print a line beside the result: to stderr, so that a pipe gets the result alone."""
    click.secho(safe(text), err=True, dim=True)


def counted(number: int, what: str) -> str:
    """Return a number with its noun: "1 model", "2 models"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def print_json(value: Any) -> None:
    """Print a result for programs; amounts of money are strings."""
    click.echo(json.dumps(value, indent=2, default="{:f}".format))


def print_table(lines: Sequence[Sequence[str]], keys: int = 1) -> None:
    """Print lines of cells; on a terminal that is too narrow, the middle columns are left out."""
    click.echo(aligned([[*map(visible, line)] for line in lines], keys, width()))


def width() -> int:
    """Return the width of the terminal; a pipe has no bounds."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize


def cost_of(usage: Usage | None, model: str, lunos: Lunos) -> Decimal | None:
    """Return an answer's cost in USD: the gateway's, else the catalog's."""
    if usage is not None and usage.cost is not None:
        return Decimal(str(usage.cost))
    with contextlib.suppress(LunosError):
        return lunos.models.cost(usage, model)
    return None


def usd(cost: Decimal | None) -> str:
    """Return a cost for people."""
    digits = 8 if cost is not None and 0 < cost < Decimal("0.000001") else 6
    return "cost unknown" if cost is None else f"{cost:.{digits}f} USD"


def account(usage: Usage | None, model: str, lunos: Lunos) -> str:
    """Return the line that tells what an answer took."""
    tokens = "" if usage is None else f"{usage.input_tokens} + {usage.output_tokens} tokens, "
    return f"{model}: {tokens}{usd(cost_of(usage, model, lunos))}"
