"""A loopback server that answers every endpoint as it is asked, and counts."""

from __future__ import annotations

import json
from typing import Any

from tests.core.raw_server import Got, RawServer, Step, chunk, http, sse_head
from tests.core.wire_samples import delta, lines

TEXT = "Hello there"
CHAT = {"choices": [{"index": 0, "message": {"content": TEXT}, "finish_reason": "stop"}]}
TEXTS = {"choices": [{"index": 0, "text": TEXT, "finish_reason": "stop"}]}
EVENTS = chunk(lines([delta("Hello"), delta(" there", "stop"), "[DONE]"])) + chunk(b"")
TEXT_EVENTS = chunk(
    lines(
        [
            {"choices": [{"index": 0, "text": "Hello", "finish_reason": None}]},
            {"choices": [{"index": 0, "text": " there", "finish_reason": "stop"}]},
            "[DONE]",
        ]
    )
) + chunk(b"")


class AnsweringServer(RawServer):
    """Chat, text completion and embeddings; the vector of the text "7" is `[7.0, 1.0]`."""

    def __init__(self) -> None:
        super().__init__(b"")

    def _answer(self, got: Got) -> list[Step]:
        return [answer_to(got)]

    def connections_of(self, app_id: str) -> set[int]:
        """Which connections carried the requests of an app id."""
        return {got.connection for got in self.requests if got.headers.get("x-app-id") == app_id}


def answer_to(got: Got) -> bytes:
    """A good answer to a request."""
    asked: dict[str, Any] = json.loads(got.body)
    chat = "/chat/" in got.line
    if asked.get("stream"):
        return sse_head() + (EVENTS if chat else TEXT_EVENTS)
    if "/embeddings" in got.line:
        data = [{"index": i, "embedding": vector_of(text)} for i, text in enumerate(asked["input"])]
        return http(body=json.dumps({"data": data}).encode())
    return http(body=json.dumps(CHAT if chat else TEXTS).encode())


def vector_of(text: str) -> list[float]:
    """The vector that a text gets."""
    return [float(text) if text.isdigit() else 0.0, 1.0]
