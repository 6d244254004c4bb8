"""An httpx client whose calls are carried by aiohttp; loaded for `transport="aiohttp"` alone."""

from __future__ import annotations

from typing import Any

import aiohttp
import httpx
from httpx_aiohttp import HttpxAiohttpClient


class AiohttpClient(HttpxAiohttpClient):
    """The client of `httpx-aiohttp`, with each failure under httpx' own name for it.

    That package (0.2) calls every lost connection a `ConnectTimeout`, a timeout of the connect a
    timeout of no kind, and lets aiohttp's own error through where the answer is no HTTP.
    """

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """As httpx'."""
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
