"""The thread that writes the calls of a usage store in batches."""

from __future__ import annotations

import atexit
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lunos_core.accounting.store import UsageStore

# kill -9 loses only rows that are younger than this, or among the last of a batch
DELAY = 0.5


class Writer:
    """Writes a store's pending calls, without keeping the store alive.

    Args:
        store: its `flush` is called within half a second of `wake`.
    """

    def __init__(self, store: UsageStore) -> None:
        self._store = weakref.ref(store)
        self._wake, self._hurry = threading.Event(), threading.Event()
        # re-entrant, as in the ledger
        self._starting = threading.RLock()
        self._is_started = False
        self.is_awake = False

    def wake(self, *, hurry: bool = False) -> None:
        """Make it write soon, or at once. Never waits: a garbage collection may call it."""
        if not self._is_started:
            self._start()
        self.is_awake = True
        for event in (self._wake, self._hurry) if hurry else (self._wake,):
            if not event.is_set():  # setting it takes a lock
                event.set()

    def _start(self) -> None:
        with self._starting:
            store = self._store()
            if self._is_started or store is None or store.closed:
                return
            self._is_started = True
            try:
                threading.Thread(target=self._run, name="lunos-usage-store", daemon=True).start()
            except RuntimeError:  # the interpreter is ending
                store.flush()
            atexit.register(self._flush)
            # multiprocessing's children end without atexit
            util = sys.modules.get("multiprocessing.util")
            if util is not None:
                util.Finalize(None, self._flush, exitpriority=10)

    def _run(self) -> None:
        while True:
            store = self._store()
            holds = store is not None and store.holds
            del store
            self._wake.wait(DELAY if holds else None)
            self._hurry.wait(DELAY)
            store = self._store()
            if store is None or store.closed:
                return
            self._wake.clear()
            self._hurry.clear()
            self.is_awake = False  # last: calls that still saw `True` are written now
            if not store.flush() and not store.closed:
                time.sleep(DELAY)  # locked or full: don't retry at once
                self.wake()
            del store

    def _flush(self) -> None:
        store = self._store()
        if store is not None and not store.closed:
            store.flush()
