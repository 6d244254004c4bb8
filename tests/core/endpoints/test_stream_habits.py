"""Every habit of a streamed answer, from `tests/wire/stream_*.json`, through both clients."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from lunos_core import Chunk, Completion, Usage, chat_request, chat_stream_request
from lunos_core.endpoints.chat.reasoning import ReasoningMerger
from tests.core.wire_samples import FOLDER, HELLO, Wire, delta, reply, stored, stream

if TYPE_CHECKING:
    from tests.conftest import Both

HABITS = sorted(path.stem for path in FOLDER.glob("stream_*.json"))
REQUEST = chat_stream_request(HELLO, model="openai/gpt-4")
SILENT: dict[str, Any] = {
    "content": "",
    "tool_calls": [],
    "reasoning": "",
    "refusal": "",
    "images": [],
    "annotations": [],
    "audio": None,
}


def test_there_are_transcripts() -> None:
    assert len(HABITS) > 40


def without_made_up_ids(calls: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Put `None` for the ids that the wire did not give, after a look at them."""
    for call, known in zip(calls, expected, strict=False):
        if known["id"] is None:
            assert len(call["id"]) > 8
            call["id"] = None
    assert len({call["id"] for call in calls if call["id"]}) == sum(1 for c in calls if c["id"])


def whole_of(chunks: Sequence[Chunk]) -> Completion:
    lasts = [chunk for chunk in chunks if chunk.last is not None]
    assert lasts == [chunks[-1]]
    assert not chunks[-1].choices
    assert chunks[-1].last is not None
    return chunks[-1].last


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize("habit", HABITS)
async def test_the_last_chunk_holds_the_whole_answer(both: Both, habit: str, size: int) -> None:
    transcript = stored(habit)
    expected = dict(transcript["expect"])
    usage, finish = expected.pop("usage", None), expected.pop("finish_reason", "stop")
    details = expected.pop("reasoning_details", None)
    wire = Wire(stream(transcript["events"], size=size))

    whole = whole_of(await both.chunks(both.client(wire), REQUEST))

    message = asdict(whole.choices[0].message)
    without_made_up_ids(message["tool_calls"], expected.get("tool_calls", []))
    assert not any(call.pop("extras") for call in message["tool_calls"])
    result = message.pop("reasoning_details")
    assert result == details if details is not None else True
    assert message == {"role": "assistant", **SILENT, **expected}
    assert whole.choices[0].finish_reason == finish
    assert (whole.usage and whole.usage.raw) == usage
    assert (whole.id, whole.model) == ("gen-1", "openai/gpt-4")
    assert len(wire.requests) == 1


@pytest.mark.parametrize("habit", HABITS)
async def test_the_deltas_add_up_to_the_answer_and_say_each_thing_once(
    both: Both, habit: str
) -> None:
    transcript = stored(habit)
    expected = {**SILENT, **transcript["expect"]}

    chunks = await both.chunks(both.client(Wire(stream(transcript["events"]))), REQUEST)

    added: dict[str, Any] = defaultdict(str)
    images: list[str] = []
    annotations: list[Any] = []
    calls: dict[int, dict[str, Any]] = {}
    finishes = []
    for choice in (choice for chunk in chunks for choice in chunk.choices):
        for name in ("content", "reasoning", "refusal"):
            added[name] += getattr(choice.delta, name)
        images += choice.delta.images
        annotations += choice.delta.annotations
        finishes += [choice.finish_reason] if choice.finish_reason else []
        for piece in choice.delta.tool_calls:
            begins = piece.index not in calls
            call = calls.setdefault(piece.index, {"id": None, "name": None, "arguments": ""})
            assert begins == (piece.id is not None), "the id is on a call's first piece only"
            assert piece.name is None or call["name"] is None, "the name comes once"
            call["id"] = piece.id or call["id"]
            call["name"] = piece.name or call["name"]
            call["arguments"] += piece.arguments
    assert sorted(calls) == list(range(len(calls)))
    ordered = [calls[index] for index in sorted(calls)]
    without_made_up_ids(ordered, expected["tool_calls"])
    assert ordered == expected["tool_calls"]
    assert (added["content"], added["reasoning"], added["refusal"]) == (
        expected["content"],
        expected["reasoning"],
        expected["refusal"],
    )
    assert (images, annotations) == (expected["images"], expected["annotations"])
    finish = expected.get("finish_reason", "stop")
    assert finishes == ([finish] if finish else [])
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)


async def test_choices_that_come_in_turn_are_kept_apart(both: Both) -> None:
    def part(index: int, text: str, finish: str | None = None) -> dict[str, Any]:
        return {"index": index, "delta": {"content": text}, "finish_reason": finish}

    call = {"index": 0, "id": "call_1", "function": {"name": "f", "arguments": "{}"}}
    events = [
        {"choices": [part(1, "B")]},
        {"choices": [part(0, "A"), part(1, "b")]},
        {"choices": [{"index": 1, "delta": {"tool_calls": [call]}, "finish_reason": None}]},
        {"choices": [part(1, "", "tool_calls")]},
        {"choices": [part(0, "a", "length")]},
        "[DONE]",
    ]
    chunks = await both.chunks(both.client(Wire(stream(events))), REQUEST)
    whole = whole_of(chunks)
    assert [(c.index, c.message.content, c.finish_reason) for c in whole.choices] == [
        (0, "Aa", "length"),
        (1, "Bb", "tool_calls"),
    ]
    assert [len(choice.message.tool_calls) for choice in whole.choices] == [0, 1]


