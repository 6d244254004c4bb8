"""Money that a process reserves for several calls at once if a budget is far from spent."""

from __future__ import annotations

import threading
from typing import Any

from lunos_core.accounting.reservations import Key
from lunos_core.accounting.store import UsageStore

Kind = tuple[Any, ...]
"""What calls that share a lump have in common: model, total_timeout, app, user and tags."""

_SECONDS = 2.0
_CALLS = 50
_MOST = 1000


class Lump:
    """Money reserved in one row for the next calls of one kind if a budget is far from spent.

    Those calls then need no transaction. It is at most a fiftieth of the rest of the budget. After
    two seconds nothing more is drawn from it, and the rest is released; what was drawn stays
    reserved until those calls are written.
    """

    __slots__ = ("_store", "expires", "id", "keys", "left")

    def __init__(self, store: UsageStore, room: int, cost: int, now: float) -> None:
        self._store, self.expires = store, now + _SECONDS
        self.id = ""
        self.keys: tuple[Key, ...] = ()
        self.left = min(room // _CALLS, cost * _CALLS)

    def draw(self, cost: int, now: float) -> bool:
        """Take the money for a call, if there is enough; the owner's lock must be held."""
        if not now < self.expires or cost > self.left:
            return False
        self.left -= cost
        return True

    def end(self) -> None:
        """Release the money that wasn't drawn; the same lock must be held."""
        self.expires = 0.0
        self._store.end_reservation(self.id, self.left)


def lump_of(store: UsageStore, room: int, cost: int, now: float) -> Lump | None:
    """Return a lump for the next calls, or `None` near the end of a budget.

    Args:
        store: the store with the reservations.
        room: the rest of the budget in picodollars.
        cost: the cost of one call.
        now: the time of the store's clock.
    """
    return Lump(store, room, cost, now) if room > cost * _CALLS else None


class Lumps:
    """The lumps of one ledger, by kind. The store's writer ends old ones."""

    def __init__(self, store: UsageStore) -> None:
        self._store = store
        # re-entrant: a garbage collection in here may close a forgotten stream, which is counted
        self._lock = threading.RLock()
        self._lumps: dict[Kind, Lump] = {}

    def draw(self, kind: Kind, cost: int) -> Lump | None:
        """Return the lump that pays for a call, or `None` if there is none with enough money."""
        with self._lock:
            lump = self._lumps.get(kind)
            if lump is None or lump.draw(cost, self._store.clock()):
                return lump
            del self._lumps[kind]
            lump.end()
            return None

    def keep(self, kind: Kind, lump: Lump) -> None:
        """Keep a lump that is in the store now, and end the one that it replaces."""
        with self._lock:
            before = self._lumps.pop(kind, None)
            if before is not None:
                before.end()
            if len(self._lumps) >= _MOST:
                self.end_old(None)
            self._lumps[kind] = lump
        self._store.watch(self)

    @property
    def holds(self) -> bool:
        """Whether there are lumps, which expire."""
        return bool(self._lumps)

    def end_old(self, now: float | None) -> None:
        """End the lumps that have expired; `None` ends all."""
        if not self._lumps:
            return
        with self._lock:
            for kind, lump in list(self._lumps.items()):
                if now is None or now >= lump.expires:
                    del self._lumps[kind]
                    lump.end()
