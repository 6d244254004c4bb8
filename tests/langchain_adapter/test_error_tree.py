"""The error classes by themselves: both parents, retries, and what a broken stream had brought."""

from __future__ import annotations

from typing import Any

import langchain_core.exceptions as framework
import pytest
from langchain_core.exceptions import LangChainException, OutputParserException

import lunos_core
from langchain_lunos import errors
from tests.langchain_adapter.wire import Wire, ask, chat, stream

ROWS = [
    line.split()
    for line in (errors.__doc__ or "").splitlines()
    if line.startswith("Lunos") and len(line.split()) == 3
]


@pytest.mark.parametrize(("ours", "theirs", "here"), ROWS)
def test_a_class_has_the_parents_of_the_table(ours: str, theirs: str, here: str) -> None:
    kind = getattr(errors, here)
    assert kind.__name__ == here
    assert issubclass(kind, getattr(lunos_core, ours))
    assert issubclass(kind, LangChainException)
    # older cores lack some
    assert issubclass(kind, getattr(framework, theirs, LangChainException))
    assert errors.LANGCHAIN_ERRORS.types[getattr(lunos_core, ours)] is kind


def test_the_table_has_every_class_of_the_core() -> None:
    assert len(ROWS) == len(errors.LANGCHAIN_ERRORS.types) == 15
    assert errors.LANGCHAIN_ERRORS.framework == "langchain"


@pytest.mark.parametrize(
    ("name", "retried"),
    [
        ("LunosConflictError", True),
        ("LunosRateLimitError", True),
        ("LunosServerError", True),
        ("LunosPaymentError", False),
        ("LunosBadRequestError", False),
        ("LunosAuthenticationError", False),
        ("LunosNotFoundError", False),
    ],
)
def test_each_class_states_whether_a_retry_may_help(name: str, retried: bool) -> None:
    assert bool(getattr(getattr(errors, name), "is_retryable", False)) is retried


def test_a_refusal_keeps_what_was_said() -> None:
    message = object()
    error = errors.LunosRefusalError("no", llm_output="I won't", raw_message=message)
    assert isinstance(error, OutputParserException)
    assert (error.llm_output, error.raw_message) == ("I won't", message)
    assert str(error).startswith("no")
    bare = errors.LunosRefusalError("no")
    assert (bare.llm_output, bare.raw_message) == (None, None)


@pytest.mark.parametrize("way", ["stream", "astream", "v3", "av3"])
@pytest.mark.parametrize("pieces", [("Hel", "lo"), ()])
async def test_a_broken_stream_has_what_had_come(way: str, pieces: tuple[str, ...]) -> None:
    events: list[Any] = [
        {"id": "gen-1", "choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces
    ]
    if pieces:  # of a second answer, which LangChain's streams have no place for
        events.append({"choices": [{"index": 1, "delta": {"content": "Bye"}}]})
    broken = stream([*events, {"error": {"message": "gone", "code": 502}}])
    with pytest.raises(lunos_core.LunosError) as caught:
        await ask(chat(Wire(broken)), way)
    partial = caught.value.partial
    assert (partial.content if partial is not None else None) == ("Hello" if pieces else None)
