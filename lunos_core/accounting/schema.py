"""The rows of a usage store for calls and reservations."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

from lunos_core.accounting.observers import CallRecord
from lunos_core.accounting.pricing import EXACT
from lunos_core.accounting.totals import amount_of, tokens_of
from lunos_core.accounting.usage import Usage
from lunos_core.errors import LunosBudgetError, LunosError

Settled = tuple[str, int | None]
"""The id of an ended reservation, and the picodollars if only a part of a shared one ended."""

# money is stored as whole picodollars, so that sums in SQL are exact
PICO = Decimal(10**12)
UNKNOWN_APP = "Unknown"  # the server's own name for calls without an app id
REFUSED = "refused"

COLUMNS = (
    *("at", "app", "user", "model", "served", "endpoint", "status", "http_status", "retries"),
    *("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens"),
    *("audio_tokens", "cost", "cost_source", "seconds", "first_token_seconds", "request_id"),
    *("framework", "tags"),
)
INSERT = f"INSERT INTO calls ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"

RESERVE = f"INSERT INTO reservations VALUES ({', '.join('?' * 10)})"
SHOW = f"INSERT OR REPLACE INTO budgets VALUES ({', '.join('?' * 8)})"
# how certain a reservation's estimate is; 1 is more than a guess
GUESS, SHARED = 0, 2
# a shared one ends when all its calls have ended
SETTLED = f"DELETE FROM reservations WHERE expires <= ? OR (certain = {SHARED} AND cost <= 0)"

_KINDS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (str, ("app_id", "model", "endpoint", "user", "served", "request_id", "framework")),
    ((int, float), ("seconds", "first_token_seconds", "time")),
    (int, ("attempts",)),
    (Usage, ("usage",)),
    (LunosError, ("error",)),
    (Mapping, ("tags", "metadata")),
)
_NEEDED = {"model", "endpoint", "attempts", "seconds", "tags", "metadata"}
_YEAR_9999 = 253_000_000_000


def last_id_of(connection: sqlite3.Connection) -> int:
    """Return the id of the last call of a store; 0 for none."""
    (last,) = connection.execute("SELECT COALESCE(MAX(id), 0) FROM calls").fetchone()
    return int(last)


def row_of(call: CallRecord, now: float, tag_keys: Collection[str]) -> tuple[Any, ...]:
    """Return a call as a row of `calls`, without prompt, answer and error message.

    Raises:
        TypeError: a field of the record has the wrong type.
        ValueError: its time can't be a Unix time.
    """
    for kind, names in _KINDS:
        for name in names:
            value = getattr(call, name)
            if not isinstance(value, kind) and (value is not None or name in _NEEDED):
                raise TypeError(f"{name} of a CallRecord can't be {value!r:.100}")
    if call.time is not None and not 0 <= call.time < _YEAR_9999:
        raise ValueError(f"time of a CallRecord must be a Unix time, not {call.time}")
    usage = call.usage or Usage()
    error = call.error
    audio = (usage.input_audio_tokens or 0) + (usage.output_audio_tokens or 0)
    tags = tags_of(call.tags, call.metadata, tag_keys)
    return (
        now if call.time is None else call.time,
        _text(call.app_id or UNKNOWN_APP),
        _text(user_of(call.tags, call.user)),
        _text(call.model or ""),
        _text(call.served),
        _text(call.endpoint),
        "ok" if error is None else REFUSED if is_refused(call) else type(error).__name__,
        None if error is None else error.status,
        max(call.attempts - 1, 0),
        tokens_of(usage.input_tokens),
        tokens_of(usage.output_tokens),
        _known(usage.cached_tokens),
        _known(usage.cache_write_tokens),
        _known(usage.reasoning_tokens),
        _known(audio or None),
        cost_of(usage),
        usage.cost_source,
        _seconds(call.seconds) or 0.0,
        _seconds(call.first_token_seconds),
        _text(call.request_id),
        call.framework,
        json.dumps(tags, sort_keys=True) if tags else None,
    )


def is_refused(call: CallRecord) -> bool:
    """Return whether a budget or limit refused the call, so that nothing was sent."""
    return isinstance(call.error, LunosBudgetError) and not call.attempts


def user_of(tags: Mapping[str, str], user: str | None) -> str | None:
    """Return the user of a call: from its tags, else from its request."""
    return tags.get("user", user)


def tags_of(
    tags: Mapping[str, str], metadata: Mapping[str, Any], keys: Collection[str]
) -> dict[str, str]:
    """Return the tags of a call, with the given keys of its framework's metadata."""
    if not tags and not keys:
        return {}
    chosen = {key: str(metadata[key]) for key in keys if metadata.get(key) is not None}
    return {_text(k): _text(v) for k, v in {**chosen, **tags}.items() if k != "user"}


def dollars(picodollars: int) -> Decimal:
    """Return whole picodollars as an exact amount of USD."""
    return EXACT.divide(Decimal(picodollars), PICO)


def cost_of(usage: Usage | None) -> int | None:
    """Return the cost of a call in picodollars, or `None` if it is unknown."""
    return None if usage is None else picodollars(amount_of(usage.cost))


def picodollars(amount: Decimal | None) -> int | None:
    """Return an amount of USD as whole picodollars."""
    return None if amount is None else int(EXACT.to_integral_value(EXACT.multiply(amount, PICO)))


def _known(count: int | None) -> int | None:
    return None if count is None else tokens_of(count)


def _seconds(seconds: float | None) -> float | None:
    return None if seconds is None or not 0 <= seconds < 10**9 else float(seconds)


def _text(text: Any) -> Any:
    # half of a surrogate pair, which a server may send, can't be written
    return None if text is None else str(text).encode("utf-8", "replace").decode()


def settle(connection: sqlite3.Connection, settled: Sequence[Settled], now: float) -> None:
    """Delete ended reservations, and subtract ended parts from shared ones."""
    if not settled:
        return
    whole = [(name,) for name, amount in settled if amount is None]
    connection.executemany("DELETE FROM reservations WHERE id = ?", whole)
    parts: Counter[str] = Counter()
    for name, amount in settled:
        parts[name] += amount or 0
    changes = [(amount, name) for name, amount in parts.items() if amount]
    connection.executemany("UPDATE reservations SET cost = cost - ? WHERE id = ?", changes)
    connection.execute(SETTLED, (now,))
