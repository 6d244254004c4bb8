"""A report on each route of a deployment, without the key and without the text of answers."""

from __future__ import annotations

import platform
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from lunos_core._version import __version__
from lunos_core.accounting.observers import CallRecord
from lunos_core.compatibility.probes import NEEDED, PROBES, Probe, choose_models
from lunos_core.config import Config
from lunos_core.errors import LunosError, LunosNotFoundError
from lunos_core.request import Reply, Request
from lunos_core.transport.client import Client
from lunos_core.wire import json
from lunos_core.wire.scrub import scrub_value

_ABSENT = "no such route"
_MOST_NAMES = 30
_WIDTH = 80
_Tried = tuple[Any, dict[str, Any]]  # the answer or `None`, and its row


def check_deployment(
    config: Config, agrees: Callable[[Sequence[str]], bool], *, model: str | None = None
) -> dict[str, Any]:
    """Try each route, and return a report of JSON values.

    Args:
        config: the service and its key. Without a key, only requests that cost nothing are sent.
        agrees: called once with the models of all requests that cost money; returns whether to
            send them.
        model: the chat model, instead of a well-known one.

    Returns:
        `is_useful` (chat, embeddings and the catalog work), the known `cost` in USD, and `routes`:
        of each the `result` ("works", "missing", "fails" or "skipped"), the model,
        facts, the `shape` (names and types) of its answer, seconds, cost and error.
    """
    records: list[CallRecord] = []
    with Client(replace(config, max_retries=1), observers=[records.append]) as client:
        tried = [_try(client, probe, None, records) for probe in PROBES if not probe.kind]
        lists = [answer for answer, row in tried if answer and row["path"].endswith("/models")]
        chosen = choose_models([info for listed in lists for info in listed], model)
        asked = [(probe, chosen[probe.kind]) for probe in PROBES if probe.kind]
        if config.api_key is not None and agrees([name for _, name in asked]):
            tried += [_try(client, probe, name, records) for probe, name in asked]
        else:
            tried += [(None, _row(probe, name)) for probe, name in asked]
    routes = [row for _, row in tried]
    working = {row["path"] for row in routes if row["result"] == "works" and not row["feature"]}
    report = {
        "package": __version__,
        "python": platform.python_version(),
        "base_url": config.base_url,
        "is_useful": all(working.intersection(paths) for paths in NEEDED),
        "cost": sum(row["cost"] or 0 for row in routes),
        "routes": routes,
    }
    return scrub_value(report, config.known_key)


def _row(probe: Probe, model: str | None, result: str = "skipped", **more: Any) -> dict[str, Any]:
    method, path, *feature = probe.route.split()
    row: dict[str, Any] = {"route": probe.route, "method": method, "path": path}
    row |= {"feature": "".join(feature).strip("()"), "result": result, "model": model}
    return {**row, **dict.fromkeys(("shape", "seconds", "cost", "error")), "facts": [], **more}


def _try(client: Client, probe: Probe, model: str | None, records: list[CallRecord]) -> _Tried:
    replies: list[Reply] = []
    request = replace(probe.make(**({"model": model} if model else {})), absent=_ABSENT)
    records.clear()
    answer: Any = None
    more: dict[str, Any] = {}
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
        result = "works"
        more["facts"] = probe.tell(answer, _body(replies[0]) if replies else None)
        if records[-1].endpoint != probe.path:
            more["facts"].append(f"at {records[-1].endpoint}")
    except LunosError as failure:
        # without a model in the request, only the route can be missing
        is_absent = model is None or _ABSENT in failure.message
        is_missing = is_absent and isinstance(failure, LunosNotFoundError)
        result = "missing" if is_missing else "fails"
        more["error"] = {
            "class": type(failure).__name__,
            "status": getattr(failure, "status", None),
            "code": getattr(failure, "code", None),
            "message": " ".join(failure.message.split())[:300],
        }
    for reply in replies:
        media_type = reply.headers.get("content-type", "no content type")
        more["shape"] = media_type if _body(reply) is None else _shape(_body(reply), 4)
    for record in records:
        more |= {"seconds": round(record.seconds, 3), "cost": record.usage and record.usage.cost}
    return answer, _row(probe, model, result, **more)


def _body(reply: Reply) -> Any:
    try:
        return json.loads(reply.body)
    except ValueError:
        return None  # a recording, or invalid


def _shape(value: Any, depth: int) -> Any:
    if isinstance(value, dict) and depth:
        return {name: _shape(item, depth - 1) for name, item in [*value.items()][:_MOST_NAMES]}
    if isinstance(value, list) and depth:
        return [_shape(item, depth - 1) for item in value[:1]]
    return "null" if value is None else type(value).__name__


def report_text(report: dict[str, Any]) -> str:
    """Return a report of `check_deployment` for people, in 80 columns."""
    lines = [
        f"Lunos compatibility report: {report['base_url']}",
        f"lunos-integrations {report['package']}, Python {report['python']}",
        "",
    ]
    width = max(len(row["route"]) for row in report["routes"])
    for row in report["routes"]:
        said = ", ".join(row["facts"])
        if error := row["error"]:
            said = f"{error['class']}: {error['message']}"
            if row["result"] == "missing":
                said = f"the server answered {error['status']}"
        elif row["result"] == "skipped":
            said = "it costs money"
        head = f"{row['route']:<{width}}  {row['result']:<7}  "
        words = textwrap.wrap(said, _WIDTH - len(head)) or [""]
        lines.append((head + words[0]).rstrip())
        lines += [" " * len(head) + line for line in words[1:4]]
    verdict = "work" if report["is_useful"] else "don't all work"
    if any(row["result"] == "skipped" for row in report["routes"]):
        verdict = "were not all tried"
    end = f"Chat, embeddings and catalog {verdict}. Known cost: {report['cost']:.6f} USD"
    return "\n".join([*lines, "", textwrap.fill(end, _WIDTH)])
