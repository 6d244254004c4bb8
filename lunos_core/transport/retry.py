"""When to try again, and after how long: pure decisions, no clock and no dice of their own."""

from __future__ import annotations

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
