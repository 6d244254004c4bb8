"""What a fault is; `http_faults` and `body_faults` have them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.chaos.answers import Answer
from tests.core.raw_server import Step

ANSWER, ERROR, EITHER = "answer", "error", "either"
"""What must come of a call: the right answer, our error, or one of both (never a wrong answer)."""

Play = Callable[[Answer], Iterable[Step | float]]


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        name: unique.
        play: the steps that the server plays in place of a right answer; a number is a pause.
        whole: what must come of a call with one answer.
        streamed: what must come of a stream.
        stalls: whether the call ends by its `total_timeout`, which is short then.
        spills: whether the server sends more than one answer to one request. HTTP/1.1 can't tell
            the rest from the answer to the next request on that connection.
    """

    name: str
    play: Play
    whole: str
    streamed: str
    stalls: bool
    spills: bool = False

    def outcome(self, *, streamed: bool) -> str:
        return self.streamed if streamed else self.whole


FAULTS: dict[str, Fault] = {}


def fault(
    whole: str, streamed: str | None = None, *, stalls: bool = False
) -> Callable[[Play], Play]:
    """Name a function's steps as a fault, and say what must come of it."""

    def named(play: Play) -> Play:
        name = play.__name__.replace("_", "-")  # type: ignore[attr-defined]  # a function
        assert name not in FAULTS
        FAULTS[name] = Fault(name, play, whole, streamed or whole, stalls)
        return play

    return named


def rows(
    faults: dict[str, Play], whole: str, streamed: str | None = None, *, spills: bool = False
) -> None:
    """Name several faults of one kind."""
    for name, play in faults.items():
        assert name not in FAULTS
        FAULTS[name] = Fault(name, play, whole, streamed or whole, stalls=False, spills=spills)
