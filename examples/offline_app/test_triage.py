"""Tests of an app without a key, without the network, and without a mock: copy the two fixtures.

pytest examples/offline_app
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from triage import SORRY, Ticket, Triage

from langchain_lunos import ChatLunos
from lunos_local import LocalGateway

RULES = "Parcels that were opened can be sent back within 14 days."


@pytest.fixture(scope="session")
def running_gateway() -> Iterator[LocalGateway]:
    with LocalGateway() as gateway:
        yield gateway


@pytest.fixture
def gateway(running_gateway: LocalGateway) -> LocalGateway:
    """One server for all tests, with an empty log for each."""
    running_gateway.clear()
    return running_gateway


def triage(gateway: LocalGateway, model: str = "lunos/scripted", **settings: Any) -> Triage:
    service = {"base_url": gateway.base_url, "api_key": gateway.api_key}
    return Triage(ChatLunos(model=model, **service, **settings), RULES)


def test_a_letter_is_sorted(gateway: LocalGateway) -> None:
    # the scripted model fills the schema from the letter's own words
    ticket = triage(gateway).sort('This is a complaint. Greetings, "Ada Lovelace"')
    assert ticket == Ticket(kind="complaint", customer="Ada Lovelace")


def test_the_rules_and_the_letter_are_sent_and_the_right_app_pays(gateway: LocalGateway) -> None:
    triage(gateway).answer("May I send it back?")
    (request,) = gateway.requests()
    assert request["app_id"] == "triage-answer"
    system, human = request["body"]["messages"]
    assert RULES in system["content"]
    assert human == {"role": "user", "content": "May I send it back?"}


def test_a_busy_service_is_asked_again(gateway: LocalGateway) -> None:
    assert triage(gateway, "lunos/flaky-429").answer("May I send it back?") != SORRY
    assert [request["status"] for request in gateway.requests()] == [429, 200]


@pytest.mark.parametrize("fault", ["lunos/error-503", "lunos/html", "lunos/cut-stream"])
def test_a_broken_service_gives_the_kind_sentence(gateway: LocalGateway, fault: str) -> None:
    assert triage(gateway, fault, max_retries=0).answer("May I send it back?") == SORRY
