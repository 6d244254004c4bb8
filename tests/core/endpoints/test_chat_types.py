"""What an answer and its chunks say in short: `text`, `usage`, `id`, `model`."""

from __future__ import annotations

import pytest

from lunos_core import Usage
from lunos_core.endpoints.chat.types import (
    Choice,
    Chunk,
    ChunkChoice,
    Completion,
    Delta,
    Message,
    ToolCall,
    ToolCallDelta,
)


def test_an_answer_is_its_first_choice_and_every_reason_to_end() -> None:
    choices = [Choice(0, Message("a"), "stop"), Choice(1, Message("b")), Choice(2, Message(), "x")]
    answer = Completion(choices=choices)
    assert (answer.text, answer.finish_reasons) == ("a", ("stop", "x"))
    assert [choice.text for choice in choices] == ["a", "b", ""]
    assert (answer.attempts, answer.fallback, answer.usage, answer.raw) == (1, False, None, {})
    assert (Completion(choices=[]).text, Completion(choices=[]).finish_reasons) == ("", ())


def test_a_chunk_is_the_text_that_it_adds_to_the_first_answer() -> None:
    choices = [ChunkChoice(0, Delta("a")), ChunkChoice(1, Delta("b"))]
    assert (Chunk(choices).text, Chunk(()).text, choices[1].text) == ("a", "", "b")


@pytest.mark.parametrize(
    ("chunk", "facts"),
    [
        (Chunk((), {"id": "gen-1", "model": "m"}), ("gen-1", "m", None)),
        (Chunk((), {"id": 7, "model": None}), (None, None, None)),
        (Chunk(()), (None, None, None)),
        (  # what the whole answer says wins over the last event
            Chunk(
                (),
                {"id": "gen-2", "model": "n"},
                Completion(choices=[], id="gen-1", usage=Usage(1, 2, 3)),
            ),
            ("gen-1", None, Usage(1, 2, 3)),
        ),
    ],
)
def test_the_facts_of_a_chunk_are_its_events_and_at_the_end_the_answers(
    chunk: Chunk, facts: tuple[object, ...]
) -> None:
    assert (chunk.id, chunk.model, chunk.usage) == facts


def test_what_is_printed_leaves_the_raw_answer_out() -> None:
    raw = {"secret": 1}
    for value in (Chunk((), raw), Completion(choices=[], raw=raw)):
        assert "secret" not in repr(value)
    with pytest.raises(TypeError, match="positional"):  # by name alone: more fields may come
        Completion([])  # type: ignore[misc]  # what a caller may do


def test_a_call_stands_in_a_message_as_the_wire_has_it() -> None:
    assert ToolCall("c1", "f", "{}").to_wire() == {
        "id": "c1",
        "type": "function",
        "function": {"name": "f", "arguments": "{}"},
    }
    assert ToolCallDelta(0) == ToolCallDelta(0, None, None, "")
    assert Message() == Message("", [], "", [], "", [], [], None, "assistant")
