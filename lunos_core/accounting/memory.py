"""Two other stores: one without a file, and one whose file may be opened later."""

from __future__ import annotations

import time
from collections.abc import Callable

from lunos_core.accounting.database import Database
from lunos_core.accounting.observers import CallRecord
from lunos_core.accounting.schema import Settled
from lunos_core.accounting.store import BATCH, UsageStore


class MemoryStore(UsageStore):
    """A store without a file, for the budgets of one ledger in one process."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.path, self.tag_keys, self.clock = ":memory:", (), clock
        self._forget()
        self.database = Database(self.path)
        self.closed = False

    in_memory = True

    def add(self, call: CallRecord, *, reservation: Settled | None = None) -> None:
        """Keep a call; it is written with others, or when a budget is checked."""
        super().add(call, reservation=reservation)
        if len(self._pending) >= BATCH:
            self.flush()

    def _wake_writer(self, *, hurry: bool) -> None:
        pass


class LateStore(UsageStore):
    """The environment's store: if the file is locked, its writer opens it later."""

    patience = 0.0
