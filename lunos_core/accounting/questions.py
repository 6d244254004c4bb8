"""Queries of a usage store, answered in SQL."""

from __future__ import annotations

import math
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Self

from lunos_core.accounting.budgets import EACH, Budget, tag_in_sql
from lunos_core.accounting.histograms import counts_of, percentile, sorted_times
from lunos_core.accounting.schema import REFUSED, dollars, last_id_of
from lunos_core.accounting.sums import (
    COLUMNS,
    DAY,
    HOUR,
    OF_A_CALL,
    PACKED,
    SPLIT,
    TIMES,
    pieces,
    summed_up_to,
)

NUMBERS = (
    *("calls", "errors", "retries", "input_tokens", "output_tokens", "cached_tokens"),
    *("reasoning_tokens", "cost", "estimated_cost", "p50_seconds", "p95_seconds", "p99_seconds"),
    "first_token_p50_seconds",
)
_GROUPS = {
    "app": "app",
    "user": "user",
    "model": "model",
    "endpoint": "endpoint",
    "day": "CAST(at / 86400 AS INTEGER)",
    "hour": "CAST(at / 3600 AS INTEGER)",
}
_STORED = {"app", "model", "endpoint", "day", "hour"}
_TIMES = {"day": (86_400, "%Y-%m-%d"), "hour": (3600, "%Y-%m-%dT%H:00")}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_SUMS = ", ".join(f"SUM({name})" for name in COLUMNS[:-2])
_OF_A_CALL = {
    name: f"{call} AS {name}" if call != name else name
    for name, call in zip(COLUMNS, OF_A_CALL, strict=True)
}
_HISTOGRAMS = "histogram(seconds), histogram(first_token_seconds)"
MOST_SORTED = 1_000_000
_MOST_LOOKED_UP = 0.1
_FAR = 1e15

Source = tuple[str, list[Any]]
"""Rows in SQL, and the values of its parameters."""
_Times = tuple[Sequence[Any], Sequence[Any]]  # seconds, and those to the first token
_NEVER: _Times = ((), ())


def moment(value: Any, name: str, now: float) -> float:
    """Return a point in time as Unix time.

    Args:
        value: "7d" or "12h" before now, an ISO date or time (in UTC if it has no zone), a
            `datetime` or `date`, or a Unix time.
        name: the argument's name.
        now: the time now.

    Raises:
        ValueError: it is none of these.

    Example:
        >>> from lunos_core.accounting.questions import moment
        >>> moment("2h", "since", 10_000.0), moment("1970-01-02", "since", 0.0)
        (2800.0, 86400.0)
    """
    if isinstance(value, date) and not isinstance(value, datetime):
        value = value.isoformat()
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d+)?)\s*([smhdw])\s*", value)
        if match:
            return now - float(match[1]) * _UNITS[match[2]]
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            value = None
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _FAR:
        return float(value)
    raise ValueError(
        f'{name} must be such as "7d" or "12h", an ISO date, a datetime or a Unix time'
    )


