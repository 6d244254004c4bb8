"""What an answer becomes in LlamaIndex's types, by exact values, whole and streamed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    CitationBlock,
    ImageBlock,
    LogProb,
    TextBlock,
    ThinkingBlock,
)

from llama_index_lunos import Lunos
from llama_index_lunos._metadata import facts_of
from lunos_core import ModelInfo
from tests.llama_index_adapter.wire import (
    Way,
    Wire,
    answer,
    delta,
    reply,
    stream,
    text_answer,
    tool_call,
    usage_event,
)

ASKED = [ChatMessage("Hello")]
USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 7,
    "total_tokens": 18,
    "cost": 0.25,
    "cost_details": {"upstream": 0.2},
    "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2, "audio_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 5, "image_tokens": 6},
}
FACTS = {
    "prompt_tokens": 11,
    "completion_tokens": 7,
    "total_tokens": 18,
    "cached_tokens": 4,
    "cache_write_tokens": 2,
    "reasoning_tokens": 3,
    "cost": 0.25,
    "cost_source": "gateway",
    "total_cost": 0.25,
    "cost_details": {"upstream": 0.2},
    "finish_reason": "stop",
    "model": "m",
}
SOURCE = {"url": "https://a", "title": "A", "content": "said", "start_index": 0, "end_index": 2}
CITED = {"type": "url_citation", "url_citation": SOURCE}
PNG = "data:image/png;base64,AAAA"


async def ask(way: Way, played: Any, streamed: bool = False, **settings: Any) -> Any:
    """The response; of a stream the last."""
    llm = way.llm(Wire(played), **settings)
    if not streamed:
        return await way(llm, "chat", ASKED)
    return (await way(llm, "stream_chat", ASKED))[-1]


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_facts_of_an_answer_stand_beside_it(way: Way, streamed: bool) -> None:
    played = (
        stream(delta("Hi"), delta(finish="stop"), {**usage_event(), "usage": USAGE})
        if streamed
        else answer("Hi", usage=USAGE)
    )
    response = await ask(way, played, streamed)
    assert response.additional_kwargs == FACTS
    assert response.message.additional_kwargs == {}
    assert response.raw["usage"] == USAGE
    assert response.raw["choices"]
    assert response.logprobs is None


async def test_a_text_completion_has_the_same_facts(way: Way) -> None:
    for chats, played in ((True, answer("Hi", usage=USAGE)), (False, text_answer("Hi"))):
        llm = way.llm(Wire(played), is_chat_model=chats)
        response = await way(llm, "complete", "?")
        assert (response.text, response.delta) == ("Hi", None)
        counts = {name: FACTS[name] for name in ("prompt_tokens", "finish_reason", "model")}
        assert counts.items() <= response.additional_kwargs.items()
        assert response.raw["usage"]["total_tokens"] == 18


async def test_counts_under_other_names_are_in_raw_under_openais(way: Way) -> None:
    usage = {
        "input_tokens": 3,
        "output_tokens": 2,
        "input_tokens_details": {"cached_tokens": 1},
        "prompt_tokens_details": "odd",
    }
    response = await ask(way, answer("Hi", usage=usage))
    assert response.raw["usage"] == {
        **usage,
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "total_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 1},
    }


async def test_each_item_of_a_stream_of_text_has_its_event_in_raw(way: Way) -> None:
    events = [delta("Hel"), delta("lo"), delta(finish="stop")]
    responses = await way(way.llm(Wire(stream(*events))), "stream_chat", ASKED)
    assert [item.raw for item in responses[:2]] == events[:2]
    assert [item.delta for item in responses] == ["Hel", "lo", ""]
    assert responses[-1].raw["choices"] == events[-1]["choices"]
    assert responses[-1].raw["usage"] is None
    pieces = await way(way.llm(Wire(stream(*events))), "stream_complete", "?")
    assert [(item.text, item.delta, item.raw) for item in pieces[:2]] == [
        ("Hel", "Hel", events[0]),
        ("Hello", "lo", events[1]),
    ]


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_model_name_that_comes_late_is_the_answers(way: Way, streamed: bool) -> None:
    if not streamed:
        value = {"model": "served", "choices": [{"message": {"content": "Hi"}}]}
        assert (await ask(way, reply(value))).additional_kwargs == {"model": "served"}
        return
    late = delta(finish="stop")
    first = {name: value for name, value in delta("Hi").items() if name != "model"}
    response = await ask(way, stream(first, {**late, "model": "served"}), streamed=True)
    assert response.additional_kwargs == {"finish_reason": "stop", "model": "served"}


async def test_other_choices_than_the_first_are_not_streamed(way: Way) -> None:
    other = delta("Other")
    other["choices"][0]["index"] = 1
    both = delta("Hi")
    both["choices"].insert(0, other["choices"][0])
    responses = await way(
        way.llm(Wire(stream(other, both, delta(finish="stop")))), "stream_chat", ASKED
    )
    assert [item.delta for item in responses] == ["Hi", ""]
    assert responses[-1].message.content == "Hi"


@pytest.mark.parametrize("streamed", [False, True])
async def test_every_kind_of_content_is_a_block_in_its_order(way: Way, streamed: bool) -> None:
    image = {"type": "image_url", "image_url": {"url": PNG}}
    said: Any = {
        "reasoning": "Hm.",
        "content": "So",
        "annotations": [CITED],
        "images": [image],
        "tool_calls": [tool_call("c1", "f", "{}")],
    }
    played = answer(said, "tool_calls", usage=USAGE)
    if streamed:
        called = [{"index": 0, **tool_call("c1", "f", "{}")}]
        played = stream(
            delta(**{**said, "tool_calls": called}),
            delta(finish="tool_calls"),
            {**usage_event(), "usage": USAGE},
        )
    message = (await ask(way, played, streamed)).message
    thinking, text, citation, picture, call = message.blocks
    assert thinking == ThinkingBlock(
        content="Hm.", num_tokens=3, additional_information={"field": "reasoning"}
    )
    assert text == TextBlock(text="So")
    assert citation == CitationBlock(
        cited_content=TextBlock(text="said"),
        source="https://a",
        title="A",
        additional_location_info={"start_index": 0, "end_index": 2},
    )
    assert isinstance(picture, ImageBlock)
    assert picture.image_mimetype == "image/png"
    assert (call.tool_call_id, call.tool_name, call.tool_kwargs) == ("c1", "f", "{}")
    assert message.additional_kwargs == {
        "tool_calls": [tool_call("c1", "f", "{}")],
        "annotations": [CITED],
    }


@pytest.mark.parametrize(
    ("source", "title", "cited", "where"),
    [
        ({"url": "https://a"}, "https://a", "https://a", {}),
        ({"url": "https://a", "title": "A"}, "A", "A", {}),
        (
            {"url": "https://a", "content": "x", "start_index": 0, "end_index": "3"},
            "https://a",
            "x",
            {"start_index": 0},
        ),
    ],
)
async def test_a_citation_is_as_full_as_what_came(
    way: Way, source: Any, title: str, cited: str, where: Any
) -> None:
    note = {"type": "url_citation", "url_citation": source}
    odd = [{"type": "file"}, {"url_citation": {"url": 5}}, {"url_citation": {"title": "x"}}]
    message = (await ask(way, answer({"content": "So", "annotations": [note, *odd]}))).message
    (block,) = [block for block in message.blocks if isinstance(block, CitationBlock)]
    assert (block.title, block.source) == (title, "https://a")
    assert block.cited_content == TextBlock(text=cited)
    assert block.additional_location_info == where


async def test_a_spoken_answer_is_sound_and_its_words(way: Way) -> None:
    audio = {"id": "au1", "data": "QUJD", "transcript": "Hello."}
    message = (await ask(way, answer({"content": None, "audio": audio}))).message
    text, sound = message.blocks
    assert text == TextBlock(text="Hello.")
    assert isinstance(sound, AudioBlock)
    assert sound.resolve_audio().read() == b"ABC"
    assert message.additional_kwargs == {"audio": {"id": "au1", "transcript": "Hello."}}
    silent = {"id": "au1", "bitrate": 5}
    message = (await ask(way, answer({"content": None, "audio": silent}))).message
    assert message.blocks == []
    assert message.additional_kwargs == {"audio": silent}


async def test_a_refusal_is_the_text_at_the_end_of_the_stream(way: Way) -> None:
    message = (await ask(way, answer({"content": None, "refusal": "No."}))).message
    assert message.blocks == [TextBlock(text="No.")]
    assert message.additional_kwargs == {"refusal": "No."}
    played = stream(delta(refusal="N"), delta(refusal="o."), delta(finish="stop"))
    last = await ask(way, played, streamed=True)
    assert (last.delta, last.message.content) == ("No.", "No.")


async def test_images_that_cannot_be_read_leave_the_others(way: Way) -> None:
    images = [
        {"type": "image_url", "image_url": {"url": url}}
        for url in ("https://h/a.png", "ht tp", PNG)
    ]
    message = (await ask(way, answer({"content": None, "images": images}))).message
    first, second = message.blocks
    assert isinstance(first, ImageBlock)
    assert isinstance(second, ImageBlock)
    assert str(first.url) == "https://h/a.png"
    assert second.image_mimetype == "image/png"


async def test_candidates_of_a_token_stand_behind_the_chosen(way: Way) -> None:
    token = {
        "token": "a",
        "logprob": -1,
        "bytes": [97],
        "top_logprobs": [
            {"token": "b", "logprob": -2.5},
            {"token": "a", "logprob": -1},
            "odd",
            {"logprob": "x"},
        ],
    }
    told = {"content": [token, "odd"]}
    assert (await ask(way, answer("a", choice={"logprobs": told}))).logprobs == [
        [
            LogProb(token="a", logprob=-1.0, bytes=[97]),
            LogProb(token="b", logprob=-2.5, bytes=[]),
            LogProb(token="", logprob=0.0, bytes=[]),
        ]
    ]


async def test_the_logprobs_of_a_text_completion_are_read(way: Way) -> None:
    told = {"tokens": ["a", "b"], "token_logprobs": [-1, None]}
    played = reply({"choices": [{"text": "ab", "logprobs": told}]})
    response = await way(way.llm(Wire(played), is_chat_model=False), "complete", "?")
    assert response.logprobs == [
        [LogProb(token="a", logprob=-1.0)],
        [LogProb(token="b", logprob=0.0)],
    ]
    for odd in ({"tokens": "ab", "token_logprobs": []}, {"tokens": ["a"]}, ["a"], "x"):
        played = reply({"choices": [{"text": "ab", "logprobs": odd}]})
        llm = way.llm(Wire(played), is_chat_model=False)
        assert (await way(llm, "complete", "?")).logprobs is None


async def test_signed_reasoning_keeps_its_details(way: Way) -> None:
    details = [{"type": "reasoning.text", "text": "Hm.", "signature": "c2ln"}]
    message = (await ask(way, answer({"content": "So", "reasoning_details": details}))).message
    thinking = message.blocks[0]
    assert isinstance(thinking, ThinkingBlock)
    assert thinking.additional_information == {"reasoning_details": details}
    wire = Wire(answer())
    await way(way.llm(wire), "chat", [*ASKED, message])
    assert wire.body["messages"][1] == {
        "role": "assistant",
        "content": "So",
        "reasoning_details": details,
    }


def test_what_is_known_of_a_model_is_in_its_metadata() -> None:
    llm = Lunos("m", api_key="sk-x", max_tokens=5, is_function_calling_model=False)
    facts = llm.metadata
    assert (facts.model_name, facts.num_output, facts.context_window) == ("m", 5, 128_000)
    assert (facts.is_chat_model, facts.is_function_calling_model) == (True, False)
    text = Lunos("m", api_key="sk-x", is_chat_model=False).metadata
    assert (text.num_output, text.is_function_calling_model) == (-1, False)
    told = Lunos("m", api_key="sk-x", max_tokens=5, temperature=0.5, app_id="shop").to_payload()
    seen = {name: told[name] for name in ("model", "temperature", "max_tokens", "app_id")}
    assert seen == {"model": "m", "temperature": 0.5, "max_tokens": 5, "app_id": "shop"}
    assert "sk-x" not in str(told)


@pytest.mark.parametrize(
    ("abilities", "chats"),
    [
        ((), None),
        (("chat",), None),
        (("chat", "text-completion"), None),
        (("text-completion",), False),
        (("Completion", "completions"), False),
    ],
)
def test_a_model_whose_abilities_are_completions_alone_does_not_chat(
    abilities: tuple[str, ...], chats: bool | None
) -> None:
    catalog: Any = SimpleNamespace(cached=lambda *_, **__: ModelInfo("m", capabilities=abilities))
    assert facts_of("m", catalog).is_chat_model is chats


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        ({"logprobs": True, "top_logprobs": 4}, 4),
        ({"logprobs": True}, 1),
        ({"logprobs": False}, None),
        ({}, None),
    ],
)
async def test_logprobs_of_a_text_completion_are_a_number(
    way: Way, settings: dict[str, Any], sent: int | None
) -> None:
    wire = Wire(text_answer())
    await way(way.llm(wire, is_chat_model=False, **settings), "complete", "?")
    assert wire.body.get("logprobs") == sent
    await way(way.llm(wire, is_chat_model=False, **settings), "complete", "?", logprobs=2)
    assert wire.bodies[1]["logprobs"] == 2


async def test_a_call_without_a_name_is_left_out_and_logged(
    way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    calls = [tool_call("c1", "f", "{}"), tool_call("c2", "", "{}")]
    message = (await ask(way, answer({"content": None, "tool_calls": calls}))).message
    assert message.additional_kwargs["tool_calls"] == calls[:1]
    assert "without saying which" in caplog.text
    caplog.clear()
    await ask(way, answer({"content": None, "tool_calls": calls[:1]}))
    assert "without saying which" not in caplog.text


async def test_of_several_choices_the_first_is_read(way: Way) -> None:
    value = answer({"content": "So", "reasoning": "Hm."})().json()
    other = {"content": "No", "reasoning_content": "Or."}
    value["choices"].append({"index": 1, "message": other, "finish_reason": "length"})
    response = await ask(way, reply(value))
    assert response.message.content == "So"
    assert response.additional_kwargs["finish_reason"] == "stop"
    thinking: Any = response.message.blocks[0]
    assert (thinking.content, thinking.additional_information) == ("Hm.", {"field": "reasoning"})


async def test_the_message_so_far_has_reasoning_before_text_before_images(way: Way) -> None:
    image = {"type": "image_url", "image_url": {"url": PNG}}
    pieces = [delta("So"), delta(images=[image]), delta(reasoning="Hm."), delta(finish="stop")]
    responses = await way(way.llm(Wire(stream(*pieces))), "stream_chat", ASKED)
    kinds = [[type(block) for block in item.message.blocks] for item in responses]
    whole = [ThinkingBlock, TextBlock, ImageBlock]
    assert kinds == [[TextBlock], [TextBlock, ImageBlock], whole, whole]
