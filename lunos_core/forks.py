"""Safe forks: a child gets complete imports, and locks that no thread of the parent holds.

A lock that a thread of the parent holds at the fork would stay locked in the child forever, because
that thread doesn't exist there. Ours are replaced. Python's import locks and OpenSSL's can't be: a
fork waits until nobody holds `first_use`.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol

first_use = threading.RLock()
"""Held while a first call imports modules or loads certificates. Forks wait for it.

Never take it during an import: another thread may hold it and wait for that import. Re-entrant,
because an import may fork.
"""


class ResetAfterFork(Protocol):
    """An object with locks, or with state that belongs to a thread."""

    def reset_after_fork(self) -> None:
        """Make new locks, and drop the state of the parent's threads."""


_objects: weakref.WeakSet[ResetAfterFork] = weakref.WeakSet()


def reset_after_fork(item: ResetAfterFork) -> None:
    """Reset an object in each child that is forked while it lives."""
    _objects.add(item)


def _in_child() -> None:
    first_use.release()
    for item in list(_objects):
        item.reset_after_fork()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(
        before=first_use.acquire, after_in_parent=first_use.release, after_in_child=_in_child
    )
