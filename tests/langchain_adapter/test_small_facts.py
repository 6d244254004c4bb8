"""Small facts of answers and prompts, each by its value: where a changed line went unnoticed."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from pydantic import ValidationError

from langchain_lunos import ChatLunos, LunosEmbeddings, LunosLLM
from langchain_lunos._results import add_llm_outputs
from langchain_lunos._structured_output import _refusal_of
from langchain_lunos.images import to_block
from lunos_core import GeneratedImage
from tests.langchain_adapter.wire import (
    KEY,
    Wire,
    answer,
    ask,
    chat,
    chunks,
    embeddings,
    llm,
    reply,
    sent_messages,
    stream,
    streamed,
)


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


def test_spoken_audio_is_sent_back_by_its_id_and_is_not_part_of_the_text() -> None:
    spoken = AIMessage(
        [{"type": "text", "text": "Hi"}, {"type": "audio", "base64": "AA==", "mime_type": "x"}],
        additional_kwargs={"audio": {"id": "audio_1", "data": "AA=="}},
    )
    wire = Wire(streamed({"content": "ok"}))
    list(chat(wire).stream(["Hello", spoken, "And now?"]))
    sent = sent_messages(wire)[1]
    assert sent["audio"] == {"id": "audio_1"}
    assert "AA==" not in str(sent)


@pytest.mark.parametrize(
    ("model", "keeps"),
    [
        ("claude-4", True),
        ("mine", True),
        ("anthropic/opus", True),
        ("bedrock/claude-4", True),
        ("openai/gpt-5", False),
    ],
)
def test_signed_reasoning_is_sent_back_only_to_anthropics_models(model: str, keeps: bool) -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "s1"}
    wire = Wire(reply(answer()))
    said = AIMessage([thought, {"type": "text", "text": "Hi"}])
    chat(wire, model=model).invoke(["Hello", said, "And?"])
    details = sent_messages(wire)[1].get("reasoning_details") or [{}]
    assert details[0].get("signature") == ("s1" if keeps else None)


def test_only_a_result_answers_a_call() -> None:
    calls = [{"name": "add", "args": {}, "id": "c1"}]
    block = {"type": "text", "text": "Well?", "tool_use_id": "c1"}
    wire = Wire(reply(answer()))
    chat(wire).invoke(["Hello", AIMessage("", tool_calls=calls), HumanMessage([block])])
    assert [message["role"] for message in sent_messages(wire)] == [
        *("user", "assistant", "tool", "user")
    ]


@pytest.mark.parametrize("extra", [None, {"seed2": 7}])
def test_what_identifies_a_model_holds_the_extra_body_where_there_is_one(extra: Any) -> None:
    facts = chat(reply({}), extra_body=extra)._identifying_params
    assert facts.get("extra_body", "none") == (extra or "none")


@pytest.mark.parametrize("kind", [ChatLunos, LunosLLM, LunosEmbeddings])
def test_a_mistake_in_a_setting_shows_no_setting(kind: Any) -> None:
    with pytest.raises(ValidationError, match="max_retries") as caught:
        kind(model="m", api_key=KEY, max_retries=["sk-hush"])
    assert "hush" not in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_a_piece_that_shows_nothing_ends_no_stream(way: str) -> None:
    silent = {"choices": []}
    events = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("a", "b")]
    wire = Wire(stream([events[0], silent, events[1], "[DONE]"]))
    assert "".join([piece.text for piece in await chunks(chat(wire), way)]) == "ab"


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_a_text_model_streams_no_empty_piece(way: str) -> None:
    texts = ["a", "", "b"]
    events = [{"choices": [{"index": 0, "text": text}]} for text in texts]
    wire = Wire(stream([*events, {"choices": []}, "[DONE]"]))
    pieces = await chunks(llm(wire), way)
    assert [piece for piece in pieces if piece] == ["a", "b"]
    assert len(pieces) <= 3  # the last one has the facts


def test_a_vector_of_one_number_may_be_asked_for() -> None:
    assert embeddings(reply({}), dimensions=1).dimensions == 1
    with pytest.raises(ValidationError, match="dimensions"):
        embeddings(reply({}), dimensions=0)


@pytest.mark.parametrize(
    ("data", "kind"), [(b"RIFF    WEBP", "image/webp"), (b"unknown", "image/png")]
)
def test_an_images_block_has_its_own_type_or_png(data: bytes, kind: str) -> None:
    sent = base64.b64encode(data).decode()
    block = to_block(GeneratedImage(b64_json=sent))
    assert block == {"type": "image", "base64": sent, "mime_type": kind}


def test_a_text_models_limiter_is_in_no_dump() -> None:
    assert "rate_limiter" not in llm(reply({})).model_dump()


def test_costs_of_many_calls_are_added_up_exactly() -> None:
    usage = {"prompt_tokens": 1, "cost": 0.1, "total_cost": 0.1}
    told = add_llm_outputs([{"token_usage": usage, "total_cost": 0.1}] * 10)
    assert told["token_usage"] == {"prompt_tokens": 10, "cost": 1.0, "total_cost": 1.0}
    assert told["total_cost"] == 1.0


@pytest.mark.parametrize("way", ["v3", "av3"])
async def test_of_several_choices_the_events_show_the_first(way: str) -> None:
    said = [{"index": i, "delta": {"content": text}} for i, text in enumerate("ab")]
    ends = [{"index": i, "delta": {}, "finish_reason": "stop"} for i in range(2)]
    wire = Wire(stream([{"choices": said}, {"choices": ends}, "[DONE]"]))
    assert (await ask(chat(wire), way)).text == "a"


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_a_text_model_may_stream_its_usage_alone(way: str) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 0}
    wire = Wire(stream([{"choices": [], "usage": usage}, "[DONE]"]))
    assert await chunks(llm(wire), way) == [""]
