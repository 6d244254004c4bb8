"""The group `lunos`: one file per command, and how errors end all of them."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from typing import Any

import click

from lunos_core import LunosError, __version__
from lunos_core.compatibility.advice import one_line

# the names alone: a command is imported when it is used
COMMANDS: dict[str, Any] = dict.fromkeys(
    (
        *("ask", "balance", "bulk", "chat", "check", "compare"),
        *("dashboard", "demo", "embed", "local", "models", "usage"),
    )
)


def _flush() -> None:
    """Write what is left, so that a full disk is our error, and not Python's as it ends."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno != errno.EPIPE:  # a closed pipe needs no message
            raise


class _Group(click.Group):
    """Shows an error as one line, with the exit code 1 or 2, or 130 for an interruption."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"lunos_cli.{cmd_name}"), cmd_name)
        return command

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run the command line, and end the process with its exit code."""
        code = 1
        try:
            try:
                result = super().main(*arguments, **{**options, "standalone_mode": False})
            finally:
                _flush()
            sys.exit(result)
        except (click.Abort, KeyboardInterrupt):
            code, said = 130, "Interrupted."
        except click.ClickException as error:
            if type(error).__name__ == "NoArgsIsHelpError":  # since click 8.2
                error.show()
                sys.exit(error.exit_code)
            code, said = error.exit_code, f"Error: {one_line(ValueError(error.format_message()))}"
            if isinstance(error, click.UsageError):
                said += f" (see {error.ctx.command_path if error.ctx else 'lunos'} -h)"
        except (LunosError, ValueError, TypeError, ImportError, OSError) as error:
            said = f"Error: {one_line(error)}"
        click.echo(said, err=True)
        sys.exit(code)


@click.group(
    cls=_Group,
    commands=COMMANDS,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "show_default": True,
        "color": False if os.environ.get("NO_COLOR") else None,
    },
    epilog='Completion in bash: eval "$(_LUNOS_COMPLETE=bash_source lunos)" (zsh, fish alike)',
)
@click.version_option(__version__, prog_name="lunos")
def lunos() -> None:
    """Many AI models behind one HTTP API, from the command line.

    LUNOS_API_KEY, LUNOS_BASE_URL, LUNOS_APP_ID and LUNOS_MODEL are read. Without a key, start
    `lunos local` in another terminal, or try `lunos demo`.
    """
