"""What each call used, per app id, model and endpoint.

Observers hang on one hook in the clients, never in the adapters: whatever goes through Lunos is
counted, in either framework, streamed or not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import Any, Self

from lunos_core.errors import LunosError
from lunos_core.usage import Usage


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call, when it is over: answered, failed, or closed early.

    Attributes:
        app_id: the app id that it carried, or `None`.
        model: the model that was asked.
        endpoint: the path, such as "/chat/completions".
        attempts: requests made.
        seconds: from the call's start to its end.
        first_token_seconds: to the first event of a stream; `None` where there was none.
        usage: what the server said; `None` where it said nothing (a stream closed early).
        error: why it failed, or `None`.
    """

    app_id: str | None
    model: str | None
    endpoint: str
    attempts: int
    seconds: float
    first_token_seconds: float | None
    usage: Usage | None
    error: LunosError | None


Observer = Callable[[CallRecord], None]

_active: ContextVar[tuple[Observer, ...]] = ContextVar("lunos_ledgers", default=())


def active_observers() -> tuple[Observer, ...]:
    """The ledgers that are open around the caller."""
    return _active.get()


class UsageLedger:
    """Counts the calls made inside a `with` block, and in the tasks that begin there.

    A thread counts where it runs in a copy of the block's context: `asyncio.to_thread` and both
    frameworks' executors see to that, a bare `threading.Thread` does not.

    Example:
        >>> from lunos_core import UsageLedger
        >>> with UsageLedger() as ledger:
        ...     pass  # chain.invoke(…), index.as_query_engine().query(…)
        >>> ledger.rows()
        []
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[tuple[str, str, str], dict[str, Any]] = {}
        self._token: Token[tuple[Observer, ...]] | None = None

    def __enter__(self) -> Self:
        """Begin to count."""
        self._token = _active.set((*_active.get(), self.record))
        return self

    def __exit__(self, *_: object) -> None:
        """Stop counting; the rows stay."""
        if self._token is not None:
            _active.reset(self._token)
            self._token = None

    def record(self, call: CallRecord) -> None:
        """Count one call: the clients' hook."""
        key = (call.app_id or "Unknown", call.model or "", call.endpoint)
        used = call.usage or Usage()
        with self._lock:
            row = self._rows.get(key)
            if row is None:
                names = dict(zip(("app_id", "model", "endpoint"), key, strict=True))
                row = self._rows[key] = {**names, **dict.fromkeys(_COUNTED, 0)}
            row["calls"] += 1
            row["errors"] += call.error is not None
            row["retries"] += call.attempts - 1
            row["input_tokens"] += used.input_tokens
            row["output_tokens"] += used.output_tokens

    def rows(self) -> list[dict[str, Any]]:
        """One dict for each app id, model and endpoint, in the order of their first calls."""
        with self._lock:
            return [dict(row) for row in self._rows.values()]

    def table(self) -> str:
        """The rows as plain text, in columns."""
        rows = self.rows()
        names = ("app_id", "model", "endpoint", *_COUNTED)
        lines = [names, *(tuple(str(row[name]) for name in names) for row in rows)]
        widths = [max(len(line[at]) for line in lines) for at in range(len(names))]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if at < 3 else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )


_COUNTED = ("calls", "errors", "retries", "input_tokens", "output_tokens")
