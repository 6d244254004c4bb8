"""Every event of a v3 stream by its value, and the tokens that callbacks hear of."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler

from langchain_lunos._content_blocks import REFUSAL_IS_STANDARD
from tests.langchain_adapter.wire import Wire, beta, chat, chunks, llm, stream, streamed

PNG = "data:image/png;base64,AAAA"
SOURCE = {"url": "https://a", "title": "A", "start_index": 0, "end_index": 2, "content": "x"}
CITED = {"type": "url_citation", "url_citation": SOURCE}
CITATION = {
    "type": "citation",
    "url": "https://a",
    "title": "A",
    "start_index": 0,
    "end_index": 2,
    "cited_text": "x",
}
BROKEN = "the arguments aren't a JSON object: cut off, or written wrongly by the model"


def calls(i: int, arguments: str = "", **function: Any) -> dict[str, Any]:
    name = {"id": function.pop("id")} if "id" in function else {}
    return {"tool_calls": [{"index": i, **name, "function": {"arguments": arguments, **function}}]}


RICH = streamed(
    {"role": "assistant", "content": ""},
    {"reasoning": "Hm"},
    {"reasoning": "."},
    {"content": "So"},
    {"content": ": 42", "annotations": [CITED]},
    {"images": [{"type": "image_url", "image_url": {"url": PNG}}]},
    calls(0, '{"a":', id="c1", name="f"),
    calls(0, "1}"),
    calls(1, '{"b"', id="c2", name="g"),
    {"audio": {"data": "AAAA", "transcript": "hi"}},
    {"audio": {"data": "BBBB", "id": "au1"}},
    {"refusal": "No."},
    finish="tool_calls",
)


def block(i: int, start: Any, deltas: list[Any], finish: Any) -> list[dict[str, Any]]:
    return [
        {"event": "content-block-start", "index": i, "content": start},
        *({"event": "content-block-delta", "index": i, "delta": delta} for delta in deltas),
        {"event": "content-block-finish", "index": i, "content": finish},
    ]


async def events_of(way: str, wire: Any) -> list[Any]:
    with beta():
        if way == "v3":
            return list(chat(wire).stream_events("q", version="v3"))
        return [event async for event in await chat(wire).astream_events("q", version="v3")]


@pytest.mark.parametrize("way", ["v3", "av3"])
async def test_every_kind_of_block_has_its_events(way: str) -> None:
    start, *events, end = await events_of(way, Wire(RICH))
    assert (start["event"], start["role"], start["metadata"]) == (
        "message-start",
        "ai",
        {"provider": "lunos"},
    )
    assert start["id"].startswith("lc_run--")
    first = {"type": "tool_call_chunk", "args": ""}
    sound = {"id": "au1", "transcript": "hi"}
    refused: dict[str, Any] = {"type": "refusal", "refusal": "No."}
    if not REFUSAL_IS_STANDARD:
        refused = {"type": "non_standard", "value": refused}
    call_0 = block(
        3,
        {**first, "id": "c1", "name": "f", "index": 0},
        [{"type": "tool-call-delta", "args": args} for args in ('{"a":', "1}")],
        {"type": "tool_call", "id": "c1", "name": "f", "args": {"a": 1}},
    )
    call_1 = block(
        4,
        {**first, "id": "c2", "name": "g", "index": 1},
        [{"type": "tool-call-delta", "args": '{"b"'}],
        {"type": "invalid_tool_call", "id": "c2", "name": "g", "args": '{"b"', "error": BROKEN},
    )
    audio = block(
        5,
        {"type": "audio"},
        [{"type": "data-delta", "data": data, "encoding": "base64"} for data in ("AAAA", "BBBB")],
        {"type": "audio", "base64": "AAAABBBB", "extras": sound, "index": 5},
    )
    assert events == [
        *block(
            0,
            {"type": "reasoning", "reasoning": ""},
            [{"type": "reasoning-delta", "reasoning": text} for text in ("Hm", ".")],
            {"type": "reasoning", "reasoning": "Hm."},
        ),
        *block(
            1,
            {"type": "text", "text": ""},
            [{"type": "text-delta", "text": text} for text in ("So", ": 42")],
            {"type": "text", "text": "So: 42", "annotations": [CITATION]},
        ),
        *block(
            2,
            {"type": "image", "mime_type": "image/png"},
            [],
            {"type": "image", "mime_type": "image/png", "base64": "AAAA", "index": 2},
        ),
        *call_0[:-1],
        *call_1[:-1],
        *audio[:-1],
        *(events[-1] for events in (call_0, call_1, audio)),
        *block(6, {"type": "non_standard", "value": {}}, [], {**refused, "index": 6}),
    ]
    assert end["event"] == "message-finish"
    assert end["usage"] == {"input_tokens": 9, "output_tokens": 3, "total_tokens": 12}
    assert end["metadata"]["finish_reason"] == "tool_calls"
    assert end["metadata"]["cost"] == 0.5
    assert end["additional_kwargs"]["reasoning_content"] == "Hm."


async def test_citations_without_a_text_have_a_block_of_their_own() -> None:
    played = streamed({"annotations": [CITED]})
    _, *events, end = await events_of("v3", Wire(played))
    text = {"type": "text", "text": "", "annotations": [CITATION]}
    assert events == block(0, text, [], text)
    assert end["additional_kwargs"] == {"annotations": [CITED]}


async def test_a_call_without_a_name_is_one_that_cannot_be_run() -> None:
    played = streamed(calls(0, '{"a":1}', id="c1"), finish="tool_calls")
    _, *events, end = await events_of("v3", Wire(played))
    (content,) = [event["content"] for event in events if event["event"].endswith("finish")]
    assert (content["type"], content["error"]) == ("invalid_tool_call", "the call has no name")
    assert content["args"] == '{"a":1}'
    assert "additional_kwargs" not in end
    *_, last = await chunks(chat(Wire(played)), "stream")
    (piece,) = last.tool_call_chunks
    assert (piece["name"], piece["args"][:7], piece["index"]) == (None, '{"a":1}', 0)


async def test_an_answer_without_usage_ends_without() -> None:
    head = {"id": "gen-1", "model": "served"}
    choice = {"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}
    *_, end = await events_of("v3", Wire(stream([{**head, "choices": [choice]}, "[DONE]"])))
    assert "usage" not in end
    assert "additional_kwargs" not in end


class Tokens(BaseCallbackHandler):
    """Keep what is new, as it comes."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        self.seen.append((token, kwargs.get("chunk")))


