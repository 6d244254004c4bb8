"""When to retry, and after how long. Pure: clock and randomness are arguments."""

from __future__ import annotations

RETRIED_STATUSES = frozenset({408, 409, 425, 429})  # and every status from 500 on

FIRST_DELAY = 0.5  # the vendor's own backoff: half a second, then doubled
LONGEST_DELAY = 8.0
# A longer Retry-After is ignored: the usual backoff applies instead of an hour of sleep, and the
# caller finds the server's value in `error.retry_after`.
LONGEST_RETRY_AFTER = 60.0


def is_retried_status(status: int) -> bool:
    """Return whether to retry after an answer with this status."""
    return status in RETRIED_STATUSES or status >= 500


def retry_delay(*, attempt: int, retry_after: float | None, jitter: float) -> float:
    """Return the seconds to wait before the next attempt.

    Args:
        attempt: the number of failed requests so far, from 1.
        retry_after: the server's Retry-After in seconds, or `None`.
        jitter: a number from 0 to 1 by which the backoff is multiplied ("full jitter").
    """
    if retry_after is not None and 0 <= retry_after <= LONGEST_RETRY_AFTER:
        return retry_after
    # min() keeps 2**n in range, however many retries the user allows
    return float(min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(attempt - 1, 10))) * jitter
