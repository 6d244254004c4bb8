"""`lunos balance`: what is left on the account."""

from __future__ import annotations

import json

import click

from lunos_cli import output


@click.command()
@output.APP_ID
@output.JSON
def balance(app_id: str | None, as_json: bool) -> None:
    """Show what is left on the account.

    The amount is in USD, or in the account's credits: the server doesn't say which.
    """
    with output.client(app_id, needs_key=True) as lunos:
        left = lunos.balance()
    amount = f"{left.amount:f}"
    if as_json:
        updated_at = left.updated_at and left.updated_at.isoformat()
        shown = {"amount": amount, "email": left.email, "is_low": left.is_low}
        click.echo(json.dumps(shown | {"updated_at": updated_at}, indent=2))
        return
    account = f" left on {left.email}" if left.email else " left"
    click.echo(output.safe(amount + account + (" (low)" if left.is_low else "")))
