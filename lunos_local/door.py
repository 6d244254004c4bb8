"""Checks of a request's host, key, size and time, before the gateway answers it.

They run in this order, before a body is parsed or logged. The Host header stops a page in a browser
whose name was rebound to this machine; a request without the key isn't read into memory.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import re
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lunos_local.checks import json_text
from lunos_local.errors import CutConnectionError, WireError

MAX_JSON = 20 * 2**20
MAX_FORM = 26 * 2**20  # a form with a file of 25 MB, as in OpenAI's API
# of all requests at once, parsed
MAX_IN_FLIGHT = 240 * 2**20
BODY_SECONDS = 60.0
SEND_SECONDS = 60.0
# refused bodies are read up to this many times the limit, so that the client sees the answer
_DRAINED = 4
_PIECE = 64 * 2**10
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]@/]+)(:\d+)?")
_KEYED = ("/v1/models/", "/v1/video/generations/")
_FOR_THE_OWNER = ("/", "/requests")
BODY = "lunos_local.body"
TAKEN = "lunos_local.taken"


def is_loopback(name: str) -> bool:
    """Return whether a host name or address is this machine's loopback."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def host_name(value: str) -> str:
    """Return the name in a Host header in lower case, without port, brackets and final dot."""
    match = _HOST.fullmatch(value.strip())
    return match[1].strip("[]").removesuffix(".").lower() if match else ""


def _is_known(name: str, server: str) -> bool:
    """Return whether a name can't have been rebound: an address, the loopback, or our own."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return is_loopback(name) or name == server.lower()
    return True


def has_key(headers: Headers, key: str) -> bool:
    """Return whether a request carries the key."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    # compare_digest takes only ASCII text, so compare bytes
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), key.encode())


def is_local_page(scope: Scope, headers: Headers) -> bool:
    """Return whether a request comes from this machine, and not from another site's page."""
    client = scope.get("client")
    origin = headers.get("origin")
    return (
        (client is None or is_loopback(client[0]))
        and is_loopback(host_name(headers.get("host", "")))
        and (origin is None or is_loopback(urlsplit(origin).hostname or ""))
        # another site may send a person here, as it can't read what the person sees
        and (
            headers.get("sec-fetch-site") != "cross-site"
            or headers.get("sec-fetch-dest") == "document"
        )
    )


class Door:
    """Middleware that refuses forbidden requests, and limits the others.

    Args:
        app: the application behind it.
        key: the key that requests to `paths` must carry.
        paths: these need the key; `/` and `/requests` need it from another machine or site.
        hosts: further names that a Host header may have.
    """

    def __init__(
        self, app: ASGIApp, key: str, paths: Collection[str], hosts: Collection[str] = ()
    ) -> None:
        self._app = app
        self._key = key
        self._paths = frozenset(paths)
        self._hosts = {host.lower() for host in hosts}
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request and pass it on with its body, or refuse it."""
        headers = Headers(scope=scope)
        taken = _Taken(self)
        refusal = self._refusal(scope, headers)
        keep = refusal is None and scope["path"] in self._paths
        try:
            body = b""
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    body = await _read(receive, headers, taken, keep=keep)
            except TimeoutError:
                refusal = refusal or _TIMEOUT
            except WireError as error:
                refusal = refusal or error
            if refusal is not None:
                await _response(refusal)(scope, receive, send)
            else:
                scope[BODY], scope[TAKEN] = body, taken
                await self._app(scope, _replay(body, receive), _in_pieces(send))
        finally:
            taken.release()

    def _refusal(self, scope: Scope, headers: Headers) -> WireError | None:
        host = headers.get("host")
        server = scope.get("server") or ("",)
        name = host_name(host) if host is not None else "localhost"
        if name not in self._hosts and not _is_known(name, str(server[0])):
            return WireError(
                f"The host {name!r} isn't allowed here (--allow-host {name or 'NAME'}).",
                status=403,
                code="host_not_allowed",
            )
        path: str = scope["path"]
        if has_key(headers, self._key):
            return None
        if path in _FOR_THE_OWNER:
            return None if is_local_page(scope, headers) else _WRONG_KEY
        keyed = path in self._paths or path.startswith(_KEYED)
        return _WRONG_KEY if keyed else None


class _Taken:
    def __init__(self, door: Door) -> None:
        self._door = door
        self._size = 0

    def take(self, size: int) -> None:
        if self._door._in_flight + size > MAX_IN_FLIGHT:
            raise WireError(
                "The gateway is busy with large requests.",
                status=503,
                code="busy",
                type="api_error",
            )
        self._size += size
        self._door._in_flight += size

    def release(self) -> None:
        self._door._in_flight -= self._size
        self._size = 0


async def _read(receive: Receive, headers: Headers, taken: _Taken, *, keep: bool) -> bytes:
    """Return the whole body, or read and drop it and return b"" if it isn't kept.

    Raises:
        WireError: a 413 for a body that is too large, a 503 if too much is in flight.
    """
    is_form = headers.get("content-type", "").startswith("multipart/")
    limit = MAX_FORM if is_form else MAX_JSON
    length = headers.get("content-length", "")
    refusal: WireError | None = None
    if length.isdigit() and int(length) > limit:
        refusal = _too_large(limit)
        if int(length) > limit * _DRAINED:
            raise refusal
    pieces: list[bytes] = []
    size = 0
    more = True
    while more and size <= limit * _DRAINED:
        message = await receive()
        piece = message.get("body", b"")
        size += len(piece)
        more = message["type"] == "http.request" and message.get("more_body", False)
        if size > limit:
            refusal = _too_large(limit)
        if keep and refusal is None:
            try:
                taken.take(len(piece))
            except WireError as error:
                refusal = error
            pieces.append(piece)
        else:
            pieces.clear()
    if refusal is not None:
        raise refusal
    body = b"".join(pieces)
    pieces.clear()
    if not is_form:
        taken.take(json_text.weight(body, json_text.COPIES_ANSWERED) - len(body))
    return body


def _too_large(limit: int) -> WireError:
    return WireError(
        f"The request body has more than {limit:,} bytes.", status=413, code="body_too_large"
    )


_TIMEOUT = WireError(
    f"The request body didn't arrive within {BODY_SECONDS:g} seconds.",
    status=408,
    code="request_timeout",
    type="timeout_error",
)
_WRONG_KEY = WireError("Invalid secret key", status=401)


def _response(refusal: WireError) -> Response:
    if refusal is _WRONG_KEY:  # the error is a bare string, as Lunos sends it
        return JSONResponse({"error": refusal.message}, status_code=401)
    headers = {"connection": "close"} if refusal.status in (408, 413) else {}
    return refusal.response({**headers, **({"retry-after": "1"} if refusal.status == 503 else {})})


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that returns the body again, then the messages after it."""
    replayed = False

    async def replay() -> Message:
        nonlocal replayed
        if replayed:
            return await receive()
        replayed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _in_pieces(send: Send) -> Send:
    """Return a `send` that waits for a slow reader, but not forever."""

    async def in_pieces(message: Message) -> None:
        body = message.get("body", b"")
        try:
            async with asyncio.timeout(SEND_SECONDS):
                if len(body) <= _PIECE:
                    await send(message)
                    # otherwise a fast reader's stream would block every other client
                    await asyncio.sleep(0)
                    return
            for i in range(0, len(body), _PIECE):
                more = i + _PIECE < len(body) or message.get("more_body", False)
                async with asyncio.timeout(SEND_SECONDS):
                    await send({**message, "body": body[i : i + _PIECE], "more_body": more})
        except TimeoutError:
            raise CutConnectionError from None

    return in_pieces