class AsyncTokens(AsyncCallbackHandler):
    """The same, awaited."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    async def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        self.seen.append((token, kwargs.get("chunk")))


@pytest.mark.parametrize(
    ("way", "kind"),
    [
        *((way, Tokens) for way in ("stream", "astream", "v3", "av3")),
        *((way, AsyncTokens) for way in ("astream", "av3")),
    ],
)
async def test_callbacks_hear_of_each_token_once(way: str, kind: Any) -> None:
    handler = kind()
    model = chat(Wire(streamed({"content": "Hel"}, {"content": "lo"})))
    config = {"callbacks": [handler]}
    if "v3" in way:
        with beta():
            if way == "v3":
                list(model.stream_events("q", version="v3", config=config))
            else:
                events = await model.astream_events("q", version="v3", config=config)
                [event async for event in events]
    else:
        await chunks(model, way, "q", config=config)
    assert [token for token, _ in handler.seen if token] == ["Hel", "lo"]
    if "v3" in way:
        assert len(handler.seen) == 3  # two pieces and the end; none for the usage
    else:
        texts = [chunk.text for _, chunk in handler.seen if chunk is not None]
        assert [text for text in texts if text] == ["Hel", "lo"]


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_callbacks_hear_of_the_tokens_of_a_text_completion(way: str) -> None:
    handler = Tokens()
    events = [{"choices": [{"index": 0, "text": text}]} for text in ("Hel", "", "lo")]
    end = {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}
    model = llm(Wire(stream([*events, end, "[DONE]"])))
    pieces = await chunks(model, way, "q", config={"callbacks": [handler]})
    assert "".join(pieces) == "Hello"
    assert [(token, chunk.text) for token, chunk in handler.seen if token] == [
        ("Hel", "Hel"),
        ("lo", "lo"),
    ]
