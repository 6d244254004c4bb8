"""The request log: each request, the app it came from, and the status of its response."""

from __future__ import annotations

import json
import logging
from collections import deque
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lunos_local.errors import CutConnectionError, WireError

_log = logging.getLogger("lunos_local")
_log.addHandler(logging.NullHandler())  # silent in tests; the command shows it

_MOST_ENTRIES = 1000
_UNLOGGED = ("/requests",)
_ENTRY = "lunos_local.log_entry"


def log_form(scope: Scope, fields: dict[str, Any]) -> None:
    """Add a form's fields to the log entry of its request."""
    scope[_ENTRY].update(body=fields, model=fields.get("model"))


class RequestLog:
    """The last requests, oldest first; entries are plain dicts."""

    def __init__(self) -> None:
        """Start empty."""
        self._entries: deque[dict[str, Any]] = deque(maxlen=_MOST_ENTRIES)
        self._count = 0

    def entries(self) -> list[dict[str, Any]]:
        """Return copies of the entries."""
        return [dict(entry) for entry in tuple(self._entries)]

    def clear(self) -> None:
        """Remove the entries. Request ids keep counting."""
        self._entries.clear()

    def next_id(self) -> str:
        """Return a new request id: a counter, so that a run recorded again has the same ids."""
        self._count += 1
        return f"req_local_{self._count:06d}"

    def add(self, entry: dict[str, Any]) -> None:
        """Add an entry, dropping the oldest when the log is full."""
        self._entries.append(entry)


class LogMiddleware:
    """Writes the log and sets `x-request-id` on every response."""

    def __init__(self, app: ASGIApp, log: RequestLog) -> None:
        """Log the requests to `app` in `log`."""
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = self._log.next_id()
        entry, receive = await _read(scope, receive, request_id)
        scope[_ENTRY] = entry
        if scope["path"] not in _UNLOGGED:
            self._log.add(entry)

        async def send_logged(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry["status"] = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_logged)
        except CutConnectionError:
            raise
        except Exception:
            if entry["status"] is not None:
                raise
            _log.exception("the gateway failed")
            error = WireError("The gateway failed.", status=500, code="internal", type="api_error")
            await error.response()(scope, receive, send_logged)


async def _read(scope: Scope, receive: Receive, request_id: str) -> tuple[dict[str, Any], Receive]:
    """The log entry of a request, and a `receive` that gives its body once more."""
    raw = b""
    more = True
    while more:
        message = await receive()
        raw += message.get("body", b"")
        more = message["type"] == "http.request" and message.get("more_body", False)
    headers = {name.lower(): value for name, value in Headers(scope=scope).items()}
    if "authorization" in headers:
        headers["authorization"] = "REDACTED"
    try:
        body = json.loads(raw)
        # half a surrogate pair could not be sent back by GET /requests
        json.dumps(body, ensure_ascii=False).encode()
    except ValueError:
        body = None
    fields = body if isinstance(body, dict) else {}
    entry = {
        "method": scope["method"],
        "path": scope["path"],
        "app_id": headers.get("x-app-id") or "Unknown",
        "model": fields.get("model"),
        "status": None,
        "stream": bool(fields.get("stream")),
        "request_id": request_id,
        "body": body,
        "headers": headers,
    }
    replayed = False

    async def replay() -> Message:
        nonlocal replayed
        if replayed:
            return await receive()
        replayed = True
        return {"type": "http.request", "body": raw, "more_body": False}

    return entry, replay
