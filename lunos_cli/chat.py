"""`lunos chat`: a conversation in the terminal."""

from __future__ import annotations

from decimal import Decimal

import click

from lunos_cli import output
from lunos_cli.ask import answer
from lunos_core import LunosError


@click.command()
@output.MODEL
@output.APP_ID
@output.SYSTEM
def chat(model: str, app_id: str | None, system: str | None) -> None:
    """Talk with a model. /new starts again, /quit or Ctrl-D ends."""
    messages = output.messages_of(system)
    total = Decimal(0)
    with output.client(app_id, needs_key=True) as lunos:
        while True:
            try:
                said = input("> ").strip()
            except EOFError:
                said = "/quit"
            if said == "/quit":
                break
            if said == "/new":
                messages = output.messages_of(system)
            elif said:
                asked = [*messages, {"role": "user", "content": said}]
                try:
                    whole = answer(lunos, model, asked)
                except LunosError as error:
                    output.note(output.one_line(error, lunos))
                    continue
                messages = [*asked, {"role": "assistant", "content": whole.text}]
                total += output.cost_of(whole.usage, model, lunos) or 0
    output.note(f"together {output.usd(total)}")
