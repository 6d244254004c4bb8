"""Answers for `httpx.MockTransport`, and the replies in `tests/wire/`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

FOLDER = Path(__file__).parent.parent / "wire"

Answer = Callable[[], httpx.Response] | Exception

HELLO = [{"role": "user", "content": "Hello"}]


def stored(name: str) -> Any:
    """A reply from `tests/wire/`."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


class Wire:
    """Plays answers, the last one again and again, and keeps what it was sent."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer()

    @property
    def sent(self) -> httpx.Request:
        """The only request."""
        assert len(self.requests) == 1
        return self.requests[0]

    @property
    def bodies(self) -> list[Any]:
        """The JSON bodies."""
        return [json.loads(request.content) for request in self.requests]


def reply(value: Any, status: int = 200, **headers: str) -> Callable[[], httpx.Response]:
    """A JSON answer; headers by name, with `_` for `-`."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return lambda: httpx.Response(status, headers=named, json=value)


def raw(body: bytes, status: int = 200, **headers: str) -> Callable[[], httpx.Response]:
    """An answer of any bytes."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return lambda: httpx.Response(status, headers=named, content=body)


def lines(events: list[Any]) -> bytes:
    """Events as server-sent lines: objects as JSON, ": …" as comments, other texts as they are."""
    parts = []
    for event in events:
        if not isinstance(event, str):
            parts.append("data: " + json.dumps(event, ensure_ascii=False, separators=(",", ":")))
        else:
            parts.append(event if event.startswith(":") else f"data: {event}")
    return "".join(f"{part}\n\n" for part in parts).encode()


class _Pieces(httpx.SyncByteStream, httpx.AsyncByteStream):
    def __init__(self, body: bytes, size: int) -> None:
        self._pieces = [body[i : i + size] for i in range(0, len(body), size)]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


def stream(events: list[Any], *, size: int = 1 << 20, **headers: str) -> Answer:
    """A streamed answer, in pieces of `size` bytes."""
    return stream_of(lines(events), size=size, **headers)


def stream_of(body: bytes, *, size: int = 1 << 20, **headers: str) -> Answer:
    """The same from bytes."""
    named = {"content-type": "text/event-stream"}
    named |= {name.replace("_", "-"): text for name, text in headers.items()}
    return lambda: httpx.Response(200, headers=named, stream=_Pieces(body, size))


def delta(content: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk of the wire with one choice."""
    said = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": said, "finish_reason": finish}
    return {"id": "gen-1", "model": "m", "choices": [choice], **more}
