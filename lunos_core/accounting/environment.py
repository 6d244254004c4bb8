"""The store of `LUNOS_USAGE_DB` as an observer of every call."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

from lunos_core.accounting.observers import CallRecord, Observer
from lunos_core.forks import first_use

if TYPE_CHECKING:
    from lunos_core.accounting.store import UsageStore

USAGE_DB = "LUNOS_USAGE_DB"


class _Recorder:
    def __init__(self, store: UsageStore) -> None:
        self.store = store

    def __call__(self, call: CallRecord) -> None:
        self.store.add(call)

    def call_refused(self, call: CallRecord) -> None:
        self.store.add(call)


# the recorder of each path, or `None` if the path can't be used
_recorders: dict[str, _Recorder | None] = {}


def with_recorder(observers: tuple[Observer, ...]) -> tuple[Observer, ...]:
    """Add the environment's observer, unless another one writes into the same store."""
    path = os.environ.get(USAGE_DB)
    recorder = _recorder(path) if path else None
    if recorder is None:
        return observers
    paths = [getattr(getattr(item, "store", None), "path", None) for item in observers]
    return observers if recorder.store.path in paths else (*observers, recorder)


def _recorder(path: str) -> _Recorder | None:
    try:
        return _recorders[path]
    except KeyError:
        pass
    with first_use:
        from lunos_core.accounting.memory import LateStore  # imports SQLite
        from lunos_core.errors import LunosConfigError

    try:
        recorder = _Recorder(LateStore(path))
    except LunosConfigError as error:
        warnings.warn(f"{USAGE_DB} records nothing: {error.message}", stacklevel=2)
        return _recorders.setdefault(path, None)
    return _recorders.setdefault(path, recorder)
