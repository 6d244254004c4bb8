"""The only I/O of the project, and the only module that knows httpx.

Two verbs, `send` and `stream`, for every endpoint. What happens between them is in `_call.py`.
"""

from __future__ import annotations

import asyncio
import functools
import os
import ssl
import threading
import time
import weakref
from collections.abc import AsyncGenerator, Generator, Sequence
from typing import Any, Self, TypeVar

import httpx

from lunos_core._call import ErrorMap, SendCall, StreamCall, is_streamed
from lunos_core._loop_ends import Closer, running_loop
from lunos_core._patience import Patience, hold_reads, let_go
from lunos_core._pricing import Prices
from lunos_core.config import Config, Timeout
from lunos_core.errors import (
    LunosConfigError,
    LunosConnectionError,
    LunosError,
    LunosResponseError,
    LunosTimeoutError,
)
from lunos_core.ledger import Observer
from lunos_core.request import Request, StreamRequest
from lunos_core.streams import OPENED, AsyncStream, Stream

T = TypeVar("T")

_FAILURES = (LunosError, httpx.HTTPError, httpx.StreamError)

# The server cannot have answered, or its answer was lost on the way. A read timeout is not among
# them: the model may still be at work on a request that will be paid for. The user may choose.
_RETRIED = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ReadError,
    httpx.WriteError,
    httpx.RemoteProtocolError,
)
_RETRIED_AS_CHOSEN = (httpx.ReadTimeout, httpx.WriteTimeout)

# What may happen to a connection whose answer is whole.
_LATE_FAILURES = (httpx.HTTPError, LunosTimeoutError)

_AnyCall = SendCall[Any] | StreamCall[Any]


class Client:
    """Sends requests and gives their results. Safe to share between threads.

    Args:
        config: where to, as whom, how patiently.
        http_client: an `httpx.Client` of your own, used as it is and left open by `close()`.
        errors: how errors leave (adapters give their own classes).
        observers: called with a `CallRecord` when a call is over.
        prices: `catalog.cached`, for the cost of answers that name none; left behind by pickles.
    """

    def __init__(
        self,
        config: Config,
        *,
        http_client: httpx.Client | None = None,
        errors: ErrorMap | None = None,
        observers: Sequence[Observer] = (),
        prices: Prices | None = None,
    ) -> None:
        self.config = config
        self._given = _checked(http_client, httpx.Client)
        self._own: httpx.Client | None = None
        self._pid = os.getpid()
        self._errors = errors or ErrorMap()
        self._observers = observers
        self.prices = prices

    def send(self, request: Request[T]) -> T:
        """Send a request, again where that may help, and give its result.

        Raises:
            LunosError: it failed for good.
        """
        call = SendCall(self.config, request, self._errors, self._observers, self.prices)
        while True:
            response: httpx.Response | None = None
            try:
                response = self._open(call)
                body = _read(response, call.patience)
                return call.finish(response.status_code, _headers(response), body)
            except _FAILURES as failure:
                error, retry = _understand(failure, call)
                delay = call.failed(error, retry=retry, **_answer(response))
            finally:
                if response is not None:
                    let_go(response)
                    response.close()
            time.sleep(delay)

    def stream(self, request: StreamRequest[T]) -> Stream[T]:
        """Open a stream, again where that may help, and give its chunks as they come.

        Raises:
            LunosError: it could not be opened; later, from the iteration: it broke.
        """
        return Stream.opened(self._chunks(request))

    def _chunks(self, request: StreamRequest[T]) -> Generator[T]:
        """`OPENED` when the stream is open, then its chunks."""
        call = StreamCall(self.config, request, self._errors, self._observers, self.prices)
        opened = False
        try:
            while True:
                response: httpx.Response | None = None
                try:
                    response = self._open(call)
                    body = None if _streams(response) else _read(response, call.patience)
                    chunks = call.open(response.status_code, _headers(response), body)
                    if not opened:
                        opened = True
                        yield OPENED
                    yield from chunks
                    if body is None:
                        hold_reads(response, call.patience)
                        for data in response.iter_bytes():
                            call.patience.received(len(data))
                            yield from call.feed(data)
                            call.patience.check()
                    yield from call.end()
                    return
                except _FAILURES as failure:
                    if call.whole and isinstance(failure, _LATE_FAILURES):
                        yield from call.end()
                        return
                    error, retry = _understand(failure, call)
                    error = call.interrupted(error)
                    delay = call.failed(error, retry=retry, **_answer(response))
                finally:
                    if response is not None:
                        let_go(response)
                        response.close()
                time.sleep(delay)
        finally:
            call.over()

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        if self._own is not None:
            self._own.close()
            self._own = None

    def __enter__(self) -> Self:
        """Nothing is opened before the first call."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Settings travel, connections do not."""
        return functools.partial(
            type(self), http_client=self._given, errors=self._errors, observers=self._observers
        ), (self.config,)

    def _open(self, call: _AnyCall) -> httpx.Response:
        http = self._http()
        try:
            return http.send(http.build_request(**_arguments(call)), stream=True)
        except RuntimeError as failure:
            raise _unusable(http, failure) from None

    def _http(self) -> httpx.Client:
        if self._given is not None:
            return self._given
        with _making:
            if self._own is None or self._pid != os.getpid():
                # after a fork the parent's sockets stay the parent's
                self._pid = os.getpid()
                self._own = httpx.Client(verify=_ssl_context(), limits=_LIMITS)
                # frameworks never call close(): the connections end with their owner
                weakref.finalize(self, _close_in, self._pid, self._own)
            return self._own


