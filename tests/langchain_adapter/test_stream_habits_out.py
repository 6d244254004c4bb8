"""Every habit of a stream in `tests/wire/`, as LangChain shows it: v0, v1 and v3."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.core.wire_samples import FOLDER
from tests.langchain_adapter.wire import (
    STREAMED,
    Wire,
    ask,
    blocks,
    chat,
    chunks,
    delta,
    stored,
    stream,
)

HABITS = sorted(path.stem for path in FOLDER.glob("stream_*.json"))
ONCE = ("model_name", "finish_reason", "id", "cost", "system_fingerprint", "created")


def _json(arguments: str) -> Any:
    try:
        return json.loads(arguments or "{}", strict=False)
    except ValueError:
        return None


def _expected(habit: str) -> tuple[list[Any], dict[str, Any]]:
    transcript = stored(habit)
    return transcript["events"], {
        "content": "",
        "reasoning": "",
        "refusal": "",
        "tool_calls": [],
        "images": [],
        "annotations": [],
        "usage": None,
        "finish_reason": "stop",
        **transcript["expect"],
    }


@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize("way", STREAMED)
@pytest.mark.parametrize("habit", HABITS)
async def test_each_part_of_the_answer_is_there_once(
    habit: str, way: str, version: str | None
) -> None:
    events, expected = _expected(habit)
    message = await ask(chat(Wire(stream(events)), output_version=version), way)

    result = blocks(message)
    texts = [block for block in result if block["type"] == "text"]
    thoughts = [block for block in result if block["type"] == "reasoning"]
    assert "".join(block["text"] for block in texts) == expected["content"]
    assert message.text == expected["content"]
    assert "".join(block["reasoning"] for block in thoughts) == expected["reasoning"]
    if way in ("stream", "astream"):  # v3 opens a new block where the kind changes
        assert len(texts) <= 1
        assert len(thoughts) <= 1

    calls = [(item["name"], _json(item["arguments"])) for item in expected["tool_calls"]]
    valid = [(name, arguments) for name, arguments in calls if isinstance(arguments, dict)]
    assert [(item["name"], item["args"]) for item in message.tool_calls] == valid
    assert len(message.invalid_tool_calls) == len(calls) - len(valid)
    shown = [(item["name"], item["args"]) for item in result if item["type"] == "tool_call"]
    assert shown == valid

    images = [block for block in result if block["type"] == "image"]
    assert [f"data:{item['mime_type']};base64,{item['base64']}" for item in images] == expected[
        "images"
    ]
    cited = [note["url"] for text in texts for note in text.get("annotations", ())]
    assert cited == [item["url_citation"]["url"] for item in expected["annotations"]]
    refused = [
        (block.get("value") or block)["refusal"]
        for block in result
        if block["type"] in ("non_standard", "refusal")
    ]
    assert refused == ([expected["refusal"]] if expected["refusal"] else [])
    assert message.additional_kwargs.get("refusal", "") == expected["refusal"]


@pytest.mark.parametrize("way", STREAMED)
@pytest.mark.parametrize("habit", HABITS)
async def test_facts_and_usage_are_right(habit: str, way: str) -> None:
    events, expected = _expected(habit)
    message = await ask(chat(Wire(stream(events))), way)
    metadata = message.response_metadata
    assert metadata["model_provider"] == "lunos"
    assert metadata["model_name"] == "openai/gpt-4"
    assert metadata["id"] == "gen-1"
    assert metadata.get("finish_reason") == expected["finish_reason"]
    usage = expected["usage"]
    if usage is None:
        assert message.usage_metadata is None
        assert "cost" not in metadata
    else:
        counted = message.usage_metadata
        assert counted["input_tokens"] == usage["prompt_tokens"]
        assert counted["output_tokens"] == usage["completion_tokens"]
        assert counted["total_tokens"] == usage["total_tokens"]
        assert metadata.get("cost") == usage.get("cost")


@pytest.mark.parametrize("way", ["stream", "astream"])
@pytest.mark.parametrize("habit", HABITS)
async def test_exactly_one_chunk_contains_each_fact(habit: str, way: str) -> None:
    events, _ = _expected(habit)
    pieces = await chunks(chat(Wire(stream(events))), way)
    for name in ONCE:
        assert sum(name in piece.response_metadata for piece in pieces) <= 1
    assert sum("model_name" in piece.response_metadata for piece in pieces) == 1
    assert sum(piece.usage_metadata is not None for piece in pieces) <= 1
    assert [piece.chunk_position for piece in pieces].count("last") == 1
    assert pieces[-1].chunk_position == "last"


@pytest.mark.parametrize("way", STREAMED)
async def test_usage_details_are_under_langchains_names(way: str) -> None:
    events, _ = _expected("stream_usage_after")
    message = await ask(chat(Wire(stream(events))), way)
    assert message.usage_metadata == {
        "input_tokens": 9,
        "output_tokens": 3,
        "total_tokens": 12,
        "input_token_details": {"cache_read": 4, "cache_creation": 1, "audio": 0},
        "output_token_details": {"reasoning": 2, "audio": 0},
    }


@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize("way", STREAMED)
async def test_sound_in_pieces_is_one_block(way: str, version: str | None) -> None:
    events, _ = _expected("stream_audio")
    message = await ask(chat(Wire(stream(events)), output_version=version), way)
    (block,) = blocks(message)
    assert (block["type"], block["base64"]) == ("audio", "QUJDREVG")
    assert block["extras"] == {"id": "au1", "transcript": "Hello", "expires_at": 7}


@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize("way", STREAMED)
async def test_citations_that_come_one_by_one_are_all_there(way: str, version: str | None) -> None:
    def note(url: str) -> dict[str, Any]:
        return {"annotations": [{"type": "url_citation", "url_citation": {"url": url}}]}

    events = [delta("See"), *(delta() for _ in range(2)), delta(finish="stop"), "[DONE]"]
    events[1]["choices"][0]["delta"] = note("https://a.example")
    events[2]["choices"][0]["delta"] = note("https://b.example")
    message = await ask(chat(Wire(stream(events)), output_version=version), way)
    (text,) = blocks(message)
    assert text["annotations"] == [
        {"type": "citation", "url": "https://a.example"},
        {"type": "citation", "url": "https://b.example"},
    ]


@pytest.mark.parametrize("way", STREAMED)
async def test_log_probabilities_add_up(way: str) -> None:
    item = {"token": "A", "logprob": -0.1, "bytes": [65], "top_logprobs": []}
    two = {"token": "B", "logprob": -0.25, "bytes": [66], "top_logprobs": []}
    events = [delta("A"), delta("B"), delta(finish="stop"), "[DONE]"]
    events[0]["choices"][0]["logprobs"] = {"content": [item], "refusal": None}
    events[1]["choices"][0]["logprobs"] = {"content": [two], "refusal": None}
    message = await ask(chat(Wire(stream(events))), way)
    assert message.response_metadata["logprobs"]["content"] == [item, two]


@pytest.mark.parametrize("offered", [True, False])
@pytest.mark.parametrize("way", STREAMED)
async def test_calls_in_choices_of_their_own_end_no_stream(way: str, offered: bool) -> None:
    """As Copilot and some versions of LiteLLM pass on Claude's."""
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
    said: list[Any] = [{"content": "Let me."}, {"tool_calls": [call]}]
    events = [{"choices": [{"index": i, "delta": part}]} for i, part in enumerate(said)]
    ends = [{"choices": [{"index": i, "delta": {}, "finish_reason": "stop"}]} for i in range(2)]
    tool = {"type": "function", "function": {"name": "f"}}
    model: Any = chat(Wire(stream([*events, *ends, "[DONE]"])))
    message = await ask(model.bind_tools([tool]) if offered else model, way)
    assert message.text == "Let me."
    assert not offered or [call["name"] for call in message.tool_calls] == ["f"]


@pytest.mark.parametrize("way", STREAMED)
async def test_an_answer_that_nobody_requested_is_not_mixed_into_the_first(way: str) -> None:
    said = [(0, "a"), (1, "x"), (0, "b"), (1, "y")]
    events = [{"choices": [{"index": i, "delta": {"content": text}}]} for i, text in said]
    ends = [{"choices": [{"index": i, "delta": {}, "finish_reason": "stop"}]} for i in range(2)]
    message = await ask(chat(Wire(stream([*events, *ends, "[DONE]"]))), way)
    assert message.text == "ab"
