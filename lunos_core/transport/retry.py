"""When to retry, and after how long. Pure: clock and randomness are arguments."""

from __future__ import annotations

RETRIED_STATUSES = frozenset({408, 409, 425, 429})  # and every status from 500 on

FIRST_DELAY = 0.5  # the vendor's own backoff: half a second, doubling
LONGEST_DELAY = 8.0
# A longer Retry-After is not obeyed: the usual backoff applies, and the caller finds the server's
# value in `error.retry_after`, instead of sleeping for an hour.
LONGEST_RETRY_AFTER = 60.0


def is_retried_status(status: int) -> bool:
    """Return whether an answer with this status is worth retrying."""
    return status in RETRIED_STATUSES or status >= 500


def retry_delay(*, attempt: int, retry_after: float | None, jitter: float) -> float:
    """Return the seconds to wait before the next attempt.

    Args:
        attempt: how many requests have failed so far, from 1.
        retry_after: what the server asked for, in seconds, or `None`.
        jitter: a number from 0 to 1 ("full jitter": the backoff is multiplied with it).
    """
    if retry_after is not None and 0 <= retry_after <= LONGEST_RETRY_AFTER:
        return retry_after
    # min() on the exponent keeps 2**n in range however many retries the user allows
    return float(min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(attempt - 1, 10))) * jitter
