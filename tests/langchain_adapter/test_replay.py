"""An answer goes back into the history: what the next request sends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from langchain_lunos import ChatLunos
from lunos_local import LocalGateway
from tests.langchain_adapter.wire import (
    WAYS,
    Wire,
    answer,
    ask,
    both_kinds,
    call,
    chat,
    reply,
    sent_messages,
    streamed,
)

DETAILS = [
    {
        "type": "reasoning.text",
        "text": "Let me think.",
        "signature": "c2ln",
        "format": "anthropic-claude-v1",
        "index": 0,
    },
    {"type": "reasoning.encrypted", "data": "ZW5j", "id": "rs_1", "format": "x", "index": 1},
]
IMAGES = [
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    for data in ("AAAA", "BBBB")
]

ANSWERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "text": ({"content": "42"}, {"content": "42"}),
    "reasoning with signatures": (
        {"content": "42", "reasoning_details": DETAILS},
        {"content": "42", "reasoning_details": DETAILS},
    ),
    "reasoning, then a tool call": (
        {"content": "I look.", "reasoning_details": DETAILS, "tool_calls": [call()]},
        {"content": "I look.", "reasoning_details": DETAILS, "tool_calls": [call()]},
    ),
    "reasoning as text": (
        {"content": "42", "reasoning": "Hm."},
        {"content": "42", "reasoning": "Hm."},
    ),
    "two tool calls": (
        {"content": None, "tool_calls": [call(), call(id="c2")]},
        {"content": None, "tool_calls": [call(), call(id="c2")]},
    ),
    "a refusal": (
        {"content": None, "refusal": "No."},
        {"content": "", "refusal": "No."},
    ),
    "speech": (
        {"content": None, "audio": {"id": "au1", "data": "QUJD", "transcript": "Hi"}},
        {"content": "", "audio": {"id": "au1"}},
    ),
    "citations": (
        {
            "content": "See",
            "annotations": [{"type": "url_citation", "url_citation": {"url": "https://a.example"}}],
        },
        {"content": "See"},
    ),
}


async def _sent_back(way: str, version: str | None, message: dict[str, Any]) -> dict[str, Any]:
    """The assistant message of a second request, whose history holds the first one's answer."""
    wire = both_kinds(**message)
    llm = chat(wire, output_version=version)
    said = await ask(llm, way)
    calls = message.get("tool_calls") or ()
    results = [ToolMessage("sunny", tool_call_id=item["id"]) for item in calls]
    await ask(llm, way, [HumanMessage("Hello"), said, *results, HumanMessage("And?")])
    sent: dict[str, Any] = sent_messages(wire)[1]
    content = sent["content"]
    if isinstance(content, list) and {part["type"] for part in content} == {"text"}:
        # v1 keeps text in blocks: the same on the wire
        sent["content"] = "".join(part["text"] for part in content)
    return sent


@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_goes_back_as_it_came(name: str, way: str, version: str | None) -> None:
    message, expected = ANSWERS[name]
    sent = await _sent_back(way, version, message)
    assert sent == {"role": "assistant", **expected}


@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize("way", WAYS)
async def test_generated_images_go_back_each_once(way: str, version: str | None) -> None:
    sent = await _sent_back(way, version, {"content": "Here", "images": IMAGES})
    parts = sent["content"] if isinstance(sent["content"], list) else []
    images = [part for part in parts if part["type"] == "image_url"] + sent.get("images", [])
    assert images == IMAGES


async def test_signatures_that_come_in_pieces_go_back_in_one() -> None:
    pieces = [
        {"reasoning_details": [{"type": "reasoning.text", "text": "Let me ", "index": 0}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "think.", "index": 0}]},
        {"reasoning_details": [{"type": "reasoning.text", "signature": "c2ln", "index": 0}]},
        {"content": "42"},
    ]
    wire = Wire(streamed(*pieces), reply(answer()))
    llm = chat(wire)
    said = await ask(llm, "astream")
    llm.invoke([HumanMessage("Hello"), said, HumanMessage("And?")])
    assert sent_messages(wire)[1]["reasoning_details"] == [
        {"type": "reasoning.text", "text": "Let me think.", "index": 0, "signature": "c2ln"}
    ]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("version", [None, "v1"])
