"""Which HTTP client a call goes through: the user's own, or one of ours, opened at first use."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import os
import ssl
import threading
import weakref
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

import httpx

from lunos_core.errors import LunosConfigError
from lunos_core.transport.loop_cleanup import LoopCleanup, running_loop
from lunos_core.transport.shards import IDLE, WIDTH, Shards

H_co = TypeVar("H_co", httpx.Client, httpx.AsyncClient, covariant=True)
H = TypeVar("H", httpx.Client, httpx.AsyncClient)


class Place(Protocol[H_co]):
    """The right to make one request through a client."""

    @property
    def http(self) -> H_co:
        """The client."""
        ...

    def release(self) -> None:
        """The answer is read, or given up."""


class GivenClient(Generic[H]):
    """The user's own client, with room for as many calls as the user's limits allow."""

    def __init__(self, http: H) -> None:
        self.http: H = http

    def release(self) -> None:
        """Nothing is counted."""


class ClientPool:
    """The sync clients of one `Client`: made at first use, closed with their owner."""

    def __init__(self) -> None:
        self._pid = 0
        self._shards: Shards[httpx.Client] | None = None

    def acquire(self) -> Place[httpx.Client]:
        """A place for one call."""
        shards = self._shards
        if shards is None or self._pid != os.getpid():
            shards = self._begin()
        place, unneeded = shards.acquire()
        if unneeded is not None:
            with contextlib.suppress(
                Exception
            ):  # no call fails because an idle client does not close
                unneeded.close()
        return place

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        if self._shards is not None:
            _close_in(self._pid, self._shards)

    def _begin(self) -> Shards[httpx.Client]:
        with _making:
            if self._shards is None or self._pid != os.getpid():
                # after a fork the parent's sockets stay the parent's
                self._shards = Shards(functools.partial(new_http, httpx.Client))
                self._pid = os.getpid()
                # frameworks never call close(): the connections end with their owner
                weakref.finalize(self, _close_in, self._pid, self._shards)
            return self._shards


class AsyncClientPool:
    """The async clients of one `AsyncClient`, for each event loop that uses it.

    Frameworks hop loops, and a kept-alive connection dies with its own.

    Args:
        transport: as `Config` has it.
    """

    def __init__(self, transport: str) -> None:
        self._transport = transport
        self._pid = os.getpid()
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopClients]
        self._loops = weakref.WeakKeyDictionary()

    async def acquire(self) -> Place[httpx.AsyncClient]:
        """A place for one call."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._loops = weakref.WeakKeyDictionary()
        loop = running_loop()
        own = self._loops.get(loop)
        if own is None:
            with _making:
                # the connections of a loop that was closed by hand hold on to it: weak keys alone
                # would keep both for ever
                for gone in [old for old in self._loops if old.is_closed()]:
                    del self._loops[gone]
                own = self._loops[loop] = _LoopClients(self, self._transport)
        place, unneeded = own.shards.acquire()
        if unneeded is not None:
            try:
                await unneeded.aclose()
            except BaseException:  # cancelled, say: the place was not used
                place.release()
                raise
        return place

    async def close(self) -> None:
        """Close the connections of this event loop; the next call opens new ones."""
        loop = asyncio.get_running_loop()
        own = self._loops.get(loop)
        if own is not None:
            await own.closer.close()
            self._loops.pop(loop, None)  # after: a close that was cancelled can be made again


class _LoopClients:
    """The clients of one event loop."""

    def __init__(self, owner: AsyncClientPool, transport: str) -> None:
        if transport == "aiohttp":
            self.shards = Shards(_new_aiohttp, math.inf)  # its pool takes no longer when it is wide
        else:
            self.shards = Shards(functools.partial(new_http, httpx.AsyncClient))
        self.closer = LoopCleanup(functools.partial(_aclose, self.shards), owner)


async def _aclose(shards: Shards[httpx.AsyncClient]) -> None:
    for http in shards.drain():
        await http.aclose()


def _close_in(pid: int, shards: Shards[httpx.Client]) -> None:
    """Close, but in the process that opened: a fork's copy of the sockets is not its own."""
    if os.getpid() == pid:
        for http in shards.drain():
            http.close()


def checked(given: H | None, kind: type[H]) -> H | None:
    """The user's own HTTP client, if it is of the kind that is needed.

    Raises:
        TypeError: it is another thing, such as the async client in the place of the sync one.
    """
    if given is not None and not isinstance(given, kind):
        raise TypeError(f"an httpx.{kind.__name__} is needed, not {type(given).__name__}")
    return given


def _new_lock() -> None:
    """A lock that another thread of the parent held would stay held in its fork for ever."""
    global _making
    _making = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)

_making = threading.Lock()  # of two threads' clients, one would never be closed


# Without bounds on connections: five hundred calls at once are five hundred connections, not a
# queue that ends in pool timeouts. All are kept alive: no client ever has more than these in use;
# and as long as an agent may think between two calls: httpx' own 5 seconds would cost the next one
# a handshake. One that the server has closed meanwhile is seen before it is used.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=WIDTH, keepalive_expiry=IDLE)


def new_http(kind: type[H]) -> H:
    """Make a client of our own.

    Raises:
        LunosConfigError: the environment names a proxy or certificates that can't be used.
    """
    with _environment_errors():
        return _quick(kind(verify=_ssl_context(), limits=_LIMITS))


@contextlib.contextmanager
def _environment_errors() -> Iterator[None]:
    """Raise what httpx makes of the environment as our error, which names the variables."""
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
            # without the URL of the message: it may have a password
            text = f"the proxy that the environment names ({named}) can't be used: " + (
                "its scheme or port isn't valid"
                if not isinstance(failure, ImportError)
                else 'a SOCKS proxy needs a package: pip install "httpx[socks]"'
            )
        raise LunosConfigError(text) from None


def _quick(http: H) -> H:
    # every request says its own: httpx takes 8 µs to find that out, each time
    for name in ("accept", "user-agent"):
        del http.headers[name]
    # an API with a key needs no cookies, and looking for some takes 30 µs of every answer
    http.cookies.extract_cookies = _no_cookies  # type: ignore[method-assign]  # of one object
    return http


def _new_aiohttp() -> httpx.AsyncClient:
    """An httpx client over aiohttp: whatever httpx adds to requests and answers stays the same."""
    from lunos_core.transport.aiohttp import AiohttpClient

    limits = httpx.Limits(max_connections=0, keepalive_expiry=IDLE)  # aiohttp's word for no limit
    with _environment_errors():
        return _quick(AiohttpClient(verify=_ssl_context(), limits=limits))


def _no_cookies(response: httpx.Response) -> None:
    """In the place of `httpx.Cookies.extract_cookies`."""


@functools.cache
def _ssl_context() -> ssl.SSLContext:
    """One for the process: loading the certificates takes 18 to 50 ms."""
    return httpx.create_ssl_context()
