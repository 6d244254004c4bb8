"""Pools of HTTP clients, opened on first use, each with a few connections.

`httpcore`'s pool walks all its connections at each step of each request, and checks whether every
idle one is still open. With 100 concurrent async calls, each call takes 5,400 µs of CPU time in one
pool, 1,230 in pools of eight, 1,040 in pools of four, and no less in smaller ones. A call takes the
first HTTP client with room and releases its place when its answer is read. So few calls use few
connections, and there are never more open connections than there were concurrent calls.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401 - a first connect would import it
import contextlib
import encodings.idna  # noqa: F401 - a first connect would import it
import functools
import math
import os
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Generic, Protocol, TypeVar

import anyio
import httpcore  # noqa: F401 - a first connect would import it
import httpx

from lunos_core.errors import LunosConfigError
from lunos_core.forks import first_use
from lunos_core.transport.loop_cleanup import LoopCleanup, running_loop

H_co = TypeVar("H_co", httpx.Client, httpx.AsyncClient, covariant=True)
H = TypeVar("H", httpx.Client, httpx.AsyncClient)
T = TypeVar("T")

WIDTH = 4
"""The most concurrent calls in one HTTP client."""

IDLE = 30.0
"""Seconds after which an HTTP client that only a burst of calls needed is closed."""

# No limit on connections: five hundred concurrent calls get five hundred connections, not a queue
# that ends in pool timeouts. All are kept alive, as no HTTP client ever uses more than these, and
# for the time that an agent may take between two calls: after httpx's own 5 seconds the next call
# would need a handshake. A connection that the server has closed is detected before it is used.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=WIDTH, keepalive_expiry=IDLE)


class Place(Protocol[H_co]):
    """The right to send one request through an HTTP client."""

    @property
    def http(self) -> H_co:
        """The HTTP client."""
        ...

    @property
    def headers(self) -> Mapping[str, str] | None:
        """The headers that our own client adds to each request; `None` for a user's client."""
        ...

    def release(self) -> None:
        """Give the place back after the answer has been read or abandoned."""


class GivenClient(Generic[H]):
    """The user's own HTTP client, with the user's limits."""

    headers = None

    def __init__(self, http: H) -> None:
        self.http: H = http

    def release(self) -> None:
        """Do nothing: places aren't counted."""


class Shard(Generic[T]):
    """One of several HTTP clients, and the number of its running calls."""

    __slots__ = ("_lock", "headers", "http", "idle_since", "under_way")

    def __init__(self, http: T, lock: AbstractContextManager[Any]) -> None:
        self.http = http
        self.headers: Mapping[str, str] = dict(getattr(http, "headers", {}))
        self.under_way = 0
        self.idle_since = 0.0
        self._lock = lock

    def release(self) -> None:
        """Give a place back."""
        with self._lock:
            self.under_way -= 1
            if not self.under_way:
                self.idle_since = time.monotonic()


class Shards(Generic[T]):
    """As many HTTP clients as the running calls need. Safe to share between threads.

    Args:
        make: creates an HTTP client.
        width: the most concurrent calls in each of them.
    """

    def __init__(self, make: Callable[[], T], width: float = WIDTH) -> None:
        self._make = make
        self._width = width
        self._shards: list[Shard[T]] = []
        # re-entrant: creating a client may start a garbage collection, which closes a forgotten
        # stream, which releases its place
        self._lock = threading.RLock()

    def acquire(self) -> tuple[Shard[T], T | None]:
        """Take a place for one call; also return an HTTP client that is no longer needed.

        The caller closes that client, as closing may have to be awaited. It is the last client,
        and has been idle for half a minute: `httpcore` closes idle connections only when a pool is
        used, and the last clients are used only in a burst of calls.
        """
        with self._lock:
            for shard in self._shards:
                if shard.under_way < self._width:
                    break
            else:
                # inside the lock: otherwise one of two threads' clients would never be closed
                shard = Shard(self._make(), self._lock)
                self._shards.append(shard)
            shard.under_way += 1
            last = self._shards[-1]
            if last.under_way or time.monotonic() - last.idle_since < IDLE:
                return shard, None
            return shard, self._shards.pop().http

    def drain(self) -> Iterator[T]:
        """Yield all HTTP clients so that they can be closed; the next call creates new ones."""
        while True:
            with self._lock:
                if not self._shards:
                    return
                shard = self._shards.pop()
            yield shard.http


class ClientPool:
    """The sync HTTP clients of one `Client`: created on first use, closed with their owner."""

    def __init__(self) -> None:
        self._pid = 0
        self._shards: Shards[httpx.Client] | None = None

    def acquire(self) -> Place[httpx.Client]:
        """Take a place for one call."""
        shards = self._shards
        if shards is None or self._pid != os.getpid():
            shards = self._begin()
        place, unneeded = shards.acquire()
        if unneeded is not None:
            with contextlib.suppress(Exception):  # closing an idle client must fail no call
                unneeded.close()
        return place

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        if self._shards is not None:
            _close_in(self._pid, self._shards)

    def _begin(self) -> Shards[httpx.Client]:
        with first_use:
            _load_certificates()
            if self._shards is None or self._pid != os.getpid():
                # after a fork, the parent's sockets belong to the parent
                self._shards = Shards(functools.partial(_new_http, httpx.Client))
                self._pid = os.getpid()
                # frameworks never call close(), so the connections end with their owner
                weakref.finalize(self, _close_in, self._pid, self._shards)
            return self._shards


