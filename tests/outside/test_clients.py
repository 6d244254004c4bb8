"""Other clients and the local gateway: simonw's `llm`, and a LiteLLM proxy in front."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import BaseModel

from lunos_local import LocalGateway

CHAT, EMBEDDING = "openai/gpt-4o-mini", "openai/text-embedding-3-small"
PROXY_KEY = "sk-of-this-test-5f0c1b7a9d3e4c2b8a6f1e0d"


@pytest.fixture(scope="module")
def service() -> Iterator[LocalGateway]:
    with LocalGateway() as running:
        yield running


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("Hello",), "Scripted answer to: Hello"),
        (("--no-stream", "Hello"), "Scripted answer to: Hello"),
        (("--schema", "name,age int", "Mia is 4"), '{"name": "mia", "age": 4}'),
    ],
    ids=["streamed", "whole", "schema"],
)
def test_llm_answers(
    service: LocalGateway, tmp_path: Path, arguments: tuple[str, ...], expected: str
) -> None:
    pytest.importorskip("llm")
    model = {"model_id": "lunos", "model_name": CHAT, "api_base": service.base_url}
    options = {"api_key_name": "lunos", "supports_schema": True, "supports_tools": True}
    # JSON is YAML
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps([model | options]), "utf-8")
    (tmp_path / "keys.json").write_text(json.dumps({"lunos": service.api_key}), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "llm", "-m", "lunos", *arguments],
        env={**os.environ, "LLM_USER_PATH": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == expected


@pytest.fixture(scope="module")
def proxy(service: LocalGateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run LiteLLM's proxy in front of the gateway, as its documentation sets it up."""
    command = Path(sys.executable).parent / "litellm"
    if importlib.util.find_spec("litellm") is None or not command.exists():
        pytest.skip("litellm[proxy] is not installed")
    upstream = {"api_base": service.base_url, "api_key": service.api_key}
    forwarding = {"forward_client_headers_to_llm_api": True}  # X-App-ID
    config = {
        "model_list": [
            {"model_name": name, "litellm_params": {"model": f"openai/{name}", **upstream}}
            for name in (CHAT, EMBEDDING)
        ],
        "litellm_settings": forwarding,
        "general_settings": {**forwarding, "master_key": PROXY_KEY},
    }
    folder = tmp_path_factory.mktemp("litellm")
    (folder / "config.yaml").write_text(json.dumps(config), "utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [command, "--config", "config.yaml", "--host", "127.0.0.1", "--port", port],
            cwd=folder,
            env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
            stdout=log,
            stderr=log,
        )
        try:
            deadline = time.monotonic() + 180
            url = f"http://127.0.0.1:{port}"
            while not _answers(url):
                assert process.poll() is None, (folder / "log").read_text("utf-8")[-2000:]
                assert time.monotonic() < deadline, "the proxy doesn't start"
                time.sleep(0.2)
            yield f"{url}/v1"
        finally:
            process.terminate()
            process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/liveliness").status_code == 200
    except httpx.HTTPError:
        return False


class City(BaseModel):
    """A city."""

    name: str
    people: int


def test_litellms_proxy_stands_between_our_classes_and_the_gateway(
    service: LocalGateway, proxy: str
) -> None:
    from langchain_lunos import ChatLunos, LunosEmbeddings
    from lunos_core import LunosError

    settings = {"base_url": proxy, "api_key": PROXY_KEY, "app_id": "behind-a-proxy"}
    llm = ChatLunos(model=CHAT, **settings)
    multiply = {
        "name": "multiply",
        "description": "Multiply two integers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    }
    service.clear()
    assert llm.invoke("Hello").text == "Scripted answer to: Hello"
    assert "".join(chunk.text for chunk in llm.stream("Hello")) == "Scripted answer to: Hello"
    (call,) = llm.bind_tools([multiply]).invoke("Multiply 6 and 7").tool_calls
    assert (call["name"], call["args"]) == ("multiply", {"a": 6, "b": 7})
    city = llm.with_structured_output(City).invoke("About 700000 people live in 'Oslo'.")
    assert city == City(name="Oslo", people=700000)
    assert len(LunosEmbeddings(model=EMBEDDING, **settings).embed_query("Hello")) == 1536
    asked = [request for request in service.requests() if request["model"]]
    assert {request["app_id"] for request in asked} == {"behind-a-proxy"}
    with pytest.raises(LunosError, match="Invalid model name"):
        ChatLunos(model="nobody/has-this", max_retries=0, **settings).invoke("Hello")
