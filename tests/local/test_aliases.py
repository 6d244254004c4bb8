"""Well-known model names are served by the gateway's own models, and the gateway says so."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from lunos_local import LocalGateway
from tests.local.wire import Wire, events, tool

PASSAGES = (
    "Context:\nThe ferry leaves at nine. Tickets cost 12 euros. Dogs travel free of charge.\n\n"
    "Question: What does a ticket cost?"
)


@pytest.fixture
def strict() -> Iterator[Wire]:
    with LocalGateway(strict=True, aliases={"acme/large": "lunos/scripted"}) as running:
        client = Wire(running)
        yield client
        client.http.close()


@pytest.mark.parametrize(
    "name",
    [
        "openai/gpt-4o",
        "gpt-4o",
        "lunos/openai/gpt-4o",
        "openrouter/openai/gpt-4o",
        "openai/gpt-4o-2024-08-06",
        "anthropic/claude-opus-4.5",
        "claude-sonnet-4",
        "google/gemini-2.5-flash",
    ],
)
def test_a_well_known_name_is_answered_at_a_price(wire: Wire, name: str) -> None:
    response = wire.chat(PASSAGES, model=name)
    body = response.json()
    assert body["choices"][0]["message"]["content"] == "Tickets cost 12 euros."
    assert body["model"] == response.headers["x-lunos-local-model"] == "local/stand-in"
    assert body["usage"]["cost"] > 0
    assert wire.gateway.requests()[-1]["model"] == name


def test_a_stream_and_a_completion_are_answered_at_a_price(wire: Wire) -> None:
    asked: dict[str, Any] = {"model": "openai/gpt-4o", "stream_options": {"include_usage": True}}
    response = wire.chat(PASSAGES, stream=True, **asked)
    assert response.headers["x-lunos-local-model"] == "local/stand-in"
    last = events(response.text)[-1]
    price = 2.5 * last["usage"]["prompt_tokens"] + 10 * last["usage"]["completion_tokens"]
    assert last["usage"]["cost"] == pytest.approx(price / 1e6)
    completed = wire.complete(PASSAGES, model="openai/gpt-3.5-turbo-instruct").json()
    assert completed["choices"][0]["text"] == "Tickets cost 12 euros."
    assert completed["usage"]["cost"] > 0


def test_tools_and_schemas_work_as_documented(wire: Wire) -> None:
    number = {"type": "integer"}
    multiply = tool("multiply", "Multiply two integers.", a=number, b=number)
    message = wire.message("What is 128 times 46?", model="openai/gpt-4o", tools=[multiply])
    call = message["tool_calls"][0]
    assert json.loads(call["function"]["arguments"]) == {"a": 128, "b": 46}
    history = [
        {"role": "user", "content": "What is 128 times 46?"},
        message,
        {"role": "tool", "tool_call_id": call["id"], "content": "5888"},
    ]
    answer = wire.message(model="openai/gpt-4o", messages=history, tools=[multiply])
    assert answer["content"] == "5888"
    assert "tool_calls" not in wire.message("Hello!", model="openai/gpt-4o", tools=[multiply])


def test_a_question_beside_the_text_isnt_made_up(wire: Wire) -> None:
    asked = PASSAGES.replace("What does a ticket cost?", "Who painted the Mona Lisa?")
    answer = wire.message(asked, model="openai/gpt-4o")["content"]
    assert answer == "The text I was given does not answer this."
    assert wire.message("Hello!", model="gpt-4")["content"] == "Scripted answer to: Hello!"


@pytest.mark.parametrize(
    ("name", "length"), [("openai/text-embedding-3-small", 1536), ("text-embedding-3-large", 3072)]
)
def test_embeddings_have_the_real_models_size_and_a_cost(
    wire: Wire, name: str, length: int
) -> None:
    body = wire.embed("hello", model=name).json()
    assert (len(body["data"][0]["embedding"]), body["model"]) == (
        length,
        "lunos/scripted-embedding",
    )
    assert body["usage"]["cost"] > 0
    short = wire.embed("hello", model=name, dimensions=8).json()
    assert len(short["data"][0]["embedding"]) == 8


def test_images_and_transcriptions_have_a_cost(wire: Wire) -> None:
    image = wire.http.post("/images/generations", json={"model": "openai/dall-e-3", "prompt": "x"})
    assert (image.json()["model"], image.json()["cost"]) == ("lunos/scripted-image", 0.04)
    heard = wire.http.post(
        "/audio/transcriptions",
        data={"model": "openai/whisper-1"},
        files={"file": ("a.wav", b"x" * 16000)},
    )
    assert heard.headers["x-lunos-local-model"] == "lunos/scripted-whisper"
    assert heard.json()["usage"]["cost"] == pytest.approx(0.0001)


def test_aliases_are_in_the_catalog_with_their_price(wire: Wire) -> None:
    listed = {model["id"]: model for model in wire.http.get("/models").json()["data"]}
    entry = listed["openai/gpt-4o"]
    assert entry["pricePerMillionTokens"]["output"] == 10.0
    assert "local/stand-in" in entry["description"]
    assert "openai/gpt-4o" in wire.gateway.models
    # a spelling that isn't listed says the same
    found = wire.http.get("/models/gpt-4o").json()
    assert found["description"] == entry["description"]


def test_an_unknown_name_is_a_404_that_suggests_close_ones(wire: Wire, strict: Wire) -> None:
    def message(client: Wire, name: str) -> str:
        response = client.chat(model=name)
        assert response.status_code == 404
        return str(response.json()["error"]["message"])

    assert "Did you mean 'openai/gpt-4o'" in message(wire, "openai/gpt4o")
    assert "Did you mean 'openai/gpt-4o'" in message(wire, "gpt4o")
    assert "Did you mean 'openai/gpt-4o'" in message(wire, "nobody/gpt-4o")
    assert "Did you mean 'lunos/scripted'" in message(wire, "scripted")
    assert "Did you mean" not in message(wire, "nobody/has-this-model")
    assert "x-lunos-local-model" not in wire.chat().headers
    message(strict, "openai/gpt-4o")
    message(strict, "gpt-4o")


def test_an_alias_of_ones_own_works_in_strict_mode_and_may_name_a_fault(strict: Wire) -> None:
    response = strict.chat(model="acme/large")
    assert (response.json()["model"], response.json()["usage"]["cost"]) == ("lunos/scripted", 0.0)
    assert response.headers["x-lunos-local-model"] == "lunos/scripted"
    with LocalGateway(aliases={"openai/gpt-4o": "lunos/error-503"}) as gateway:
        client = Wire(gateway)
        assert client.chat(model="openai/gpt-4o").status_code == 503
        client.http.close()
    with (
        pytest.raises(ValueError, match="'a/b' names 'lunos/none'"),
        LocalGateway(aliases={"a/b": "lunos/none"}),
    ):
        pass


@pytest.mark.parametrize(
    ("alias", "said"), [("a/b=lunos/none", "names 'lunos/none'"), ("a/b", "expected NAME=MODEL")]
)
def test_a_wrong_alias_ends_the_command_in_one_line(alias: str, said: str) -> None:
    command = [sys.executable, "-m", "lunos_local", "--no-real-models", "--port", "0"]
    done = subprocess.run([*command, "--alias", alias], capture_output=True, text=True, timeout=60)
    assert done.returncode in (1, 2)
    assert said in done.stderr.splitlines()[-1]