class AsyncClient:
    """`Client`, awaited. One instance may be used from several event loops.

    Args:
        config: where to, as whom, how patiently.
        http_client: an `httpx.AsyncClient` of your own; it belongs to one event loop.
        errors: how errors leave (adapters give their own classes).
        observers: called with a `CallRecord` when a call is over.
        prices: `catalog.cached`, for the cost of answers that name none; left behind by pickles.
    """

    def __init__(
        self,
        config: Config,
        *,
        http_client: httpx.AsyncClient | None = None,
        errors: ErrorMap | None = None,
        observers: Sequence[Observer] = (),
        prices: Prices | None = None,
    ) -> None:
        self.config = config
        self._given = _checked(http_client, httpx.AsyncClient)
        # by loop: frameworks hop loops, and a kept-alive connection dies with its own
        self._own: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopClient]
        self._own = weakref.WeakKeyDictionary()
        self._pid = os.getpid()
        self._errors = errors or ErrorMap()
        self._observers = observers
        self.prices = prices

    async def send(self, request: Request[T]) -> T:
        """Send a request, again where that may help, and give its result.

        Raises:
            LunosError: it failed for good.
        """
        call = SendCall(self.config, request, self._errors, self._observers, self.prices)
        while True:
            response: httpx.Response | None = None
            try:
                response = await self._open(call)
                body = await _aread(response, call.patience)
                return call.finish(response.status_code, _headers(response), body)
            except _FAILURES as failure:
                error, retry = _understand(failure, call)
                delay = call.failed(error, retry=retry, **_answer(response))
            finally:
                if response is not None:
                    let_go(response)
                    await response.aclose()
            await asyncio.sleep(delay)

    async def stream(self, request: StreamRequest[T]) -> AsyncStream[T]:
        """Open a stream, again where that may help, and give its chunks as they come.

        Raises:
            LunosError: it could not be opened; later, from the iteration: it broke.
        """
        return await AsyncStream.opened(self._chunks(request))

    async def _chunks(self, request: StreamRequest[T]) -> AsyncGenerator[T]:
        """`OPENED` when the stream is open, then its chunks."""
        call = StreamCall(self.config, request, self._errors, self._observers, self.prices)
        opened = False
        try:
            while True:
                response: httpx.Response | None = None
                try:
                    response = await self._open(call)
                    body = None if _streams(response) else await _aread(response, call.patience)
                    chunks = call.open(response.status_code, _headers(response), body)
                    if not opened:
                        opened = True
                        yield OPENED
                    for chunk in chunks:
                        yield chunk
                    if body is None:
                        hold_reads(response, call.patience)
                        async for data in response.aiter_bytes():
                            call.patience.received(len(data))
                            for chunk in call.feed(data):
                                yield chunk
                            call.patience.check()
                    for chunk in call.end():
                        yield chunk
                    return
                except _FAILURES as failure:
                    if call.whole and isinstance(failure, _LATE_FAILURES):
                        for chunk in call.end():
                            yield chunk
                        return
                    error, retry = _understand(failure, call)
                    error = call.interrupted(error)
                    delay = call.failed(error, retry=retry, **_answer(response))
                finally:
                    if response is not None:
                        let_go(response)
                        await response.aclose()
                await asyncio.sleep(delay)
        finally:
            call.over()

    async def close(self) -> None:
        """Close the connections of this event loop; the next call opens new ones."""
        own = self._own.pop(asyncio.get_running_loop(), None)
        if own is not None:
            await own.closer.close()

    async def __aenter__(self) -> Self:
        """Nothing is opened before the first call."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Settings travel, connections do not."""
        return functools.partial(
            type(self), http_client=self._given, errors=self._errors, observers=self._observers
        ), (self.config,)

    async def _open(self, call: _AnyCall) -> httpx.Response:
        http = self._http()
        try:
            return await http.send(http.build_request(**_arguments(call)), stream=True)
        except RuntimeError as failure:
            raise _unusable(http, failure) from None

    def _http(self) -> httpx.AsyncClient:
        loop = running_loop()
        if self._given is not None:
            return self._given
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._own = weakref.WeakKeyDictionary()
        own = self._own.get(loop)
        if own is None:
            with _making:
                # the connections of a loop that was closed by hand hold on to it: weak keys alone
                # would keep both for ever
                for gone in [old for old in self._own if old.is_closed()]:
                    del self._own[gone]
                own = self._own[loop] = _LoopClient(self)
        return own.http


