"""`lunos check --deep`: which routes does a deployment have, and how do they answer?"""

from __future__ import annotations

import platform
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import click

from lunos_cli import output
from lunos_cli.probes import NEEDED, PROBES, Probe, choose_models
from lunos_core import (
    CallRecord,
    Client,
    Config,
    LunosError,
    LunosNotFoundError,
    ModelInfo,
    Request,
    __version__,
)
from lunos_core.request import Reply
from lunos_core.wire import json
from lunos_core.wire.scrub import scrub_value

_ABSENT = "no such route"
_MOST_NAMES = 30
_WIDTH = 80


class Result(NamedTuple):
    """What came of one probe; `result` is "works", "missing", "fails" or "skipped"."""

    route: str
    method: str
    path: str
    feature: str
    result: str
    model: str | None = None
    facts: Sequence[str] = ()
    shape: Any = None
    seconds: float | None = None
    cost: float | None = None
    error: dict[str, Any] | None = None


def deep_check(config: Config, *, model: str | None, as_json: bool, yes: bool) -> bool:
    """Try each route, print the report, and return whether chat, embeddings and catalog work."""
    records: list[CallRecord] = []
    with Client(replace(config, max_retries=1), observers=[records.append]) as client:
        free = [probe for probe in PROBES if probe.kind is None]
        models: list[ModelInfo] = []
        results = {probe: _run(client, probe, None, records, models) for probe in free}
        chosen = choose_models(models, model)
        agreed = config.api_key is not None and (yes or _agree([*chosen.values()]))
        for probe in PROBES:
            if probe.kind is not None:
                results[probe] = (
                    _run(client, probe, chosen[probe.kind], records, models)
                    if agreed
                    else Result(probe.route, *probe[:3], "skipped", chosen[probe.kind])
                )
    listed = [results[probe] for probe in PROBES]
    working = {item.path for item in listed if item.result == "works" and not item.feature}
    is_useful = all(working.intersection(paths) for paths in NEEDED)
    report = {
        "package": __version__,
        "python": platform.python_version(),
        "base_url": config.base_url,
        "is_useful": is_useful,
        "cost": sum(item.cost or 0 for item in listed),
        "routes": [item._asdict() for item in listed],
    }
    report = scrub_value(report, config.known_key)
    click.echo(json.dumps(report).decode() if as_json else output.safe(_text(report)))
    return is_useful


def _agree(models: Sequence[str]) -> bool:
    click.echo(
        f"{sum(probe.kind is not None for probe in PROBES)} small requests cost money, images the "
        f"most of it. They go to: {', '.join(dict.fromkeys(models))}.",
        err=True,
    )
    try:
        return click.confirm("Send them?", err=True)
    except click.Abort:  # nobody there to answer
        click.echo("", err=True)
        return False


def _run(
    client: Client, probe: Probe, model: str | None, records: list[CallRecord], models: list[Any]
) -> Result:
    replies: list[Reply] = []
    request = replace(probe.make(model or ""), absent=_ABSENT)
    facts: list[str] = []
    error: dict[str, Any] | None = None
    result = "works"
    try:
        if isinstance(request, Request):
            parse = request.parse

            def keep(reply: Reply) -> Any:
                replies.append(reply)
                return parse(reply)

            answer = client.send(replace(request, parse=keep))
        else:
            with client.stream(request) as stream:
                answer = list(stream)
        facts = probe.tell(answer, replies[0] if replies else None)
        models += answer if probe.path.endswith("/models") else ()
    except LunosError as failure:
        # a request that names no model can miss the route alone
        is_absent = model is None or _ABSENT in failure.message
        is_missing = is_absent and isinstance(failure, LunosNotFoundError)
        result = "missing" if is_missing else "fails"
        error = {
            "class": type(failure).__name__,
            "status": getattr(failure, "status", None),
            "code": getattr(failure, "code", None),
            "message": " ".join(failure.message.split())[:300],
        }
    record = records[-1] if records else None
    path = probe.path if record is None else record.endpoint
    if path != probe.path and result == "works":
        facts.append(f"at {path}")
    usage = None if record is None else record.usage
    return Result(
        *(probe.route, *probe[:3], result, model, facts, shape_of(replies[0]) if replies else None),
        seconds=None if record is None else round(record.seconds, 3),
        cost=None if usage is None else usage.cost,
        error=error,
    )


def shape_of(reply: Reply) -> Any:
    """Return the names and types in an answer, without a value of it."""
    try:
        return _shape(json.loads(reply.body), 4)
    except ValueError:
        return reply.headers.get("content-type", "no content type")


def _shape(value: Any, depth: int) -> Any:
    if isinstance(value, dict) and depth:
        return {name: _shape(item, depth - 1) for name, item in [*value.items()][:_MOST_NAMES]}
    if isinstance(value, list) and depth:
        return [_shape(item, depth - 1) for item in value[:1]]
    return "null" if value is None else type(value).__name__


def _text(report: dict[str, Any]) -> str:
    lines = [
        f"Lunos compatibility report: {report['base_url']}",
        f"lunos-integrations {report['package']}, Python {report['python']}",
        "",
    ]
    width = max(len(item["route"]) for item in report["routes"])
    for item in report["routes"]:
        said = ", ".join(item["facts"])
        if error := item["error"]:
            said = f"{error['class']}: {error['message']}"
            if item["result"] == "missing":
                said = f"the server answered {error['status']}"
        elif item["result"] == "skipped":
            said = "it costs money"
        head = f"{item['route']:<{width}}  {item['result']:<7}  "
        words = textwrap.wrap(said, _WIDTH - len(head)) or [""]
        lines.append((head + words[0]).rstrip())
        lines += [" " * len(head) + line for line in words[1:4]]
    verdict = "work" if report["is_useful"] else "don't all work"
    if any(item["result"] == "skipped" for item in report["routes"]):
        verdict = "were not all tried"
    cost = f"{report['cost']:.6f} USD"
    lines += ["", f"Chat, embeddings and catalog {verdict}. Cost, as far as told: {cost}"]
    return "\n".join(lines)
