"""Calls as httpx's requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from lunos_core.config import Timeout
from lunos_core.transport.call import SendCall
from lunos_core.transport.deadline import Deadline
from lunos_core.transport.stream_call import StreamCall


def build_request(
    http: httpx.Client | httpx.AsyncClient,
    call: SendCall[Any] | StreamCall[Any],
    trace: Callable[[str, dict[str, Any]], Any] | None = None,
) -> httpx.Request:
    """Build the request of a call's next attempt, with whatever a client of the user's adds.

    Args:
        http: builds the request.
        call: says what to send.
        trace: httpcore's extension of that name: it hears of each step.
    """
    extensions: dict[str, Any] = {"timeout": _timeout(call.timeout, call.deadline)}
    if trace is not None:
        extensions["trace"] = trace
    return http.build_request(
        call.request.method,
        call.url,
        content=call.request.body,
        headers=call.headers,
        extensions=extensions,
    )


def _timeout(timeout: Timeout, deadline: Deadline) -> dict[str, float | None]:
    if isinstance(timeout, int | float):
        # to wait for a free connection is no sign of trouble at the server
        seconds = httpx.Timeout(timeout, pool=None).as_dict()
    else:
        parts: Any = timeout  # named by a protocol, so that no signature needs httpx
        seconds = httpx.Timeout(parts).as_dict()
    if not deadline.limited:
        return seconds
    return {phase: deadline.cap(limit) for phase, limit in seconds.items()}
