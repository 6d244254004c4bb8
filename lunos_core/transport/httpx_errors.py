"""From httpx's exceptions to this package's errors."""

from __future__ import annotations

import re
from typing import Any

import httpx

from lunos_core.errors import (
    LunosConfigError,
    LunosConnectionError,
    LunosError,
    LunosResponseError,
    LunosTimeoutError,
)
from lunos_core.transport.call import SendCall
from lunos_core.transport.stream_call import StreamCall
from lunos_core.wire.error_bodies import PROXY_REMEDY

FAILURES = (LunosError, httpx.HTTPError, httpx.StreamError)

# The server cannot have answered, or its answer was lost. A read timeout isn't among these: the
# model may still be working on a request that will be paid for, so the user chooses.
_RETRIED = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ReadError,
    httpx.WriteError,
    httpx.RemoteProtocolError,
)
_RETRIED_AS_CHOSEN = (httpx.ReadTimeout, httpx.WriteTimeout)

# failures of a connection after its answer is complete
LATE_FAILURES = (httpx.HTTPError, LunosTimeoutError)


def translate_error(
    failure: Exception, call: SendCall[Any] | StreamCall[Any]
) -> tuple[LunosError, bool]:
    """Return a failure as our error, and whether such failures may be retried."""
    if isinstance(failure, LunosError):
        return failure, isinstance(failure, LunosTimeoutError) and call.retry_on_timeout
    error: LunosError
    name = type(failure).__name__
    remedy = _remedy(str(failure))
    if isinstance(failure, httpx.TimeoutException):
        error = call.deadline.timed_out(name)
    elif isinstance(failure, httpx.DecodingError | httpx.StreamError):
        error = LunosResponseError(f"the answer could not be read ({name}): {failure}")
    else:
        reason = str(failure) or "no reason given"
        if isinstance(failure, httpx.ConnectError) and not remedy:
            reason += "; is base_url right, and is its server running?"
        error = LunosConnectionError(f"the connection failed ({name}): {reason}{remedy}")
    error.__cause__ = failure
    retried = (*_RETRIED, *_RETRIED_AS_CHOSEN) if call.retry_on_timeout else _RETRIED
    return error, isinstance(failure, retried) and not remedy


_PROXY_REFUSED = re.compile(r"(?<![:.\d])407(?!\d)")  # the status, not part of a port


def _remedy(reason: str) -> str:
    """Return what to change after a failure that every retry would repeat, or ""."""
    if _PROXY_REFUSED.search(reason):
        return f"; {PROXY_REMEDY}"
    if "CERTIFICATE_VERIFY_FAILED" not in reason and "mismatch" not in reason:
        return ""
    if "expired" in reason or "not yet valid" in reason:
        return "; the server must renew its certificate, unless this machine's clock is wrong"
    if "mismatch" in reason or "not valid for" in reason:
        return "; is base_url right? The certificate is another host's"
    return (
        "; if you trust who signed the certificate, set SSL_CERT_FILE to that authority's file, "
        "or pass an http_client with verify=… of its own"
    )


def unusable(http: httpx.Client | httpx.AsyncClient, failure: RuntimeError) -> Exception:
    """Return the error to raise when httpx raises a bare `RuntimeError`."""
    if http.is_closed:
        return LunosConfigError(
            "the HTTP client is closed: a client of your own must stay open as long as it is used"
        )
    if "event loop" in str(failure).lower():
        return LunosConfigError(
            f"the HTTP client belongs to another event loop ({failure}): an httpx.AsyncClient of "
            "your own serves one loop; leave it out to use several"
        )
    return failure
