"""A raw client of the local gateway, and readers of what it sends."""

from __future__ import annotations

import json
from typing import Any

import httpx

from lunos_local import LocalGateway


class Wire:
    """A raw client of a gateway: sends bodies, gives back what came."""

    def __init__(self, gateway: LocalGateway) -> None:
        self.gateway = gateway
        self.http = httpx.Client(
            base_url=gateway.base_url,
            headers={"authorization": f"Bearer {gateway.api_key}"},
            timeout=60,
        )

    @property
    def root(self) -> str:
        return self.gateway.base_url.removesuffix("/v1")

    def chat(self, text: str = "Hello there", **fields: Any) -> httpx.Response:
        body = {
            "model": "lunos/scripted",
            "messages": [{"role": "user", "content": text}],
            **fields,
        }
        return self.http.post("/chat/completions", json=body)

    def message(self, text: str = "Hello there", **fields: Any) -> dict[str, Any]:
        response = self.chat(text, **fields)
        assert response.status_code == 200, response.text
        return response.json()["choices"][0]["message"]

    def chunks(self, text: str = "Hello there", **fields: Any) -> list[dict[str, Any]]:
        response = self.chat(text, stream=True, **fields)
        assert response.status_code == 200, response.text
        return events(response.text)

    def complete(self, prompt: Any = "Once upon", **fields: Any) -> httpx.Response:
        body = {"model": "lunos/scripted", "prompt": prompt, **fields}
        return self.http.post("/completions", json=body)

    def embed(self, texts: Any = "Hello", **fields: Any) -> httpx.Response:
        body = {"model": "lunos/scripted-embedding", "input": texts, **fields}
        return self.http.post("/embeddings", json=body)


def events(text: str) -> list[dict[str, Any]]:
    """The JSON events of a stream, `[DONE]` left out."""
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data:")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def text_of(chunks: list[dict[str, Any]]) -> str:
    """The content of a stream, joined."""
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


def tool(name: str, description: str = "", **properties: Any) -> dict[str, Any]:
    """A function tool whose properties are all required."""
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}
