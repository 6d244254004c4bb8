"""Money that a process holds for its next calls at once, where a budget is far from spent."""

from __future__ import annotations

import threading
from typing import Any

from lunos_core.accounting.reservations import Key
from lunos_core.accounting.store import UsageStore

Kind = tuple[Any, ...]
"""What calls have in common that can share: model, longest time, app, user and tags."""

_SECONDS = 2.0
_CALLS = 50
_MOST = 1000


class Lump:
    """Money held in one row for the next calls of one kind, where a budget is far from spent.

    They then need no transaction of their own. It is a fiftieth of what is left, at most. After
    two seconds nothing more is drawn from it, and what is left is given back; what was drawn stays
    held until those calls are written.
    """

    __slots__ = ("_store", "expires", "id", "keys", "left")

    def __init__(self, store: UsageStore, room: int, cost: int, now: float) -> None:
        self._store, self.expires = store, now + _SECONDS
        self.id = ""
        self.keys: tuple[Key, ...] = ()
        self.left = min(room // _CALLS, cost * _CALLS)

    def draw(self, cost: int, now: float) -> bool:
        """Take the money for a call, if there is enough; under the lock of its owner."""
        if not now < self.expires or cost > self.left:
            return False
        self.left -= cost
        return True

    def end(self) -> None:
        """Give back what nobody has drawn; under the same lock."""
        self.expires = 0.0
        self._store.end_reservation(self.id, self.left)


def lump_of(store: UsageStore, room: int, cost: int, now: float) -> Lump | None:
    """Return what to hold for the next calls; `None` near the end of a budget.

    Args:
        store: holds it.
        room: what is left, in picodollars.
        cost: of one call.
        now: the time of the store's clock.
    """
    return Lump(store, room, cost, now) if room > cost * _CALLS else None


class Lumps:
    """The lumps of one ledger, by kind. The store's writer ends those that are old."""

    def __init__(self, store: UsageStore) -> None:
        self._store = store
        # re-entrant: a garbage collection in here may close a forgotten stream, which is counted
        self._lock = threading.RLock()
        self._lumps: dict[Kind, Lump] = {}

    def draw(self, kind: Kind, cost: int) -> Lump | None:
        """Take the money for a call from the lump of its kind; `None` where there is not enough."""
        with self._lock:
            lump = self._lumps.get(kind)
            if lump is None or lump.draw(cost, self._store.clock()):
                return lump
            del self._lumps[kind]
            lump.end()
            return None

    def __contains__(self, kind: Kind) -> bool:
        return kind in self._lumps

    def keep(self, kind: Kind, lump: Lump) -> None:
        """Take a lump that is in the store now, in place of the one before it."""
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
        """Whether there are lumps, which end in time."""
        return bool(self._lumps)

    def end_old(self, now: float | None) -> None:
        """End the lumps that are old by now; `None` ends all."""
        if not self._lumps:
            return
        with self._lock:
            for kind, lump in list(self._lumps.items()):
                if now is None or now >= lump.expires:
                    del self._lumps[kind]
                    lump.end()
