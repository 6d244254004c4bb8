"""The scripted model: tools, schemas, streams, usage. And the scripted embeddings."""

from __future__ import annotations

import base64
import io
import json
import math
import struct
import wave
import zlib
from typing import Any

import pytest

from tests.local.wire import Wire, events, text_of, tool

INTEGER, STRING = {"type": "integer"}, {"type": "string"}
WEATHER = tool("get_weather", "Get the weather at a location.", location=STRING)
MAGIC = tool("magic_function", "Apply a magic function to an input.", input=INTEGER)


def calls_of(message: dict[str, Any]) -> list[tuple[str, Any]]:
    return [
        (call["function"]["name"], json.loads(call["function"]["arguments"]))
        for call in message["tool_calls"]
    ]


def schema_answer(wire: Wire, text: str, schema: dict[str, Any]) -> Any:
    wanted = {"type": "json_schema", "json_schema": {"name": "out", "schema": schema}}
    return json.loads(wire.message(text, response_format=wanted)["content"])


def test_the_same_request_has_the_same_answer_byte_for_byte(wire: Wire) -> None:
    assert wire.chat().content == wire.chat().content
    assert wire.chat(stream=True).content == wire.chat(stream=True).content
    assert wire.chat().json()["id"] != wire.chat("Bye").json()["id"]


def test_an_answer_has_the_whole_shape(wire: Wire) -> None:
    body = wire.chat().json()
    assert (body["object"], body["model"]) == ("chat.completion", "lunos/scripted")
    assert body["provider"] == "local"
    assert body["created"]
    assert body["id"]
    assert "Hello there" in body["choices"][0]["message"]["content"]
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["cost"] == 0.0
    assert set(usage) >= {"prompt_tokens_details", "completion_tokens_details"}


def test_a_stream_sends_role_words_finish_usage_and_done_in_order(wire: Wire) -> None:
    response = wire.chat(stream=True, stream_options={"include_usage": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.startswith(": LUNOS PROCESSING\n\n")
    assert response.text.endswith("data: [DONE]\n\n")
    chunks = events(response.text)
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant"}
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["prompt_tokens"] > 0
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert text_of(chunks) == wire.message()["content"]
    assert len(chunks) > 5


def test_without_include_usage_a_stream_has_no_usage(wire: Wire) -> None:
    assert all("usage" not in chunk for chunk in wire.chunks())


def test_it_calls_the_tool_that_fits_with_arguments_from_the_text(wire: Wire) -> None:
    text = "What is the weather in San Francisco, CA?"
    message = wire.message(text, tools=[MAGIC, WEATHER])
    assert calls_of(message) == [("get_weather", {"location": "San Francisco, CA"})]
    assert message["content"] is None
    assert calls_of(wire.message("magic_function(3)", tools=[MAGIC])) == [
        ("magic_function", {"input": 3})
    ]
    assert calls_of(wire.message("Go", tools=[tool("ping")])) == [("ping", {})]


def test_a_named_choice_is_obeyed_and_none_means_none(wire: Wire) -> None:
    named = {"type": "function", "function": {"name": "magic_function"}}
    message = wire.message("the weather?", tools=[WEATHER, MAGIC], tool_choice=named)
    assert calls_of(message) == [("magic_function", {"input": 3})]
    assert "tool_calls" not in wire.message("hi", tools=[MAGIC], tool_choice="none")


def test_tools_named_together_are_called_together_unless_forbidden(wire: Wire) -> None:
    text = "Run magic_function and get_weather, please"
    tools = [MAGIC, WEATHER]
    assert len(calls_of(wire.message(text, tools=tools))) == 2
    assert len(calls_of(wire.message(text, tools=tools, parallel_tool_calls=False))) == 1


def test_a_streamed_call_comes_in_fragments_joined_by_index(wire: Wire) -> None:
    chunks = wire.chunks("Weather in Paris?", tools=[WEATHER])
    fragments = [
        fragment
        for chunk in chunks
        for fragment in chunk["choices"][0]["delta"].get("tool_calls", ())
    ]
    assert fragments[0]["id"]
    assert fragments[0]["function"]["name"] == "get_weather"
    assert all("id" not in fragment for fragment in fragments[1:])
    assert len(fragments) >= 4
    joined = "".join(fragment["function"]["arguments"] for fragment in fragments)
    assert json.loads(joined) == {"location": "Paris"}
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_after_a_tool_message_it_speaks_of_the_result(wire: Wire) -> None:
    question = {"role": "user", "content": "Weather in Paris?"}
    called = wire.message(question["content"], tools=[WEATHER])
    result = {
        "role": "tool",
        "tool_call_id": called["tool_calls"][0]["id"],
        "content": "It's sunny",
    }
    history = [question, called, result]
    assert "It's sunny" in wire.message(messages=history, tools=[WEATHER])["content"]
    again = wire.message(messages=history, tools=[WEATHER, MAGIC], tool_choice="required")
    assert calls_of(again)[0][0] == "magic_function"


def test_text_that_is_not_latin_comes_back_unescaped(wire: Wire) -> None:
    customer = tool("customer", "Create a customer", customer_name=STRING)
    response = wire.chat("Create a customer named '你好啊集团'", tools=[customer])
    assert "你好啊集团" in response.text


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer", "exclusiveMinimum": 8, "maximum": 10}, 9),
        ({"type": "number"}, 7),
        ({"type": "string", "enum": ["red", "blue"]}, "blue"),
        ({"type": "string"}, "Ada Byron"),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"const": "x"}, "x"),
        ({"type": ["null", "integer"]}, 7),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 7),
        ({"type": "array", "items": {"type": "integer"}}, [7, 12]),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [True, True]),
        ({"type": "string", "format": "date"}, "2024-01-31"),
        ({"type": "string", "maxLength": 3}, "Ada"),
        ({"$ref": "#/$defs/N", "$defs": {"N": {"type": "integer"}}}, 7),
        ({"allOf": [{"type": "integer"}, {"minimum": 8}]}, 8),
    ],
)
def test_a_schema_is_filled_from_the_text(wire: Wire, schema: dict[str, Any], value: Any) -> None:
    whole = {
        "type": "object",
        "properties": {"field": {k: v for k, v in schema.items() if k != "$defs"}},
        "required": ["field"],
        "$defs": schema.get("$defs", {}),
    }
    text = 'Take 7 and 12, paint it blue for "Ada Byron"'
    assert schema_answer(wire, text, whole) == {"field": value}


