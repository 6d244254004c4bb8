"""`lunos chat`: a conversation in the terminal."""

from __future__ import annotations

import contextlib
import sys
from decimal import Decimal
from typing import Any

import click

from lunos_cli import output
from lunos_cli.ask import answer
from lunos_core import Lunos, LunosError
from lunos_core.compatibility.advice import one_line

with contextlib.suppress(ImportError):  # not on Windows
    import readline  # noqa: F401  # `input` edits lines and has a history by it


@click.command()
@output.MODEL
@output.CLIENT
@output.SYSTEM
def chat(model: str, lunos: Lunos, messages: list[Any]) -> None:
    """Talk with a model. /new starts again, Ctrl-C stops an answer, /quit or Ctrl-D ends."""
    system, total = messages, Decimal(0)
    try:
        while (said := input("> ").strip()) != "/quit":
            if said == "/new":
                messages = system
            elif said:
                try:
                    asked = [*messages, {"role": "user", "content": output.TEXT(said)}]
                    whole = answer(lunos, model, asked)
                except click.BadParameter as error:
                    if not sys.stdin.isatty():
                        raise
                    output.note(error.format_message())
                    continue
                except (LunosError, KeyboardInterrupt) as error:
                    output.note(one_line(error) if isinstance(error, LunosError) else "stopped")
                    continue
                messages = [*asked, {"role": "assistant", "content": whole.text}]
                total += output.cost_of(whole.usage, model, lunos) or 0
    except (EOFError, KeyboardInterrupt) as end:
        click.echo()
        if isinstance(end, KeyboardInterrupt):
            raise
    finally:
        output.note(f"total: {output.usd(total)}")
