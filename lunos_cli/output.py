"""What the commands share: the client, errors in one line, and text that a terminal can't obey."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import click

from lunos_core import (
    Lunos,
    LunosAuthenticationError,
    LunosConfigError,
    LunosConnectionError,
    LunosError,
    LunosNotFoundError,
    LunosResponseError,
    Usage,
)
from lunos_core.accounting.pricing import price_of
from lunos_core.accounting.report import visible

Option = Callable[[Any], Any]
# what an answer may hold beside printable characters: joiners make one emoji of several
_HARMLESS = re.compile("([\n\t\u200c\u200d]+)")
_DEFAULT: dict[str, Any] = {
    "default": "openai/gpt-4o-mini",
    "envvar": "LUNOS_MODEL",
    "show_default": True,
}
JSON: Option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
MODEL: Option = click.option(
    "-m", "--model", help="The model; LUNOS_MODEL sets it too.", **_DEFAULT
)
APP_ID: Option = click.option("-a", "--app-id", help="The app that pays; LUNOS_APP_ID sets it too.")
SYSTEM: Option = click.option("-s", "--system", help="What the model is told first.")


def safe(text: str) -> str:
    """Return a server's text with its control characters spelled out, except line breaks."""
    parts = _HARMLESS.split(text)
    return "".join(part if i % 2 else visible(part) for i, part in enumerate(parts))


def note(text: str) -> None:
    """Print a line beside the result: to stderr, so that a pipe gets the result alone."""
    click.secho(safe(text), err=True, dim=True)


def print_json(value: Any) -> None:
    """Print a result for programs."""
    click.echo(json.dumps(value, indent=2))


def client(app_id: str | None = None, *, needs_key: bool = False) -> Lunos:
    """Return a client with the settings of the environment.

    Raises:
        ClickException: they can't work, or the key is needed and missing.
    """
    try:
        lunos = Lunos(app_id=app_id)
    except (LunosConfigError, ValueError) as error:
        raise click.ClickException(safe(str(error))) from None
    if needs_key and lunos.client.config.api_key is None:
        raise click.ClickException(
            "no key: set LUNOS_API_KEY, or start `lunos local` and set the variables that it prints"
        )
    return lunos


def one_line(error: BaseException, lunos: Lunos) -> str:
    """Return what is wrong, in one line, and what to look at."""
    text = safe(" ".join(str(error).split())) or type(error).__name__
    url = lunos.client.config.base_url
    if isinstance(error, LunosConnectionError):
        return f"nothing answers at {url} (LUNOS_BASE_URL): {text}"
    if isinstance(error, LunosAuthenticationError):
        return f"{url} refuses the key (LUNOS_API_KEY): {text}"
    is_about_a_model = "model" in f"{getattr(error, 'code', '')}"
    if isinstance(error, LunosResponseError) or (
        isinstance(error, LunosNotFoundError) and not is_about_a_model
    ):
        return f"is {url} (LUNOS_BASE_URL) a Lunos gateway? {text}"
    return text


def messages_of(system: str | None, content: Any = None) -> list[dict[str, Any]]:
    """Return the messages of a question."""
    messages = [{"role": "system", "content": system}] if system else []
    return [*messages, {"role": "user", "content": content}] if content else messages


def cost_of(usage: Usage | None, model: str, lunos: Lunos) -> Decimal | None:
    """Return an answer's cost in USD: the gateway's, else the catalog's."""
    if usage is None or usage.cost is not None:
        return None if usage is None else Decimal(str(usage.cost))
    try:
        info = lunos.models.get(model)
    except LunosError:
        return None
    return None if info is None else price_of(usage, info)


def usd(cost: Decimal | None) -> str:
    """Return a cost for people."""
    digits = 8 if cost is not None and 0 < cost < Decimal("0.000001") else 6
    return "cost unknown" if cost is None else f"{cost:.{digits}f} USD"


def account(usage: Usage | None, model: str, lunos: Lunos) -> str:
    """Return the line that tells what an answer took."""
    tokens = "" if usage is None else f"{usage.input_tokens} + {usage.output_tokens} tokens, "
    return f"{model}: {tokens}{usd(cost_of(usage, model, lunos))}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: int) -> None:
    """Print rows in aligned columns, a line each; the last `numbers` columns are numbers.

    On a terminal that is too narrow, columns between the first and the numbers are left out.
    """
    lines = [[visible(cell) for cell in row] for row in [heads, *rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    shown = list(range(len(heads)))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    first_number = len(heads) - numbers
    while width is not None and len(shown) > 2 and sum(widths[i] + 2 for i in shown) - 2 > width:
        shown.remove(([i for i in shown if 0 < i < first_number] or [shown[1]])[-1])
    for line in lines:
        cells = (f"{line[i]:{'>' if i >= first_number else '<'}{widths[i]}}" for i in shown)
        click.echo("  ".join(cells).rstrip())
