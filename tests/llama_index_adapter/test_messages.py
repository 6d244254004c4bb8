"""Blocks both ways: what a message is on the wire, and what an answer is as blocks."""

from __future__ import annotations

import base64
import copy
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    AudioBlock,
    CacheControl,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    ContentBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)

from llama_index_lunos._messages import to_wire
from tests.llama_index_adapter.wire import Way, Wire, answer, delta, stream, tool_call

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(40)
PDF = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n"
MP4 = b"\x00\x00\x00\x18ftypmp42" + bytes(40)
HOUR = CachePoint(cache_control=CacheControl(type="ephemeral", ttl="1h"))


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def user(*blocks: ContentBlock) -> Any:
    """The wire content of a user message."""
    (message,) = to_wire([ChatMessage(role="user", blocks=list(blocks))])
    assert message["role"] == "user"
    return message["content"]


@pytest.mark.parametrize(
    ("role", "sent"),
    [
        ("system", "system"),
        ("developer", "developer"),
        ("user", "user"),
        ("assistant", "assistant"),
        ("chatbot", "assistant"),
        ("model", "assistant"),
    ],
)
def test_every_role_has_its_place(role: str, sent: str) -> None:
    assert to_wire([ChatMessage("x", role=role)]) == [{"role": sent, "content": "x"}]


def test_a_function_message_of_old_is_a_tool_result() -> None:
    message = ChatMessage("4", role=MessageRole.FUNCTION, additional_kwargs={"name": "add"})
    assert to_wire([message]) == [{"role": "tool", "tool_call_id": "add", "content": "4"}]


def test_text_blocks_alone_are_one_string_as_the_message_shows_them() -> None:
    message = ChatMessage(role="user", blocks=[TextBlock(text="a"), TextBlock(text="b")])
    assert to_wire([message]) == [{"role": "user", "content": message.content}]


def test_an_image_travels_by_value_or_by_address_and_nothing_is_downloaded(tmp_path: Path) -> None:
    path = tmp_path / "dot.png"
    path.write_bytes(PNG)
    inline = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{b64(PNG)}"}}
    assert user(ImageBlock(image=PNG)) == [inline]
    assert user(ImageBlock(path=path)) == [inline]
    assert user(ImageBlock(image=BytesIO(PNG))) == [inline]
    assert user(ImageBlock(url="https://no.test/a.png", detail="low")) == [
        {"type": "image_url", "image_url": {"url": "https://no.test/a.png", "detail": "low"}}
    ]
    assert user(TextBlock(text="what?"), ImageBlock(image=PNG))[0] == {
        "type": "text",
        "text": "what?",
    }


def test_audio_travels_by_value_with_its_format() -> None:
    part = {"type": "input_audio", "input_audio": {"data": b64(WAV), "format": "wav"}}
    assert user(AudioBlock(audio=WAV)) == [part]
    assert user(AudioBlock(audio=b"anything", format="mpeg"))[0]["input_audio"]["format"] == "mp3"


def test_documents_travel_as_files_and_text_files_as_text(tmp_path: Path) -> None:
    url = f"data:application/pdf;base64,{b64(PDF)}"
    assert user(DocumentBlock(data=PDF, title="a.pdf")) == [
        {"type": "file", "file": {"filename": "a.pdf", "file_data": url}}
    ]
    assert user(DocumentBlock(url="https://no.test/a.pdf", title="a"))[0]["file"] == {
        "filename": "a",
        "file_data": "https://no.test/a.pdf",
    }
    path = tmp_path / "notes.md"
    path.write_text("# Notes ✓", encoding="utf-8")
    assert user(DocumentBlock(path=path, title="notes.md")) == "notes.md:\n# Notes ✓"


def test_video_travels_by_value_or_by_address() -> None:
    assert user(VideoBlock(url="https://no.test/a.mp4")) == [
        {"type": "video_url", "video_url": {"url": "https://no.test/a.mp4"}}
    ]
    sent = user(VideoBlock(video=MP4, video_mimetype="video/mp4"))
    assert sent[0]["video_url"]["url"] == f"data:video/mp4;base64,{b64(MP4)}"


