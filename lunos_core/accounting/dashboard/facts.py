"""The dashboard's facts about a usage store, as plain values for JSON."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lunos_core.accounting.budgets import EACH, Budget
from lunos_core.accounting.questions import Question, moment, spent_of
from lunos_core.accounting.report import visible
from lunos_core.accounting.schema import dollars, last_id_of
from lunos_core.accounting.sums import DAY, HOUR

if TYPE_CHECKING:
    from lunos_core.accounting.store import Moment, UsageStore

_MOST_LINES = 8
_MOST_ROWS = 50
# for a page that is refreshed often: with more calls, a percentile is within 2 %
_MOST_SORTED = 50_000
_MOST_BUDGETS = 30
_MOST_RECENT = 25
# how many rows are searched for the last calls of an app
_LOOKED_AT = 100_000
_HOURLY = 3 * DAY
_MOST_POINTS = 3660
_BUDGETS_SEEN = 30 * DAY
_COUNTS = ("calls", "errors", "retries", "input_tokens", "output_tokens")


def dashboard_facts(
    store: UsageStore, *, since: Moment = "30d", app: str | None = None, model: str | None = None
) -> dict[str, Any]:
    """Return all facts that the dashboard shows.

    Args:
        store: the store.
        since: how far to look back; `None` for all calls.
        app: only this app id.
        model: only this model.

    Raises:
        ValueError: an argument can't be used.
        LunosConfigError: the store can't be read.
    """
    now = store.clock()
    store.settle()
    with ThreadPoolExecutor(1) as beside, store.database.reading() as connection:
        bars = beside.submit(_bars, store, now)
        begin = _first(connection, now) if since is None else moment(since, "since", now)
        unit, length = ("hour", HOUR) if now - begin <= _HOURLY else ("day", DAY)
        begin = max(begin, now - _MOST_POINTS * length)
        chosen: dict[str, Any] = {"app": app, "model": model}

        def ask(by: Iterable[str], *, percentiles: bool = True, **only: Any) -> list[Any]:
            question = Question.of(tuple(by), since=begin, now=now, **only)
            return question.ask(connection, percentiles=percentiles, most_sorted=_MOST_SORTED)

        apps, models = ask(["app"], **chosen), ask(["model"], **chosen)
        total = ask([], **chosen)
        times = range(math.floor(begin / length) * length, math.floor(now) + 1, length)
        return {
            "now": now,
            "since": since if isinstance(since, str) or since is None else begin,
            "app": app,
            "model": model,
            "unit": unit,
            "total": total[0] if total else None,
            "times": list(times),
            "spend": _spend(ask([unit, "app"], percentiles=False, **chosen), times, unit),
            "by_time": _by_time(ask([unit], **chosen), times, unit),
            "apps": [_named(row, "app") for row in apps[:_MOST_ROWS]],
            "more_apps": max(len(apps) - _MOST_ROWS, 0),
            "models": [_named(row, "model") for row in models[:_MOST_ROWS]],
            "budgets": bars.result(),
            "recent": _recent(connection, chosen),
            "choices": {
                name: [
                    {"value": row[name], "label": visible(row[name])}
                    for row in (ask([name], percentiles=False) if any(chosen.values()) else rows)
                ]
                for name, rows in (("app", apps), ("model", models))
            },
        }


def _bars(store: UsageStore, now: float) -> list[dict[str, Any]]:
    with store.database.reading() as connection:
        return budget_bars(connection, now)


def _first(connection: sqlite3.Connection, now: float) -> float:
    (first,) = connection.execute("SELECT MIN(at) FROM calls").fetchone()
    return now if first is None else float(first)


def _named(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {**row, name: visible(row[name]), "value": row[name]}


def _index(times: range, unit: str) -> dict[str, int]:
    form = "%Y-%m-%d" if unit == "day" else "%Y-%m-%dT%H:00"
    return {datetime.fromtimestamp(time, UTC).strftime(form): i for i, time in enumerate(times)}


def _spend(rows: Iterable[Mapping[str, Any]], times: range, unit: str) -> list[dict[str, Any]]:
    index, costs = _index(times, unit), dict[str, list[float]]()
    for row in rows:
        if row[unit] in index:
            line = costs.setdefault(row["app"], [0.0] * len(times))
            line[index[row[unit]]] += row["cost"] or 0.0
    order = sorted(costs, key=lambda app: (-sum(costs[app]), app))
    lines = [{"app": visible(app), "cost": costs[app]} for app in order[:_MOST_LINES]]
    others = [costs[app] for app in order[_MOST_LINES:]]
    if others:
        label = f"{len(others)} others"
        lines.append({"app": label, "cost": [sum(column) for column in zip(*others, strict=True)]})
    return lines


def _by_time(
    rows: Iterable[Mapping[str, Any]], times: range, unit: str
) -> dict[str, list[float | None]]:
    """Return counts and percentiles over time; 0 or `None` for times without a call."""
    index = _index(times, unit)
    names = ("p50_seconds", "p95_seconds", "first_token_p50_seconds")
    lines: dict[str, list[float | None]] = {name: [0] * len(times) for name in _COUNTS}
    lines |= {name: [None] * len(times) for name in names}
    for row in rows:
        if row[unit] in index:
            for name in lines:
                lines[name][index[row[unit]]] = row[name]
    return lines


def budget_bars(connection: sqlite3.Connection, now: float) -> list[dict[str, Any]]:
    """Return the budgets that ledgers had recently, with the money spent in their windows."""
    sql = "SELECT amount, per, app, user, tag, tag_value FROM budgets WHERE seen > ? ORDER BY name"
    bars = []
    for amount, per, app, user, tag, value in connection.execute(sql, (now - _BUDGETS_SEEN,)):
        budget = Budget(amount, per, app, user, None if tag is None else (tag, value))
        spent = spent_of(connection, budget, now)
        if EACH not in (app, user, value):
            spent = spent or [({"app": app, "user": user, "tags": {tag: value}}, 0)]
        spent.sort(key=lambda item: -item[1])
        for facts, picodollars in spent[:_MOST_BUDGETS]:
            names = {"app": app and facts["app"], "user": user and facts["user"], **facts["tags"]}
            words = [f"{name} {word}" for name, word in names.items() if word is not None]
            bars.append(
                {
                    "of": visible(", ".join(words) or "all calls"),
                    "per": per,
                    "limit": float(budget.limit),
                    "spent": float(dollars(picodollars)),
                    "end": budget.window(now)[1],
                }
            )
    return bars[:_MOST_BUDGETS]


def _recent(connection: sqlite3.Connection, chosen: Mapping[str, Any]) -> list[dict[str, Any]]:
    only = {name: value for name, value in chosen.items() if value is not None}
    columns = (
        *("at", "app", "user", "model", "endpoint", "status", "http_status", "retries"),
        *("input_tokens", "output_tokens", "cost", "cost_source", "seconds"),
        "first_token_seconds",
    )
    conditions = "".join(f" AND {name} = ?" for name in only)
    last = last_id_of(connection)
    calls = connection.execute(
        f"SELECT {', '.join(columns)} FROM calls WHERE id > ?{conditions} "
        f"ORDER BY id DESC LIMIT {_MOST_RECENT}",
        (last - _LOOKED_AT, *only.values()),
    )
    rows = []
    for cells in calls:
        row = dict(zip(columns, cells, strict=True))
        row["cost"] = None if row["cost"] is None else float(dollars(row["cost"]))
        texts = ("app", "user", "model", "endpoint", "status")
        rows.append(row | {name: row[name] and visible(row[name]) for name in texts})
    return rows