async def test_a_broken_call_without_a_result_is_left_out(way: str, version: str | None) -> None:
    message = {"content": "I look.", "tool_calls": [call(arguments='{"city":"Ro')]}
    wire = both_kinds(finish="length", **message)
    llm = chat(wire, output_version=version)
    said = await ask(llm, way)
    await ask(llm, way, [HumanMessage("Hello"), said, HumanMessage("And?")])
    assert "tool_calls" not in sent_messages(wire)[1]


@pytest.mark.parametrize("way", WAYS)
async def test_a_broken_call_with_a_result_goes_back_as_json(way: str) -> None:
    wire = both_kinds(content=None, tool_calls=[call(arguments='{"city":"Ro')])
    llm = chat(wire)
    said = await ask(llm, way)
    failed = ToolMessage("That was no JSON.", tool_call_id="c1")
    await ask(llm, way, [HumanMessage("Hello"), said, failed])
    (sent,) = sent_messages(wire)[1]["tool_calls"]
    arguments = json.loads(sent["function"]["arguments"])
    assert list(arguments) == ["INVALID_JSON"]
    assert arguments["INVALID_JSON"].startswith('{"city":"Ro')


FOREIGN: dict[str, tuple[AIMessage, dict[str, Any]]] = {
    "anthropic's thinking": (
        AIMessage(
            [
                {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "ZW5j"},
                {"type": "text", "text": "42"},
            ],
            response_metadata={"model_provider": "anthropic"},
        ),
        {
            "content": [{"type": "text", "text": "42"}],
            "reasoning_details": [
                {
                    "type": "reasoning.text",
                    "text": "Hm.",
                    "signature": "c2ln",
                    "format": "anthropic-claude-v1",
                    "index": 0,
                },
                {
                    "type": "reasoning.encrypted",
                    "data": "ZW5j",
                    "format": "anthropic-claude-v1",
                    "index": 1,
                },
            ],
        },
    ),
    "thinking without a signature": (
        AIMessage([{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "42"}]),
        {"content": [{"type": "text", "text": "42"}], "reasoning": "Hm."},
    ),
    "openai's responses": (
        AIMessage(
            [
                {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
                {"type": "text", "text": "42", "annotations": [], "id": "msg_1"},
            ],
            response_metadata={"model_provider": "openai"},
        ),
        {"content": [{"type": "text", "text": "42"}]},
    ),
    "standard blocks of v1": (
        AIMessage(
            content_blocks=[
                {"type": "reasoning", "reasoning": "Hm."},
                {"type": "text", "text": "42"},
                {"type": "tool_call", "id": "c1", "name": "weather", "args": {"city": "Rome"}},
            ]
        ),
        {"content": [{"type": "text", "text": "42"}], "reasoning": "Hm.", "tool_calls": [call()]},
    ),
    "deepseek's reasoning": (
        AIMessage("42", additional_kwargs={"reasoning_content": "Hm."}),
        {"content": "42", "reasoning": "Hm."},
    ),
}


@pytest.mark.parametrize("way", ["invoke", "astream"])
@pytest.mark.parametrize("name", FOREIGN)
async def test_another_providers_answer_goes_on_here(name: str, way: str) -> None:
    said, expected = FOREIGN[name]
    wire = both_kinds()
    history: list[BaseMessage] = [HumanMessage("Hello"), said]
    history += [ToolMessage("sunny", tool_call_id=item["id"] or "") for item in said.tool_calls]
    await ask(chat(wire), way, [*history, HumanMessage("And?")])
    assert sent_messages(wire)[1] == {"role": "assistant", **expected}


@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize("way", WAYS)
async def test_the_gateway_takes_every_answer_back(
    way: str, version: str | None, gateway: LocalGateway
) -> None:
    llm = ChatLunos(
        model="lunos/scripted",
        api_key=gateway.api_key,
        base_url=gateway.base_url,
        output_version=version,
    )
    history: list[BaseMessage] = []
    for asked in (
        {"modalities": ["image", "text"]},
        {"reasoning": {"effort": "low"}},
        {"modalities": ["audio", "text"], "audio": {"voice": "a"}},
        {"tools": [{"type": "web_search"}]},
        {"model": "lunos/refusal"},
    ):
        history.append(HumanMessage("Hello"))
        history.append(await ask(llm, way, history, **asked))
    assert len(gateway.requests()[-1]["body"]["messages"]) == 9
