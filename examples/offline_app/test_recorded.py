"""Tests of the app with what a model answered once: recorded with a key, replayed without.

pytest examples/offline_app                          replays what is in cassettes/
LUNOS_API_KEY=... pytest examples/offline_app --lunos-record
                                                     calls Lunos, and records anew
"""

from __future__ import annotations

import pytest
from triage import Ticket, Triage

from langchain_lunos import ChatLunos
from lunos_local.cassettes import LunosCassette

RULES = "Parcels that were opened can be sent back within 14 days."


@pytest.fixture
def triage() -> Triage:
    """The app with the documented model; a replay needs no key."""
    return Triage(ChatLunos(model="openai/gpt-4o-mini"), RULES)


@pytest.mark.lunos_cassette
def test_the_model_sorts_a_letter(triage: Triage) -> None:
    ticket = triage.sort('This is a complaint. Greetings, "Ada Lovelace"')
    assert ticket == Ticket(kind="complaint", customer="Ada Lovelace")


@pytest.mark.lunos_cassette
def test_the_answer_comes_from_the_rules(triage: Triage, lunos_cassette: LunosCassette) -> None:
    assert "14 days" in triage.answer("May I send opened parcels back?")
    (request,) = lunos_cassette.requests
    assert request.headers["x-app-id"] == "triage-answer"
