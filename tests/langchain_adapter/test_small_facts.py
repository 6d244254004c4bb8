"""Small facts of answers and prompts, each by its value: where a changed line went unnoticed."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langchain_lunos._structured_output import _refusal_of
from tests.langchain_adapter.wire import Wire, chat, sent_messages, streamed


def url(name: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"https://h/{name}.png"}}


def test_images_of_several_pieces_are_numbered_on() -> None:
    wire = Wire(streamed({"images": [url("a")]}, {"images": [url("b"), url("c")]}))
    pieces = list(chat(wire).stream("Draw"))
    images = [image for piece in pieces for image in piece.additional_kwargs.get("images", ())]
    assert [image["index"] for image in images] == [0, 1, 2]
    whole = pieces[0]
    for piece in pieces[1:]:
        whole += piece
    shown = [image["image_url"]["url"] for image in whole.additional_kwargs["images"]]
    assert shown == ["https://h/a.png", "https://h/b.png", "https://h/c.png"]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (AIMessage("text", additional_kwargs={"refusal": "I won't"}), "I won't"),
        (AIMessage([{"type": "refusal", "refusal": "Never"}, "x"]), "Never"),
        (AIMessage([{"type": "refusal"}]), "it gave no reason"),
        (AIMessage([{"type": "text", "text": "refusal"}]), ""),
        (AIMessage("text"), ""),
    ],
)
def test_a_refusal_is_read_wherever_it_stands(message: AIMessage, said: str) -> None:
    assert _refusal_of(message) == said


@pytest.mark.parametrize(
    "block",
    [
        {"type": "file", "file_id": "f1"},
        {"type": "file", "file": {"file_id": "f1"}},
        {"type": "image", "file_id": "f1"},
        {"type": "image", "source_type": "id", "id": "f1"},
    ],
)
def test_a_file_by_id_is_refused_with_the_remedy(block: dict[str, Any]) -> None:
    wire = Wire(streamed())
    with pytest.raises(ValueError, match=r"a file by id cannot be sent.*send base64 or a URL"):
        chat(wire).invoke([HumanMessage([block])])
    assert wire.requests == []


def test_an_image_without_anything_is_refused_by_what_it_lacks() -> None:
    with pytest.raises(ValueError, match="neither url nor base64"):
        chat(Wire(streamed())).invoke([HumanMessage([{"type": "image"}])])


def test_spoken_audio_goes_back_by_its_id_alone_and_is_no_part_of_the_text() -> None:
    spoken = AIMessage(
        [{"type": "text", "text": "Hi"}, {"type": "audio", "base64": "AA==", "mime_type": "x"}],
        additional_kwargs={"audio": {"id": "audio_1", "data": "AA=="}},
    )
    wire = Wire(streamed({"content": "ok"}))
    list(chat(wire).stream(["Hello", spoken, "And now?"]))
    sent = sent_messages(wire)[1]
    assert sent["audio"] == {"id": "audio_1"}
    assert "AA==" not in str(sent)
