"""Blocks of messages on the wire, word for word, where a changed line went unnoticed."""

from __future__ import annotations

import base64
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
    DocumentBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)

from llama_index_lunos._messages import to_wire

HOUR = CachePoint(cache_control=CacheControl(type="ephemeral", ttl="1h"))
MINUTES = CachePoint(cache_control=CacheControl(type="ephemeral"))
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt "


def text(value: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": value, **more}


def user(*blocks: Any) -> Any:
    ((message),) = to_wire([ChatMessage(role="user", blocks=list(blocks))])
    return message["content"]


def assistant(*blocks: Any, **extra: Any) -> Any:
    message = ChatMessage(role="assistant", blocks=list(blocks), additional_kwargs=extra)
    return to_wire([ChatMessage("?"), message])[1]


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("point", "mark"),
    [(HOUR, {"type": "ephemeral", "ttl": "1h"}), (MINUTES, {"type": "ephemeral"})],
)
def test_a_cache_point_marks_the_block_before_it_and_no_other(point: Any, mark: Any) -> None:
    a, b, c = (TextBlock(text=letter) for letter in "abc")
    marked = [text("a"), text("b", cache_control=mark), text("c")]
    assert user(a, b, point, c) == marked
    assert assistant(a, b, point, c)["content"] == marked


class Note(TextBlock):
    """A block of a user's own."""


def test_a_subclass_of_a_block_is_sent_as_its_parent() -> None:
    assert user(Note(text="a")) == "a"
    assert user(Note(text="a"), ImageBlock(url="https://h/a.png"))[0] == text("a")


@pytest.mark.parametrize(("title", "name"), [(None, "input_document"), ("a.txt", "a.txt")])
def test_a_text_file_is_its_text_under_its_name(title: str | None, name: str) -> None:
    document = DocumentBlock(data=b"One line.", document_mimetype="text/plain", title=title)
    assert user(document) == f"{name}:\nOne line."


def test_a_document_of_an_unknown_kind_is_text_or_a_mistake() -> None:
    assert user(DocumentBlock(data=b"Just words!", title="a")) == "a:\nJust words!"
    with pytest.raises(ValueError, match=r"blocks\[0\]: cannot tell what kind of document"):
        user(DocumentBlock(data=b"\xff\xfe\xfd\x80", title="a"))


def test_urls_are_sent_unchanged() -> None:
    assert user(DocumentBlock(url="https://h/a.pdf", title="a.pdf")) == [
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "https://h/a.pdf"}}
    ]
    assert user(VideoBlock(url="https://h/a.mp4")) == [
        {"type": "video_url", "video_url": {"url": "https://h/a.mp4"}}
    ]


def test_bytes_go_before_an_address(tmp_path: Path) -> None:
    data = b"%PDF-1.4 x"
    document = DocumentBlock(
        data=data, url="https://h/a.pdf", document_mimetype="application/pdf", title="a.pdf"
    )
    value = f"data:application/pdf;base64,{encoded(data)}"
    assert user(document)[0]["file"] == {"filename": "a.pdf", "file_data": value}
    video = VideoBlock(video=b"movie!!", url="https://h/a.mp4", video_mimetype="video/mp4")
    value = f"data:video/mp4;base64,{encoded(b'movie!!')}"
    assert user(video)[0]["video_url"] == {"url": value}
    image = ImageBlock(image=b"pixels!", url="https://h/a.png", image_mimetype="image/png")
    assert user(image)[0]["image_url"]["url"] == f"data:image/png;base64,{encoded(b'pixels!')}"
    sound = AudioBlock(audio=WAV, url="https://h/a.wav", format="wav")
    assert user(sound)[0]["input_audio"] == {"data": encoded(WAV), "format": "wav"}