def test_optional_properties_are_filled_when_the_text_speaks_of_them(wire: Wire) -> None:
    schema = {
        "type": "object",
        "properties": {"setup": STRING, "punchline": STRING, "size": {"enum": ["big", "small"]}},
        "required": ["setup"],
    }
    assert set(schema_answer(wire, "A joke about cats", schema)) == {"setup"}
    full = schema_answer(wire, "A small joke with a punchline", schema)
    assert set(full) == {"setup", "punchline", "size"}
    assert full["size"] == "small"


def test_a_schema_that_contains_itself_ends(wire: Wire) -> None:
    node = {
        "type": "object",
        "properties": {"next": {"$ref": "#/$defs/Node"}, "name": STRING},
        "required": ["name"],
    }
    assert schema_answer(wire, "next name", {"$ref": "#/$defs/Node", "$defs": {"Node": node}})


def test_json_mode_has_the_keys_the_prompt_names(wire: Wire) -> None:
    text = "Tell me a joke as JSON with 'setup' and `punchline` keys; it's for my sister's party"
    answer = wire.message(text, response_format={"type": "json_object"})
    assert set(json.loads(answer["content"])) == {"setup", "punchline"}
    plain = wire.message("hi", response_format={"type": "json_object"})
    assert set(json.loads(plain["content"])) == {"answer"}


def test_stop_and_max_tokens_end_the_text(wire: Wire) -> None:
    stopped = wire.chat("one two STOP three", stop=["STOP"]).json()["choices"][0]
    assert stopped["finish_reason"] == "stop"
    assert "three" not in stopped["message"]["content"]
    short = wire.chat(max_tokens=2).json()
    assert short["choices"][0]["finish_reason"] == "length"
    assert short["usage"]["completion_tokens"] == 2
    called = wire.chat("Weather in Paris?", tools=[WEATHER], max_tokens=3).json()["choices"][0]
    assert called["finish_reason"] == "length"


