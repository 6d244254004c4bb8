"""The group `lunos`: one file per command, and what they do in common with an error."""

from __future__ import annotations

import errno
import os
from typing import Any

import click

from lunos_cli import (
    ask,
    balance,
    bulk,
    chat,
    check,
    compare,
    dashboard,
    demo,
    embed,
    local,
    models,
    output,
    usage,
)
from lunos_core import LunosConfigError, LunosError, __version__


class _WrongUsage(click.ClickException):
    exit_code = click.UsageError.exit_code


def _one_line(error: click.UsageError) -> _WrongUsage:
    path = error.ctx.command_path if error.ctx else "lunos"
    return _WrongUsage(f"{' '.join(error.format_message().split())} (see {path} -h)")


class _Group(click.Group):
    """Ends every error in one line and the exit code 1 or 2, an interruption in 130."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options before the command."""
        shows_help = not args  # click takes them out of the list
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if shows_help:
                raise
            raise _one_line(error) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        ctx.color = False if os.environ.get("NO_COLOR") else None
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise _one_line(error) from None
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(130)
        except (LunosError, ValueError, TypeError, ImportError, OSError) as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # `| head`: click ends quietly
            if isinstance(error, LunosConfigError):
                raise click.ClickException(output.safe(str(error))) from None
            with output.client() as lunos:
                raise click.ClickException(output.one_line(error, lunos)) from None


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog='Completion in bash: eval "$(_LUNOS_COMPLETE=bash_source lunos)" (zsh, fish alike)',
)
@click.version_option(__version__, prog_name="lunos")
def lunos() -> None:
    """Many AI models behind one HTTP API, from the command line.

    LUNOS_API_KEY, LUNOS_BASE_URL, LUNOS_APP_ID and LUNOS_MODEL are read. Without a key, start
    `lunos local` in another terminal, or try `lunos demo`.
    """


for module in (
    ask,
    chat,
    compare,
    embed,
    bulk,
    models,
    check,
    balance,
    local,
    usage,
    dashboard,
    demo,
):
    lunos.add_command(getattr(module, module.__name__.rpartition(".")[2]))
