"""The only I/O of the project: httpx is known here and in the modules `_httpx_*`, nowhere else.

Two verbs, `send` and `stream`, for every endpoint. What happens between them is in `_call.py`.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Sequence
from typing import Any, Self, TypeVar

import httpx

from lunos_core.accounting.observers import Observer
from lunos_core.accounting.pricing import Prices
from lunos_core.config import Config
from lunos_core.errors import ErrorMap
from lunos_core.request import Request, StreamRequest
from lunos_core.transport.admission import AsyncLoadPrices, LoadPrices, aadmit, admit
from lunos_core.transport.batches import abatches, batches
from lunos_core.transport.call import SendCall, StreamCall, is_streamed
from lunos_core.transport.deadline import Patience, hold_reads, in_time, let_go
from lunos_core.transport.httpx_errors import FAILURES, LATE_FAILURES, understand, unusable
from lunos_core.transport.httpx_requests import Prepared
from lunos_core.transport.loop_cleanup import running_loop
from lunos_core.transport.pool import AsyncClients, Clients, GivenClient, Place, checked
from lunos_core.transport.streams import OPENED, AsyncStream, Stream

T = TypeVar("T")

_AnyCall = SendCall[Any] | StreamCall[Any]


class Client:
    """Sends requests and gives their results. Safe to share between threads.

    Args:
        config: where to, as whom, how patiently.
        http_client: an `httpx.Client` of your own, used as it is and left open by `close()`.
        errors: how errors leave (adapters give their own classes).
        observers: called with a `CallRecord` when a call is over.
        prices: `catalog.cached`, for the cost of answers that name none; left behind by pickles.

    Example:
        >>> from lunos_core import Client, Config, chat_request
        >>> hello = [{"role": "user", "content": "Hello"}]
        >>> with Client(Config(gateway.api_key, gateway.base_url)) as client:
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
        self._clients = Clients()
        self._prepared = Prepared(ours=http_client is None)
        self._errors = errors or ErrorMap()
        self._observers = observers
        self.prices = prices
        self.load_prices: LoadPrices | None = None

    def send(self, request: Request[T]) -> T:
        """Send a request, again where that may help, and give its result.

        Raises:
            LunosError: it failed for good.
        """
        call = SendCall(self.config, request, self._errors, self._observers, self.prices)
        admit(self, call)
        while True:
            place = self._take()
            response: httpx.Response | None = None
            try:
                response = self._open(call, place.http)
                body = _read(response, call.patience)
                return call.finish(response.status_code, _headers(response), body)
            except FAILURES as failure:
                error, retry = understand(failure, call)
                delay = call.failed(error, retry=retry, **_answer(response))
            except BaseException:
                call.abandon()
                raise
            finally:
                _leave(response, place)
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
        admit(self, call)
        opened = False
        try:
            while True:
                place = self._take()
                response: httpx.Response | None = None
                try:
                    response = self._open(call, place.http)
                    body = None if _streams(response) else _read(response, call.patience)
                    chunks = call.open(response.status_code, _headers(response), body)
                    if not opened:
                        opened = True
                        yield OPENED
                    yield from chunks
                    if body is None:
                        hold_reads(response, call.listen(), ahead=self._given is None)
                        for data in batches(_pieces(response), call.patience):
                            yield from call.feed(data)
                            call.go_on()
                    yield from call.end()
                    return
                except FAILURES as failure:
                    if call.whole and isinstance(failure, LATE_FAILURES):
                        yield from call.end()
                        return
                    error, retry = understand(failure, call)
                    error = call.interrupted(error)
                    delay = call.failed(error, retry=retry, **_answer(response))
                finally:
                    _leave(response, place)
                time.sleep(delay)
        finally:
            call.over()

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        self._clients.close()

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

    def _take(self) -> Place[httpx.Client]:
        return self._clients.take() if self._given is None else GivenClient(self._given)

    def _open(self, call: _AnyCall, http: httpx.Client) -> httpx.Response:
        try:
            return http.send(self._prepared.request(http, call), stream=True)
        except RuntimeError as failure:
            raise unusable(http, failure) from None


