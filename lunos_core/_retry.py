"""When to try again, and after how long: pure decisions, no clock and no dice of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRIED_STATUSES = frozenset({408, 409, 425, 429})  # and every status from 500 on

FIRST_DELAY = 0.5  # the vendor's own backoff: half a second, doubling
LONGEST_DELAY = 8.0
# A server that asks for more is not believed: the caller hears of the failure after the usual
# backoff, with the server's wish in `error.retry_after`, instead of sleeping for an hour.
LONGEST_RETRY_AFTER = 60.0


def is_retried_status(status: int) -> bool:
    """Whether an answer with this status is worth another request."""
    return status in RETRIED_STATUSES or status >= 500


def retry_delay(*, attempt: int, retry_after: float | None, jitter: float) -> float:
    """Seconds to wait before the next request.

    Args:
        attempt: how many requests have failed so far, from 1.
        retry_after: what the server asked for, in seconds, or `None`.
        jitter: a number from 0 to 1 ("full jitter": the backoff is multiplied with it).
    """
    if retry_after is not None and 0 <= retry_after <= LONGEST_RETRY_AFTER:
        return retry_after
    # min() on the exponent keeps 2**n in range however many retries the user allows
    return float(min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(attempt - 1, 10))) * jitter


def retry_after_seconds(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Read `retry-after-ms` (milliseconds) or `Retry-After` (seconds or an HTTP date).

    Args:
        headers: the answer's headers, names in lower case.
        now: the time that a date is held against; the current time by default.

    Returns:
        Seconds, never negative; `None` where the server said nothing that can be read.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or value is None:
        return seconds
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if when.tzinfo is None:  # "-0000": UTC, by RFC 5322
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
