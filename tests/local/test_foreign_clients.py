"""Other people's clients work against the gateway as it is by default."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from lunos_local import LocalGateway
from lunos_local.backends import scripted_audio

NPM_CLIENTS = ("@lunos/client@1.5.0", "openai@6.49.0")
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
ANSWER = "Scripted answer to: Hello"


@pytest.fixture
def openai(gateway: LocalGateway) -> Any:
    module = pytest.importorskip("openai")
    with module.OpenAI(api_key=gateway.api_key, base_url=gateway.base_url, max_retries=0) as client:
        yield client


def test_openais_python_client_chats_and_streams(openai: Any) -> None:
    whole = openai.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert whole.choices[0].message.content == ANSWER
    chunks = openai.chat.completions.create(
        model="gpt-4o", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == ANSWER


def test_openais_python_client_calls_tools_and_parses_schemas(openai: Any) -> None:
    from pydantic import BaseModel

    class Number(BaseModel):
        n: int

    parsed = openai.chat.completions.parse(
        model="gpt-4o", messages=[{"role": "user", "content": "take 7"}], response_format=Number
    )
    assert parsed.choices[0].message.parsed == Number(n=7)


def test_openais_python_client_lists_and_retrieves_models(openai: Any) -> None:
    assert "openai/gpt-4o" in [model.id for model in openai.models.list()]
    model = openai.models.retrieve("openai/gpt-4o")
    assert (model.id, model.object) == ("openai/gpt-4o", "model")
    module = pytest.importorskip("openai")
    with pytest.raises(module.NotFoundError, match="Did you mean"):
        openai.models.retrieve("openai/gpt4o")
    with pytest.raises(module.RateLimitError):
        openai.chat.completions.create(model="lunos/error-429", messages=HELLO)


def test_openais_python_client_embeds_draws_and_completes(openai: Any) -> None:
    texts = ["cat", "dog"]
    vectors = openai.embeddings.create(model="text-embedding-3-small", input=texts)
    assert [len(item.embedding) for item in vectors.data] == [1536, 1536]
    assert [item.index for item in vectors.data] == [0, 1]
    image = openai.images.generate(model="dall-e-3", prompt="x", response_format="b64_json")
    assert base64.b64decode(image.data[0].b64_json).startswith(b"\x89PNG")
    with pytest.raises(pytest.importorskip("openai").BadRequestError, match="aren't streamed"):
        openai.images.generate(model="dall-e-3", prompt="x", stream=True)  # not zero events
    text = openai.completions.create(model="gpt-3.5-turbo-instruct", prompt="Once")
    assert "Once" in text.choices[0].text


@pytest.mark.parametrize("program", [True, False], ids=["espeak-ng", "tones"])
def test_openais_python_client_speaks_and_transcribes(
    openai: Any, tmp_path: Path, program: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not program:
        monkeypatch.setattr(scripted_audio.shutil, "which", lambda name: None)
    elif shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng isn't installed")
    spoken = openai.audio.speech.create(model="tts-1", voice="alloy", input="Hello there, world")
    assert spoken.response.headers["content-type"] == "audio/wav"
    assert spoken.content.startswith(b"RIFF")
    file = tmp_path / "spoken.wav"
    file.write_bytes(spoken.content)
    heard = openai.audio.transcriptions.create(model="whisper-1", file=file)
    assert "spoken.wav" in heard.text
    events = list(openai.audio.transcriptions.create(model="whisper-1", file=file, stream=True))
    assert [event.type for event in events[-2:]] == [
        "transcript.text.delta",
        "transcript.text.done",
    ]
    assert events[-1].text == heard.text


@pytest.mark.parametrize(
    ("body", "param"),
    [({}, "input"), ({"input": ""}, "input"), ({"input": "x" * 4097}, "input"),
     ({"input": "x", "speed": 5}, "speed"),
     ({"input": "x", "response_format": "ogg"}, "response_format")],
)  # fmt: skip
def test_a_malformed_speech_request_is_a_400(
    gateway: LocalGateway, body: dict[str, Any], param: str
) -> None:
    key = {"authorization": f"Bearer {gateway.api_key}"}
    for path in ("/audio/speech", "/audio/generations"):
        answer = httpx.post(gateway.base_url + path, json=body, headers=key)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.fixture(scope="module")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node isn't installed")
    folder = tmp_path_factory.mktemp("node")
    (folder / "package.json").write_text("{}")
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0"]
    done = subprocess.run(
        [npm, "install", *options, *NPM_CLIENTS], cwd=folder, capture_output=True, timeout=120
    )
    if done.returncode != 0:
        pytest.skip("no npm registry can be reached")
    return folder


@pytest.mark.slow
def test_npm_clients_work(node_modules: Path, gateway: LocalGateway) -> None:
    """The vendor's own client, its helpers for models too, and OpenAI's."""
    gateway.clear()
    script = node_modules / "foreign.mjs"
    script.write_text((Path(__file__).parent / "foreign.mjs").read_text())
    done = subprocess.run(
        ["node", str(script), gateway.base_url.removesuffix("/v1"), gateway.api_key],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "chat": ANSWER, "streamed": ANSWER, "image": 1, "speech": ["audio/wav", True],
        "embedding": 1536, "order": True, "models": True, "model": "openai/gpt-4o",
        "chatModels": True, "embeddingModels": True, "audioModels": [True, True],
        "search": True, "usage": 6,
        "account": "local", "openaiModel": "openai/gpt-4o", "openaiStream": ANSWER,
        "openaiError": 429,
    }  # fmt: skip
    assert gateway.requests()[0]["app_id"] == "node"


def test_curl_works(gateway: LocalGateway) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl isn't installed")
    done = subprocess.run(
        [curl, "-sS", f"{gateway.base_url}/chat/completions",
         "-H", f"Authorization: Bearer {gateway.api_key}", "-H", "Content-Type: application/json",
         "-d", json.dumps({"model": "openai/gpt-4o", "messages": HELLO})],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert json.loads(done.stdout)["choices"][0]["message"]["content"] == ANSWER
