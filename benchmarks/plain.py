"""httpx without any framework: as one writes it by hand, and as fast as the library allows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx

from benchmarks.bodies import MODEL
from benchmarks.prompts import PROMPT

_HEADERS = {"Authorization": "Bearer sk-bench"}
_MESSAGES = [{"role": "user", "content": PROMPT}]
_BODY = {"model": MODEL, "messages": _MESSAGES}
_STREAMED = {**_BODY, "stream": True}


class Plain:
    """The baseline of all others: `post(json=…)`, `iter_lines`, `json.loads`."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/chat/completions"
        self._http = httpx.Client(headers=_HEADERS, timeout=60)
        self._ahttp = httpx.AsyncClient(headers=_HEADERS, timeout=60)

    def call(self) -> str:
        """Return the text of one answer."""
        response = self._http.post(self._url, json=_BODY)
        response.raise_for_status()
        return str(response.json()["choices"][0]["message"]["content"])

    async def acall(self) -> str:
        """Return the text of one answer, asynchronously."""
        response = await self._ahttp.post(self._url, json=_BODY)
        response.raise_for_status()
        return str(response.json()["choices"][0]["message"]["content"])

    def deltas(self) -> Iterator[dict[str, Any]]:
        """Yield the deltas of a stream."""
        with self._http.stream("POST", self._url, json=_STREAMED) as response:
            for line in response.iter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    yield json.loads(line[6:])["choices"][0]["delta"]


class Lean:
    """The same with prebuilt URL and headers, orjson, and bytes split by hand."""

    def __init__(self, url: str) -> None:
        import orjson

        self._loads, self._dumps = orjson.loads, orjson.dumps
        self._url = httpx.URL(f"{url}/chat/completions")
        self._headers = httpx.Headers({**_HEADERS, "content-type": "application/json"})
        self._http = httpx.Client()
        self._ahttp = httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=100))

    def call(self) -> str:
        """Return the text of one answer."""
        body = self._dumps(_BODY)
        response = self._http.post(self._url, content=body, headers=self._headers)
        return str(self._loads(response.content)["choices"][0]["message"]["content"])

    async def acall(self) -> str:
        """Return the text of one answer, asynchronously."""
        body = self._dumps(_BODY)
        response = await self._ahttp.post(self._url, content=body, headers=self._headers)
        return str(self._loads(response.content)["choices"][0]["message"]["content"])

    def deltas(self) -> Iterator[dict[str, Any]]:
        """Yield the deltas of a stream."""
        body = self._dumps(_STREAMED)
        stream = self._http.stream("POST", self._url, content=body, headers=self._headers)
        rest = b""
        with stream as response:
            for data in response.iter_bytes():
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    if line.startswith(b"data: {"):
                        yield self._loads(line[6:])["choices"][0]["delta"]


class PlainEmbeddings:
    """Request vectors as floats in JSON, as most scripts do."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/embeddings"
        self._http = httpx.Client(headers=_HEADERS, timeout=60)

    def embed(self, texts: list[str]) -> list[list[float]]:
        """Embed texts."""
        response = self._http.post(self._url, json={"model": MODEL, "input": texts})
        return [entry["embedding"] for entry in response.json()["data"]]
