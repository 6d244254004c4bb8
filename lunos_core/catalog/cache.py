"""The lists of one catalog, in memory and on disk, and who is fetching which.

`Catalog` and `AsyncCatalog` send the requests; they differ only in `await`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from lunos_core.catalog.disk import read_cache, write_cache
from lunos_core.catalog.models import ModelInfo, models_request, read_entries
from lunos_core.catalog.search import ModelIndex, completed
from lunos_core.errors import LunosError
from lunos_core.forks import reset_after_fork
from lunos_core.logs import log as _log
from lunos_core.logs import reason_of
from lunos_core.request import Request

Models = list[ModelInfo]

PUBLIC, DETAILED = models_request(), models_request(public=False)
# after a failed refresh the old list stays: try again after a minute, not in every call
_RETRY_REFRESH_AFTER = 60.0


@dataclass(frozen=True, slots=True)
class _Entry:
    """A list, when it was fetched, and until when it counts as fresh anyway (Unix times)."""

    models: Models
    fetched: float
    fresh_until: float = 0.0


@dataclass(frozen=True, slots=True)
class _Fetch:
    """A fetch in progress; its result is `None` if it was cancelled."""

    old: _Entry | None
    thread: int = field(default_factory=threading.get_ident)
    result: Future[Models | None] = field(default_factory=Future)


class ModelCache:
    """The lists of one catalog, by request.

    Args:
        root_url: the base URL without `/v1`: the key of the file.
        file: the file of the public list, or `None`.
        ttl: how long a list is fresh, in seconds.
        now: the clock, in Unix time since the file outlives the process.
    """

    def __init__(
        self,
        root_url: str,
        file: Path | None,
        ttl: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._root_url = root_url
        self._file = file
        self._ttl = ttl
        self._now = now
        self._entries: dict[str, _Entry] = {}
        self._index: ModelIndex | None = None
        self._disk_was_read = file is None
        self.reset_after_fork()
        reset_after_fork(self)

    def reset_after_fork(self) -> None:
        """Start anew: the parent's threads may hold the lock or fetch."""
        self._lock = threading.Lock()
        self._fetches: dict[str, _Fetch] = {}

    def claim(
        self, request: Request[Models], *, refresh: bool, blocking: bool
    ) -> Models | Future[Models | None] | None:
        """Return a fresh list, the future of a running fetch, or `None`: then the caller fetches.

        A caller that gets `None` must end with `store` or `failed`. If a future's result is `None`,
        the caller claims again.

        Args:
            request: the request for the list.
            refresh: whether to fetch even a fresh list.
            blocking: whether waiting blocks the thread.

        Raises:
            LunosError: the thread would wait for itself, as an observer of the client asks for
                the list while it is being fetched.
        """
        key = _key(request)
        with self._lock:
            running = self._fetches.get(key)
            if running is not None:
                if blocking and running.thread == threading.get_ident():
                    raise LunosError("the model catalog was asked for while it was being fetched")
                return running.result
            if request.public and key not in self._entries:
                self._read_disk()
            entry = self._entries.get(key)
            if entry is not None and not refresh and self._is_fresh(entry):
                return entry.models
            fetch = self._fetches[key] = _Fetch(None if refresh else entry)
            # from now on a cancelled waiter cannot cancel it for the others
            fetch.result.set_running_or_notify_cancel()
            return None

    def store(self, request: Request[Models], models: Models) -> Models:
        """Keep a fetched list, and give it to everyone who waits."""
        entry = _Entry(models, self._now())
        # a list that needs the key isn't written to the disk, which others may share
        if request.public and self._file is not None:
            raw = [dict(model.raw) for model in models]
            write_cache(self._file, self._root_url, entry.fetched, raw)
        self._finish(request, entry, models)
        return models

    def failed(self, request: Request[Models], error: BaseException) -> Models:
        """Return the old list instead of one that could not be fetched.

        Raises:
            BaseException: `error`, if there is no old list, or if it isn't a failure of the call
                (Ctrl-C, a cancelled task): then one of the waiters fetches.
        """
        fetch = self._fetches.get(_key(request))
        old = None if fetch is None else fetch.old
        if not isinstance(error, LunosError):
            self._finish(request, None, None)
            raise error
        if old is None:
            self._finish(request, None, error)
            raise error
        _log.warning(
            "the model catalog could not be fetched, the old one serves: %s", reason_of(error)
        )
        until = self._now() + _RETRY_REFRESH_AFTER
        self._finish(request, _Entry(old.models, old.fetched, until), old.models)
        return old.models

    def known(self, *, disk: bool) -> ModelIndex:
        """Return all known models without a request, however old.

        Args:
            disk: whether the file may be read, which happens once: every call comes here, and an
                absent file stays absent.
        """
        index = self._index
        if index is not None and (self._disk_was_read or not disk):
            return index
        with self._lock:
            if disk and not self._disk_was_read and _key(PUBLIC) not in self._entries:
                self._read_disk()
            self._disk_was_read = self._disk_was_read or disk
            public = self._models(_key(PUBLIC))
            detailed: dict[str, ModelInfo] = {}
            for key in (*self._entries, _key(DETAILED)):  # lists with a filter, then the whole one
                if key != _key(PUBLIC):
                    detailed |= {model.id: model for model in self._models(key)}
            listed = ModelIndex(public)
            more = [model for model in detailed.values() if listed.get(model.id) is None]
            self._index = index = ModelIndex([*completed(public, detailed.values()), *more])
            return index

    def _models(self, key: str) -> Models:
        entry = self._entries.get(key)
        return [] if entry is None else entry.models

    def _finish(
        self,
        request: Request[Models],
        entry: _Entry | None,
        result: Models | LunosError | None,
    ) -> None:
        with self._lock:
            if entry is not None:
                self._entries[_key(request)] = entry
                self._index = None
            fetch = self._fetches.pop(_key(request), None)
        if fetch is None:  # Ctrl-C interrupted `store`
            return
        if isinstance(result, LunosError):
            fetch.result.set_exception(result)
        else:
            fetch.result.set_result(result)

    def _read_disk(self) -> None:
        stored = None if self._file is None else read_cache(self._file, self._root_url)
        models = [] if stored is None else read_entries(stored[1])
        if stored is not None and models:  # a file with only broken entries isn't a catalog
            self._entries[_key(PUBLIC)] = _Entry(models, stored[0])
            self._index = None

    def _is_fresh(self, entry: _Entry) -> bool:
        now = self._now()
        # setting the clock back must not keep anything fresh for longer
        postponed = now < entry.fresh_until <= now + _RETRY_REFRESH_AFTER
        return 0 <= now - entry.fetched < self._ttl or postponed


def _key(request: Request[Models]) -> str:
    return f"{request.path}?{request.query}"