class AsyncClientPool:
    """The async HTTP clients of one `AsyncClient`, for each event loop that uses it.

    Frameworks switch loops, and a connection that is kept alive dies with its loop.

    Args:
        transport: as in `Config`.
    """

    def __init__(self, transport: str) -> None:
        self._transport = transport
        self._pid = os.getpid()
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopClients]
        self._loops = weakref.WeakKeyDictionary()

    async def acquire(self) -> Place[httpx.AsyncClient]:
        """Take a place for one call."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._loops = weakref.WeakKeyDictionary()
        loop = running_loop()
        own = self._loops.get(loop)
        if own is None:
            with first_use:
                _load_certificates()
                # the connections of a loop that was closed manually refer to it: weak keys alone
                # would keep both forever
                for gone in [old for old in self._loops if old.is_closed()]:
                    del self._loops[gone]
                own = self._loops[loop] = _LoopClients(self, self._transport)
        place, unneeded = own.shards.acquire()
        if unneeded is not None:
            try:
                await unneeded.aclose()
            except BaseException:  # such as a cancellation: the place wasn't used
                place.release()
                raise
        return place

    async def close(self) -> None:
        """Close the connections of this event loop; the next call opens new ones."""
        loop = asyncio.get_running_loop()
        own = self._loops.get(loop)
        if own is not None:
            await own.closer.close()
            self._loops.pop(loop, None)  # last: a cancelled close can be repeated


class _LoopClients:
    def __init__(self, owner: AsyncClientPool, transport: str) -> None:
        if transport == "aiohttp":
            from lunos_core.transport.aiohttp import AiohttpClient

            limits = httpx.Limits(max_connections=0, keepalive_expiry=IDLE)  # 0 means no limit
            make = functools.partial(_new_http, AiohttpClient, limits)
            self.shards = Shards(make, math.inf)  # its pool isn't slower when it is wide
        else:
            _import_anyio()
            self.shards = Shards(functools.partial(_new_http, httpx.AsyncClient))
        self.closer = LoopCleanup(functools.partial(_aclose, self.shards), owner)


def _import_anyio() -> None:
    """Import the parts of anyio that httpcore would import at the first connect."""
    _ = anyio.connect_tcp
    anyio.get_cancelled_exc_class()  # any call loads the backend


async def _aclose(shards: Shards[httpx.AsyncClient]) -> None:
    for http in shards.drain():
        await http.aclose()


def _close_in(pid: int, shards: Shards[httpx.Client]) -> None:
    """Close in the process that opened the sockets; a fork has only copies."""
    if os.getpid() == pid:
        for http in shards.drain():
            http.close()


def checked(given: H | None, kind: type[H]) -> H | None:
    """Return the user's own HTTP client, after checking its type.

    Raises:
        TypeError: it is something else, such as the async client instead of the sync one.
    """
    if given is not None and not isinstance(given, kind):
        raise TypeError(f"an httpx.{kind.__name__} is needed, not {type(given).__name__}")
    return given


def _new_http(kind: type[H], limits: httpx.Limits = _LIMITS) -> H:
    """Create our own HTTP client.

    Raises:
        LunosConfigError: the environment names a proxy or certificates that can't be used.
    """
    with _environment_errors():
        http = kind(verify=_ssl_context(), limits=limits)
    # each request has its own, and httpx would need 8 µs to find that out
    for name in ("accept", "user-agent"):
        del http.headers[name]
    # an API with a key needs no cookies, and looking for them takes 30 µs in every answer
    http.cookies.extract_cookies = _no_cookies  # type: ignore[method-assign]  # of this object
    return http


def _no_cookies(response: httpx.Response) -> None:
    """Do nothing, instead of `httpx.Cookies.extract_cookies`."""


def _load_certificates() -> None:
    with _environment_errors():
        _ssl_context()


@functools.cache
def _ssl_context() -> ssl.SSLContext:
    """Return the process's SSL context: loading the certificates takes 18 to 50 ms."""
    return httpx.create_ssl_context()


@contextlib.contextmanager
def _environment_errors() -> Iterator[None]:
    """Raise httpx's errors about the environment as ours, which names the variables."""
    try:
        yield
    except LunosConfigError:
        raise
    except (OSError, ValueError, ImportError, httpx.InvalidURL) as failure:
        # ssl's errors are OSErrors
        if isinstance(failure, OSError):
            files = [name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)]
            named = " and ".join(files) or "the system"
            text = f"the certificates named by {named} can't be loaded: {failure}"
        else:
            variables = sorted(name for name in os.environ if name.upper().endswith("_PROXY"))
            named = ", ".join(name for name in variables if name.upper() != "NO_PROXY")
            # without the message's URL, which may have a password
            text = f"the proxy that the environment names ({named}) can't be used: " + (
                "its scheme or port isn't valid"
                if not isinstance(failure, ImportError)
                else 'a SOCKS proxy needs a package: pip install "httpx[socks]"'
            )
        raise LunosConfigError(text) from None
