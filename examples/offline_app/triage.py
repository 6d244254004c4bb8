"""The app under test: it sorts the letters of a shop's customers, and answers them."""

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
    """The model comes from outside: production gives one, a test gives another."""

    def __init__(self, model: ChatLunos, rules: str) -> None:
        self._sorter = model.with_structured_output(Ticket, app_id="triage-sort")
        self._answerer = PROMPT | model.bind(app_id="triage-answer")
        self._rules = rules

    def sort(self, letter: str) -> Ticket:
        """Which kind of letter it is, and who wrote it."""
        return self._sorter.invoke(letter)

    def answer(self, letter: str) -> str:
        """An answer from the rules; a kind sentence where no model can be reached."""
        try:
            return self._answerer.invoke({"rules": self._rules, "letter": letter}).text
        except LunosError:
            return SORRY
