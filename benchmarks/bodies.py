"""The server's response bodies, each serialized once, at the first request for it."""

from __future__ import annotations

import base64
import functools
import json
import random
from array import array
from typing import Any

MODEL = "bench/model"
TEXT = "The capital of France is Paris."
DIMENSIONS = 1536

_USAGE = {"prompt_tokens": 14, "completion_tokens": 8, "total_tokens": 22}


@functools.cache
def reply(kind: str, count: int, base64_vectors: bool) -> bytes:
    """Return the complete HTTP response.

    Args:
        kind: the first word of the path: "call", "slow", "stream", "tool" or "vectors".
        count: the number that follows it: chunks, fragments or vectors.
        base64_vectors: whether vectors were asked for as base64.
    """
    if kind in ("call", "slow"):
        return _whole(_answer())
    if kind == "stream":
        return b"".join(paced(count))
    if kind == "tool":
        return b"".join(_pieces([_event({"tool_calls": [call]}) for call in _fragments(count)]))
    if kind == "vectors":
        return _whole(_vectors(count, base64_vectors))
    return b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"


@functools.cache
def paced(count: int) -> list[bytes]:
    """Return the pieces of a streamed response of `count` chunks, to be sent one after another."""
    return _pieces([_event({"content": "word "}) for _ in range(count)])


def tool_arguments(count: int) -> list[str]:
    """Return the JSON of one tool call's arguments, in `count` pieces."""
    return ['{"text":"', *["word "] * (count - 2), '"}']


def _answer() -> dict[str, Any]:
    message = {"role": "assistant", "content": TEXT}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": MODEL,
        "system_fingerprint": None,  # ChatOpenRouter fails without
        "choices": [choice],
        "usage": _USAGE,
    }


def _event(delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    value = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": MODEL,
        "system_fingerprint": None,
        "choices": [choice],
        **more,
    }
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def _fragments(count: int) -> list[dict[str, Any]]:
    first, *rest = tool_arguments(count)
    function = {"name": "write", "arguments": first}
    return [
        {"index": 0, "id": "call_1", "type": "function", "function": function},
        *({"index": 0, "function": {"arguments": piece}} for piece in rest),
    ]


def _pieces(events: list[bytes]) -> list[bytes]:
    """Return a streamed response as servers send it: each event is one HTTP chunk."""
    reason = "tool_calls" if b'"tool_calls"' in events[0] else "stop"
    first = _event({"role": "assistant", "content": ""})
    events = [first, *events, _event({}, reason, usage=_USAGE), b"data: [DONE]\n\n"]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    head += b"transfer-encoding: chunked\r\n\r\n"
    return [head, *(b"%x\r\n%s\r\n" % (len(event), event) for event in events), b"0\r\n\r\n"]


def _vectors(count: int, base64_vectors: bool) -> dict[str, Any]:
    chance = random.Random(1)
    # sixteen different numbers are enough: no reader checks whether it has seen one before
    several = [array("f", (chance.gauss(0, 0.02) for _ in range(DIMENSIONS))) for _ in range(16)]
    sent: list[Any] = [list(map(float, vector)) for vector in several]
    sent = [[round(number, 9) for number in vector] for vector in sent]
    if base64_vectors:
        sent = [base64.b64encode(vector.tobytes()).decode() for vector in several]
    data = [
        {"object": "embedding", "index": at, "embedding": sent[at % len(sent)]}
        for at in range(count)
    ]
    usage = {"prompt_tokens": count, "total_tokens": count}
    return {"object": "list", "data": data, "model": MODEL, "usage": usage}


def _whole(value: dict[str, Any]) -> bytes:
    body = json.dumps(value, separators=(",", ":")).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body
