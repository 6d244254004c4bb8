"""An httpx client that sends through aiohttp; imported only for `transport="aiohttp"`."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport, HttpxAiohttpClient

from lunos_core.errors import LunosConfigError


class _Response(aiohttp.ClientResponse):
    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        started = await super().start(connection)
        # a status line may have any bytes, and httpx-aiohttp encodes aiohttp's reading of them
        self.reason = (self.reason or "").encode(errors="replace").decode()
        protocol = connection.protocol
        closed = None if protocol is None else protocol.closed
        if closed is None:
            self._lost()
        else:
            closed.add_done_callback(self._lost)
            self.content.on_eof(functools.partial(closed.remove_done_callback, self._lost))
        return started

    def _lost(self, closed: asyncio.Future[None] | None = None) -> None:
        """Wake the body's reader: aiohttp (3.14) doesn't if the chunks aren't valid HTTP."""
        if closed is not None and not closed.cancelled():
            closed.exception()  # else asyncio logs it
        if not self.content.is_eof() and self.content.exception() is None:
            self.content.set_exception(aiohttp.ClientPayloadError("the connection was lost"))


class _Body(httpx.AsyncByteStream):
    """The body, whose loss is always a `ReadError`: aiohttp has one case of `RuntimeError`."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._stream:
                yield piece
        except RuntimeError as failure:
            raise httpx.ReadError(str(failure)) from failure

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Transport(AiohttpTransport):
    """aiohttp without cookies: one application's would be sent with another's calls."""

    def get_client(self) -> aiohttp.ClientSession:
        plain = super().get_client()
        connector = plain.connector
        plain.detach()
        return aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), response_class=_Response
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        response.stream = _Body(response.stream)
        return response


class AiohttpClient(HttpxAiohttpClient):
    """The client of `httpx-aiohttp`, whose failures are httpx's exceptions.

    That package (0.2) turns every lost connection into a `ConnectTimeout` and a connect timeout
    into a timeout without a kind, and passes on aiohttp's own error if the answer isn't HTTP.
    """

    # httpx's hooks, with httpx's arguments
    def _init_transport(self, *args: Any, **settings: Any) -> httpx.AsyncBaseTransport:
        settings.pop("transport", None)
        return _Transport(*args, **settings)

    def _init_proxy_transport(self, *args: Any, **settings: Any) -> httpx.AsyncBaseTransport:
        proxy = args[0] if args else settings.pop("proxy")
        if proxy.url.scheme not in ("http", "https"):
            raise LunosConfigError(
                f"transport='aiohttp' doesn't support the {proxy.url.scheme} proxy that the "
                "environment names: leave transport= out, or unset the proxy"
            )
        return _Transport(proxy=proxy, **settings)

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """As httpx's."""
        try:
            return await super().send(request, **options)
        except httpx.TimeoutException as failure:
            raise _named(failure, request) from failure.__cause__
        except aiohttp.ClientError as failure:
            raise httpx.RemoteProtocolError(str(failure), request=request) from failure


def _named(failure: httpx.TimeoutException, request: httpx.Request) -> httpx.TransportError:
    cause = failure.__cause__
    if isinstance(cause, aiohttp.ConnectionTimeoutError):
        return httpx.ConnectTimeout(str(failure), request=request)
    if isinstance(cause, aiohttp.ClientConnectorError):
        return httpx.ConnectError(str(failure), request=request)
    if isinstance(cause, aiohttp.ClientConnectionError) and not isinstance(cause, TimeoutError):
        return httpx.ReadError(str(failure), request=request)
    return failure
