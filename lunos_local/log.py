"""The request log: each request, the app it came from, and the status of its response."""

from __future__ import annotations

import logging
import re
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lunos_local.checks import json_text
from lunos_local.errors import CutConnectionError, WireError

_log = logging.getLogger("lunos_local")
_log.addHandler(logging.NullHandler())  # silent in tests; the command shows it

_MOST_ENTRIES = 1000
# the most memory for the bodies in the log, all parsed
_MOST_BYTES = 48 * 2**20
_UNLOGGED = ("/", "/requests")
_ENTRY = "lunos_local.log_entry"
REDACTED = "REDACTED"
# names of headers and fields with secrets
_SECRET_NAME = re.compile(
    r"auth|cookie|secret|passw|credential|signature|session|"
    r"(?:^|[-_])(?:api[-_]?)?(?:key|token)$|api_?key",
    re.IGNORECASE,
)
_NOT_SECRET = frozenset(("author", "authors", "idempotency-key", "prompt_cache_key"))
# values that look like a key, whatever their name
_SECRET_VALUE = re.compile(r"\b(?:Bearer|Basic)\s+[\w.~+/=-]{8,}|\b(?:lns-)?sk-[\w-]{8,}")


@dataclass
class _Entry:
    """A logged request; its body is parsed when someone asks for it."""

    facts: dict[str, Any]
    raw: bytes = b""
    weight: int = 0
    form: dict[str, Any] | None = None


class RequestLog:
    """The last requests, oldest first; entries are plain dicts without secrets.

    Args:
        key: the gateway's key, which is redacted everywhere.
    """

    def __init__(self, key: str = "") -> None:
        self._entries: deque[_Entry] = deque(maxlen=_MOST_ENTRIES)
        self._count = 0
        self._lock = threading.Lock()
        values = [_SECRET_VALUE.pattern]
        if key:
            values.append(rf"(?<![\w-]){re.escape(key)}(?![\w-])")
        self._secret = re.compile("|".join(values))

    def entries(self) -> list[dict[str, Any]]:
        """Return copies of the entries."""
        with self._lock:
            entries = tuple(self._entries)
        return [{**entry.facts, "body": self._body(entry)} for entry in entries]

    def _body(self, entry: _Entry) -> Any:
        if entry.form is not None:
            return self._redacted(entry.form)
        if not entry.raw:
            return None
        try:
            return self._redacted(json_text.parse(entry.raw))
        except WireError:
            return None

    def facts(self) -> list[dict[str, Any]]:
        """Return copies of the entries without their bodies."""
        with self._lock:
            return [dict(entry.facts) for entry in self._entries]

    def clear(self) -> None:
        """Remove the entries. Request ids keep counting."""
        with self._lock:
            self._entries.clear()

    def next_id(self) -> str:
        """Return a new request id: a counter, so that a new recording has the same ids."""
        with self._lock:
            self._count += 1
            return f"req_local_{self._count:06d}"

    def add(self, entry: _Entry) -> None:
        """Add an entry, dropping the oldest when the log is full."""
        with self._lock:
            self._entries.append(entry)

    def keep_body(self, scope: Scope, raw: bytes) -> None:
        """Keep the body of a request, dropping the oldest bodies when they are too large."""
        entry: _Entry = scope[_ENTRY]
        entry.raw, entry.weight = raw, json_text.weight(raw)
        with self._lock:
            total = sum(item.weight for item in self._entries)
            for item in self._entries:
                if total <= _MOST_BYTES:
                    break
                total -= item.weight
                item.raw, item.weight = b"", 0

    def headers(self, scope: Scope) -> dict[str, str]:
        """Return the headers of a request without their secrets."""
        return {
            name.lower(): REDACTED if _is_secret(name) else self._secret.sub(REDACTED, value)
            for name, value in Headers(scope=scope).items()
        }

    def _redacted(self, value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {
                self._secret.sub(REDACTED, key): self._redacted(item, key)
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [self._redacted(item, name) for item in value]
        if not isinstance(value, str):
            return value
        return REDACTED if name and _is_secret(name) else self._secret.sub(REDACTED, value)


def _is_secret(name: str) -> bool:
    return name.lower() not in _NOT_SECRET and _SECRET_NAME.search(name) is not None


def note(scope: Scope, **facts: Any) -> None:
    """Add facts to the log entry of a request: its model, whether it streams, its cost."""
    scope[_ENTRY].facts.update(facts)


def note_form(scope: Scope, fields: dict[str, Any]) -> None:
    """Add a form's fields to the log entry of its request."""
    scope[_ENTRY].form = fields
    note(scope, model=fields.get("model"))


class LogMiddleware:
    """Writes the log and sets `x-request-id` on every response."""

    def __init__(self, app: ASGIApp, log: RequestLog) -> None:
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = self._log.next_id()
        headers = self._log.headers(scope)
        facts: dict[str, Any] = {
            "method": scope["method"],
            "path": scope["path"],
            "app_id": headers.get("x-app-id") or "Unknown",
            "model": None,
            "status": None,
            "stream": False,
            "tokens": None,
            "cost": None,
            "request_id": request_id,
            "body": None,
            "headers": headers,
        }
        entry = scope[_ENTRY] = _Entry(facts)
        if scope["path"] not in _UNLOGGED:
            self._log.add(entry)

        async def send_logged(message: Message) -> None:
            if message["type"] == "http.response.start":
                facts["status"] = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_logged)
        except CutConnectionError:
            raise
        except Exception:
            if facts["status"] is not None:
                raise
            _log.exception("the gateway failed")
            error = WireError("The gateway failed.", status=500, code="internal", type="api_error")
            await error.response()(scope, receive, send_logged)
