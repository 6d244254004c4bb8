"""One attempt of an async call, in a separate task.

A cancelled caller may be cancelled again while it cleans up: anyio's scopes cancel each of its
awaits, and servers cancel the task of a request twice. Then `httpcore` leaves the connection open
forever. Here the caller may be cancelled any number of times: the task that sends, reads and closes
is cancelled once, and finishes its cleanup.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import httpx

from lunos_core.transport.deadline import Deadline
from lunos_core.transport.httpx_messages import apieces
from lunos_core.transport.pool import Place
from lunos_core.transport.stream_call import is_streamed

_AHEAD = 1024 * 1024  # bytes to read while the consumer is busy
_CLEANUP = 0.5  # seconds; no cleanup waits for the network

Trace = Callable[[str, dict[str, Any]], Coroutine[None, None, None]]

Acquire = Callable[[], Awaitable[Place[httpx.AsyncClient]]]
Send = Callable[[Place[httpx.AsyncClient], Trace], Awaitable[httpx.Response]]

_running: set[asyncio.Task[None]] = set()  # the event loop has only weak references


class Exchange:
    """A running request, and its answer as it arrives.

    Args:
        acquire: returns a place in the connection pool.
        send: sends the request through the place's client, with httpcore's extension "trace".
        deadline: the call's deadline.
        stream: whether a streamed answer is read piece by piece, with `pieces`.

    Attributes:
        response: the answer; `None` until its head has arrived.
        body: the whole body; `None` for a stream.
    """

    def __init__(
        self,
        acquire: Acquire,
        send: Send,
        deadline: Deadline,
        *,
        stream: bool = False,
    ) -> None:
        self.response: httpx.Response | None = None
        self.body: bytes | None = None
        self._deadline = deadline
        self._stream = stream
        self._pieces: list[bytes] = []
        self._size = 0
        self._streaming = False
        self._connecting = False
        self._stopped = False
        self._connection: Any = None  # httpcore's, if this attempt has opened one
        self._news = asyncio.Event()  # set when there is something for the caller
        self._wanted = asyncio.Event()  # set when the caller wants more
        deadline.attempt()
        self._task = asyncio.create_task(self._run(acquire, send))
        _running.add(self._task)
        self._task.add_done_callback(self._done)

    async def opened(self) -> httpx.Response:
        """Wait for the whole answer, or for the head of a stream, and return it.

        Raises:
            LunosTimeoutError: the call's time is up.
            Exception: the failure of the attempt.
        """
        while not (self._streaming or self._task.done()):
            await self._wait()
        if not self._streaming:
            self._task.result()
        assert self.response is not None, "the task ends with an answer, or raises"
        return self.response

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the bytes of the stream as they arrive, including those that were read ahead.

        Raises:
            LunosTimeoutError: the next event took too long.
            Exception: the failure of the attempt, after all bytes that arrived before it.
        """
        while True:
            if self._pieces:
                data = b"".join(self._pieces)
                self._pieces.clear()
                self._size = 0
                self._wanted.set()
                yield data
                self._deadline.check(len(data))
            elif self._task.done():
                self._task.result()
                return
            else:
                await self._wait()

    async def close(self) -> None:
        """Stop, unless the answer has been read to its end."""
        if self._stopped or self._task.done():
            return
        self._stopped = True
        # A connect that is cancelled just as it succeeds leaves its socket open in the event loop:
        # most succeed soon, and `_trace` ends them. A second cancel would interrupt the cleanup.
        if not self._connecting and not self._task.cancelling():
            self._task.cancel()
        asyncio.get_running_loop().call_later(_CLEANUP, self._cancel_again)
        if not self._connecting:
            await asyncio.wait((self._task,), timeout=_CLEANUP)

    def _cancel_again(self) -> None:
        """Cancel again if the cancellation was swallowed, as anyio sometimes does."""
        if not self._task.done():
            self._task.cancel()
            self._task.get_loop().call_later(_CLEANUP, self._cancel_again)

    async def _wait(self) -> None:
        self._news.clear()
        seconds = self._deadline.cap(None)
        try:
            if seconds is None:
                await self._news.wait()
            else:
                async with asyncio.timeout(seconds):
                    await self._news.wait()
        except TimeoutError:
            raise self._deadline.timed_out("no event") from None

    def _done(self, task: asyncio.Task[None]) -> None:
        _running.discard(task)
        if not task.cancelled():
            task.exception()  # otherwise asyncio logs it if the caller has left
        self._news.set()

    async def _run(self, acquire: Acquire, send: Send) -> None:
        place = await acquire()
        try:
            response = self.response = await send(place, self._trace)
            if self._stream and is_streamed(response.status_code, response.headers):
                await self._read_stream(response)
            else:
                self.body = await self._read(response)
        except BaseException:
            if self._connection is not None:  # a cancelled TLS handshake leaves it open
                await self._connection.aclose()
            raise
        finally:
            try:
                if self.response is not None:
                    await self.response.aclose()
            finally:
                place.release()  # last: the connection must be free before its place is
                self._news.set()  # `_done` runs only in the event loop's next iteration

    async def _trace(self, event: str, info: dict[str, Any]) -> None:
        _, _, step = event.partition(".")
        if step.startswith(("connect_tcp.", "connect_unix_socket.")):
            self._connecting = step.endswith(".started")
            if step.endswith(".complete"):
                self._connection = info["return_value"]
                if self._stopped:
                    raise asyncio.CancelledError
        elif event.startswith("http2."):
            self._connection = None  # calls share it
        elif step == "send_request_headers.started" and info["request"].method != b"CONNECT":
            # connected: no further step matters, and each trace costs 3 µs
            info["request"].extensions.pop("trace", None)

    async def _read(self, response: httpx.Response) -> bytes:
        body = []
        async for data in apieces(response):
            self._deadline.check(len(data))
            body.append(data)
        return b"".join(body)

    async def _read_stream(self, response: httpx.Response) -> None:
        self._streaming = True
        self._news.set()
        # at once: if the connection is lost, aiohttp drops bytes that haven't been read
        async for data in apieces(response):
            self._pieces.append(data)
            self._size += len(data)
            self._news.set()
            if self._size > _AHEAD:
                self._wanted.clear()
                await self._wanted.wait()
