"""The account's balance: `GET /balance`.

Source of the format: the vendor's later public pages. The API reference doesn't have it, and it
was never seen live.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from lunos_core.arguments import check_app_id
from lunos_core.logs import log
from lunos_core.request import Reply, Request
from lunos_core.wire.text import decimal_of, flag_of


@dataclass(frozen=True, slots=True)
class Balance:
    """The balance of the account.

    Attributes:
        amount: in USD, or the account's credits.
        email: of the account, if the server sent it.
        is_low: whether the amount is low, by the server's flag or its alert threshold.
        updated_at: the time of the balance, if the server sent it.
        raw: the original answer.
    """

    amount: Decimal
    email: str | None = None
    is_low: bool = False
    updated_at: datetime | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


OnLowBalance = Callable[[Balance], Any]


def balance_request(*, app_id: str | None = None) -> Request[Balance]:
    """Return the request for the balance.

    Args:
        app_id: the application that makes the call; the client's if `None`.

    Example:
        >>> from lunos_core import balance_request
        >>> balance_request().path
        '/balance'
    """
    return Request(
        path="/balance",
        method="GET",
        content_type=None,
        parse=parse_balance,
        app_id=check_app_id(app_id),
        absent="this deployment has no route for the balance",
    )


def parse_balance(reply: Reply) -> Balance:
    """Read the answer: `{"success": true, "data": {"balance": 12.5, …}}`, or the data alone.

    Raises:
        LunosResponseError: it contains no amount.
        LunosAPIError: it is an error sent with a successful status.
    """
    value = reply.json()
    data = value.get("data")
    data = data if isinstance(data, dict) else value
    amount = decimal_of(data.get("balance"))
    if amount is None:
        raise reply.malformed("has no balance")
    email = data.get("email")
    low = flag_of(data.get("isBalanceLow"))
    if low is None:
        threshold = decimal_of(data.get("alertBalance"))
        alerts = flag_of(data.get("enableAlert", data.get("isAlertEnabled")))
        low = bool(alerts) and threshold is not None and amount <= threshold
    return Balance(
        amount=amount,
        email=email if isinstance(email, str) else None,
        is_low=low,
        updated_at=_time(data.get("updatedAt")),
        raw=data,
    )


def tell_low_balance(balance: Balance, on_low_balance: OnLowBalance | None) -> None:
    """Call the user's function if the balance is low.

    What it raises is logged: the caller gets the balance in any case.
    """
    if on_low_balance is not None and balance.is_low:
        try:
            on_low_balance(balance)
        except Exception:
            log.exception("on_low_balance failed")


async def atell_low_balance(balance: Balance, on_low_balance: OnLowBalance | None) -> None:
    """`tell_low_balance`, for a function that may be async."""
    if on_low_balance is not None and balance.is_low:
        try:
            result = on_low_balance(balance)
            if inspect.isawaitable(result):
                await result
        except Exception:
            log.exception("on_low_balance failed")


def _time(value: Any) -> datetime | None:
    try:
        number = decimal_of(value)
        if number is not None:
            seconds = float(number / 1000 if number > 10**11 else number)
            return datetime.fromtimestamp(seconds, UTC)
        if isinstance(value, str):
            when = datetime.fromisoformat(value)
            return when if when.tzinfo else when.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None
