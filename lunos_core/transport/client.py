"""The clients that send requests: two verbs, `send` and `stream`, for every endpoint.

Only these loops do I/O. Their decisions are in `call` and `stream_call`, which both clients share.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from typing import Any, Self, TypeVar

import httpx

from lunos_core.accounting.observers import Observer
from lunos_core.accounting.pricing import Prices
from lunos_core.config import Config
from lunos_core.errors import ErrorMap, LunosConfigError, LunosError
from lunos_core.logs import log, reason_of
from lunos_core.request import Request, StreamRequest
from lunos_core.transport.call import SendCall
from lunos_core.transport.deadline import bounded, watch, watch_new_connection, within
from lunos_core.transport.exchange import Exchange, Trace
from lunos_core.transport.httpx_errors import FAILURES, LATE_FAILURES, translate_error, unusable
from lunos_core.transport.httpx_messages import (
    build_request,
    headers_of,
    is_stale,
    note_reads,
    pieces,
    stale,
)
from lunos_core.transport.loop_cleanup import running_loop
from lunos_core.transport.pool import AsyncClientPool, ClientPool, GivenClient, Place, checked
from lunos_core.transport.stream_call import StreamCall, is_streamed
from lunos_core.transport.streams import OPENED, AsyncStream, Stream

T = TypeVar("T")

# for signatures in other modules, which are read at run time and must not import httpx
HttpxClient = httpx.Client
AsyncHttpxClient = httpx.AsyncClient

_AnyCall = SendCall[Any] | StreamCall[Any]
_NO_PRICES = "the prices for a budget can't be loaded: %s"


class Client:
    """Send requests and return their results. Safe to share between threads.

    Args:
        config: the address, the key, timeouts and retries.
        http_client: an `httpx.Client` of your own, used unchanged and left open by `close()`.
        errors: the error classes to raise; adapters pass their own.
        observers: called with a `CallRecord` when a call is over.
        prices: `catalog.cached`, for the cost of answers that have none; not pickled.

    Example:
        >>> from lunos_core import Client, Config, chat_request
        >>> hello = [{"role": "user", "content": "Hello"}]
        >>> with Client(Config.from_env()) as client:
        ...     completion = client.send(chat_request(hello, model="lunos/scripted"))
        >>> completion.text
        'Scripted answer to: Hello'
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
        self._given = checked(http_client, httpx.Client)
        self._clients = ClientPool()
        self._errors = errors or ErrorMap()
        self._observers = observers
        self.prices = prices
        self._no_stream_options: set[str | None] = set()  # models whose servers refuse it
        self._paths: dict[str, str] = {}  # a missing path, and the one that answered instead
        self._priced: set[str] = set()
        self.load_prices: Callable[[Client], Prices] | None = None

    def send(self, request: Request[T]) -> T:
        """Send a request, retrying where that helps, and return its result.

        Raises:
            LunosError: the request failed, and retrying did not help.
        """
        call = SendCall(self.config, request, self._errors, self._observers, self.prices)
        call.know_paths(self._paths)
        if call.observers:
            self._admit(call)
        while True:
            place = self._take()
            response: httpx.Response | None = None
            try:
                response = self._open(call, place)
                body = b"".join(bounded(pieces(response), call.deadline))
                return call.finish(response.status_code, response.headers, body)
            except FAILURES as failure:
                error, retry = translate_error(failure, call)
                delay = call.failed(error, retry=retry, **_answer(response))
            except BaseException:
                call.abandon()
                raise
            finally:
                _leave(response, place)
            time.sleep(delay)

    def stream(self, request: StreamRequest[T]) -> Stream[T]:
        """Open a stream, retrying where that helps, and return its chunks as they arrive.

        Raises:
            LunosError: the stream could not be opened. Iterating raises one if it breaks later.
        """
        return Stream.opened(self._chunks(request))

    def _chunks(self, request: StreamRequest[T]) -> Generator[T]:
        call = StreamCall(self.config, request, self._errors, self._observers, self.prices)
        call.know_refusals(self._no_stream_options)
        if call.observers:
            self._admit(call)
        opened = False
        try:
            while True:
                place = self._take()
                response: httpx.Response | None = None
                try:
                    response = self._open(call, place)
                    body = None
                    if not is_streamed(response.status_code, response.headers):
                        body = b"".join(bounded(pieces(response), call.deadline))
                    chunks = call.open(response.status_code, response.headers, body)
                    if not opened:
                        opened = True
                        yield OPENED
                    yield from chunks
                    if body is None:
                        for data in bounded(pieces(response), call.listen()):
                            yield from call.feed(data)
                    yield from call.end()
                    return
                except FAILURES as failure:
                    if call.whole and isinstance(failure, LATE_FAILURES):
                        yield from call.end()
                        return
                    error, retry = translate_error(failure, call)
                    error = call.interrupted(error)
                    delay = call.failed(error, retry=retry, **_answer(response))
                finally:
                    _leave(response, place)
                time.sleep(delay)
        finally:
            call.tell_observers()

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        self._clients.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(
            type(self), http_client=self._given, errors=self._errors, observers=self._observers
        ), (self.config,)

    def _admit(self, call: _AnyCall) -> None:
        """Wait until budgets and limits allow a call, loading the prices that they need."""
        if self.load_prices is not None and call.wants_prices(self._priced):
            load, self.load_prices = self.load_prices, None  # only once, even if it fails
            try:
                self.prices = load(self)
            except LunosError as error:
                log.warning(_NO_PRICES, reason_of(error))
        for seconds in call.admission(self.prices):
            time.sleep(seconds)

    def _take(self) -> Place[httpx.Client]:
        if self._given is not None:
            return GivenClient(self._given)
        try:
            return self._clients.acquire()
        except LunosConfigError as error:
            raise self._errors.apply(error) from None

    def _open(self, call: _AnyCall, place: Place[httpx.Client]) -> httpx.Response:
        call.deadline.attempt()
        http = place.http
        try:
            if not call.deadline.limited:
                response = http.send(build_request(place, call), stream=True)
            else:
                with within(call.deadline):
                    request = build_request(place, call, watch_new_connection)
                    response = http.send(request, stream=True)
        except RuntimeError as failure:
            raise unusable(http, failure) from None
        if is_stale(response, watch):
            response.close()
            raise stale(response)
        return response


