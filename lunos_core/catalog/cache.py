"""What the catalog keeps in memory, and who may fetch: everything but the sending.

`Catalog` and `AsyncCatalog` drive this; they differ from each other in `await` alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from lunos_core.catalog.disk import read_cache, write_cache
from lunos_core.catalog.models import ModelInfo, read_entries
from lunos_core.errors import LunosError
from lunos_core.logs import log as _log
from lunos_core.logs import reason_of
from lunos_core.request import Request

Models = list[ModelInfo]

# after a failed refresh the old list serves on: ask again after a minute, not with every call
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Kept:
    """A list, and when it was fetched (Unix time)."""

    models: Models
    fetched: float


class Ticket:
    """The right to fetch one list: settle it with `done` or `failed`, whatever happens."""

    def __init__(self, shelf: Shelf, request: Request[Models], old: Kept | None) -> None:
        self.request = request
        self._shelf = shelf
        self._old = old
        self.thread = threading.get_ident()
        self.outcome: Future[Models | None] = Future()
        # from here on a waiter that is cancelled cannot cancel it for the others
        self.outcome.set_running_or_notify_cancel()

    def done(self, models: Models) -> Models:
        """The list came."""
        self._shelf.put(self, Kept(models, self._shelf.now()))
        self.outcome.set_result(models)
        return models

    def failed(self, error: BaseException) -> Models:
        """It did not come: the old list, if there is one.

        Raises:
            BaseException: there is none, or this is no failure of the call (Ctrl-C, a cancelled
                task): then one of those who wait fetches.
        """
        if isinstance(error, LunosError) and self._old is not None:
            _log.warning(
                "the model catalog could not be fetched, the old one serves: %s", reason_of(error)
            )
            self._shelf.put(self, self._old, patience=_PATIENCE)
            self.outcome.set_result(self._old.models)
            return self._old.models
        self._shelf.put(self, None)
        if isinstance(error, LunosError):
            self.outcome.set_exception(error)
        elif not self.outcome.done():  # Ctrl-C may come in the very moment of `done`
            self.outcome.set_result(None)
        raise error


class Shelf:
    """The lists of one catalog, by request.

    Args:
        root_url: the base URL without `/v1`: the key of the file.
        file: where the public list is kept, or `None`.
        ttl: seconds for which a list is fresh.
        now: the clock (Unix time: the file outlives the process).
    """

    def __init__(
        self,
        root_url: str,
        file: Path | None,
        ttl: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.now = now
        self._root_url = root_url
        self._file = file
        self._ttl = ttl
        self._lock = threading.Lock()
        self._kept: dict[str, Kept] = {}
        self._quiet_until: dict[str, float] = {}
        self._fetching: dict[str, Ticket] = {}
        self._peeked = False
        self._changes = 0

    def look(
        self, request: Request[Models], *, refresh: bool, blocking: bool
    ) -> Models | Ticket | Future[Models | None]:
        """What to do for a list: take it, fetch it (`Ticket`), or wait for another who does.

        Who has waited and got `None` looks again.

        Args:
            request: what to send for the list.
            refresh: whether a list that is fresh does not do.
            blocking: whether waiting blocks the thread.

        Raises:
            LunosError: the thread would wait for itself: an observer of the client asks for the
                list while it is being fetched.
        """
        key = _key(request)
        with self._lock:
            running = self._fetching.get(key)
            if running is not None:
                if blocking and running.thread == threading.get_ident():
                    raise LunosError("the model catalog was asked for while it was being fetched")
                return running.outcome
            kept = self._found(request)
            if kept is not None and not refresh and self._is_fresh(key, kept):
                return kept.models
            ticket = Ticket(self, request, None if refresh else kept)
            self._fetching[key] = ticket
            return ticket

    def peek(self, request: Request[Models], *, disk: bool = True) -> Models | None:
        """The list if it is at hand, in memory or on disk, however old.

        The disk is asked once: calls peek, and a file that is not there does not come of itself.
        """
        with self._lock:
            disk = disk and not self._peeked
            self._peeked = self._peeked or (disk and request.public)
            kept = self._found(request) if disk else self._kept.get(_key(request))
        return None if kept is None else kept.models

    def state(self, *, disk: bool) -> int | None:
        """A number that changes with the lists; `None` where a peek would read the disk."""
        return self._changes if self._peeked or not disk else None

    def put(self, ticket: Ticket, kept: Kept | None, *, patience: float = 0.0) -> None:
        """Keep what a ticket's holder got, and let others fetch again."""
        key = _key(ticket.request)
        if kept is not None and not patience and ticket.request.public and self._file is not None:
            entries = [dict(model.raw) for model in kept.models]
            write_cache(self._file, self._root_url, kept.fetched, entries)
        with self._lock:
            self._fetching.pop(key, None)
            if kept is not None:
                self._kept[key] = kept
                self._changes += 1
                self._quiet_until[key] = self.now() + patience

    def _found(self, request: Request[Models]) -> Kept | None:
        key = _key(request)
        kept = self._kept.get(key)
        # what an account sees through its key is not for the disk, which others may share
        if kept is None and request.public and self._file is not None:
            stored = read_cache(self._file, self._root_url)
            if stored is not None:
                kept = Kept(read_entries(stored[1]), stored[0])
                self._kept[key] = kept
                self._changes += 1
        return kept

    def _is_fresh(self, key: str, kept: Kept) -> bool:
        now = self.now()
        # a file from the future was written by a clock that has been set since
        return 0 <= now - kept.fetched < self._ttl or now < self._quiet_until.get(key, 0.0)


def _key(request: Request[Models]) -> str:
    return f"{request.path}?{request.query}"
