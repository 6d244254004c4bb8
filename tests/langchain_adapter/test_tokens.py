"""Token counts are estimates by script and kind of media, without any download."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, trim_messages

from tests.langchain_adapter.wire import both_kinds, chat

LARGE = base64.b64encode(b"%PDF" + b"x" * 1_500_000).decode()

MEDIA: dict[str, Any] = {
    "a PDF": {"type": "file", "base64": LARGE, "mime_type": "application/pdf"},
    "OpenAI's PDF": {
        "type": "file",
        "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{LARGE}"},
    },
    "Anthropic's PDF": {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": LARGE},
    },
    "an image": {"type": "image", "base64": LARGE, "mime_type": "image/png"},
    "an image's URL": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{LARGE}"}},
    "sound": {"type": "input_audio", "input_audio": {"data": LARGE, "format": "wav"}},
    "a video": {"type": "video", "base64": LARGE, "mime_type": "video/mp4"},
}


def weather(city: str) -> str:
    """The weather in a city."""
    return city


@pytest.mark.parametrize("name", MEDIA)
def test_media_count_by_their_kind(name: str) -> None:
    llm = chat(both_kinds())
    count = llm.get_num_tokens_from_messages([HumanMessage([MEDIA[name]])])
    assert 100 < count <= 10_010


@pytest.mark.parametrize("name", MEDIA)
def test_trimming_keeps_the_history_around_a_document(name: str) -> None:
    history = [
        SystemMessage("Be kind."),
        HumanMessage("First question"),
        AIMessage("First answer"),
        HumanMessage([{"type": "text", "text": "Read this."}, MEDIA[name]]),
    ]
    kept = trim_messages(history, max_tokens=20_000, token_counter=chat(both_kinds()))
    assert kept == history


def test_scripts_without_spaces_are_estimated_fairly() -> None:
    llm = chat(both_kinds())
    assert llm.get_num_tokens("日本語の文章です") == 8
    assert llm.get_num_tokens("eight ch") == 2
    assert llm.get_num_tokens_from_messages([HumanMessage("日本語の文章です")]) >= 8


def test_tools_and_calls_count() -> None:
    llm = chat(both_kinds())
    messages = [HumanMessage("Hi")]
    alone = llm.get_num_tokens_from_messages(messages)
    assert llm.get_num_tokens_from_messages(messages, tools=[weather]) > alone + 10
    called: Any = [{"name": "weather", "args": {"city": "Rome" * 20}, "id": "c"}]
    with_call = [*messages, AIMessage("", tool_calls=called)]
    assert llm.get_num_tokens_from_messages(with_call) > alone + 20


def test_an_own_tokenizer_counts_text() -> None:
    llm = chat(both_kinds(), custom_get_token_ids=lambda text: [*range(len(text))])
    assert llm.get_num_tokens("abcde") == 5
    assert llm.get_num_tokens_from_messages([HumanMessage("abcde")]) == 8