def test_a_cache_point_marks_the_part_before_it() -> None:
    point = CachePoint(cache_control=CacheControl(type="ephemeral"))
    assert user(TextBlock(text="long"), point, TextBlock(text="short")) == [
        {"type": "text", "text": "long", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "short"},
    ]
    assert user(TextBlock(text="long"), HOUR)[0]["cache_control"] == {
        "type": "ephemeral",
        "ttl": "1h",
    }


def test_citable_and_cited_content_travels_with_its_source() -> None:
    citable = CitableBlock(title="Book", source="https://b.test", content="It was.")
    cited = CitationBlock(
        cited_content="It was.", source="https://b.test", title="Book", additional_location_info={}
    )
    for block in (citable, cited):
        assert user(block) == "[Book](https://b.test):\nIt was."


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            ChatMessage(role="user", blocks=[HOUR]),
            r"messages\[0\]\.blocks\[0\]: a CachePoint needs",
        ),
        (ChatMessage(role="user", blocks=[ImageBlock()]), r"blocks\[0\]: nothing can be read"),
        (ChatMessage(role="user", blocks=[ImageBlock(image=b"?")]), "image_mimetype"),
        (
            ChatMessage(role="user", blocks=[AudioBlock(url="https://a.test/a.wav")]),
            "by value only",
        ),
        (ChatMessage(role="user", blocks=[AudioBlock(audio=b"?")]), "format="),
        (ChatMessage(role="user", blocks=[VideoBlock(video=MP4, fps=2)]), "'fps'"),
        (
            ChatMessage(role="user", blocks=[DocumentBlock(data=b"\xff\xfe\x00")]),
            "document_mimetype",
        ),
        (ChatMessage("x", role="tool"), "tool_call_id"),
    ],
)
async def test_content_that_the_wire_cannot_carry_raises_with_its_type(
    way: Way, message: ChatMessage, said: str
) -> None:
    wire = Wire(answer())
    with pytest.raises(ValueError, match=said):
        await way(way.llm(wire), "chat", [message])
    assert wire.requests == []


@pytest.mark.parametrize(
    "messages",
    [
        [ChatMessage(role="user", blocks=[ThinkingBlock(content="hm")])],
        [ChatMessage(role="user", blocks=[ToolCallBlock(tool_name="f")])],
        [{"role": "user", "content": "x"}],
    ],
)
async def test_what_belongs_elsewhere_raises_a_type_error(way: Way, messages: Any) -> None:
    with pytest.raises(TypeError):
        await way(way.llm(Wire(answer())), "chat", messages)


def test_a_text_in_place_of_messages_raises() -> None:
    with pytest.raises(TypeError, match="list of ChatMessage"):
        to_wire("Hello")  # type: ignore[arg-type]  # that is what is tested


async def test_no_messages_at_all_raise(way: Way) -> None:
    with pytest.raises(ValueError, match="empty"):
        await way(way.llm(Wire(answer())), "chat", [])


async def test_the_callers_messages_are_not_changed(way: Way) -> None:
    messages = [
        ChatMessage("Be brief", role="system"),
        ChatMessage(role="user", blocks=[TextBlock(text="a"), HOUR]),
        ChatMessage(role="assistant", blocks=[ToolCallBlock(tool_call_id="c", tool_name="f")]),
        ChatMessage(
            role="tool", blocks=[ImageBlock(image=PNG)], additional_kwargs={"tool_call_id": "c"}
        ),
    ]
    before = copy.deepcopy(messages)
    await way(way.llm(Wire(answer())), "chat", messages)
    assert messages == before


def test_calls_are_read_from_blocks_and_else_from_the_dicts() -> None:
    wanted = [
        {"role": "assistant", "content": None, "tool_calls": [tool_call("c", "f", '{"a":1}')]}
    ]
    in_blocks = ChatMessage(
        role="assistant",
        blocks=[ToolCallBlock(tool_call_id="c", tool_name="f", tool_kwargs={"a": 1})],
        additional_kwargs={"tool_calls": [tool_call("c", "f", "not this one")]},
    )
    in_dicts = ChatMessage(
        role="assistant", additional_kwargs={"tool_calls": [tool_call("c", "f", '{"a":1}')]}
    )

    class Function:
        name = "f"
        arguments = '{"a":1}'

    class Call:
        id = "c"
        function = Function()

    as_objects = ChatMessage(role="assistant", additional_kwargs={"tool_calls": [Call()]})
    for message in (in_blocks, in_dicts, as_objects):
        assert to_wire([message]) == wanted


