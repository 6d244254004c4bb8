"""`lunos dashboard`: what the apps cost, in the browser."""

from __future__ import annotations

from pathlib import Path

import click

from lunos_cli import output
from lunos_core import UsageStore
from lunos_core.accounting.questions import is_store


@click.command()
@output.USAGE_FILE
@click.option("--port", type=click.IntRange(0, 65535), default=8485)
def dashboard(file: Path, port: int) -> None:
    """Show what the apps cost, in the browser.

    FILE is a usage store (LUNOS_USAGE_DB). The page is for this machine alone; /metrics is for
    Prometheus. Port 0 takes a free one.
    """
    output.need("the dashboard", "starlette", "uvicorn", install='"lunos-integrations[dashboard]"')
    if not is_store(file):
        raise click.ClickException(f"{file} isn't a usage store: LUNOS_USAGE_DB makes one")
    from lunos_local.dashboard import serve_dashboard

    with UsageStore(file) as store:
        try:
            serve_dashboard(store, port)
        except OSError as error:
            text = f"port {port}: {error.strerror}; --port 0 takes a free one"
            raise click.ClickException(text) from None
