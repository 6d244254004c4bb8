"""Wait until budgets and limits allow a call, loading the prices that they need."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from lunos_core.accounting.pricing import Prices
from lunos_core.errors import LunosError
from lunos_core.logs import log as _log
from lunos_core.logs import reason_of
from lunos_core.transport.call import Call

LoadPrices = Callable[[Any], Prices]
AsyncLoadPrices = Callable[[Any], Awaitable[Prices]]


class _Client(Protocol):
    prices: Prices | None
    load_prices: LoadPrices | None


class _AsyncClient(Protocol):
    prices: Prices | None
    load_prices: AsyncLoadPrices | None


def admit(client: _Client, call: Call[Any]) -> None:
    """Wait until a call may start.

    Raises:
        LunosBudgetError: a budget or limit refuses it.
    """
    load, prices = client.load_prices, client.prices
    if load is not None and call.wants_prices:
        client.load_prices = None  # only once, even if it fails
        try:
            client.prices = prices = load(client)
        except LunosError as error:
            _log.warning("the prices for a budget can't be loaded: %s", reason_of(error))
    for seconds in call.admission(prices):
        time.sleep(seconds)


async def aadmit(client: _AsyncClient, call: Call[Any]) -> None:
    """Wait until a call may start: see `admit`."""
    load, prices = client.load_prices, client.prices
    if load is not None and call.wants_prices:
        client.load_prices = None
        try:
            client.prices = prices = await load(client)
        except LunosError as error:
            _log.warning("the prices for a budget can't be loaded: %s", reason_of(error))
    for seconds in call.admission(prices):
        await asyncio.sleep(seconds)
