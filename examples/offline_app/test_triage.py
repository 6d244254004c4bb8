"""Tests of an app without a key, without the network, and without a mock: copy the fixture.

pytest examples/offline_app

The fixtures `lunos_gateway`, `lunos_requests` and `assert_cost_below` and the marker `lunos_fault`
come with `pip install "lunos-integrations[testing]"`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from triage import SORRY, Ticket, Triage

from langchain_lunos import ChatLunos
from lunos_local import LocalGateway

RULES = "Parcels that were opened can be sent back within 14 days."


@pytest.fixture
def triage(lunos_gateway: LocalGateway) -> Triage:
    """The app with the documented model; key and address come from the environment."""
    return Triage(ChatLunos(model="openai/gpt-4o-mini"), RULES)


def test_a_letter_is_sorted(triage: Triage) -> None:
    # the local model fills the schema with the letter's own words
    ticket = triage.sort('This is a complaint. Greetings, "Ada Lovelace"')
    assert ticket == Ticket(kind="complaint", customer="Ada Lovelace")


def test_the_rules_and_the_letter_are_sent_and_the_right_app_pays(
    triage: Triage,
    lunos_requests: Callable[[], list[dict[str, Any]]],
    assert_cost_below: Callable[[float], None],
) -> None:
    assert "14 days" in triage.answer("May I send opened parcels back?")
    (request,) = lunos_requests()
    assert request["app_id"] == "triage-answer"
    system, human = request["body"]["messages"]
    assert RULES in system["content"]
    assert human == {"role": "user", "content": "May I send opened parcels back?"}
    assert_cost_below(0.001)


@pytest.mark.lunos_fault("429")
def test_a_busy_service_is_asked_again(
    triage: Triage, lunos_requests: Callable[[], list[dict[str, Any]]]
) -> None:
    assert triage.answer("May I send it back?") != SORRY
    assert [request["status"] for request in lunos_requests()] == [429, 200]


@pytest.mark.parametrize("fault", ["503", "html", "cut-stream"])
def test_a_broken_service_gives_the_kind_sentence(lunos_gateway: LocalGateway, fault: str) -> None:
    lunos_gateway.fail(fault, times=None)
    app = Triage(ChatLunos(model="openai/gpt-4o-mini", max_retries=0), RULES)
    assert app.answer("May I send it back?") == SORRY
