"""An httpx client that sends through aiohttp; imported only for `transport="aiohttp"`."""

from __future__ import annotations

from typing import Any

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport, HttpxAiohttpClient

from lunos_core.errors import LunosConfigError


class _Transport(AiohttpTransport):
    """aiohttp's transport without its cookies, which calls of other applications would send."""

    def get_client(self) -> aiohttp.ClientSession:
        plain = super().get_client()
        connector = plain.connector
        plain.detach()
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


class AiohttpClient(HttpxAiohttpClient):
    """The client of `httpx-aiohttp`, whose failures are httpx's exceptions.

    That package (0.2) calls every lost connection a `ConnectTimeout`, a timeout of the connect a
    timeout of no kind, and lets aiohttp's own error through where the answer is no HTTP.
    """

    # httpx's hooks for this; the arguments are httpx's
    def _init_transport(self, *args: Any, **settings: Any) -> httpx.AsyncBaseTransport:
        settings.pop("transport", None)
        return _Transport(*args, **settings)

    def _init_proxy_transport(self, *args: Any, **settings: Any) -> httpx.AsyncBaseTransport:
        proxy = args[0] if args else settings.pop("proxy")
        if proxy.url.scheme not in ("http", "https"):
            raise LunosConfigError(
                f"transport='aiohttp' knows no {proxy.url.scheme} proxy, as the environment names "
                "one: leave transport= out, or unset the proxy"
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
