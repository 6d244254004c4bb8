"""`lunos balance`: what is left on the account."""

from __future__ import annotations

import click

from lunos_cli import output
from lunos_core import Lunos


@click.command()
@output.CLIENT
@output.JSON
def balance(lunos: Lunos, as_json: bool) -> None:
    """Show what is left on the account.

    The amount is in USD, or in the account's credits: the server doesn't say which.
    """
    left = lunos.balance()
    if as_json:
        updated_at = left.updated_at and left.updated_at.isoformat()
        shown = {"amount": left.amount, "email": left.email, "is_low": left.is_low}
        output.print_json(shown | {"updated_at": updated_at})
        return
    account = f" on {left.email}" if left.email else ""
    click.echo(output.safe(f"{left.amount:f} left{account}{' (low)' if left.is_low else ''}"))
