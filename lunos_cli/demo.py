"""`lunos demo`: questions about a text, answered without an account, and what each app cost."""

from __future__ import annotations

import click

from lunos_cli import output
from lunos_core import UsageLedger
from lunos_core.accounting.report import app_table
from lunos_core.lazy import is_installed


@click.command()
@click.argument("question", required=False, type=output.TEXT)
@click.option("--wide", is_flag=True, help="All columns of the table.")
def demo(question: str | None, wide: bool) -> None:
    """Answer questions without a key, with every framework.

    The core, LangChain and LlamaIndex answer from four passages, through a gateway in this process.
    """
    from lunos_local import LocalGateway
    from lunos_local.demo import EMBEDDING, FRAMEWORKS, MODEL, QUESTIONS, answers

    for extra, module in FRAMEWORKS.items():
        if not is_installed(module):
            output.note(f'to see {extra}, too: pip install "lunos-integrations[{extra}]"')
    asked = (question or "").strip()
    with LocalGateway() as gateway, UsageLedger() as ledger:
        click.echo(f"The local gateway answers {MODEL} and {EMBEDDING} at {gateway.base_url}\n")
        service = {"api_key": gateway.api_key, "base_url": gateway.base_url}
        for name, text, answer in answers(service, [asked] if asked else QUESTIONS):
            click.echo(f"[{name}] {text}\n  {answer}\n")
        click.echo(ledger.table() if wide else app_table(ledger.rows(), output.width()))
