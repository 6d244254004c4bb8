"""`lunos check`: do key, base URL, catalog and a small call work?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from lunos_cli import output
from lunos_core import Lunos, LunosError


@click.command()
@click.option("-m", "--model", help="Ask this model; by default the cheapest that chats.")
def check(model: str | None) -> None:
    """Say in one line each whether key, base URL, catalog and a small call work."""
    lunos = output.client()
    config = lunos.client.config
    with lunos:
        done = _Checks(lunos)
        done.run("base URL", lambda: config.base_url)
        done.run("key", lambda: "is set" if config.key else "")
        listed = done.run("catalog", lunos.models.list, lambda models: f"{len(models)} models")
        if model is None and listed:
            chats = lunos.models.find(capability="chat")
            model = chats[0].id if chats else listed[0].id
        name = model
        if name is None:
            click.echo("skipped a call: no catalog to choose a model from; name one with --model")
        elif config.api_key is None:
            click.echo("skipped a call: it needs a key")
        else:
            asked = [{"role": "user", "content": "Say hello."}]
            done.run(
                f"call of {name}",
                lambda: lunos.chat.completions.create(model=name, messages=asked, max_tokens=16),
                lambda answer: f"answered, {output.account(answer.usage, name, lunos)[1]}",
            )
    raise SystemExit(1 if done.failed else 0)


class _Checks:
    def __init__(self, lunos: Lunos) -> None:
        self.failed = False
        self._lunos = lunos

    def run(
        self, what: str, work: Callable[[], Any], say: Callable[[Any], str] = str
    ) -> Any | None:
        try:
            result = work()
        except LunosError as error:
            self.failed = True
            click.echo(output.safe(f"FAILED  {what}: {output.one_line(error, self._lunos)}"))
            return None
        click.echo(output.safe(f"ok      {what}: {say(result)}"))
        return result
