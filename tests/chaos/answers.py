"""The right answer to each request, in the parts that a fault breaks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.core.raw_server import Got

HALF = "half"  # a step: end the sending direction alone

PIECES = ["Grüße", ' an "alle"\n', "🚀", "π = 3", ".", "14"]
TEXT = "".join(PIECES)
OBJECT = {"title": "Grüße 🚀", "year": 1999}
VECTORS = [[0.5, -1.0, 2.0], [1.5, 0.0, 0.25]]
USAGE = {"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12}


@dataclass(frozen=True)
class Answer:
    """A right answer.

    Attributes:
        events: of a stream, each as JSON, without `[DONE]`; empty for a whole answer.
        value: a whole answer; what a stream's would be.
        key: the key that the request had, as the servers that repeat it see it.
    """

    events: list[Any]
    value: dict[str, Any]
    key: str

    @property
    def streamed(self) -> bool:
        return bool(self.events)

    @property
    def kind(self) -> str:
        return "text/event-stream" if self.streamed else "application/json"

    @property
    def body(self) -> bytes:
        return sse([*self.events, "[DONE]"]) if self.streamed else to_bytes(self.value)


def to_bytes(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def sse(events: list[Any]) -> bytes:
    """Events as their lines; what is text or bytes goes out as it is."""
    lines = []
    for event in events:
        data = event.encode() if isinstance(event, str) else event
        lines.append(b"data: " + (data if isinstance(data, bytes) else to_bytes(data)) + b"\n\n")
    return b"".join(lines)


def answer_to(got: Got) -> Answer:
    """The right answer to a request."""
    asked: dict[str, Any] = json.loads(got.body)
    key = got.headers.get("authorization", "").removeprefix("Bearer ")
    if "/embeddings" in got.line:
        given = asked["input"]
        count = 1 if isinstance(given, str) else len(given)
        data = [{"index": i, "embedding": VECTORS[i % 2]} for i in range(count)]
        return Answer([], {"id": "gen-1", "model": "m", "data": data, "usage": USAGE}, key)
    chat = "/chat/" in got.line
    pieces, calls = PIECES, None
    if "tools" in asked:
        name = asked["tools"][0]["function"]["name"]
        function = {"name": name, "arguments": json.dumps(OBJECT)}
        pieces, calls = [], [{"index": 0, "id": "call_1", "type": "function", "function": function}]
    elif "response_format" in asked:
        pieces = [json.dumps(OBJECT, ensure_ascii=False)]
    events = _events(pieces, calls, chat=chat) if asked.get("stream") else []
    return Answer(events, _whole("".join(pieces), calls, chat=chat), key)


def _whole(text: str, calls: Any, *, chat: bool) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "finish_reason": "stop", **({"message": message} if chat else {})}
    if not chat:
        choice["text"] = text
    return {"id": "gen-1", "model": "m", "choices": [choice], "usage": USAGE}


def _events(pieces: list[str], calls: Any, *, chat: bool) -> list[Any]:
    def event(delta: dict[str, Any], text: str, finish: str | None = None) -> dict[str, Any]:
        said = {"delta": delta} if chat else {"text": text}
        return {
            "id": "gen-1",
            "model": "m",
            "choices": [{"index": 0, "finish_reason": finish} | said],
        }

    events = [event({"role": "assistant", "content": ""}, "")]
    events += [event({"content": piece}, piece) for piece in pieces]
    if calls:
        events.append(event({"tool_calls": calls}, ""))
    events.append(event({}, "", "stop"))
    return [*events, {"id": "gen-1", "model": "m", "choices": [], "usage": USAGE}]


def head(status: str = "200 OK", *lines: bytes | str, version: str = "HTTP/1.1") -> bytes:
    """The start of an answer, with header lines as they are."""
    rows = [line if isinstance(line, bytes) else line.encode("latin-1") for line in lines]
    return b"\r\n".join([f"{version} {status}".encode("latin-1"), *rows, b"", b""])


def sized(answer: Answer, body: bytes | None = None, *more: str, status: str = "200 OK") -> bytes:
    """An answer with its length."""
    body = answer.body if body is None else body
    kind = f"content-type: {answer.kind}"
    return head(status, kind, f"content-length: {len(body)}", *more) + body


def chunked(answer: Answer, body: bytes | None = None, *more: str, size: int = 64) -> bytes:
    """An answer in HTTP chunks."""
    body = answer.body if body is None else body
    start = head("200 OK", f"content-type: {answer.kind}", "transfer-encoding: chunked", *more)
    return start + chunks(body, size) + b"0\r\n\r\n"


def chunks(body: bytes, size: int = 64) -> bytes:
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