def test_n_choices_have_their_index_whole_and_streamed(wire: Wire) -> None:
    assert [choice["index"] for choice in wire.chat(n=3).json()["choices"]] == [0, 1, 2]
    streamed = {chunk["choices"][0]["index"] for chunk in wire.chunks(n=2)}
    assert streamed == {0, 1}


@pytest.mark.parametrize("asked", [{"reasoning": {"effort": "low"}}, {"reasoning_effort": "high"}])
def test_reasoning_is_sent_in_both_spellings_and_counted(wire: Wire, asked: Any) -> None:
    body = wire.chat(**asked).json()
    message = body["choices"][0]["message"]
    assert message["reasoning"] == message["reasoning_details"][0]["text"]
    details = body["usage"]["completion_tokens_details"]
    assert 0 < details["reasoning_tokens"] <= body["usage"]["completion_tokens"]
    deltas = [chunk["choices"][0]["delta"] for chunk in wire.chunks(**asked)]
    assert "".join(delta.get("reasoning", "") for delta in deltas) == message["reasoning"]


def test_excluded_reasoning_is_counted_but_not_shown(wire: Wire) -> None:
    body = wire.chat(reasoning={"effort": "low", "exclude": True}).json()
    assert "reasoning" not in body["choices"][0]["message"]
    assert body["usage"]["completion_tokens_details"]["reasoning_tokens"] > 0


