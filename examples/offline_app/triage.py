"""The app under test: it sorts letters from a shop's customers and answers them."""

from __future__ import annotations

from typing import Literal

from langchain_core.prompts import ChatPromptTemplate
from pydantic import BaseModel, Field

from langchain_lunos import ChatLunos
from lunos_core import LunosError

PROMPT = ChatPromptTemplate.from_messages(
    [("system", "Answer in one sentence, from these rules:\n{rules}"), ("human", "{letter}")]
)
SORRY = "We have your letter, and answer by tomorrow."


class Ticket(BaseModel):
    """A letter, sorted."""

    kind: Literal["complaint", "question", "praise"]
    customer: str = Field(description="The name of who writes.")


class Triage:
    """Sorts and answers letters with the given model."""

    def __init__(self, model: ChatLunos, rules: str) -> None:
        self._sorter = model.with_structured_output(Ticket, app_id="triage-sort")
        self._answerer = PROMPT | model.bind(app_id="triage-answer")
        self._rules = rules

    def sort(self, letter: str) -> Ticket:
        """Return the kind of a letter and who wrote it."""
        return self._sorter.invoke(letter)

    def answer(self, letter: str) -> str:
        """Answer from the rules, or with a polite sentence if the call fails."""
        try:
            return self._answerer.invoke({"rules": self._rules, "letter": letter}).text
        except LunosError:
            return SORRY