class AsyncClient:
    """`Client`, awaited. One instance may be used from several event loops.

    Args:
        config: the address, the key, timeouts and retries.
        http_client: an `httpx.AsyncClient` of your own; it belongs to one event loop.
        errors: the error classes to raise; adapters pass their own.
        observers: called with a `CallRecord` when a call is over.
        prices: `catalog.cached`, for the cost of answers that have none; not pickled.

    Example:
        >>> import asyncio
        >>> from lunos_core import AsyncClient, Config, chat_request
        >>> hello = [{"role": "user", "content": "Hello"}]
        >>> async def ask():
        ...     request = chat_request(hello, model="lunos/scripted")
        ...     async with AsyncClient(Config.from_env()) as client:
        ...         return await client.send(request)
        >>> asyncio.run(ask()).text
        'Scripted answer to: Hello'
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
        self._given = checked(http_client, httpx.AsyncClient)
        self._clients = AsyncClientPool(config.transport)
        self._errors = errors or ErrorMap()
        self._observers = observers
        self.prices = prices
        self._no_stream_options: set[str | None] = set()  # models whose servers refuse it
        self._paths: dict[str, str] = {}  # a missing path, and the one that answered instead
        self._priced: set[str] = set()
        self.load_prices: Callable[[AsyncClient], Awaitable[Prices]] | None = None

    async def send(self, request: Request[T]) -> T:
        """Send a request, retrying where that helps, and return its result.

        Raises:
            LunosError: the request failed, and retrying did not help.
        """
        key = None if request.public else await self.config.aget_key()
        call = SendCall(self.config, request, self._errors, self._observers, self.prices, key=key)
        call.know_paths(self._paths)
        if call.observers:
            await self._admit(call)
        while True:
            exchange = self._begin(call)
            try:
                response = await exchange.opened()
                return call.finish(response.status_code, response.headers, exchange.body or b"")
            except FAILURES as failure:
                error, retry = translate_error(failure, call)
                delay = call.failed(error, retry=retry, **_answer(exchange.response))
            except BaseException:
                call.abandon()
                raise
            finally:
                await exchange.close()
            await asyncio.sleep(delay)

    async def stream(self, request: StreamRequest[T]) -> AsyncStream[T]:
        """Open a stream, retrying where that helps, and return its chunks as they arrive.

        Raises:
            LunosError: the stream could not be opened. Iterating raises one if it breaks later.
        """
        return await AsyncStream.opened(self._chunks(request))

    async def _chunks(self, request: StreamRequest[T]) -> AsyncGenerator[T]:
        key = None if request.public else await self.config.aget_key()
        call = StreamCall(self.config, request, self._errors, self._observers, self.prices, key=key)
        call.know_refusals(self._no_stream_options)
        if call.observers:
            await self._admit(call)
        opened = False
        try:
            while True:
                exchange = self._begin(call)
                try:
                    response = await exchange.opened()
                    chunks = call.open(response.status_code, response.headers, exchange.body)
                    if not opened:
                        opened = True
                        yield OPENED
                    for chunk in chunks:
                        yield chunk
                    if exchange.body is None:
                        call.listen()
                        async for data in exchange.pieces():
                            for chunk in call.feed(data):
                                yield chunk
                    for chunk in call.end():
                        yield chunk
                    return
                except FAILURES as failure:
                    if call.whole and isinstance(failure, LATE_FAILURES):
                        for chunk in call.end():
                            yield chunk
                        return
                    error, retry = translate_error(failure, call)
                    error = call.interrupted(error)
                    delay = call.failed(error, retry=retry, **_answer(exchange.response))
                finally:
                    await exchange.close()
                await asyncio.sleep(delay)
        finally:
            call.tell_observers()

    async def close(self) -> None:
        """Close the connections of this event loop; the next call opens new ones."""
        await self._clients.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(
            type(self), http_client=self._given, errors=self._errors, observers=self._observers
        ), (self.config,)

    def _begin(self, call: _AnyCall) -> Exchange:
        running_loop()  # raises a clear error if asyncio isn't running
        send = functools.partial(self._open, call)
        return Exchange(self._take, send, call.deadline, stream=isinstance(call, StreamCall))

    async def _admit(self, call: _AnyCall) -> None:
        if self.load_prices is not None and call.wants_prices(self._priced):
            load, self.load_prices = self.load_prices, None
            try:
                self.prices = await load(self)
            except LunosError as error:
                log.warning(_NO_PRICES, reason_of(error))
        for seconds in call.admission(self.prices):
            await asyncio.sleep(seconds)

    async def _take(self) -> Place[httpx.AsyncClient]:
        if self._given is None:
            return await self._clients.acquire()
        return GivenClient(self._given)

    async def _open(
        self, call: _AnyCall, place: Place[httpx.AsyncClient], trace: Trace
    ) -> httpx.Response:
        http = place.http
        try:
            response = await http.send(build_request(place, call, trace), stream=True)
        except RuntimeError as failure:
            raise unusable(http, failure) from None
        if is_stale(response, note_reads):
            await response.aclose()
            raise stale(response)
        return response


def _leave(response: httpx.Response | None, place: Place[httpx.Client]) -> None:
    """End an attempt: release the connection first, then its place."""
    try:
        if response is not None:
            response.close()
    finally:
        place.release()


def _answer(response: httpx.Response | None) -> dict[str, Any]:
    if response is None:
        return {"status": None, "headers": {}}
    return {"status": response.status_code, "headers": headers_of(response)}
