"""What is fuzzed: each takes bytes of the wire, and may raise nothing but our own errors.

No fuzzer is needed here: the tests give the seeds, the findings and hypothesis' bytes to the same
functions.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from langchain_lunos._results import Streamed, to_chunk, to_result
from llama_index_lunos._results import ChatAccumulator, to_response
from llama_index_lunos._tools import tool_selections
from lunos_core.catalog.models import parse_models
from lunos_core.endpoints.audio import parse_transcription
from lunos_core.endpoints.balance import parse_balance
from lunos_core.endpoints.chat.images import parse_chat_images
from lunos_core.endpoints.chat.requests import parse_chat
from lunos_core.endpoints.chat.stream import ChatStreamReader
from lunos_core.endpoints.chat.types import Choice, Completion, Message, ToolCall
from lunos_core.endpoints.embedding_arrays import parse_embedding_array
from lunos_core.endpoints.embeddings import parse_embeddings
from lunos_core.endpoints.images import parse_images
from lunos_core.endpoints.speech import _SpeechReader, parse_speech
from lunos_core.endpoints.video import parse_video
from lunos_core.errors import LunosAPIError, LunosError
from lunos_core.request import Reply
from lunos_core.wire.error_bodies import error_from_response, error_in_answer, retry_after_seconds
from lunos_core.wire.json import loads
from lunos_core.wire.scrub import scrub
from lunos_core.wire.sse import SSEDecoder

WIRE = Path(__file__).parent.parent / "tests" / "wire"


def sse(data: bytes) -> None:
    """Server-sent events: the same, however the bytes are cut."""
    cut = data[0] % len(data) if data else 0
    whole, pieces = SSEDecoder(), SSEDecoder()
    events = whole.feed(data) + whole.close()
    assert events == pieces.feed(data[:cut]) + pieces.feed(data[cut:]) + pieces.close()


def chat(data: bytes) -> None:
    """A whole answer, and what both frameworks make of it."""
    try:
        answer = parse_chat(Reply(200, {}, data))
    except LunosError:
        return
    assert isinstance(answer.text, str)
    to_result(answer)
    tool_selections(to_response(answer))


def stream(data: bytes) -> None:
    """A streamed answer, and what both frameworks make of it."""
    _read_stream(data, ChatStreamReader(Reply(200, {}, b"")))
    _read_stream(data, ChatStreamReader(Reply(200, {}, b""), {"f": "f"}, single=True))


def _read_stream(data: bytes, reader: ChatStreamReader) -> None:
    decoder = SSEDecoder()
    accumulator = ChatAccumulator()
    streamed = Streamed()
    try:
        for event in decoder.feed(data) + decoder.close():
            chunk = reader.read(event)
            if chunk is not None:
                to_chunk(chunk, streamed)
                accumulator.add(chunk)
        reader.end()
    except LunosError:
        reader.partial()


def embeddings(data: bytes) -> None:
    """Vectors: as many as texts, of one length, of finite numbers; as lists and as an array."""
    count = data[0] % 4 + 1 if data else 1
    with contextlib.suppress(LunosError):
        array = parse_embedding_array(Reply(200, {}, data[1:]), count).array
        assert array.shape[0] == count
        assert np.isfinite(array).all()
    try:
        answer = parse_embeddings(Reply(200, {}, data[1:]), count)
    except LunosError:
        return
    assert len({len(vector) for vector in answer.vectors}) == 1
    assert all(isinstance(item, float) for vector in answer.vectors for item in vector)


def catalog(data: bytes) -> None:
    """The list of models."""
    try:
        models = parse_models(Reply(200, {}, data))
    except LunosError:
        return
    assert all(isinstance(model.id, str) for model in models)
    assert repr(models)


def images(data: bytes) -> None:
    """Images."""
    try:
        assert repr(parse_images(Reply(200, {}, data)))
    except LunosError:
        return


def drawn(data: bytes) -> None:
    """Images in a chat answer: addresses or bytes, or a typed error."""
    for as_base64 in (False, True):
        with contextlib.suppress(LunosError):
            assert repr(parse_chat_images(Reply(200, {}, data), as_base64=as_base64))


def speech(data: bytes) -> None:
    """Sound, whole and in pieces, or the error that came in its place."""
    kinds = ("audio/mpeg", "application/json", "application/octet-stream", "", "text/html")
    cut = data[0] % len(data) if data else 0
    reply = Reply(200, {"content-type": kinds[cut % 5]}, data[1:])
    with contextlib.suppress(LunosError):
        assert parse_speech(reply).content
    reader = _SpeechReader(reply, "m")
    try:
        pieces = [reader.read(piece) for piece in (data[1:cut], data[max(cut, 1) :]) if piece]
        assert b"".join(piece or b"" for piece in [*pieces, reader.end()]) in data
    except LunosError:
        reader.partial()


def video(data: bytes) -> None:
    """The state of a video, or a typed error."""
    with contextlib.suppress(LunosError):
        job = parse_video(Reply(200, {}, data))
        assert isinstance(job.id, str)
        assert isinstance(job.status, str)


def balance(data: bytes) -> None:
    """The account's balance: a finite amount, or a typed error."""
    try:
        assert parse_balance(Reply(200, {}, data)).amount.is_finite()
    except LunosError:
        return