def test_the_kind_of_data_is_found_out_or_asked_for() -> None:
    assert user(AudioBlock(audio=WAV))[0]["input_audio"]["format"] == "wav"
    with pytest.raises(ValueError, match="give format='wav' or 'mp3'"):
        user(AudioBlock(audio=b"?!?!"))
    with pytest.raises(ValueError, match="image_mimetype='image/png'"):
        user(ImageBlock(image=b"?!?!"))
    with pytest.raises(ValueError, match="video_mimetype='video/mp4'"):
        user(VideoBlock(video=b"?!?!"))


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (AudioBlock(url="https://h/a.wav"), "takes audio by value only: load https://h/a.wav"),
        (VideoBlock(url="https://h/a.mp4", fps=2), "cannot carry a video's 'fps'"),
        (VideoBlock(url="https://h/a.mp4", detail="low"), "cannot carry a video's 'detail'"),
    ],
)
def test_what_the_wire_has_no_field_for_is_named(block: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        user(block)


def test_sound_in_a_data_url_is_sent_by_value() -> None:
    block = AudioBlock(url=f"data:audio/wav;base64,{encoded(WAV)}", format="wav")
    assert user(block)[0]["input_audio"] == {"data": encoded(WAV), "format": "wav"}


def test_citable_and_cited_blocks_have_their_source_in_front() -> None:
    image = ImageBlock(url="https://h/a.png")
    citable = CitableBlock(title="A", source="https://a", content=[TextBlock(text="a"), image])
    first, second, third = user(citable)
    assert (first, second) == (text("[A](https://a):"), text("a"))
    assert third["image_url"] == {"url": "https://h/a.png"}
    cited = CitationBlock(
        cited_content=TextBlock(text="b"),
        title="B",
        source="https://b",
        additional_location_info={},
    )
    assert user(cited) == "[B](https://b):\nb"


def test_a_spoken_answer_goes_back_by_its_id_alone() -> None:
    sound = AudioBlock(audio=WAV, format="wav")
    sent = assistant(TextBlock(text="Hello."), sound, audio={"id": "au1"})
    assert sent == {"role": "assistant", "content": "Hello.", "audio": {"id": "au1"}}
    by_value = assistant(sound)["content"]
    assert by_value[0]["type"] == "input_audio"


def test_the_reasoning_of_one_answer_is_joined_in_order() -> None:
    a, b = (ThinkingBlock(content=word) for word in ("One.", "Two."))
    assert assistant(a, b, TextBlock(text="So"))["reasoning"] == "One.\nTwo."
    spelled = ThinkingBlock(content="x", additional_information={"field": "reasoning_content"})
    assert assistant(spelled, TextBlock(text="So"))["reasoning_content"] == "x"
    silent = assistant(ThinkingBlock(content=None), TextBlock(text="So"))
    assert silent == {"role": "assistant", "content": "So"}
    signed = [
        ThinkingBlock(content=word, additional_information={"signature": word.lower()})
        for word in ("One", "Two")
    ]
    assert assistant(*signed, TextBlock(text="So"))["reasoning_details"] == [
        {"type": "reasoning.text", "text": word, "signature": word.lower()}
        for word in ("One", "Two")
    ]


def test_calls_that_share_an_id_keep_their_own_results() -> None:
    calls = [ToolCallBlock(tool_name="f", tool_kwargs={"n": i}) for i in range(3)]
    results = [
        ChatMessage(str(i), role="tool", additional_kwargs={"tool_call_id": "f"}) for i in range(2)
    ]
    question = ChatMessage("?")
    wire = to_wire(
        [question, ChatMessage(role="assistant", blocks=list(calls)), *results, question]
    )
    assert [call["id"] for call in wire[1]["tool_calls"]] == ["f", "f_2", "f_3"]
    assert [(item["tool_call_id"], item["content"]) for item in wire[2:5]] == [
        ("f", "0"),
        ("f_2", "1"),
        ("f_3", "The tool wasn't run."),
    ]
    assert wire[5]["role"] == "user"


def test_a_call_keeps_the_id_that_other_integrations_gave_it() -> None:
    flat = {"call_id": "c1", "id": "fc_1", "name": "f", "arguments": "{}"}
    (call,) = assistant(tool_calls=[flat])["tool_calls"]
    assert call == {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    (call,) = assistant(tool_calls=({"function": {"name": "f"}},))["tool_calls"]
    assert (call["id"], call["function"]["arguments"]) == ("f", "{}")
    (call,) = assistant(tool_calls=[{"id": "x", "function": {}}])["tool_calls"]
    assert call["function"]["name"] == "unnamed_tool"
    assert "tool_calls" not in assistant(TextBlock(text="a"), tool_calls="odd")


def test_a_result_without_a_call_needs_an_id() -> None:
    with pytest.raises(ValueError, match=r"messages\[1\]: a tool result needs the id of its call"):
        to_wire([ChatMessage("?"), ChatMessage("x", role="tool")])
    result = ChatMessage("x", role="tool", additional_kwargs={"name": "f"})
    assert to_wire([ChatMessage("?"), result])[1]["tool_call_id"] == "f"


def test_images_of_several_results_follow_the_last_of_them() -> None:
    image = ImageBlock(url="https://h/a.png")
    results = [
        ChatMessage(role="tool", blocks=[image], additional_kwargs={"tool_call_id": f"c{i}"})
        for i in range(2)
    ]
    first, second, images, question = to_wire([*results, ChatMessage("?")])
    for i, result in enumerate((first, second)):
        assert result == {
            "role": "tool",
            "tool_call_id": f"c{i}",
            "content": "The result follows in the next user message.",
        }
    shown = {"type": "image_url", "image_url": {"url": "https://h/a.png"}}
    assert images["content"] == [
        text("What the tool call c0 returned:"),
        shown,
        text("What the tool call c1 returned:"),
        shown,
    ]
    assert question == {"role": "user", "content": "?"}
    assert to_wire(results)[-1] == images


@pytest.mark.parametrize(
    ("block", "kind"),
    [
        (AudioBlock(audio=WAV, format="wav"), "input_audio"),
        (DocumentBlock(data=b"%PDF-1", title="a.pdf"), "file"),
        (ImageBlock(url="https://h/a.png"), "image_url"),
        (VideoBlock(url="https://h/a.mp4"), "video_url"),
    ],
)
def test_what_a_tool_returns_beside_text_follows_as_a_question(block: Any, kind: str) -> None:
    blocks = [TextBlock(text="Here."), block]
    result = ChatMessage(role="tool", blocks=blocks, additional_kwargs={"tool_call_id": "c"})
    answer, question = to_wire([result])
    assert answer["content"] == "Here."
    assert [part["type"] for part in question["content"]] == ["text", kind]


@pytest.mark.parametrize("wrong", ["Hello", ChatMessage("Hello"), 5, {"a": 1}])
def test_messages_are_a_list(wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"not {type(wrong).__name__}"):
        to_wire(wrong)
    odd: Any = [ChatMessage("a"), "b"]
    with pytest.raises(TypeError, match=r"messages\[1\] must be a ChatMessage, not str"):
        to_wire(odd)
