"""What the commands share: options, the client, errors in one line, and safe text."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from lunos_core import (
    Config,
    LunosAuthenticationError,
    LunosConfigError,
    LunosConnectionError,
    LunosError,
    LunosNotFoundError,
    LunosResponseError,
    Usage,
)
from lunos_core.accounting.report import aligned, visible
from lunos_core.lazy import is_installed

if TYPE_CHECKING:
    from lunos_core import Lunos

# what an answer may hold beside printable characters: joiners make one emoji of several
_HARMLESS = re.compile("([\n\t\u200c\u200d]+)")


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


JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
MODEL = click.option(
    *("-m", "--model"),
    default="openai/gpt-4o-mini",
    envvar="LUNOS_MODEL",
    show_default=True,
    help="The model; LUNOS_MODEL sets it too.",
)
_PAYS = "The app that pays; LUNOS_APP_ID sets it too."
APP_ID = click.option("-a", "--app-id", help=_PAYS)
CLIENT = click.option(
    *("-a", "--app-id", "lunos"),
    callback=lambda _context, _option, app_id: client(app_id, needs_key=True),
    help=_PAYS,
)
SYSTEM = click.option("-s", "--system", help="What the model is told first.")


def need(what: str, *modules: str, install: str) -> None:
    """Say what to install where a module is missing: before the work."""
    if not all(map(is_installed, modules)):
        raise click.ClickException(f"{what} needs {modules[0]}: pip install {install}")


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


def joined(text: str) -> str:
    """Return a text as one line that is safe to show."""
    return safe(" ".join(text.split()))


def one_line(error: BaseException) -> str:
    """Return what is wrong, in one line, and what to look at."""
    text = joined(str(error)) or type(error).__name__
    if not isinstance(error, LunosError) or isinstance(error, LunosConfigError):
        return text
    url = Config.from_env().base_url
    if isinstance(error, LunosConnectionError):
        return f"nothing answers at {url} (LUNOS_BASE_URL): {text}"
    if isinstance(error, LunosAuthenticationError):
        return f"{url} refuses the key (LUNOS_API_KEY): {text}"
    is_about_a_model = "model" in f"{getattr(error, 'code', '')}"
    if isinstance(error, LunosResponseError | LunosNotFoundError) and not is_about_a_model:
        return f"is {url} (LUNOS_BASE_URL) a Lunos gateway? {text}"
    return text


def messages_of(system: str | None, content: Any = None) -> list[dict[str, Any]]:
    """Return the messages of a question."""
    texts = {"system": system, "user": content}
    return [{"role": role, "content": text} for role, text in texts.items() if text]


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


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: int) -> None:
    """Print rows in aligned columns, a line each; the last `numbers` columns are numbers.

    On a terminal that is too narrow, columns between the first and the numbers are left out.
    """
    lines = [[visible(cell) for cell in row] for row in [heads, *rows]]
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    keys = len(heads) - numbers
    while max(map(len, aligned(lines, keys))) > width and len(lines[0]) > 2:
        keys = max(keys - 1, 1)
        for line in lines:
            del line[keys]
    click.echo("\n".join(aligned(lines, keys)))