def scrubbing(data: bytes) -> None:
    """Any text of a server's: the key isn't in it afterwards, and no text costs an exception."""
    key = "sk-0123456789"
    text = data.decode("utf-8", "replace")
    assert key not in scrub(text + key + text, key)


def audio(data: bytes) -> None:
    """A transcription, in any of its formats."""
    kinds = ("application/json", "text/plain", "text/vtt", "", "text/html")
    first = data[0] if data else 0
    wanted = ("json", "text", "srt", "verbose_json", "vtt")[first // 8 % 5]
    try:
        reply = Reply(200, {"content-type": kinds[first % 5]}, data[1:])
        assert isinstance(parse_transcription(reply, wanted).text, str)
    except LunosError:
        return


def errors(data: bytes) -> None:
    """Error answers and their headers; each gives a typed error with a text."""
    status = 300 + (data[0] if data else 0)
    head, _, body = data[1:].partition(b"\n")
    text = head.decode("latin-1")
    headers = {"retry-after": text, "retry-after-ms": text, "content-type": text}
    error = error_from_response(status, headers, body, secret="sk-0123456789")  # noqa: S106
    assert isinstance(error, LunosAPIError)
    assert str(error)
    wait = retry_after_seconds(headers)
    assert wait is None or wait >= 0
    try:
        value = loads(body)
    except ValueError:
        return
    assert error_in_answer(value) is None or str(error_in_answer(value))


def tool_arguments(data: bytes) -> None:
    """The arguments that a model wrote for a tool, right or wrong, in both frameworks."""
    arguments = data.decode("utf-8", "surrogateescape")
    for reason in ("tool_calls", "length"):
        call = ToolCall(id="c", name="f", arguments=arguments)
        choice = Choice(0, Message(tool_calls=[call]), reason)
        answer = Completion(choices=[choice])
        message = to_result(answer).generations[0].message
        assert message.tool_calls or message.invalid_tool_calls  # type: ignore[attr-defined]
        (result,) = tool_selections(to_response(answer))
        assert isinstance(result.tool_kwargs, dict)


PARSERS: dict[str, Callable[[bytes], None]] = {
    parser.__name__: parser
    for parser in (
        *(sse, chat, stream, embeddings, catalog, images, audio, balance, scrubbing, errors),
        *(tool_arguments, drawn, speech, video),
    )
}


def seeds(name: str) -> Iterator[bytes]:
    """Real inputs to begin with: the answers that the tests hold, and the shapes of the wire."""
    for file in sorted(WIRE.glob("*.json")):
        value = json.loads(file.read_text("utf-8"))
        kind = file.stem.partition("_")[0]
        if kind == "stream" and name in ("sse", "stream"):
            yield b"".join(_line(event) for event in value["events"])
        elif kind in ("chat", "completion") and name == "chat":
            yield json.dumps(value).encode()
        elif kind == "embeddings" and name == "embeddings":
            yield b"\x02" + json.dumps(value).encode()
        elif kind == "errors" and name == "errors":
            for item in value:
                yield (
                    bytes([item["status"] - 300]) + b"1.5\n" + json.dumps(item.get("body")).encode()
                )
    yield from _SHAPES.get(name, ())


def _line(event: object) -> bytes:
    if isinstance(event, str):
        return (event if event.startswith(":") else f"data: {event}").encode() + b"\n\n"
    return b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\r\n\r\n"


_SHAPES = {
    "drawn": (
        b'{"choices":[{"message":{"content":"","images":[{"type":"image_url","image_url":'
        b'{"url":"data:image/png;base64,iVBORw0KGgo="}}]}}],"usage":{"cost":0.04}}',
        b'{"choices":[{"message":{"content":"","images":[{"url":"https://h/a.png"}]}}]}',
        b'{"choices":[{"message":{"content":"I will not.","refusal":"no"}}]}',
    ),
    "speech": (
        b"\x05ID3\x04\x00sound",
        b'\x01{"success":false,"message":"no","error":"UNAUTHORIZED"}',
        b"\x04<html>no</html>",
    ),
    "video": (
        b'{"id":"j","status":"pending"}',
        b'{"success":true,"data":{"id":7,"status":"COMPLETED","video_url":"https://h/a.mp4"}}',
        b'{"id":"j","status":"failed","error":{"message":"no"}}',
    ),
    "catalog": (
        b'{"status":"success","data":{"models":[{"id":"gpt-4","provider":"openai","created":1,'
        b'"capabilities":["chat-completion"],"pricing":{"input":0.00003,"output":0.00006,'
        b'"unit":"token","currency":"USD"}}]}}',
        b'[{"id":"openai/gpt-4o","name":"GPT","parameters":{"context":128000,'
        b'"max_output_tokens":"16384","size":null},"pricePerMillionTokens":{"input":2.5,"output":10,'
        b'"discountPercentage":5},"supportedParameters":["tools"],"inputModalities":["text"],'
        b'"isEnabled":true,"supportReasoning":false,"createdAt":"2025-01-01T00:00:00Z"}]',
        b'{"object":"list","data":[{"id":"m","object":"model","created":1,"owned_by":"x"}]}',
    ),
    "images": (
        b'{"created":1,"data":[{"url":"https://h/a.png","revised_prompt":"a"}],"cost":0.04}',
        b'{"data":[{"b64_json":"iVBORw0KGgo="}],"model":"m"}',
        b'{"data":[{"url":"data:image/png;base64,iVBORw0KGgo="}]}',
    ),
    "balance": (
        b'{"success":true,"message":"ok","data":{"balance":12.5,"email":"a@b.c","alertBalance":5,'
        b'"enableAlert":1,"isBalanceLow":false,"updatedAt":"2026-11-25T12:00:00.000Z"}}',
        b'{"success":false,"message":"Secret key expired","error":"UNAUTHORIZED"}',
        b'{"balance":"3","updatedAt":1764072000}',
    ),
    "scrubbing": (
        b'{"a":"\\u0073k-0123\\/456789"}',
        b"%73k-0123456789 &#115;k-0123456789",
        b"c2stMDEyMzQ1Njc4OQ== 736b2d30",
    ),
    "audio": (
        b'\x00{"text":"Hello"}',
        b'\x18{"text":"Hello","language":"en","duration":1.5,"segments":[{"id":0,"start":0,"end":1.5,'
        b'"text":"Hello"}],"words":[{"word":"Hello","start":0.0,"end":1.5}]}',
        b"\x11WEBVTT\n\n00:00.000 --> 00:01.500\nHello\n",
        b"\x091\n00:00:00,000 --> 00:00:01,500\nHello\n",
    ),
    "tool_arguments": (
        b'{"city": "Rome", "days": [1, 2.5, null]}',
        b'{"a": "b\nc',
        b"",
        b"[1]",
        b"nul",
    ),
}
