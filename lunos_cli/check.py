"""`lunos check`: do key, base URL, catalog and a small call work?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from lunos_cli import output
from lunos_core import Config, LunosError
from lunos_core.compatibility.advice import one_line
from lunos_core.compatibility.report import check_deployment, report_text


@click.command()
@click.option("-m", "--model", help="Ask this model; by default the cheapest that chats.")
@click.option("--deep", is_flag=True, help="Try each route, and report on the deployment.")
@click.option("--yes", is_flag=True, help="With --deep: don't ask before requests that cost money.")
@output.JSON
def check(model: str | None, deep: bool, yes: bool, as_json: bool) -> None:
    """Check the key, the base URL, the catalog and a small call.

    With --deep, try each route cheaply, and print a report that can be sent to others: it holds
    neither the key nor what a model said. The exit code is 0 if chat, embeddings and catalog work.
    """
    if deep:
        config = Config.from_env()
        report = check_deployment(config, lambda names: yes or _agree(names), model=model)
        output.print_json(report) if as_json else click.echo(output.safe(report_text(report)))
        raise SystemExit(0 if report["is_useful"] else 1)
    if as_json or yes:
        raise click.UsageError("--json and --yes go with --deep")
    failed = False

    def run(what: str, work: Callable[[], Any], say: Callable[[Any], str] = str) -> Any:
        nonlocal failed
        try:
            result = work()
        except LunosError as error:
            failed = True
            click.echo(output.safe(f"FAILED  {what}: {one_line(error)}"))
            return None
        click.echo(output.safe(f"ok      {what}: {say(result)}"))
        return result

    lunos = output.client()
    config = lunos.client.config
    run("base URL", lambda: config.base_url)
    run("key", lambda: "is set" if config.key else "")
    listed = run("catalog", lunos.models.list, lambda models: output.counted(len(models), "model"))
    if model is None and listed:
        model = (lunos.models.find(capability="chat") or listed)[0].id
    if model is None:
        click.echo("skipped the call: no catalog to choose a model from; name one with --model")
    elif config.api_key is None:
        click.echo("skipped the call: it needs a key")
    else:
        asked: Any = {"model": model, "messages": [{"role": "user", "content": "Say hello."}]}
        run(
            f"call of {model}",
            lambda: lunos.chat.completions.create(**asked, max_tokens=16),
            lambda answer: f"answered, {output.account(answer.usage, asked['model'], lunos)}",
        )
    raise SystemExit(1 if failed else 0)


def _agree(models: Sequence[str]) -> bool:
    asked = output.safe(", ".join(dict.fromkeys(models)))
    text = f"{len(models)} small requests cost money, most of it for images. They go to: {asked}."
    click.echo(text, err=True)
    try:
        return click.confirm("Send them?", err=True)
    except click.Abort as end:
        click.echo("", err=True)
        if isinstance(end.__context__, KeyboardInterrupt):
            raise  # else nobody answers
        return False