def test_empty_arguments_go_back_as_an_empty_object() -> None:
    message = ChatMessage(
        role="assistant", blocks=[ToolCallBlock(tool_call_id="c", tool_name="f", tool_kwargs="")]
    )
    (sent,) = to_wire([message])
    assert sent["tool_calls"][0]["function"]["arguments"] == "{}"


def test_images_of_tool_results_follow_in_a_user_message() -> None:
    def result(identifier: str, *blocks: ContentBlock) -> ChatMessage:
        return ChatMessage(
            role="tool", blocks=list(blocks), additional_kwargs={"tool_call_id": identifier}
        )

    sent = to_wire(
        [
            result("c1", ImageBlock(image=PNG)),
            result("c2", TextBlock(text="4")),
            ChatMessage("and now?"),
        ]
    )
    assert [item["role"] for item in sent] == ["tool", "tool", "user", "user"]
    assert sent[1] == {"role": "tool", "tool_call_id": "c2", "content": "4"}
    assert sent[2]["content"][0]["text"] == "What the tool call c1 returned:"
    assert sent[2]["content"][1]["type"] == "image_url"
    assert to_wire([result("c1", ImageBlock(image=PNG))])[-1]["role"] == "user"


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (AudioBlock(url="https://x/y.ogg"), "takes audio by value only"),
        (AudioBlock(audio=b"OggS", format="ogg"), "audio of type 'ogg' cannot be sent"),
        (DocumentBlock(data=b"\x00\xff"), "what kind of document"),
        (ImageBlock(), "nothing can be read"),
        (ThinkingBlock(content="hm"), "no place for a ThinkingBlock"),
    ],
)
def test_whatever_a_tool_returned_the_conversation_goes_on(block: ContentBlock, why: str) -> None:
    """What a tool's library returned is no mistake of the caller's: the model is told."""
    known = {"tool_call_id": "c"}
    blocks = [TextBlock(text="sunny"), block, HOUR]
    (sent,) = to_wire([ChatMessage(role="tool", blocks=blocks, additional_kwargs=known)])
    said, left_out = (part["text"] for part in sent["content"])
    assert said == "sunny"
    assert left_out.startswith("Left out: part 2 of the result: ")
    assert why in left_out


def test_the_id_on_a_direct_return_is_not_sent() -> None:
    message = ChatMessage("4", role="assistant", additional_kwargs={"tool_call_id": "c"})
    assert to_wire([message]) == [{"role": "assistant", "content": "4"}]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "thought",
    [
        {"reasoning_details": [{"type": "reasoning.text", "text": "why", "signature": "s1"}]},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "opaque"}]},
        {"reasoning_content": "why"},
        {"reasoning": "why"},
    ],
)
async def test_reasoning_goes_back_as_it_came(
    way: Way, thought: dict[str, Any], streamed: bool
) -> None:
    played = (
        stream(delta(**thought), delta("So."), delta(finish="stop"))
        if streamed
        else answer({"content": "So.", **thought})
    )
    wire = Wire(played, answer())
    llm = way.llm(wire)
    response = await way(llm, "stream_chat" if streamed else "chat", [ChatMessage("Hello")])
    message = response[-1].message if streamed else response.message
    stored = ChatMessage.model_validate(message.model_dump(mode="json"))  # as a chat store does
    await way(llm, "chat", [ChatMessage("Hello"), stored, ChatMessage("Go on")])
    assert wire.bodies[1]["messages"][1] == {"role": "assistant", "content": "So.", **thought}


def test_a_signature_of_another_integration_goes_back_too() -> None:
    block = ThinkingBlock(content="why", additional_information={"signature": "s"})
    (sent,) = to_wire([ChatMessage(role="assistant", blocks=[block, TextBlock(text="So.")])])
    assert sent["reasoning_details"] == [
        {"type": "reasoning.text", "text": "why", "signature": "s"}
    ]


