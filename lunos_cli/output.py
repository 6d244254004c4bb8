"""What the commands share: the client, errors in one line, and text that a terminal can't obey."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
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
DEFAULT_MODEL = "openai/gpt-4o-mini"
# what an answer may hold beside printable characters: joiners make one emoji of several
_HARMLESS = re.compile("([\n\t\u200c\u200d]+)")
JSON: Option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
MODEL: Option = click.option(
    "-m", "--model", default=DEFAULT_MODEL, envvar="LUNOS_MODEL", show_default=True,
    help="The model's id; LUNOS_MODEL sets another default.",
)  # fmt: skip
APP_ID: Option = click.option(
    "-a", "--app-id", help="The app that pays; LUNOS_APP_ID sets a default."
)


def safe(text: str) -> str:
    """Return a server's text with its control characters spelled out, except line breaks."""
    parts = _HARMLESS.split(text)
    return "".join(part if i % 2 else visible(part) for i, part in enumerate(parts))


def write(text: str) -> None:
    """Print a piece of a server's text at once, without a line break."""
    click.echo(safe(text), nl=False)


def note(text: str) -> None:
    """Print a line beside the result: to stderr, so that a pipe gets the result alone."""
    click.secho(safe(text), err=True, dim=True)


def client(app_id: str | None = None) -> Lunos:
    """Return a client with the settings of the environment."""
    try:
        return Lunos(app_id=app_id)
    except (LunosConfigError, ValueError) as error:
        raise click.ClickException(one_line(error)) from None


def one_line(error: BaseException, lunos: Lunos | None = None) -> str:
    """Return what is wrong, in one line, and what to look at."""
    text = safe(" ".join(str(error).split())) or type(error).__name__
    if lunos is None:
        return text
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
    if cost is None:
        return "cost unknown"
    return f"{cost:.{8 if 0 < cost < Decimal('0.000001') else 6}f} USD"


def account(usage: Usage | None, model: str, lunos: Lunos) -> tuple[Decimal | None, str]:
    """Return an answer's cost and the line that tells it."""
    cost = cost_of(usage, model, lunos)
    tokens = "" if usage is None else f"{usage.input_tokens} + {usage.output_tokens} tokens, "
    return cost, f"{model}: {tokens}{usd(cost)}"


def plain(usage: Usage | None) -> dict[str, Any] | None:
    """Return a usage for JSON."""
    if usage is None:
        return None
    values = {name: value for name, value in asdict(usage).items() if name != "raw"}
    return {name: float(v) if isinstance(v, Decimal) else v for name, v in values.items()}


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: int) -> None:
    """Print rows in aligned columns, a line each; the last `numbers` columns are numbers.

    On a terminal that is too narrow, columns between the first and the numbers are left out.
    """
    lines = [[visible(cell) for cell in row] for row in [heads, *rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    shown = list(range(len(heads)))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    while width is not None and len(shown) > 2 and sum(widths[i] + 2 for i in shown) - 2 > width:
        middle = [i for i in shown if 0 < i < len(heads) - numbers]
        shown.remove(middle[-1] if middle else shown[1])
    for line in lines:
        cells = [
            line[i].rjust(widths[i]) if i >= len(heads) - numbers else line[i].ljust(widths[i])
            for i in shown
        ]
        click.echo("  ".join(cells).rstrip())
