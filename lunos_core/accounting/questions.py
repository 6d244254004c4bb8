"""Questions to a usage store, answered in SQL."""

from __future__ import annotations

import math
import os
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from lunos_core.accounting.budgets import json_path
from lunos_core.accounting.schema import PICO, REFUSED

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
_TIMES = {"day": (86_400, "%Y-%m-%d"), "hour": (3600, "%Y-%m-%dT%H:00")}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
# in two parts: the sum of the whole could be too large for SQLite's integers
_SPLIT = 10**6
_SUMS = (
    "COUNT(*)",
    "SUM(status != 'ok')",
    *(
        f"TOTAL({name})"
        for name in (
            *("retries", "input_tokens", "output_tokens", "cached_tokens"),
            "reasoning_tokens",
        )
    ),
    f"SUM(cost / {_SPLIT})",
    f"SUM(cost % {_SPLIT})",
    f"TOTAL(CASE WHEN cost_source = 'estimate' THEN cost / {_SPLIT} END)",
)
# above so many calls a percentile is read from buckets that are 4 % wide, without sorting them all
_MOST_SORTED = 100_000
_WIDTH = math.log(1.04)


def moment(value: Any, name: str, now: float) -> float:
    """Return a point in time as Unix time.

    Args:
        value: "7d" or "12h" before now, an ISO date or time (UTC where it names no zone), a
            `datetime`, or a Unix time.
        name: the argument's name.
        now: the time now.

    Raises:
        ValueError: it is none of these.

    Example:
        >>> moment("2h", "since", 10_000.0), moment("1970-01-02", "since", 0.0)
        (2800.0, 86400.0)
    """
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
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise ValueError(
        f'{name} must be such as "7d" or "12h", an ISO date, a datetime or a Unix time'
    )


@dataclass(frozen=True, slots=True)
class Question:
    """What to add up, checked."""

    by: tuple[str, ...]
    conditions: tuple[str, ...]
    values: tuple[Any, ...]

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
        names = by.split(",") if isinstance(by, str) else list(by)
        names = [name.strip() if isinstance(name, str) else name for name in names]
        for name in names:
            is_tag = isinstance(name, str) and name.startswith("tag:") and len(name) > len("tag:")
            if name not in _GROUPS and not is_tag:
                raise ValueError(f"by takes {', '.join(_GROUPS)} and tag:NAME, not {name!r}")
        conditions: list[str] = ["status != ?"]
        values: list[Any] = [REFUSED]
        for name, value in (("since", since), ("until", until)):
            if value is not None:
                conditions.append("at >= ?" if name == "since" else "at < ?")
                values.append(moment(value, name, now))
        for name, value in (("app", app), ("model", model), ("user", user)):
            if value is not None:
                if not isinstance(value, str):
                    raise ValueError(f"{name} must be a str, not {type(value).__name__}")
                conditions.append(f"{name} = ?")
                values.append(value)
        return cls(tuple(dict.fromkeys(names)), tuple(conditions), tuple(values))

    def ask(self, connection: sqlite3.Connection) -> list[dict[str, Any]]:
        """Return one dict for each group."""
        keys = [_GROUPS.get(name, "json_extract(tags, ?)") for name in self.by]
        tags = [json_path(name[len("tag:") :]) for name in self.by if name not in _GROUPS]
        where = " AND ".join(self.conditions)
        columns = [*keys, *_SUMS]
        group = f" GROUP BY {', '.join(str(i + 1) for i in range(len(keys)))}" if keys else ""
        # all words are our own; what users say is a parameter
        sql = f"SELECT {', '.join(columns)} FROM calls WHERE {where}{group}"
        found = connection.execute(sql, (*tags, *self.values)).fetchall()
        rows = {tuple(row[: len(keys)]): self._row(row) for row in found if row[len(keys)]}
        for name, column, percents in (
            ("p{}_seconds", "seconds", (50, 95, 99)),
            ("first_token_p{}_seconds", "first_token_seconds", (50,)),
        ):
            many = sum(row["calls"] for row in rows.values()) > _MOST_SORTED
            connection.create_function("bucket", 1, _bucket, deterministic=True)
            value = f"bucket({column})" if many else column
            sql = (
                f"SELECT {', '.join([*keys, value])}, COUNT(*) FROM calls WHERE {where} "
                f"AND {column} IS NOT NULL "
                f"GROUP BY {', '.join(str(i + 1) for i in range(len(keys) + 1))} "
                f"ORDER BY {', '.join(str(i + 1) for i in range(len(keys) + 1))}"
            )
            counts: dict[tuple[Any, ...], list[tuple[float, int]]] = {}
            for *key, value, count in connection.execute(sql, (*tags, *self.values)):
                counts.setdefault(tuple(key), []).append((value, count))
            for key, row in rows.items():
                for percent in percents:
                    row[name.format(percent)] = _percentile(counts.get(key, []), percent, many)
        return sorted(rows.values(), key=self._order)

    def _row(self, cells: Sequence[Any]) -> dict[str, Any]:
        names: dict[str, Any] = {}
        for name, cell in zip(self.by, cells, strict=False):
            names[name] = cell
            if name in _TIMES:
                length, form = _TIMES[name]
                names[name] = datetime.fromtimestamp(cell * length, UTC).strftime(form)
        *sums, high, low, estimated = cells[len(self.by) :]
        counts = dict(zip(NUMBERS, map(int, sums), strict=False))
        cost = None if high is None else float((high * _SPLIT + low) / PICO)
        return {**names, **counts, "cost": cost, "estimated_cost": float(estimated * _SPLIT / 1e12)}

    def _order(self, row: dict[str, Any]) -> tuple[Any, ...]:
        times = tuple(row[name] for name in self.by if name in _TIMES)
        names = tuple(str(row[name] or "") for name in self.by)
        return (*times, -(row["cost"] or 0.0), -row["calls"], *names)


def _bucket(value: float) -> int:
    return math.floor(math.log(max(value, 1e-6)) / _WIDTH)


def _percentile(counts: Sequence[tuple[float, int]], percent: int, buckets: bool) -> float | None:
    """Return the nearest rank among sorted values with their counts."""
    total = sum(count for _, count in counts)
    rank = max(math.ceil(total * percent / 100), 1)
    for value, count in counts:
        rank -= count
        if rank <= 0:
            return math.exp((value + 0.5) * _WIDTH) if buckets else value
    return None


def is_store(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a database, by how it begins."""
    try:
        with open(path, "rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError:
        return False