async def test_reasoning_is_a_block_with_its_tokens(way: Way) -> None:
    usage = {
        "prompt_tokens": 1,
        "completion_tokens": 9,
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    wire = Wire(
        answer({"content": "So.", "reasoning": "why", "reasoning_content": "why"}, usage=usage)
    )
    response = await way(way.llm(wire), "chat", [ChatMessage("Hello")])
    thinking, text = response.message.blocks
    assert (thinking.content, thinking.num_tokens, text.text) == ("why", 5, "So.")


async def test_generated_images_are_blocks_and_go_back(way: Way) -> None:
    url = f"data:image/png;base64,{b64(PNG)}"
    images = [{"type": "image_url", "image_url": {"url": url}}]
    wire = Wire(answer({"content": "Here.", "images": images}), answer())
    llm = way.llm(wire)
    response = await way(llm, "chat", [ChatMessage("Draw")])
    text, image = response.message.blocks
    assert isinstance(image, ImageBlock)
    assert image.resolve_image().read() == PNG
    assert (image.image_mimetype, text.text) == ("image/png", "Here.")
    await way(llm, "chat", [ChatMessage("Draw"), response.message, ChatMessage("Larger")])
    assert wire.bodies[1]["messages"][1]["content"] == [{"type": "text", "text": "Here."}, *images]


async def test_web_citations_are_blocks_beside_the_text(way: Way) -> None:
    citation = {"url": "https://n.test", "title": "News", "start_index": 0, "end_index": 4}
    annotations = [{"type": "url_citation", "url_citation": citation}, {"type": "file", "file": {}}]
    wire = Wire(answer({"content": "It is.", "annotations": annotations}), answer())
    llm = way.llm(wire)
    message = (await way(llm, "chat", [ChatMessage("Is it?")])).message
    assert message.content == "It is."
    block = next(item for item in message.blocks if isinstance(item, CitationBlock))
    assert (block.source, block.title) == ("https://n.test", "News")
    assert block.additional_location_info == {"start_index": 0, "end_index": 4}
    assert message.additional_kwargs["annotations"] == annotations
    await way(llm, "chat", [message, ChatMessage("Sure?")])
    assert wire.bodies[1]["messages"][0] == {"role": "assistant", "content": "It is."}


async def test_spoken_answers_are_blocks_and_go_back_by_id(way: Way) -> None:
    audio = {"id": "audio_1", "data": b64(WAV), "transcript": "Hello.", "expires_at": 1}
    wire = Wire(answer({"content": None, "audio": audio}), answer())
    llm = way.llm(wire)
    message = (await way(llm, "chat", [ChatMessage("Speak")])).message
    assert message.content == "Hello."
    block = next(item for item in message.blocks if isinstance(item, AudioBlock))
    assert block.resolve_audio().read() == WAV
    await way(llm, "chat", [message, ChatMessage("Again")])
    assert wire.bodies[1]["messages"][0]["audio"] == {"id": "audio_1"}


async def test_an_empty_answer_is_an_empty_text_and_not_none(way: Way) -> None:
    response = await way(way.llm(Wire(answer({"content": None}))), "chat", [ChatMessage("Hello")])
    assert response.message.content == ""
    assert str(response) == "assistant: "


async def test_the_local_gateway_takes_every_kind_of_block(way: Way, gateway: Any) -> None:
    """The stand-in checks each part's shape, as a strict provider does."""
    from llama_index_lunos import Lunos

    llm = Lunos("lunos/scripted", api_key=gateway.api_key, base_url=gateway.base_url)
    blocks = [
        TextBlock(text="What is all this?"),
        ImageBlock(image=PNG),
        AudioBlock(audio=WAV),
        VideoBlock(video=MP4, video_mimetype="video/mp4"),
        DocumentBlock(data=PDF, title="a.pdf"),
        CitableBlock(title="t", source="s", content="c"),
        CachePoint(cache_control=CacheControl(type="ephemeral")),
    ]
    response = await way(llm, "chat", [ChatMessage(role="user", blocks=blocks)])
    assert response.message.content.startswith("Scripted answer to: What is all this?")
    llm.close()
    await llm.aclose()
