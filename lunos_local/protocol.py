"""HTTP/1.1 for the gateway: uvicorn's protocol, with limits for which it has no setting.

A head that doesn't arrive in time gets a 408, one that is too large a 431, and a connection whose
client doesn't read is dropped.
"""

from __future__ import annotations

import asyncio
import json
import sys
from http import HTTPStatus

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from lunos_local.errors import WireError

HEAD_SECONDS = 10.0
MAX_HEAD = 64 * 2**10
_CLOSE_SECONDS = 10.0


class Protocol(H11Protocol):
    """One connection of the gateway."""

    _head_timer: asyncio.TimerHandle | None = None
    _has_data = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Start the timer of the first head."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_timeout)

    def data_received(self, data: bytes) -> None:
        """Handle data; start the timer of a head that has begun to arrive."""
        super().data_received(data)
        waits = self.conn.their_state is h11.IDLE
        self._has_data = waits
        if waits and self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_timeout)
        elif not waits:
            self._stop_head_timer()

    def on_response_complete(self) -> None:
        """Start the timer of a head that began to arrive during the last response."""
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._unset_keepalive_if_required()
            self._has_data = True
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop_head_timer()
        super().connection_lost(exc)

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, even if its client has stopped reading."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(_CLOSE_SECONDS, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        """Answer a head that isn't HTTP or is too large in the API's form."""
        status = getattr(sys.exception(), "error_status_hint", 400)
        too_large = status == 431
        self._refuse(
            WireError(
                f"The request's head has more than {MAX_HEAD:,} bytes." if too_large else msg,
                status=status,
                code="head_too_large" if too_large else "invalid_http",
            )
        )

    def _head_timeout(self) -> None:
        self._head_timer = None
        if self.transport.is_closing() or self.conn.their_state is not h11.IDLE:
            return
        if self._has_data:
            message = f"The request's head didn't arrive within {HEAD_SECONDS:g} seconds."
            self._refuse(WireError(message, status=408, code="request_timeout"))
        else:
            self.transport.close()

    def _refuse(self, error: WireError) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()  # in the middle of another response
            return
        body = json.dumps(error.to_wire()).encode()
        status = HTTPStatus(error.status)
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
