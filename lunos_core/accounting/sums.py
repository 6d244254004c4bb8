"""Sums of calls by hour and by day, so that a query about a million calls reads few rows.

They lag behind: `rolled_up` has the last call that they include, and queries read later calls
themselves. Every process that writes calls updates them, even with another version of this package.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator

from lunos_core.accounting.schema import REFUSED, last_id_of

HOUR, DAY = 3600, 86_400
# a sum of whole amounts could be too large for SQLite's integers
SPLIT = 10**6
_COUNTS = (
    *("calls", "errors", "retries", "input_tokens", "output_tokens", "cached_tokens"),
    "reasoning_tokens",
)
_COSTS = ("cost_high", "cost_low", "estimated_high", "estimated_low")
TIMES = ("seconds", "first_token_seconds")
COLUMNS = (*_COUNTS, *_COSTS, *TIMES)
OF_A_CALL = (
    *("1", "status != 'ok'", "retries", "input_tokens", "output_tokens"),
    *("COALESCE(cached_tokens, 0)", "COALESCE(reasoning_tokens, 0)"),
    *(f"cost / {SPLIT}", f"cost % {SPLIT}"),
    f"CASE WHEN cost_source = 'estimate' THEN cost / {SPLIT} END",
    f"CASE WHEN cost_source = 'estimate' THEN cost % {SPLIT} END",
    *TIMES,
)
# calls at once: the file is locked for about 20 ms, or 0.2 s; larger chunks are cheaper
CHUNK, LARGE_CHUNK = 2000, 20_000
_WORTH = 1000
PACKED = ", ".join(f"packed({name})" for name in TIMES)
_SUMS = ", ".join(
    f"{'histogram' if name in TIMES else 'SUM'}({call})"
    for name, call in zip(COLUMNS, OF_A_CALL, strict=True)
)
_ADDED = ", ".join(
    [f"{name} = {name} + excluded.{name}" for name in _COUNTS]
    + [
        f"{name} = CASE WHEN {name} IS NULL THEN excluded.{name} "
        f"ELSE {name} + COALESCE(excluded.{name}, 0) END"
        for name in _COSTS
    ]
    + [f"{name} = merged({name}, excluded.{name})" for name in TIMES]
)


def _add(connection: sqlite3.Connection, span: int, where: str, *values: float) -> None:
    begin = f"CAST(at / {span} AS INTEGER) * {span}"
    calls = f"FROM calls WHERE {where} AND status != '{REFUSED}'"
    connection.execute(
        f"INSERT INTO rollups SELECT {span}, {begin}, app, model, endpoint, {_SUMS} {calls} "
        f"GROUP BY 2, 3, 4, 5 ON CONFLICT DO UPDATE SET {_ADDED}",
        values,
    )
    if span == DAY:
        connection.execute(
            f"INSERT INTO times SELECT {begin}, app, model, endpoint, {PACKED} {calls} "
            "GROUP BY 1, 2, 3, 4",
            values,
        )


def summed_up_to(connection: sqlite3.Connection) -> int:
    """Return the id of the last call that the sums include."""
    (done,) = connection.execute("SELECT id FROM rolled_up").fetchone()
    return int(done)


def carry_on(connection: sqlite3.Connection, most: int = CHUNK) -> bool:
    """Add the next calls to the sums if there are enough, and return whether there are more."""
    done, last = summed_up_to(connection), last_id_of(connection)
    if last - done < _WORTH:
        return False
    to = min(done + most, last)
    for span in (HOUR, DAY):
        _add(connection, span, "id > ? AND id <= ?", done, to)
    connection.execute("UPDATE rolled_up SET id = ?", (to,))
    return last - to >= _WORTH


def prune(connection: sqlite3.Connection, before: float) -> int:
    """Delete the calls before a point in time, correct the sums, and return how many calls."""
    deleted = connection.execute("DELETE FROM calls WHERE at < ?", (before,)).rowcount
    connection.execute("DELETE FROM budgets WHERE seen < ?", (before,))
    done = summed_up_to(connection)
    connection.execute("DELETE FROM times WHERE begin <= ?", (before,))
    for span in (HOUR, DAY):
        # the hour and the day of that time are added up again
        begin = math.floor(before / span) * span
        connection.execute("DELETE FROM rollups WHERE span = ? AND begin <= ?", (span, begin))
        _add(connection, span, "at >= ? AND at < ? AND id <= ?", begin, begin + span, done)
    return deleted


def pieces(
    since: float, until: float, spans: tuple[int, ...]
) -> Iterator[tuple[int, float, float]]:
    """Split a period into whole days, hours at their edges, and the rest (span 0).

    Example:
        >>> from lunos_core.accounting.sums import pieces
        >>> list(pieces(3500.0, 90_000.0, (86_400, 3600)))
        [(0, 3500.0, 3600), (3600, 3600, 90000)]
    """
    if not since < until:
        return
    if not spans:
        yield 0, since, until
        return
    span, *smaller = spans
    begin = since if math.isinf(since) else math.ceil(since / span) * span
    end = until if math.isinf(until) else math.floor(until / span) * span
    if not begin < end:
        yield from pieces(since, until, tuple(smaller))
        return
    yield from pieces(since, begin, tuple(smaller))
    yield span, begin, end
    yield from pieces(end, until, tuple(smaller))
