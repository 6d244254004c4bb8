"""What calls used and cost, by app id, model and endpoint.

A ledger is an observer of the clients, not of the adapters: whatever goes through Lunos is counted,
in either framework, streamed or not.
"""

from __future__ import annotations

import copy
import os
import threading
from decimal import Decimal
from typing import Any, Self

from lunos_core.accounting.observers import (
    CallRecord,
    begin_everywhere,
    begin_here,
    end_everywhere,
    end_here,
)
from lunos_core.accounting.totals import KEYS, History, Row, Sum, amount_of
from lunos_core.errors import LunosBudgetError
from lunos_core.forks import reset_after_fork


class UsageLedger:
    """Counts calls: tokens, cost, retries, errors and time, per app id, model and endpoint.

    In a `with` block it counts the calls made inside, and in the tasks that begin there. A thread
    counts where it runs in a copy of the block's context: `asyncio.to_thread` and both frameworks'
    executors see to that, a bare `threading.Thread` does not. `start()` counts everywhere in the
    process, until `stop()`. A client takes one as `observers=[ledger]`. However many of the three
    it is, a call is counted once.

    What is not asked of a model, such as the catalog, is not counted.

    Args:
        budget: USD. Once the calls counted here have cost as much, the next is refused with a
            `LunosBudgetError` before anything is sent. Calls whose cost is unknown do not count;
            calls that are under way together may go beyond it.

    Example:
        >>> from lunos_core import UsageLedger
        >>> with UsageLedger() as ledger:
        ...     pass  # chain.invoke(…), index.as_query_engine().query(…)
        >>> ledger.rows()
        []
    """

    def __init__(self, *, budget: float | Decimal | str | None = None) -> None:
        self.budget = None if budget is None else Decimal(str(budget))
        if self.budget is not None and not self.budget >= 0:
            raise ValueError(f"budget must be 0 or more, not {budget!r}")
        self.reset_after_fork()
        reset_after_fork(self)
        self._rows: dict[tuple[str, str, str], Row] = {}
        self._history: dict[str, History] = {}
        self._spent = Sum()

    def reset_after_fork(self) -> None:
        """Begin with a lock that no thread of the parent holds."""
        # re-entrant: a garbage collection in here may close a forgotten stream, which is counted
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        """Begin to count."""
        begin_here(self)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop counting; the rows stay."""
        end_here(self)

    def start(self) -> Self:
        """Count the calls of the whole process from now on, in any thread."""
        begin_everywhere(self)
        return self

    def stop(self) -> None:
        """End what `start` began."""
        end_everywhere(self)

    @property
    def record(self) -> Self:
        """The ledger itself, as an observer of clients: `observers=[ledger.record]`."""
        return self

    def __call__(self, call: CallRecord) -> None:
        """Count one call that is over: the clients' hook."""
        if call.model is None:
            return
        key = (call.app_id or "Unknown", call.model, call.endpoint)  # the server's own word for it
        usage = call.usage
        with self._lock:
            (self._rows.get(key) or self._row(key)).add(call)
            self._spent.add(None if usage is None else amount_of(usage.cost))

    def _row(self, key: tuple[str, str, str]) -> Row:
        history = self._history.setdefault(key[0], History())
        return self._rows.setdefault(key, Row(history))

    @property
    def cost(self) -> float | None:
        """USD so far; `None` where no call's cost is known."""
        with self._lock:
            return self._spent.value()

    def before_call(self, *, app_id: str | None = None, model: str | None = None) -> None:
        """Refuse a call that the budget has no money for: the clients' hook before they send."""
        self.check_budget(app_id=app_id, model=model)

    def check_budget(self, *, app_id: str | None = None, model: str | None = None) -> None:
        """Raise once the budget is spent.

        Raises:
            LunosBudgetError: it is spent.
        """
        if self.budget is None or model is None:
            return
        spent = self._spent.total or Decimal(0)
        if spent >= self.budget:
            raise LunosBudgetError(
                f"the budget of {self.budget:f} USD is spent ({spent:f} USD so far): nothing was "
                "sent; raise ledger.budget, or begin a new ledger",
                model=model,
                app_id=app_id,
            )

    def merge(self, other: UsageLedger) -> None:
        """Add what another ledger has counted: of a worker process, say, as ledgers can be pickled.

        The budget stays this one's; what the other has spent counts towards it.

        Example:
            >>> import pickle
            >>> from lunos_core import UsageLedger
            >>> ledger, of_a_worker = UsageLedger(), UsageLedger()
            >>> ledger.merge(pickle.loads(pickle.dumps(of_a_worker)))
        """
        # a copy first: two ledgers that merge each other must not wait for each other's lock
        counted = other.__getstate__()
        with self._lock:
            for key, row in counted["_rows"].items():
                self._row(key).add_row(row)
            for app_id, history in counted["_history"].items():
                self._history[app_id].add_history(history)
            self._spent.add(counted["_spent"].total)

    def __getstate__(self) -> dict[str, Any]:
        """All but the lock, as it is now: another thread may go on counting."""
        with self._lock:
            state = {name: value for name, value in vars(self).items() if name != "_lock"}
            for name in ("_rows", "_history"):
                state[name] = dict(state[name])  # a re-entrant record would change it
            return copy.deepcopy(state)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """With a lock of its own."""
        vars(self).update(state)
        self.reset_after_fork()
        reset_after_fork(self)

    def rows(self) -> list[dict[str, Any]]:
        """One dict for each app id, model and endpoint, in the order of their first calls.

        `cost` is USD, the sum of what is known, and `None` where nothing is; `seconds` is the sum
        over the calls; `first_token_seconds` is the mean over the streams, `None` without any.
        """
        with self._lock:
            return [
                {**dict(zip(KEYS, key, strict=True)), **row.to_dict()}
                for key, row in list(self._rows.items())
            ]

    def history(self) -> dict[str, list[tuple[float, float, int]]]:
        """By app id: (Unix time, USD so far, tokens so far) after each call; thinned when long."""
        with self._lock:
            return {app_id: list(item.points) for app_id, item in list(self._history.items())}

    def table(self) -> str:
        """The rows as text to print: by rich where it is installed, else plain columns."""
        from lunos_core.accounting.report import to_table

        return to_table(self.rows())

    def to_frame(self) -> Any:
        """The rows as a pandas `DataFrame`.

        Raises:
            ImportError: pandas is not installed.
        """
        from lunos_core.accounting.report import to_frame

        return to_frame(self.rows())

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the rows as CSV, with a header; what is unknown is empty."""
        from lunos_core.accounting.report import write_csv

        write_csv(path, self.rows())

    def write_json(self, path: str | os.PathLike[str]) -> None:
        """Write `{"rows": […], "history": {app id: […]}}`: `lunos usage FILE` shows it."""
        from lunos_core.accounting.report import write_json

        write_json(path, self.rows(), self.history())

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Cost and tokens of each application over time, as a matplotlib `Figure`.

        Args:
            path: where to save the picture, too.

        Raises:
            ImportError: matplotlib is not installed.
        """
        from lunos_core.accounting.report import plot

        return plot(self.history(), path)
