"""Budgets and rate limits as values: their amounts, their windows and the calls they cover."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

EACH = "*"
_MOST_USD = 10**9
_SECONDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0}
_PERIODS = ("hour", "day", "week", "month")
OnExceed = str | Callable[["Budget", float, float], bool]


class LunosCostWarning(UserWarning):
    """A budget is set, and the cost of a model is unknown, or the budget is spent."""


@dataclass(eq=False, slots=True)
class Budget:
    """An amount of USD for a window of time, and what happens when it is spent.

    Args:
        amount: USD; a `Decimal` or a `str` is exact.
        per: "hour", "day", "week" (from Monday), "month", all in UTC, or `None` for all time.
        app: only calls of this app id; "*" gives each app id a separate budget.
        user: the same for users.
        tag: only calls with this tag, such as ("feature", "search"); "*" for each of its values.
        on_exceed: "refuse" raises a `LunosBudgetError` before anything is sent; "warn" warns once
            per window; a callable `(budget, spent, estimate)` refuses unless it returns `True`.
        warn_at: the fraction of the budget at which `on_warn` is called.
        on_warn: called as `on_warn(budget, spent)`, once per window and process.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument can't be used.

    Example:
        >>> from lunos_core import Budget, UsageLedger
        >>> daily = Budget(5, per="day", app="website")
        >>> ledger = UsageLedger(budgets=[daily, Budget(100, per="month")])
        >>> print(daily)
        5 USD, per='day', app='website'
    """

    amount: Decimal | float | str
    per: str | None = None
    app: str | None = None
    user: str | None = None
    tag: tuple[str, str] | None = None
    on_exceed: OnExceed = "refuse"
    warn_at: float | None = 0.8
    on_warn: Callable[[Budget, float], object] | None = None

    def __post_init__(self) -> None:
        self.amount = to_amount(self.amount, "budget")
        if self.per is not None and self.per not in _PERIODS:
            raise ValueError(f"per must be one of {_PERIODS} or None, not {self.per!r}")
        _check_scope(self.app, self.user, self.tag)
        if not callable(self.on_exceed) and self.on_exceed not in ("refuse", "warn"):
            raise ValueError(
                f'on_exceed must be "refuse", "warn" or a callable, not {self.on_exceed!r}'
            )
        if not callable(self.on_warn) and self.on_warn is not None:
            raise TypeError("on_warn must be callable: on_warn(budget, spent)")
        part = self.warn_at
        if part is not None and (isinstance(part, bool) or not isinstance(part, int | float)):
            raise TypeError(f"warn_at must be a number, not {type(part).__name__}")
        if part is not None and not 0 < part <= 1:
            raise ValueError(f"warn_at must be above 0 and at most 1, not {part}")

    @property
    def limit(self) -> Decimal:
        """The exact amount."""
        return to_amount(self.amount, "budget")

    def window(self, now: float) -> tuple[float, float | None]:
        """Return the begin and end of the window around a Unix time; no end is `None`."""
        if self.per is None:
            return 0.0, None
        day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        if self.per == "hour":
            begin = day + timedelta(hours=datetime.fromtimestamp(now, UTC).hour)
            end = begin + timedelta(hours=1)
        elif self.per == "month":
            begin = day.replace(day=1)
            end = (begin + timedelta(days=32)).replace(day=1)
        else:
            begin = day - timedelta(days=day.weekday() if self.per == "week" else 0)
            end = begin + timedelta(days=7 if self.per == "week" else 1)
        return begin.timestamp(), end.timestamp()

    def scope(self, call: Mapping[str, Any]) -> Scope | None:
        """Return which calls count together with this one, or `None` if it isn't covered."""
        return _scope(self.app, self.user, self.tag, call)

    def row(self, now: float) -> tuple[Any, ...]:
        """Return its row in a store; a budget with another amount replaces it."""
        tag, value = self.tag or (None, None)
        name = repr((self.per, self.app, self.user, self.tag))
        return (name, f"{self.limit:f}", self.per, self.app, self.user, tag, value, now)

    def __str__(self) -> str:
        covered = {"per": self.per, "app": self.app, "user": self.user, "tag": self.tag}
        words = [f"{name}={value!r}" for name, value in covered.items() if value is not None]
        return ", ".join([f"{self.limit:f} USD", *words])


