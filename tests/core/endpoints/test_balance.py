"""The account's balance, and what is called when it is low."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from lunos_core import (
    AsyncLunos,
    Balance,
    Lunos,
    LunosAuthenticationError,
    LunosNotFoundError,
    LunosResponseError,
    balance_request,
)
from lunos_core.endpoints.balance import parse_balance
from lunos_core.request import Reply
from lunos_core.wire import json
from tests.core.wire_samples import Wire, reply

if TYPE_CHECKING:
    from tests.conftest import Both

DATA = {
    "balance": 12.34,
    "email": "ann@example.com",
    "alertBalance": 5,
    "enableAlert": 1,
    "isAlertEnabled": True,
    "isBalanceLow": False,
    "updatedAt": "2026-11-25T12:00:00.000Z",
}
ANSWER = {"success": True, "message": "Balance retrieved", "data": DATA}


def read(data: Any) -> Balance:
    return parse_balance(Reply(200, {}, json.dumps(data)))


async def test_the_balance_is_asked_for_with_the_key(both: Both) -> None:
    wire = Wire(reply(ANSWER))
    balance = await both(both.client(wire, api_key="sk-1").send(balance_request(app_id="a")))
    assert (balance.amount, balance.email, balance.is_low) == (
        Decimal("12.34"),
        "ann@example.com",
        False,
    )
    assert balance.updated_at == datetime(2026, 11, 25, 12, tzinfo=UTC)
    assert balance.raw == DATA
    assert (wire.sent.method, wire.sent.url.path) == ("GET", "/v1/balance")
    assert wire.sent.headers["authorization"] == "Bearer sk-1"
    assert wire.sent.headers["x-app-id"] == "a"


@pytest.mark.parametrize(
    ("changed", "low"),
    [
        ({"isBalanceLow": True}, True),
        ({"isBalanceLow": 1}, True),
        ({"isBalanceLow": 0}, False),
        ({"isBalanceLow": None, "balance": 3}, True),
        ({"isBalanceLow": None, "balance": 3, "enableAlert": 0}, False),
        ({"isBalanceLow": None, "balance": "3.5", "alertBalance": "5"}, True),
        ({"isBalanceLow": "false", "balance": 3}, False),
        ({"isBalanceLow": "true"}, True),
        ({"isBalanceLow": None, "balance": 3, "enableAlert": "0"}, False),
        ({"isBalanceLow": None, "balance": 3, "enableAlert": "1"}, True),
    ],
)
def test_numbers_and_flags_are_read_in_every_form(changed: dict[str, Any], low: bool) -> None:
    assert read({"success": True, "data": {**DATA, **changed}}).is_low is low
    assert read({**DATA, **changed}).is_low is low


@pytest.mark.parametrize(
    ("amount", "read_as"),
    [("1,234.50", "1234.50"), ("$12.5", "12.5"), ("12 USD", "12"), (-3, "-3"), (1e-7, "1E-7")],
)
def test_an_amount_is_exact_in_every_spelling(amount: Any, read_as: str) -> None:
    assert str(read({"success": "true", "data": {"balance": amount}}).amount) == read_as


@pytest.mark.parametrize("when", [None, "yesterday", True, 1e300, {}])
def test_a_time_that_makes_no_sense_is_left_out(when: Any) -> None:
    assert read({"balance": "1", "updatedAt": when}).updated_at is None
    assert read({"balance": 1, "updatedAt": 1764072000}).updated_at == datetime(
        2025, 11, 25, 12, tzinfo=UTC
    )


@pytest.mark.parametrize("amount", [None, True, "much", "NaN", "1,5", "9" * 99, [], {}])
def test_an_answer_without_an_amount_is_malformed(amount: Any) -> None:
    with pytest.raises(LunosResponseError, match="has no balance"):
        read({"success": True, "data": {"balance": amount}})


@pytest.mark.parametrize("status", [200, 401])
async def test_an_expired_key_is_the_error_of_its_code(both: Both, status: int) -> None:
    body = {"success": False, "message": "Secret key expired", "error": "UNAUTHORIZED"}
    with pytest.raises(LunosAuthenticationError, match="Secret key expired"):
        await both(both.client(Wire(reply(body, status))).send(balance_request()))


async def test_a_deployment_without_the_route_gives_a_clear_error(both: Both) -> None:
    with pytest.raises(LunosNotFoundError, match="no route for the balance"):
        await both(both.client(Wire(reply({"error": "Not found"}, 404))).send(balance_request()))


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("low", [False, True])
async def test_a_low_balance_is_reported_when_it_is_queried(is_async: bool, low: bool) -> None:
    wire = Wire(reply({**ANSWER, "data": {**DATA, "isBalanceLow": low}}))
    told: list[Balance] = []

    async def tell(balance: Balance) -> None:
        told.append(balance)

    if is_async:
        http = httpx.AsyncClient(transport=httpx.MockTransport(wire))
        async with http, AsyncLunos("k", http_client=http, on_low_balance=tell) as lunos:
            balance = await lunos.balance()
    else:
        with httpx.Client(transport=httpx.MockTransport(wire)) as client:
            balance = Lunos("k", http_client=client, on_low_balance=told.append).balance()
    assert told == ([balance] if low else [])


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_function_that_fails_does_not_cost_the_answer(
    is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    wire = Wire(reply({**ANSWER, "data": {**DATA, "isBalanceLow": True}}))

    def fail(balance: Balance) -> None:
        raise RuntimeError("no")

    with caplog.at_level(logging.ERROR):
        if is_async:
            http = httpx.AsyncClient(transport=httpx.MockTransport(wire))
            async with http, AsyncLunos("k", http_client=http, on_low_balance=fail) as lunos:
                assert (await lunos.balance()).is_low
        else:
            with httpx.Client(transport=httpx.MockTransport(wire)) as client:
                assert Lunos("k", http_client=client, on_low_balance=fail).balance().is_low
    assert "on_low_balance failed" in caplog.text
