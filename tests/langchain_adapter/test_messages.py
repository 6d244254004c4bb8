"""LangChain's messages and blocks, in every role: what is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from lunos_local import LocalGateway
from tests.langchain_adapter.wire import WAYS, ask, both_kinds, call, chat, sent_messages

PNG = "iVBORw0KGgo="
PDF = "JVBERi0xLjQ="
WAV = "UklGRg=="
MP4 = "AAAAIGZ0eXA="
URL = "https://x.example/y"

TEXT = {"type": "text", "text": "a"}
IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
IMAGE_URL = {"type": "image_url", "image_url": {"url": URL}}
IMAGE_LOW = {"type": "image_url", "image_url": {"url": URL, "detail": "low"}}
SOUND = {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}}
VIDEO = {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{MP4}"}}


def file(data: str = f"data:application/pdf;base64,{PDF}", name: str = "a.pdf") -> dict[str, Any]:
    return {"type": "file", "file": {"filename": name, "file_data": data}}


BLOCKS: dict[str, tuple[Any, dict[str, Any]]] = {
    "plain text": ("a", TEXT),
    "text": ({"type": "text", "text": "a"}, TEXT),
    "v1 text with an id": ({"type": "text", "text": "a", "id": "b1", "annotations": []}, TEXT),
    "v1 plain-text document": (
        {"type": "text-plain", "text": "a", "mime_type": "text/plain"},
        TEXT,
    ),
    "cache_control": (
        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
        {**TEXT, "cache_control": {"type": "ephemeral"}},
    ),
    "cache_control on an openai file": (
        {**file(), "cache_control": {"type": "ephemeral"}},
        {**file(), "cache_control": {"type": "ephemeral"}},
    ),
    "cache_control on a v0 image": (
        {
            "type": "image",
            "source_type": "base64",
            "data": PNG,
            "mime_type": "image/png",
            "metadata": {"cache_control": {"type": "ephemeral"}},
        },
        {**IMAGE, "cache_control": {"type": "ephemeral"}},
    ),
    "cache_control on a file": (
        {
            "type": "file",
            "base64": PDF,
            "mime_type": "application/pdf",
            "extras": {"filename": "a.pdf"},
            "cache_control": {"type": "ephemeral"},
        },
        {**file(), "cache_control": {"type": "ephemeral"}},
    ),
    "openai image": (IMAGE_URL, IMAGE_URL),
    "openai image with detail": (IMAGE_LOW, IMAGE_LOW),
    "openai image, base64": (IMAGE, IMAGE),
    "image_url as text": ({"type": "image_url", "image_url": URL}, IMAGE_URL),
    "v1 image url": ({"type": "image", "url": URL}, IMAGE_URL),
    "v1 image with detail": ({"type": "image", "url": URL, "extras": {"detail": "low"}}, IMAGE_LOW),
    "v1 image base64": ({"type": "image", "base64": PNG, "mime_type": "image/png"}, IMAGE),
    "v0 image url": ({"type": "image", "source_type": "url", "url": URL}, IMAGE_URL),
    "v0 image base64": (
        {"type": "image", "source_type": "base64", "data": PNG, "mime_type": "image/png"},
        IMAGE,
    ),
    "anthropic image url": ({"type": "image", "source": {"type": "url", "url": URL}}, IMAGE_URL),
    "anthropic image base64": (
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        IMAGE,
    ),
    "openai file": (file(), file()),
    "v1 file base64": (
        {
            "type": "file",
            "base64": PDF,
            "mime_type": "application/pdf",
            "extras": {"filename": "a.pdf"},
        },
        file(),
    ),
    "v1 file with a plain name": (
        {"type": "file", "base64": PDF, "mime_type": "application/pdf", "filename": "a.pdf"},
        file(),
    ),
    "v1 file url": (
        {"type": "file", "url": URL, "mime_type": "application/pdf"},
        file(URL, "document.pdf"),
    ),
    "v0 file base64": (
        {
            "type": "file",
            "source_type": "base64",
            "data": PDF,
            "mime_type": "application/pdf",
            "metadata": {"filename": "a.pdf"},
        },
        file(),
    ),
    "anthropic document base64": (
        {
            "type": "document",
            "title": "a.pdf",
            "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
        },
        file(),
    ),
    "anthropic document url": (
        {"type": "document", "source": {"type": "url", "url": URL}, "title": "b"},
        file(URL, "b"),
    ),
    "anthropic document text": (
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a"}},
        TEXT,
    ),
    "openai audio": (SOUND, SOUND),
    "v1 audio": ({"type": "audio", "base64": WAV, "mime_type": "audio/x-wav"}, SOUND),
    "v0 audio": (
        {"type": "audio", "source_type": "base64", "data": WAV, "mime_type": "audio/wav"},
        SOUND,
    ),
    "v1 video": ({"type": "video", "base64": MP4, "mime_type": "video/mp4"}, VIDEO),
    "v1 video url": (
        {"type": "video", "url": URL},
        {"type": "video_url", "video_url": {"url": URL}},
    ),
    "a file that is an image": ({"type": "file", "base64": PNG, "mime_type": "image/png"}, IMAGE),
    "openai's responses text": ({"type": "input_text", "text": "a"}, TEXT),
    "openai's responses image": (
        {"type": "input_image", "image_url": URL, "detail": "low"},
        IMAGE_LOW,
    ),
    "openai's responses file": (
        {
            "type": "input_file",
            "filename": "a.pdf",
            "file_data": f"data:application/pdf;base64,{PDF}",
        },
        file(),
    ),
    "google's media": ({"type": "media", "mime_type": "image/png", "data": PNG}, IMAGE),
    "google's media by url": (
        {"type": "media", "mime_type": "video/mp4", "file_uri": URL},
        {"type": "video_url", "video_url": {"url": URL}},
    ),
}


def _in_role(role: str, content: list[Any]) -> list[BaseMessage]:
    asked = AIMessage("", tool_calls=[{"id": "c1", "name": "look", "args": {}}])
    return {
        "human": [HumanMessage(content)],
        "system": [SystemMessage(content), HumanMessage("Hello")],
        "tool": [HumanMessage("Hello"), asked, ToolMessage(content, tool_call_id="c1")],
        "ai": [HumanMessage("Hello"), AIMessage(content), HumanMessage("And?")],
    }[role]


@pytest.mark.parametrize("role", ["human", "system", "tool", "ai"])
@pytest.mark.parametrize("name", BLOCKS)
async def test_every_block_is_the_same_part_in_every_role(name: str, role: str) -> None:
    block, part = BLOCKS[name]
    wire = both_kinds()
    messages = _in_role(role, [{"type": "text", "text": "See:"}, block])
    await ask(chat(wire), "invoke", messages)
    sent = [message for message in sent_messages(wire) if isinstance(message["content"], list)]
    assert [message["content"] for message in sent] == [[{"type": "text", "text": "See:"}, part]]
    names = {"human": "user", "ai": "assistant"}
    assert sent[0]["role"] == names.get(role, role)


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_of_asking_sends_the_same_messages(way: str) -> None:
    wire = both_kinds()
    content = [block for name, (block, _) in BLOCKS.items() if isinstance(block, dict)]
    await ask(chat(wire), way, [HumanMessage(content)])
    expected = [part for block, part in BLOCKS.values() if isinstance(block, dict)]
    assert sent_messages(wire) == [{"role": "user", "content": expected}]


def test_the_given_messages_are_left_as_they_are() -> None:
    message = HumanMessage([dict(block) for block, _ in BLOCKS.values() if isinstance(block, dict)])
    before = message.model_copy(deep=True)
    chat(both_kinds()).invoke([message])
    assert message == before


def test_the_gateway_takes_every_part(gateway: LocalGateway) -> None:
    llm = chat(None, base_url=gateway.base_url, api_key=gateway.api_key, model="lunos/scripted")
    llm = llm.model_copy(update={"http_client": None, "http_async_client": None})
    content = [block for block, _ in BLOCKS.values()]
    assert llm.invoke(_in_role("tool", content)).content
    assert llm.invoke(_in_role("human", content)).content


CALL = AIMessage("", tool_calls=[{"id": "c1", "name": "weather", "args": {"city": "Rome"}}])
SENT_CALL = {"role": "assistant", "content": None, "tool_calls": [call()]}

HISTORIES: dict[str, tuple[list[BaseMessage], list[dict[str, Any]]]] = {
    "names": (
        [HumanMessage("a", name="ann"), AIMessage("b", name="bot"), HumanMessage("c")],
        [
            {"role": "user", "content": "a", "name": "ann"},
            {"role": "assistant", "content": "b", "name": "bot"},
            {"role": "user", "content": "c"},
        ],
    ),
    "few-shot tool calls": (
        [HumanMessage("a"), CALL, ToolMessage("sunny", tool_call_id="c1", name="weather")],
        [
            {"role": "user", "content": "a"},
            SENT_CALL,
            {"role": "tool", "tool_call_id": "c1", "content": "sunny", "name": "weather"},
        ],
    ),
    "a tool that failed": (
        [HumanMessage("a"), CALL, ToolMessage("no", tool_call_id="c1", status="error")],
        [
            {"role": "user", "content": "a"},
            SENT_CALL,
            {"role": "tool", "tool_call_id": "c1", "content": "no"},
        ],
    ),
    "a tool that gave nothing": (
        [HumanMessage("a"), CALL, ToolMessage([], tool_call_id="c1")],
        [
            {"role": "user", "content": "a"},
            SENT_CALL,
            {"role": "tool", "tool_call_id": "c1", "content": ""},
        ],
    ),
    "anthropic's tool_use and tool_result": (
        [
            HumanMessage("a"),
            AIMessage(
                [
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Rome"}},
                ]
            ),
            HumanMessage(
                [
                    {"type": "tool_result", "tool_use_id": "c1", "content": [TEXT, IMAGE_URL]},
                    {"type": "text", "text": "And?"},
                ]
            ),
        ],
        [
            {"role": "user", "content": "a"},
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "I look."}],
                "tool_calls": [call()],
            },
            {"role": "tool", "tool_call_id": "c1", "content": [TEXT, IMAGE_URL]},
            {"role": "user", "content": [{"type": "text", "text": "And?"}]},
        ],
    ),
    "a cached tool_result": (
        [
            HumanMessage("a"),
            CALL,
            HumanMessage(
                [
                    {
                        "type": "tool_result",
                        "tool_use_id": "c1",
                        "content": "sunny",
                        "cache_control": {"type": "ephemeral"},
                    }
                ]
            ),
        ],
        [
            {"role": "user", "content": "a"},
            SENT_CALL,
            {
                "role": "tool",
                "tool_call_id": "c1",
                "content": [
                    {"type": "text", "text": "sunny", "cache_control": {"type": "ephemeral"}}
                ],
            },
        ],
    ),
    "a v1 tool_call block alone": (
        [
            HumanMessage("a"),
            AIMessage(
                [{"type": "tool_call", "id": "c1", "name": "weather", "args": {"city": "Rome"}}]
            ),
            ToolMessage("sunny", tool_call_id="c1"),
        ],
        [
            {"role": "user", "content": "a"},
            SENT_CALL,
            {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        ],
    ),
    "a developer's and a ChatMessage": (
        [
            SystemMessage("s", additional_kwargs={"__openai_role__": "developer"}),
            ChatMessage("u", role="user"),
        ],
        [{"role": "developer", "content": "s"}, {"role": "user", "content": "u"}],
    ),
}


@pytest.mark.parametrize("name", HISTORIES)
async def test_a_history_is_sent_as_the_wire_has_it(name: str, gateway: LocalGateway) -> None:
    messages, expected = HISTORIES[name]
    wire = both_kinds()
    await ask(chat(wire), "ainvoke", messages)
    assert sent_messages(wire) == expected


BAD: dict[str, tuple[Any, str]] = {
    "a block of an unknown type": ({"type": "hologram"}, "hologram"),
    "a block of no type": ({"a": 1}, "None"),
    "a local path": ({"type": "image_url", "image_url": {"url": "pictures/a.png"}}, "image_url"),
    "an image without data": ({"type": "image", "mime_type": "image/png"}, "image"),
    "a file by id": ({"type": "file", "file_id": "f1"}, "id"),
    "audio by url": ({"type": "audio", "url": URL}, "audio"),
    "audio in another format": (
        {"type": "audio", "base64": WAV, "mime_type": "audio/ogg"},
        "audio/ogg",
    ),
    "text that is none": ({"type": "text", "text": 7}, "text"),
    "text without text": ({"type": "text"}, "text"),
    "a block of another provider's server": (
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        "server_tool_use",
    ),
}


@pytest.mark.parametrize("way", ["invoke", "astream"])
@pytest.mark.parametrize("role", ["human", "system"])
@pytest.mark.parametrize("name", BAD)
async def test_what_cannot_be_carried_is_named_and_nothing_is_sent(
    name: str, role: str, way: str
) -> None:
    block, said = BAD[name]
    wire = both_kinds()
    messages = _in_role(role, [TEXT, block])
    position = next(i for i, message in enumerate(messages) if isinstance(message.content, list))
    with pytest.raises((TypeError, ValueError)) as caught:
        await ask(chat(wire), way, messages)
    # the position in the message as it was given, not among what is left of it
    assert f"messages[{position}].content[1]" in str(caught.value)
    assert said in str(caught.value)
    assert not wire.requests


@pytest.mark.parametrize("name", BAD)
async def test_of_a_tools_result_the_model_gets_it_as_json(name: str) -> None:
    """The tool's library returned it: an error would end a conversation that was paid for."""
    block, _ = BAD[name]
    wire = both_kinds()
    await ask(chat(wire), "ainvoke", _in_role("tool", [TEXT, block]))
    result = next(message for message in sent_messages(wire) if message["role"] == "tool")
    assert json.loads(result["content"][1]["text"]) == block


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
@pytest.mark.parametrize("name", BAD)
async def test_of_an_answer_that_is_left_out(name: str, way: str) -> None:
    block, _ = BAD[name]
    wire = both_kinds()
    await ask(chat(wire), way, _in_role("ai", ["Before.", block, "After."]))
    (content,) = [
        message["content"] for message in sent_messages(wire) if message["role"] == "assistant"
    ]
    assert content == [{"type": "text", "text": text} for text in ("Before.", "After.")]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (RemoveMessage(id="m1"), "RemoveMessage"),
        (ChatMessage("a", role="alien"), "alien"),
        (HumanMessage([{"type": "tool_result", "content": "a"}]), "tool_use_id"),
    ],
)
async def test_a_message_that_cannot_be_carried_is_named(message: BaseMessage, said: str) -> None:
    wire = both_kinds()
    with pytest.raises((TypeError, ValueError), match=said):
        await ask(chat(wire), "invoke", [HumanMessage("a"), message])
    assert not wire.requests


def test_no_messages_raise_before_the_network() -> None:
    wire = both_kinds()
    with pytest.raises(ValueError, match="no messages"):
        chat(wire).invoke([])
    assert not wire.requests