def test_media_are_seen_and_audio_is_counted(wire: Wire) -> None:
    content = [
        {"type": "text", "text": "Look"},
        {"type": "image_url", "image_url": {"url": "https://x.org/a.png"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    ]
    body = wire.chat(messages=[{"role": "user", "content": content}]).json()
    said = body["choices"][0]["message"]["content"]
    assert "1 image" in said
    assert "1 audio clip" in said
    audio = body["usage"]["prompt_tokens_details"]["audio_tokens"]
    assert 0 < audio <= body["usage"]["prompt_tokens"]


def test_a_drawn_image_is_a_png_and_the_last_chunk_repeats_it(wire: Wire) -> None:
    message = wire.message("a cat", modalities=["image", "text"])
    url = message["images"][0]["image_url"]["url"]
    png = base64.b64decode(url.removeprefix("data:image/png;base64,"))
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert png.endswith(b"IEND\xaeB`\x82")
    size = struct.unpack(">I", png[33:37])[0]
    assert len(zlib.decompress(png[41 : 41 + size])) == 16 * (1 + 16 * 3)
    shown = [
        chunk["choices"][0]["delta"]["images"]
        for chunk in wire.chunks("a cat", modalities=["image", "text"])
        if "images" in chunk["choices"][0]["delta"]
    ]
    assert shown == [message["images"], message["images"]]


def test_spoken_output_is_sound_with_its_transcript_and_counts_audio_tokens(wire: Wire) -> None:
    answer = wire.chat(modalities=["text", "audio"]).json()
    message, usage = answer["choices"][0]["message"], answer["usage"]
    assert 0 < usage["completion_tokens_details"]["audio_tokens"] <= usage["completion_tokens"]
    assert message["content"] is None
    audio = message["audio"]
    assert audio["transcript"].startswith("Scripted answer to: ")
    with wave.open(io.BytesIO(base64.b64decode(audio["data"]))) as sound:
        assert sound.getnframes() > 0
    deltas = [chunk["choices"][0]["delta"] for chunk in wire.chunks(modalities=["text", "audio"])]
    parts = [delta["audio"] for delta in deltas if "audio" in delta]
    assert not any("content" in delta for delta in deltas)
    assert len(parts) > 2
    assert "".join(part.get("transcript", "") for part in parts) == audio["transcript"]
    assert [part["data"] for part in parts if "data" in part] == [audio["data"]]


def test_a_tool_call_makes_no_sound(wire: Wire) -> None:
    tool = {"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}}
    answer = wire.chat(modalities=["text", "audio"], tools=[tool], tool_choice="required").json()
    assert "audio" not in answer["choices"][0]["message"]
    assert answer["usage"]["completion_tokens_details"]["audio_tokens"] == 0


def test_a_cached_prefix_is_written_once_and_read_afterwards(wire: Wire) -> None:
    content = [{"type": "text", "text": "long text", "cache_control": {"type": "ephemeral"}}]
    details = []
    for question in ("a", "b"):
        messages = [{"role": "system", "content": content}, {"role": "user", "content": question}]
        details.append(wire.chat(messages=messages).json()["usage"]["prompt_tokens_details"])
    assert details[0]["cache_write_tokens"] > 0
    assert details[0]["cached_tokens"] == 0
    assert details[1]["cache_write_tokens"] == 0
    assert details[1]["cached_tokens"] > 0


def test_web_search_answers_with_a_citation(wire: Wire) -> None:
    message = wire.message("news", tools=[{"type": "web_search"}])
    assert message["annotations"][0]["type"] == "url_citation"
    assert "tool_calls" not in message


def test_logprobs_come_with_their_alternatives(wire: Wire) -> None:
    choice = wire.chat(logprobs=True, top_logprobs=2).json()["choices"][0]
    assert all(len(entry["top_logprobs"]) == 2 for entry in choice["logprobs"]["content"])
    first = wire.chunks(logprobs=True)[1]["choices"][0]
    assert first["logprobs"]["content"][0]["token"] == first["delta"]["content"]


def test_completions_are_flat_and_short_by_default(wire: Wire) -> None:
    body = wire.complete(["one", "two " * 30]).json()
    assert body["object"] == "text_completion"
    assert [choice["index"] for choice in body["choices"]] == [0, 1]
    assert "one" in body["choices"][0]["text"]
    assert body["choices"][1]["finish_reason"] == "length"
    response = wire.complete("one", stream=True, stream_options={"include_usage": True})
    chunks = events(response.text)
    text = "".join(choice["text"] for chunk in chunks for choice in chunk["choices"])
    assert text == body["choices"][0]["text"]
    assert chunks[-1]["usage"]
    assert response.text.endswith("data: [DONE]\n\n")


def test_the_envelope_holds_the_choices_under_data(wire: Wire) -> None:
    model = "lunos/scripted-envelope"
    chat, text = wire.chat(model=model).json(), wire.complete(model=model).json()
    assert chat["object"] == text["object"] == "completion"
    assert chat["data"]["choices"][0]["message"]["content"]
    assert text["data"]["choices"][0]["text"]
    assert "choices" not in text


def test_a_model_with_a_price_leaves_its_cost_to_the_catalog(wire: Wire) -> None:
    model = "lunos/scripted-priced"
    usages = [
        answer.json()["usage"] for answer in (wire.chat(model=model), wire.complete(model=model))
    ]
    asked = {"model": model, "stream_options": {"include_usage": True}}
    usages.append(wire.chunks(**asked)[-1]["usage"])
    assert all(usage["prompt_tokens"] and "cost" not in usage for usage in usages)
    listed = {item["id"]: item for item in wire.http.get("/models").json()["data"]}
    prices = listed[model]["pricePerMillionTokens"]
    assert (prices["input"], prices["output"], listed[model]["freeConfig"]) == (
        2.5, 10.0, {"maxTokens": 0, "isPremium": False}
    )  # fmt: skip


def test_embeddings_are_unit_vectors_near_when_texts_share_words(wire: Wire) -> None:
    texts = ["the cat sat", "a cat sat down", "quarterly tax report"]
    data = wire.embed(texts).json()["data"]
    assert [entry["index"] for entry in data] == [2, 1, 0]
    cat, also_cat, tax = [entry["embedding"] for entry in reversed(data)]
    assert len(cat) == 256
    assert math.isclose(sum(x * x for x in cat), 1, rel_tol=1e-6)

    def near(other: list[float]) -> float:
        return sum(x * y for x, y in zip(cat, other, strict=True))

    assert near(also_cat) > near(tax) + 0.2


def test_embeddings_come_in_base64_and_in_the_size_asked_for(wire: Wire) -> None:
    asked = {"dimensions": 8}
    floats = wire.embed("hi", **asked).json()["data"][0]["embedding"]
    packed = wire.embed("hi", encoding_format="base64", **asked).json()["data"][0]["embedding"]
    assert struct.unpack("<8f", base64.b64decode(packed)) == pytest.approx(floats)