class AsyncClient:
    """`Client`, awaited. One instance may be used from several event loops.

    Args:
        config: where to, as whom, how patiently.
        http_client: an `httpx.AsyncClient` of your own; it belongs to one event loop.
        errors: how errors leave (adapters give their own classes).
        observers: called with a `CallRecord` when a call is over.
        prices: `catalog.cached`, for the cost of answers that name none; left behind by pickles.

    Example:
        >>> import asyncio
        >>> from lunos_core import AsyncClient, Config, chat_request
        >>> hello = [{"role": "user", "content": "Hello"}]
        >>> async def ask():
        ...     request = chat_request(hello, model="lunos/scripted")
        ...     async with AsyncClient(Config(gateway.api_key, gateway.base_url)) as client:
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
        self._clients = AsyncClients(config.transport)
        self._prepared = Prepared(ours=http_client is None)
        self._errors = errors or ErrorMap()
        self._observers = observers
        self.prices = prices
        self.load_prices: AsyncLoadPrices | None = None

    async def send(self, request: Request[T]) -> T:
        """Send a request, again where that may help, and give its result.

        Raises:
            LunosError: it failed for good.
        """
        key = None if request.public else await self.config.aget_key()
        call = SendCall(self.config, request, self._errors, self._observers, self.prices, key=key)
        await aadmit(self, call)
        while True:
            place = await self._take()
            response: httpx.Response | None = None
            try:
                response = await self._open(call, place.http)
                body = await _aread(response, call.patience)
                return call.finish(response.status_code, _headers(response), body)
            except FAILURES as failure:
                error, retry = understand(failure, call)
                delay = call.failed(error, retry=retry, **_answer(response))
            except BaseException:
                call.abandon()
                raise
            finally:
                await _aleave(response, place)
            await asyncio.sleep(delay)

    async def stream(self, request: StreamRequest[T]) -> AsyncStream[T]:
        """Open a stream, again where that may help, and give its chunks as they come.

        Raises:
            LunosError: it could not be opened; later, from the iteration: it broke.
        """
        return await AsyncStream.opened(self._chunks(request))

    async def _chunks(self, request: StreamRequest[T]) -> AsyncGenerator[T]:
        """`OPENED` when the stream is open, then its chunks."""
        key = None if request.public else await self.config.aget_key()
        call = StreamCall(self.config, request, self._errors, self._observers, self.prices, key=key)
        await aadmit(self, call)
        opened = False
        try:
            while True:
                place = await self._take()
                response: httpx.Response | None = None
                try:
                    response = await self._open(call, place.http)
                    body = None if _streams(response) else await _aread(response, call.patience)
                    chunks = call.open(response.status_code, _headers(response), body)
                    if not opened:
                        opened = True
                        yield OPENED
                    for chunk in chunks:
                        yield chunk
                    if body is None:
                        pieces = _held(response, call.listen(), ahead=self._given is None)
                        async for data in abatches(pieces, call.patience):
                            for chunk in call.feed(data):
                                yield chunk
                            call.go_on()
                    for chunk in call.end():
                        yield chunk
                    return
                except FAILURES as failure:
                    if call.whole and isinstance(failure, LATE_FAILURES):
                        for chunk in call.end():
                            yield chunk
                        return
                    error, retry = understand(failure, call)
                    error = call.interrupted(error)
                    delay = call.failed(error, retry=retry, **_answer(response))
                finally:
                    await _aleave(response, place)
                await asyncio.sleep(delay)
        finally:
            call.over()

    async def close(self) -> None:
        """Close the connections of this event loop; the next call opens new ones."""
        await self._clients.close()

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

    async def _take(self) -> Place[httpx.AsyncClient]:
        if self._given is None:
            return await self._clients.take()
        running_loop()  # says so where it is none of asyncio's
        return GivenClient(self._given)

    async def _open(self, call: _AnyCall, http: httpx.AsyncClient) -> httpx.Response:
        try:
            return await http.send(self._prepared.request(http, call), stream=True)
        except RuntimeError as failure:
            raise unusable(http, failure) from None


def _read(response: httpx.Response, patience: Patience) -> bytes:
    """The whole body, within the call's limits."""
    if patience.limited:
        hold_reads(response, patience)
    pieces = []
    for data in _pieces(response):
        patience.check(len(data))
        pieces.append(data)
    return b"".join(pieces)


def _pieces(response: httpx.Response) -> Iterator[bytes]:
    """`response.iter_bytes()`, without what httpx does for encodings where there is none: 2 µs."""
    stream = response.stream
    if _is_plain(response) and isinstance(stream, httpx.SyncByteStream):
        return iter(stream)
    return response.iter_bytes()


def _apieces(response: httpx.Response) -> AsyncIterator[bytes]:
    stream = response.stream
    if _is_plain(response) and isinstance(stream, httpx.AsyncByteStream):
        return aiter(stream)
    return response.aiter_bytes()


def _is_plain(response: httpx.Response) -> bool:
    # a hook of the user's may have read or closed it
    untouched = not (response.is_stream_consumed or response.is_closed)
    return untouched and "content-encoding" not in response.headers


def _held(
    response: httpx.Response, patience: Patience, *, ahead: bool = False
) -> AsyncIterator[bytes]:
    held = hold_reads(response, patience, ahead=ahead)
    pieces = _apieces(response)
    return pieces if held else in_time(pieces, patience)


async def _aread(response: httpx.Response, patience: Patience) -> bytes:
    pieces = []
    async for data in _held(response, patience) if patience.limited else _apieces(response):
        patience.check(len(data))
        pieces.append(data)
    return b"".join(pieces)


def _leave(response: httpx.Response | None, place: Place[httpx.Client]) -> None:
    """End an attempt: the connection is free again before its place is."""
    try:
        if response is not None:
            let_go(response)
            response.close()
    finally:
        place.give_back()


async def _aleave(response: httpx.Response | None, place: Place[httpx.AsyncClient]) -> None:
    try:
        if response is not None:
            let_go(response)
            await response.aclose()
    finally:
        place.give_back()


def _headers(response: httpx.Response) -> dict[str, str]:
    return dict(response.headers.items())  # not dict(headers): it looks up each by its name


def _answer(response: httpx.Response | None) -> dict[str, Any]:
    """What is known of an answer that failed."""
    if response is None:
        return {"status": None, "headers": {}}
    return {"status": response.status_code, "headers": _headers(response)}


def _streams(response: httpx.Response) -> bool:
    return is_streamed(response.status_code, response.headers)
