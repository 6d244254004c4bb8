"""What a forked child begins with: locks of its own, and nobody to wait for.

A lock that a thread of the parent held at the fork stays locked in the child for ever, as that
thread isn't there.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class ResetAfterFork(Protocol):
    """An object with locks, or with a note of what a thread is doing."""

    def reset_after_fork(self) -> None:
        """Make new locks, and forget what the parent's threads were doing."""


_objects: weakref.WeakSet[ResetAfterFork] = weakref.WeakSet()


def reset_after_fork(item: ResetAfterFork) -> None:
    """Reset an object in each child that is forked while it lives."""
    _objects.add(item)


def _in_child() -> None:
    for item in list(_objects):
        item.reset_after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_in_child)