@dataclass(frozen=True, slots=True)
class Question:
    """The checked arguments of a query."""

    by: tuple[str, ...]
    since: float
    until: float
    only: Mapping[str, str]

    @classmethod
    def of(
        cls,
        by: str | Sequence[str],
        *,
        since: Any = None,
        until: Any = None,
        app: str | None = None,
        model: str | None = None,
        user: str | None = None,
        now: float,
    ) -> Self:
        """Check the arguments of `UsageStore.summary`.

        Raises:
            ValueError: one of them can't be used.
        """
        if not isinstance(by, Iterable):
            raise ValueError(f"by must be a str or several, not {type(by).__name__}")
        names = [name.strip() for name in by.split(",")] if isinstance(by, str) else [*by]
        for name in names:
            is_tag = isinstance(name, str) and name.startswith("tag:") and name != "tag:"
            if not is_tag and name not in (*_GROUPS,):  # of any type, hashable or not
                raise ValueError(f"by takes {', '.join(_GROUPS)} and tag:NAME, not {name!r}")
        begin = -math.inf if since is None else moment(since, "since", now)
        end = math.inf if until is None else moment(until, "until", now)
        if begin > end:
            raise ValueError(f"since={since!r} is after until={until!r}")
        only = {"app": app, "model": model, "user": user}
        for name, value in only.items():
            if value is not None and not isinstance(value, str):
                raise ValueError(f"{name} must be a str, not {type(value).__name__}")
        chosen = {name: value for name, value in only.items() if value is not None}
        return cls(tuple(dict.fromkeys(names)), begin, end, chosen)

    def ask(
        self,
        connection: sqlite3.Connection,
        other: sqlite3.Connection | None = None,
        *,
        percentiles: bool = True,
        most_sorted: int | None = None,
    ) -> list[dict[str, Any]]:
        """Return one dict for each group.

        Args:
            connection: to the store.
            other: a second connection, in which a thread adds up while the first one sorts.
            percentiles: whether to return percentiles.
            most_sorted: with more calls (by default a million) they come from histograms, with an
                error of at most 2 %.
        """
        most_sorted = MOST_SORTED if most_sorted is None else most_sorted
        if percentiles and other is not None and last_id_of(connection) <= most_sorted:
            with ThreadPoolExecutor(1) as beside:
                adding = beside.submit(self._rows, other)
                times = self._sorted_times(connection)
                rows = adding.result()
        else:
            rows, times = self._rows(connection), dict[tuple[Any, ...], _Times]()
            if percentiles and sum(row["calls"] for row in rows.values()) <= most_sorted:
                times = self._sorted_times(connection)
            elif percentiles:
                source = self._source(connection, "rollups", COLUMNS)
                for cells in self._select(connection, source, _HISTOGRAMS):
                    times[cells[2:]] = counts_of(cells[0]), counts_of(cells[1])
        for key, row in rows.items() if percentiles else ():
            seconds, first = times.get(key, _NEVER)
            for percent in (50, 95, 99):
                row[f"p{percent}_seconds"] = percentile(seconds, percent)
            row["first_token_p50_seconds"] = percentile(first, 50)
        return sorted(rows.values(), key=self._order)

    def amounts(self, connection: sqlite3.Connection) -> dict[tuple[Any, ...], int]:
        """Return the known costs of the calls of each group in picodollars."""
        source = self._source(connection, "rollups", COLUMNS)
        groups = self._select(connection, source, "SUM(cost_high), SUM(cost_low)")
        return {cells[2:]: cells[0] * SPLIT + cells[1] for cells in groups if cells[0] is not None}

    def _select(
        self, connection: sqlite3.Connection, source: Source, columns: str
    ) -> Iterator[tuple[Any, ...]]:
        keys, tags = [], list[str]()
        for name in self.by:
            if name in _GROUPS:
                keys.append(_GROUPS[name])
                continue
            expression, tag = tag_in_sql(name.removeprefix("tag:"))
            keys.append(expression)
            tags.append(tag)
        first = columns.count(",") + 2
        group = f" GROUP BY {', '.join(str(first + i) for i in range(len(keys)))}" if keys else ""
        sql, values = source
        # the SQL is our own; users' values are parameters
        sql = f"SELECT {', '.join([columns, *keys])} FROM ({sql}){group}"
        return connection.execute(sql, (*tags, *values))

    def _rows(self, connection: sqlite3.Connection) -> dict[tuple[Any, ...], dict[str, Any]]:
        rows, width = {}, _SUMS.count(",") + 1
        source = self._source(connection, "rollups", COLUMNS)
        for cells in self._select(connection, source, _SUMS):
            if cells[0]:
                rows[cells[width:]] = self._row(cells[width:], cells[:width])
        return rows

    def _sorted_times(self, connection: sqlite3.Connection) -> dict[tuple[Any, ...], _Times]:
        source = self._source(connection, "times", TIMES)
        return {
            cells[2:]: (sorted_times(cells[0] or b""), sorted_times(cells[1] or b""))
            for cells in self._select(connection, source, PACKED)
        }

    def _source(self, connection: sqlite3.Connection, table: str, columns: Sequence[str]) -> Source:
        """Return SQL for the rows to add up: from a table of sums if possible, else from calls."""
        spans = {"rollups": (DAY, HOUR), "times": (DAY,)}[table]
        spans = tuple(span for span in spans if span == HOUR or "hour" not in self.by)
        if not spans or "user" in self.only or not {*self.by} <= _STORED:
            # if most rows match, looking each of them up by its time would take longer
            time = "+at" if self._share(connection) > _MOST_LOOKED_UP else "at"
            return self._calls(columns, self.since, self.until, time=time)
        done = summed_up_to(connection)
        source, values = self._calls(columns, self.since, self.until, "id > ?", done)
        for span, begin, end in pieces(self.since, self.until, spans):
            if span:
                of_span = f"span = {span}" if table == "rollups" else "1"
                where, more = self._where("begin", begin, end, of_span)
                names = f"begin AS at, app, NULL, model, endpoint, NULL, {', '.join(columns)}"
                part = f"SELECT {names} FROM {table} WHERE {where}"
            else:
                part, more = self._calls(columns, begin, end, "id <= ?", done)
            source, values = f"{source} UNION ALL {part}", [*values, *more]
        return source, values

    def _share(self, connection: sqlite3.Connection) -> float:
        sql = "SELECT (SELECT MIN(at) FROM calls), (SELECT MAX(at) FROM calls)"
        first, last = connection.execute(sql).fetchone()
        if not first or first == last:
            return 1.0
        asked = min(self.until, last) - max(self.since, first)
        return float(asked / (last - first))

    def _calls(
        self,
        columns: Sequence[str],
        begin: float,
        end: float,
        condition: str = "1",
        *values: int,
        time: str = "at",
    ) -> Source:
        where, more = self._where(time, begin, end, condition, *values)
        names = ", ".join(_OF_A_CALL[name] for name in columns)
        calls = f"SELECT at, app, user, model, endpoint, tags, {names} FROM calls"
        return f"{calls} WHERE {where} AND status != '{REFUSED}'", more

    def _where(self, time: str, begin: float, end: float, condition: str, *values: int) -> Source:
        conditions = [condition, *(f"{name} = ?" for name in self.only)]
        bounds = [(f"{time} >= ?", begin), (f"{time} < ?", end)]
        bounds = [(sql, bound) for sql, bound in bounds if math.isfinite(bound)]
        conditions += [sql for sql, _ in bounds]
        more = [*values, *self.only.values(), *(bound for _, bound in bounds)]
        return " AND ".join(conditions), more

    def _row(self, key: Sequence[Any], sums: Sequence[Any]) -> dict[str, Any]:
        names: dict[str, Any] = {}
        for name, cell in zip(self.by, key, strict=True):
            names[name] = cell
            if name in _TIMES:
                length, form = _TIMES[name]
                names[name] = datetime.fromtimestamp(cell * length, UTC).strftime(form)
        *counts, high, low, high_of_estimates, low_of_estimates = sums
        known = dict(zip(NUMBERS, counts, strict=False))
        cost = None if high is None else float(dollars(high * SPLIT + low))
        estimated = (high_of_estimates or 0) * SPLIT + (low_of_estimates or 0)
        return {**names, **known, "cost": cost, "estimated_cost": float(dollars(estimated))}

    def _order(self, row: dict[str, Any]) -> tuple[Any, ...]:
        times = tuple(row[name] for name in self.by if name in _TIMES)
        names = tuple(str(row[name] or "") for name in self.by)
        return (*times, -(row["cost"] or 0.0), -row["calls"], *names)


def spent_of(
    connection: sqlite3.Connection, budget: Budget, now: float
) -> list[tuple[dict[str, Any], int]]:
    """Return the money spent from a budget in its window, for each app, user or tag with its own.

    Returns:
        Facts for `Budget.scope`, each with picodollars; those without calls are left out.
    """
    fixed = {"app": budget.app, "user": budget.user}
    only = {name: word for name, word in fixed.items() if word is not None and word != EACH}
    by = [name for name, word in fixed.items() if word == EACH]
    tag = budget.tag[0] if budget.tag else ""
    since, _ = budget.window(now)
    question = Question.of(
        [*by, *([f"tag:{tag}"] if tag else [])],
        since=since if budget.per else None,
        now=now,
        **only,
    )
    spent = []
    for key, amount in question.amounts(connection).items():
        facts: dict[str, Any] = {
            "app": None,
            "user": None,
            **only,
            **dict(zip(by, key, strict=False)),
        }
        facts["tags"] = {tag: key[-1]} if tag else {}
        if budget.scope(facts) is not None:
            spent.append((facts, amount))
    return spent


def is_store(path: str | os.PathLike[str]) -> bool:
    """Return whether a file begins as an SQLite database does."""
    try:
        with open(path, "rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError:
        return False
