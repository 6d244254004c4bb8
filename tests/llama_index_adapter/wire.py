"""The wire as the tests of this folder see it: answers to play, requests to look at."""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path
from typing import Any

import httpx

from llama_index_lunos import Lunos, LunosEmbedding

KEY = "sk-test-51b0e7"
WIRE_FOLDER = Path(__file__).parent.parent / "wire"

Answer = Callable[[], httpx.Response]


class Wire:
    """Plays answers, the last one again and again, and keeps what it was sent."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return answer()

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests]

    @property
    def body(self) -> Any:
        """The body of the only request."""
        (body,) = self.bodies
        return body

    @property
    def request(self) -> httpx.Request:
        (request,) = self.requests
        return request


def answer(message: dict[str, Any] | str = "Hello", finish: str = "stop", **more: Any) -> Answer:
    """A whole chat answer."""
    if isinstance(message, str):
        message = {"content": message}
    choice = {
        "index": 0,
        "message": {"role": "assistant", **message},
        "finish_reason": finish,
        **more.pop("choice", {}),
    }
    usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    return reply({"id": "gen-1", "model": "m", "choices": [choice], "usage": usage, **more})


def text_answer(text: str = "Hello") -> Answer:
    """A whole answer of /completions."""
    usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    choice = {"index": 0, "text": text, "finish_reason": "stop"}
    return reply({"id": "cmpl-1", "model": "m", "choices": [choice], "usage": usage})


def reply(value: Any, status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return lambda: httpx.Response(status, headers=named, json=value)


def error(status: int, message: str = "No.", **more: Any) -> Answer:
    """An error; retries do not wait."""
    return reply({"error": {"message": message, **more}}, status, retry_after_ms="1")


def stream(*events: Any, done: bool = True) -> Answer:
    """A streamed answer."""
    lines = [
        f"data: {json.dumps(event)}\n\n" if isinstance(event, dict) else event for event in events
    ]
    body = "".join([*lines, "data: [DONE]\n\n" if done else ""]).encode()
    return lambda: httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body)


def delta(content: str | None = None, finish: str | None = None, **said: Any) -> dict[str, Any]:
    """A chunk of the wire."""
    if content is not None:
        said["content"] = content
    return {
        "id": "gen-1",
        "model": "m",
        "choices": [{"index": 0, "delta": said, "finish_reason": finish}],
    }


def text_delta(text: str, finish: str | None = None) -> dict[str, Any]:
    """A chunk of /completions."""
    return {"id": "cmpl-1", "choices": [{"index": 0, "text": text, "finish_reason": finish}]}


def usage_event(**more: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18, **more}
    return {"id": "gen-1", "model": "m", "choices": [], "usage": usage}


def tool_call(identifier: str, name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": identifier, "type": "function", "function": function}


def stored(name: str) -> Any:
    """A reply from `tests/wire/`."""
    return json.loads((WIRE_FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def stored_stream(name: str) -> Answer:
    """A streamed answer from `tests/wire/`."""
    lines = []
    for event in stored(name)["events"]:
        if not isinstance(event, str):
            lines.append(f"data: {json.dumps(event, ensure_ascii=False)}\n\n")
        else:
            lines.append(f"{event}\n\n" if event.startswith(":") else f"data: {event}\n\n")
    return stream(*lines, done=False)


class Way:
    """One case through the sync method and through its async twin: `await way(llm, "chat", …)`."""

    def __init__(self, kind: str) -> None:
        self.is_async = kind == "async"
        self._clients: list[Any] = []

    def llm(self, wire: Wire, **settings: Any) -> Lunos:
        return Lunos(**{"model": "m", **self._connection(wire), **settings})

    def embedding(self, wire: Any, **settings: Any) -> LunosEmbedding:
        return LunosEmbedding(**{"model_name": "e", **self._connection(wire), **settings})

    async def __call__(self, target: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        """The result; of a stream the list of what came."""
        result = self.start(target, method, *args, **kwargs)
        if inspect.isawaitable(result):
            result = await result
        if isinstance(result, AsyncGenerator):
            return [item async for item in result]
        return list(result) if isinstance(result, Generator) else result

    def start(self, target: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        """The bare result of the method."""
        private = method.startswith("_")
        stem = method.lstrip("_")
        name = f"{'_' if private else ''}{'a' if self.is_async else ''}{stem}"
        return getattr(target, name)(*args, **kwargs)

    async def close(self) -> None:
        for client in self._clients:
            if isinstance(client, httpx.AsyncClient):
                await client.aclose()
            else:
                client.close()

    def _connection(self, wire: Any) -> dict[str, Any]:
        transport = httpx.MockTransport(wire)
        sync, asynchronous = (
            httpx.Client(transport=transport),
            httpx.AsyncClient(transport=transport),
        )
        self._clients += [sync, asynchronous]
        return {
            "api_key": KEY,
            "api_base": "https://lunos.test",
            "http_client": sync,
            "async_http_client": asynchronous,
        }
