"""`lunos chat`: a conversation in the terminal."""

from __future__ import annotations

import contextlib
from decimal import Decimal

import click

from lunos_cli import output
from lunos_cli.ask import answer
from lunos_core import Lunos, LunosError

with contextlib.suppress(ImportError):  # not on Windows
    import readline  # noqa: F401  # `input` edits lines and has a history by it


@click.command()
@output.MODEL
@output.CLIENT
@output.SYSTEM
def chat(model: str, lunos: Lunos, system: str | None) -> None:
    """Talk with a model. /new starts again, /quit or Ctrl-D ends."""
    messages = output.messages_of(system)
    total = Decimal(0)
    try:
        while (said := input("> ").strip()) != "/quit":
            if said == "/new":
                messages = output.messages_of(system)
            elif said:
                asked = [*messages, {"role": "user", "content": said}]
                try:
                    whole = answer(lunos, model, asked)
                except LunosError as error:
                    output.note(output.one_line(error))
                    continue
                messages = [*asked, {"role": "assistant", "content": whole.text}]
                total += output.cost_of(whole.usage, model, lunos) or 0
    except EOFError:
        click.echo()
    finally:
        output.note(f"together {output.usd(total)}")
