"""`lunos check`: do key, base URL, catalog and a small call work?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from lunos_cli import output
from lunos_core import LunosError


@click.command()
@click.option("-m", "--model", help="Ask this model; by default the cheapest that chats.")
def check(model: str | None) -> None:
    """Say in one line each whether key, base URL, catalog and a small call work."""
    failed = False

    def run(what: str, work: Callable[[], Any], say: Callable[[Any], str] = str) -> Any:
        nonlocal failed
        try:
            result = work()
        except LunosError as error:
            failed = True
            click.echo(output.safe(f"FAILED  {what}: {output.one_line(error, lunos)}"))
            return None
        click.echo(output.safe(f"ok      {what}: {say(result)}"))
        return result

    with output.client() as lunos:
        config = lunos.client.config
        run("base URL", lambda: config.base_url)
        run("key", lambda: "is set" if config.key else "")
        listed = run("catalog", lunos.models.list, lambda models: f"{len(models)} models")
        if model is None and listed:
            model = (lunos.models.find(capability="chat") or listed)[0].id
        if model is None:
            click.echo("skipped a call: no catalog to choose a model from; name one with --model")
        elif config.api_key is None:
            click.echo("skipped a call: it needs a key")
        else:
            name, asked = model, output.messages_of(None, "Say hello.")
            run(
                f"call of {name}",
                lambda: lunos.chat.completions.create(model=name, messages=asked, max_tokens=16),
                lambda answer: f"answered, {output.account(answer.usage, name, lunos)}",
            )
    raise SystemExit(1 if failed else 0)