@pytest.mark.parametrize("name", ["chat", "chat_envelope", "chat_envelope_text", "completion"])
async def test_a_whole_json_answer_in_place_of_a_stream_is_read_as_one(
    both: Both, name: str
) -> None:
    chunks = await both.chunks(both.client(Wire(reply(stored(name)))), REQUEST)
    whole = whole_of(chunks)
    assert "".join(chunk.text for chunk in chunks) == whole.text == "Hello there"
    assert whole.usage == Usage(9, 3, 12, 4, 1, 0, 2, 0, 0, 0.00012)


async def test_a_whole_answer_with_tool_calls_in_place_of_a_stream_keeps_them(both: Both) -> None:
    answer = stored("chat")
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "reasoning": "Hm", "tool_calls": [call]}
    answer["choices"][0] |= {"message": message, "finish_reason": "tool_calls"}
    whole = whole_of(await both.chunks(both.client(Wire(reply(answer))), REQUEST))
    sent = await both(both.client(Wire(reply(answer))).send(chat_request(HELLO, model="m")))
    assert whole.choices == sent.choices
    assert whole.choices[0].message.tool_calls[0].to_wire() == call


async def test_logprobs_of_the_pieces_are_joined(both: Both) -> None:
    events = [delta("a"), delta("b"), delta(None, "stop"), "[DONE]"]
    for i in (0, 1):
        events[i]["choices"][0]["logprobs"] = {"content": [{"token": "ab"[i]}], "refusal": None}
    chunks = await both.chunks(both.client(Wire(stream(events))), REQUEST)
    assert whole_of(chunks).choices[0].logprobs == {
        "content": [{"token": "a"}, {"token": "b"}],
        "refusal": None,
    }
    assert chunks[0].choices[0].logprobs["content"] == [{"token": "a"}]


def test_of_two_spellings_in_one_delta_one_is_shown_even_where_they_differ() -> None:
    merger = ReasoningMerger()
    detail = {"type": "reasoning.summary", "summary": "In short: think"}
    assert (
        merger.add({"reasoning": "Let me think", "reasoning_details": [detail]}) == "Let me think"
    )
    assert merger.details() == [detail]


@pytest.mark.parametrize("reason", [7, True, ["stop"], {"stop": 1}, "", None])
async def test_a_finish_reason_that_is_no_word_is_none(both: Both, reason: Any) -> None:
    parts = [delta("Hel", reason), delta("lo", reason)]
    for end, word in (([delta("", "stop")], "stop"), ([], None)):
        wire = Wire(stream([*parts, *end, "[DONE]"]))
        chunks = await both.chunks(both.client(wire), REQUEST)
        finishes = [choice.finish_reason for chunk in chunks for choice in chunk.choices]
        assert [said for said in finishes if said is not None] == ([word] if word else [])
        last = whole_of(chunks)
        assert (last.text, last.choices[0].finish_reason) == ("Hello", word)
    answer = {"choices": [{"message": {"content": "Hello"}, "finish_reason": reason}]}
    whole = await both(both.client(Wire(reply(answer))).send(chat_request(HELLO, model="m")))
    assert (whole.text, whole.choices[0].finish_reason) == ("Hello", None)


async def test_what_follows_done_is_not_read(both: Both) -> None:
    events = [delta("a"), delta(None, "stop"), "[DONE]", delta("b"), "nonsense", "[DONE]"]
    chunks = await both.chunks(both.client(Wire(stream(events))), REQUEST)
    assert whole_of(chunks).text == "a"


async def test_a_whole_message_after_deltas_of_nothing_is_the_answer(both: Both) -> None:
    """Text that shows nothing is none."""
    whole = {"index": 0, "message": {"content": "All of it"}, "finish_reason": "stop"}
    events = [delta(""), delta(""), {"choices": [whole]}, "[DONE]"]
    client = both.client(Wire(stream(events)))
    result = await both.chunks(client, chat_stream_request(HELLO, model="m"))
    assert "".join(chunk.text for chunk in result) == "All of it"
    assert result[-1].last.text == "All of it"


CALLED = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
MESSAGE: dict[str, Any] = {
    "content": "Let me look.",
    "reasoning": "Hm.",
    "refusal": "No.",
    "audio": {"data": "AAAA"},
    "tool_calls": [CALLED],
    "images": [{"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}],
    "annotations": [{"type": "url_citation"}],
}


@pytest.mark.parametrize("streamed", [(), *((name,) for name in MESSAGE), tuple(MESSAGE)], ids=str)
async def test_a_whole_message_at_the_end_adds_what_was_not_streamed_and_nothing_twice(
    both: Both, streamed: tuple[str, ...]
) -> None:
    begun = [{"choices": [{"index": 0, "delta": {name: MESSAGE[name]}}]} for name in streamed]
    whole = {"index": 0, "message": MESSAGE, "finish_reason": "stop"}
    client = both.client(Wire(stream([*begun, {"choices": [whole]}, "[DONE]"])))
    result = await both.chunks(client, chat_stream_request(HELLO, model="m"))
    message = result[-1].last.choices[0].message
    deltas = [choice.delta for chunk in result for choice in chunk.choices]
    assert "".join(delta.content for delta in deltas) == message.content == "Let me look."
    assert "".join(delta.reasoning for delta in deltas) == message.reasoning == "Hm."
    assert message.refusal == "No."
    assert message.audio == {"data": "AAAA"}
    assert [call.arguments for call in message.tool_calls] == ['{"a": 1}']
    assert "".join(call.arguments for d in deltas for call in d.tool_calls) == '{"a": 1}'
    assert message.images == ["https://x.test/a.png"]
    assert message.annotations == [{"type": "url_citation"}]
