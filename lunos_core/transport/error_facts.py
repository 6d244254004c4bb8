"""The facts of a call that its error has: the request and the answer, never the key."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from lunos_core.errors import ErrorRequest, ErrorResponse, LunosError
from lunos_core.wire.scrub import STARS, scrub_error

# values of other headers may be secret
_SHOWN = frozenset({"accept", "content-type", "user-agent", "x-app-id"})


def add_facts(
    error: LunosError,
    *,
    method: str,
    url: str,
    sent: Mapping[str, str],
    status: int | None,
    received: Mapping[str, str],
    secret: str | None,
) -> None:
    """Add the facts of a call to an error, and remove the key from all its texts.

    Args:
        error: the error.
        method: the request's method.
        url: the request's URL, whose query is left out.
        sent: the request's headers.
        status: the answer's status, if an answer had begun.
        received: the answer's headers.
        secret: the key.
    """
    shown = {name: value if name in _SHOWN else STARS for name, value in sent.items()}
    error.request = ErrorRequest(method, url.partition("?")[0], shown)
    error.status = error.status or status
    error.request_id = error.request_id or received.get("x-request-id")
    if status is not None:
        response = error.response or ErrorResponse(status)
        error.response = dataclasses.replace(response, headers=response.headers or received)
    scrub_error(error, secret)