def _close_in(pid: int, http: httpx.Client) -> None:
    """Close, but in the process that opened: a fork's copy of the sockets is not its own."""
    if os.getpid() == pid:
        http.close()


G = TypeVar("G", httpx.Client, httpx.AsyncClient)


def _checked(given: G | None, kind: type[G]) -> G | None:
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


class _LoopClient:
    """The client of one event loop."""

    def __init__(self, owner: AsyncClient) -> None:
        self.http = httpx.AsyncClient(verify=_ssl_context(), limits=_LIMITS)
        self.closer = Closer(self.http.aclose, owner)


# Without bounds on connections: five hundred calls at once are five hundred connections, not a
# queue that ends in pool timeouts. httpx' own 20 kept alive would open a new one for every call.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=100)


@functools.cache
def _ssl_context() -> ssl.SSLContext:
    """One for the process: loading the certificates takes 18 to 50 ms."""
    return httpx.create_ssl_context()


def _read(response: httpx.Response, patience: Patience) -> bytes:
    """The whole body, within the call's limits."""
    if patience.limited:
        hold_reads(response, patience)
    pieces = []
    for data in response.iter_bytes():
        patience.received(len(data))
        patience.check()
        pieces.append(data)
    return b"".join(pieces)


async def _aread(response: httpx.Response, patience: Patience) -> bytes:
    if patience.limited:
        hold_reads(response, patience)
    pieces = []
    async for data in response.aiter_bytes():
        patience.received(len(data))
        patience.check()
        pieces.append(data)
    return b"".join(pieces)


def _arguments(call: _AnyCall) -> dict[str, Any]:
    call.patience.attempt()
    return {
        "method": call.request.method,
        "url": call.url,
        "content": call.request.body,
        "headers": call.headers,
        "timeout": _timeout(call.timeout, call.patience),
    }


def _timeout(timeout: Timeout, patience: Patience) -> Any:
    if isinstance(timeout, int | float):
        # waiting for a free connection is no sign of trouble at the server
        timeout = httpx.Timeout(timeout, pool=None)
    if not patience.limited:
        return timeout
    return httpx.Timeout(
        connect=patience.cap(timeout.connect),
        read=patience.cap(timeout.read),
        write=patience.cap(timeout.write),
        pool=patience.cap(timeout.pool),
    )


def _headers(response: httpx.Response) -> dict[str, str]:
    return dict(response.headers)


def _answer(response: httpx.Response | None) -> dict[str, Any]:
    """What is known of an answer that failed."""
    if response is None:
        return {"status": None, "headers": {}}
    return {"status": response.status_code, "headers": _headers(response)}


def _streams(response: httpx.Response) -> bool:
    return is_streamed(response.status_code, dict(response.headers))


def _unusable(http: httpx.Client | httpx.AsyncClient, failure: RuntimeError) -> Exception:
    """What to raise where httpx raises a bare `RuntimeError`."""
    if http.is_closed:
        return LunosConfigError(
            "the HTTP client is closed: a client of your own must stay open as long as it is used"
        )
    if "event loop" in str(failure).lower():
        return LunosConfigError(
            f"the HTTP client belongs to another event loop ({failure}): an httpx.AsyncClient of "
            "your own serves one loop; leave it out to use several"
        )
    return failure


def _understand(failure: Exception, call: _AnyCall) -> tuple[LunosError, bool]:
    """The failure in our terms, and whether one of its kind may be tried again."""
    if isinstance(failure, LunosError):
        return failure, isinstance(failure, LunosTimeoutError) and call.retry_on_timeout
    error: LunosError
    name = type(failure).__name__
    if isinstance(failure, httpx.TimeoutException):
        error = call.patience.timed_out(name)
    elif isinstance(failure, httpx.DecodingError | httpx.StreamError):
        error = LunosResponseError(f"the answer could not be read ({name}): {failure}")
    else:
        reason = str(failure) or "no reason given"
        error = LunosConnectionError(f"the connection failed ({name}): {reason}")
    error.__cause__ = failure
    untrusted = "CERTIFICATE_VERIFY_FAILED" in str(failure)
    retried = (*_RETRIED, *_RETRIED_AS_CHOSEN) if call.retry_on_timeout else _RETRIED
    return error, isinstance(failure, retried) and not untrusted