@dataclass(eq=False, slots=True)
class RateLimit:
    """The most calls and tokens in any period of one length.

    Args:
        requests: the most calls.
        tokens: the most tokens of prompts and answers.
        per: "second", "minute", "hour" or "day".
        app: only calls of this app id; "*" gives each app id a separate limit.
        user: the same for users.
        on_exceed: "wait" until there is room, or "refuse" with a `LunosBudgetError`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument can't be used.

    Example:
        >>> from lunos_core import RateLimit, UsageLedger
        >>> ledger = UsageLedger(limits=[RateLimit(requests=60, tokens=100_000, app="*")])
    """

    requests: int | None = None
    tokens: int | None = None
    per: str = "minute"
    app: str | None = None
    user: str | None = None
    on_exceed: str = "wait"

    def __post_init__(self) -> None:
        for name, value in (("requests", self.requests), ("tokens", self.tokens)):
            if value is not None and type(value) is not int:
                raise TypeError(f"{name} must be an int, not {type(value).__name__}")
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, not {value}")
        if self.requests is None and self.tokens is None:
            raise ValueError("a RateLimit needs requests=… or tokens=…")
        if self.per not in (*_SECONDS,):  # of any type, hashable or not
            raise ValueError(f"per must be one of {tuple(_SECONDS)}, not {self.per!r}")
        _check_scope(self.app, self.user, None)
        if self.on_exceed not in ("wait", "refuse"):
            raise ValueError(f'on_exceed must be "wait" or "refuse", not {self.on_exceed!r}')

    @property
    def seconds(self) -> float:
        """The length of its window in seconds."""
        return _SECONDS[self.per]

    def scope(self, call: Mapping[str, Any]) -> Scope | None:
        """Return which calls count together with this one, or `None` if it isn't covered."""
        return _scope(self.app, self.user, None, call)

    def __str__(self) -> str:
        covered = {"requests": self.requests, "tokens": self.tokens, "app": self.app}
        words = [f"{name}={value!r}" for name, value in covered.items() if value is not None]
        return f"{', '.join(words)} per {self.per}"


class Scope(NamedTuple):
    """The calls that count together, as an SQL condition and its values."""

    condition: str = ""
    values: tuple[str, ...] = ()


def to_amount(value: object, name: str) -> Decimal:
    """Return USD as an exact number.

    Raises:
        TypeError: it isn't a number.
        ValueError: no budget can have this amount.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise TypeError(f"{name} must be a number of USD, not {type(value).__name__}")
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount <= _MOST_USD:
        raise ValueError(f"{name} must be 0 USD or more, not {value!r}")
    return amount


def _check_scope(app: object, user: object, tag: object) -> None:
    for name, value in (("app", app), ("user", user)):
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    if tag is not None and not (
        isinstance(tag, tuple) and len(tag) == 2 and all(isinstance(word, str) for word in tag)
    ):
        raise TypeError('tag must be such as ("feature", "search")')


@functools.lru_cache(maxsize=1024)  # called for each call that waits to be written
def _scope_of(*pairs: tuple[str, str | None, str | None]) -> Scope | None:
    conditions, values = [], list[str]()
    for column, wanted, actual in pairs:
        if wanted is None:
            continue
        if actual is None or wanted not in (EACH, actual):
            return None
        if column.startswith("tag:"):
            column, key = tag_in_sql(column[4:])
            values.append(key)
        conditions.append(f" AND {column} = ?")
        values.append(actual)
    return Scope("".join(conditions), tuple(values))


def _scope(
    app: str | None, user: str | None, tag: tuple[str, str] | None, call: Mapping[str, Any]
) -> Scope | None:
    pairs = ("app", app, call["app"]), ("user", user, call["user"])
    if tag is None:
        return _scope_of(*pairs)
    name, wanted = tag
    return _scope_of(*pairs, (f"tag:{name}", wanted, call["tags"].get(name)))


def tag_in_sql(name: str) -> tuple[str, str]:
    """Return an expression for a call's tag, and the value of its parameter.

    A path finds no key that JSON escapes: those of other scripts, or with quotes.
    """
    if json.dumps(name) == f'"{name}"':
        return "json_extract(tags, ?)", f'$."{name}"'
    return "(SELECT value FROM json_each(tags) WHERE key = ?)", name
