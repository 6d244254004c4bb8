"""What `lunos check --deep` asks: the cheapest request of each route, and what its answer tells."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from lunos_core import (
    Completion,
    ModelInfo,
    balance_request,
    chat_request,
    chat_stream_request,
    completion_request,
    embedding_request,
    image_chat_request,
    image_request,
    models_request,
    speech_request,
    transcription_request,
)
from lunos_core.catalog.search import ModelFilter, ModelIndex, matching
from lunos_core.request import Reply
from lunos_core.wire import json

Kind = Literal["chat", "embedding", "image", "drawing", "speech", "transcription"]

_HELLO = [{"role": "user", "content": "Say hello."}]
_WEATHER = [{"role": "user", "content": "Use the tool: what is the weather in Rome?"}]
_OBJECT = {"type": "object", "additionalProperties": False}
_CITY = {**_OBJECT, "properties": {"city": {"type": "string"}}, "required": ["city"]}
_TOOL = {"type": "function", "function": {"name": "weather", "parameters": _CITY}}
_FORMAT = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": _CITY}}
_CAT = "A cat, as plain as can be."


class Probe(NamedTuple):
    """One route, or one feature of it.

    Attributes:
        method: of the request.
        path: as the reference has it, below the base URL.
        feature: what of the route is tried; "" for the route itself.
        kind: of the model that is asked; `None` for a request that costs nothing.
        make: makes the request for a model.
        tell: what the answer shows, in a few words each.
    """

    method: str
    path: str
    feature: str
    kind: Kind | None
    make: Callable[[str], Any]
    tell: Callable[[Any, Reply | None], list[str]]

    @property
    def route(self) -> str:
        """The route for people: "POST /chat/completions (tools)"."""
        return f"{self.method} {self.path}{f' ({self.feature})' if self.feature else ''}"


def choose_models(listed: Sequence[ModelInfo], model: str | None) -> dict[Kind, str]:
    """Return the model to ask for each kind: a well-known, cheap one where the catalog has it."""
    usable = matching({info.id: info for info in listed}.values(), ModelFilter())  # cheapest first
    index = ModelIndex(usable)

    def pick(known: str, fits: Callable[[ModelInfo], bool]) -> str:
        info = index.get(known) or next(filter(fits, usable), None)
        return known if info is None else info.id

    return {
        "chat": model or pick("openai/gpt-4o-mini", lambda info: "chat" in info.abilities),
        "embedding": pick(
            "openai/text-embedding-3-small", lambda info: "embeddings" in info.abilities
        ),
        "image": pick("openai/dall-e-3", lambda info: "image-generation" in info.abilities),
        "drawing": pick("google/gemini-2.5-flash-image", lambda info: "image" in info.writes),
        "speech": pick(
            "openai/tts-1", lambda info: bool({"speech", "text-to-speech"} & info.abilities)
        ),
        "transcription": pick("openai/whisper-1", lambda info: "transcription" in info.abilities),
    }


def _shape(reply: Reply | None) -> str:
    value = None if reply is None else json.loads(reply.body)
    if isinstance(value, list):
        return "a bare array"
    if isinstance(value, dict) and isinstance(value.get("data"), dict):
        return "the reference's envelope"
    is_openai = isinstance(value, dict) and value.get("object") == "list"
    return "OpenAI's list" if is_openai else "{data: [...]}"


def _models(models: Any, reply: Reply | None) -> list[str]:
    priced = sum(model.input_price is not None for model in models)
    wide = sum(model.context_window is not None for model in models)
    return [_shape(reply), f"{len(models)} models", f"{priced} with prices", f"{wide} with windows"]


def _usage(answer: Any) -> list[str]:
    usage = answer.usage
    return [
        "usage" if usage is not None else "no usage",
        "cost" if usage is not None and usage.cost_source == "gateway" else "no cost",
    ]


def _chat(answer: Completion, reply: Reply | None) -> list[str]:
    envelope = ["in an envelope"] if "data" in answer.raw else []
    return [*envelope, *_usage(answer), *(["no text"] if not answer.text else [])]


def _stream(chunks: Any, reply: Reply | None) -> list[str]:
    last = next((chunk.last for chunk in reversed(chunks) if chunk.last is not None), None)
    return [f"{len(chunks)} chunks", *(["no end"] if last is None else _usage(last))]


def _tools(answer: Completion, reply: Reply | None) -> list[str]:
    calls = answer.choices[0].message.tool_calls
    return [f"{len(calls)} call{'s' if len(calls) != 1 else ''}", *_usage(answer)]


def _schema(answer: Completion, reply: Reply | None) -> list[str]:
    try:
        value = json.loads(answer.text)
    except ValueError:
        value = None
    return ["as asked" if isinstance(value, dict) and "city" in value else "not as asked"]


def _vectors(answer: Any, reply: Reply | None) -> list[str]:
    sent = reply is not None and b'"embedding":"' in reply.body.replace(b": ", b":")
    form = "base64" if sent else "floats, where base64 was asked for"
    return [f"{len(answer.vectors[0])} dimensions", form, *_usage(answer)]


def _images(answer: Any, reply: Reply | None) -> list[str]:
    image = answer.images[0]
    return ["a web address" if image.data is None else f"{image.mime_type}", *_usage(answer)]


def _drawn(answer: Any, reply: Reply | None) -> list[str]:
    wrapped = reply is not None and b"image_url" in reply.body
    return [*_images(answer, reply), "wrapped" if wrapped else "unwrapped"]


def _second_of_silence() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(bytes(32_000))
    return file.getvalue()


PROBES = [
    Probe("GET", "/public/models", "", None, lambda _: models_request(), _models),
    Probe("GET", "/models", "", None, lambda _: models_request(public=False), _models),
    Probe("GET", "/balance", "", None, lambda _: balance_request(), lambda *_: ["amount read"]),
    Probe(
        *("POST", "/chat/completions", "", "chat"),
        lambda model: chat_request(_HELLO, model=model, max_tokens=16),
        _chat,
    ),
    Probe(
        *("POST", "/chat/completions", "streamed", "chat"),
        lambda model: chat_stream_request(_HELLO, model=model, max_tokens=16),
        _stream,
    ),
    Probe(
        *("POST", "/chat/completions", "tools", "chat"),
        lambda model: chat_request(_WEATHER, model=model, tools=[_TOOL], max_tokens=64),
        _tools,
    ),
    Probe(
        *("POST", "/chat/completions", "json_schema", "chat"),
        lambda model: chat_request(_WEATHER, model=model, response_format=_FORMAT, max_tokens=64),
        _schema,
    ),
    Probe(
        *("POST", "/chat/completions", "images", "drawing"),
        lambda model: image_chat_request(_CAT, model=model),
        _drawn,
    ),
    Probe(
        *("POST", "/completions", "", "chat"),
        lambda model: completion_request("Say hello.", model=model, max_tokens=16),
        _chat,
    ),
    Probe(
        *("POST", "/embeddings", "", "embedding"),
        lambda model: embedding_request("hello", model=model),
        _vectors,
    ),
    Probe(
        *("POST", "/images/generations", "", "image"),
        lambda model: image_request(_CAT, model=model),
        _images,
    ),
    Probe(
        *("POST", "/audio/generations", "", "speech"),
        lambda model: speech_request("Hello.", model=model, voice="alloy"),
        lambda answer, _: [answer.media_type, f"{len(answer.content):,} bytes"],
    ),
    Probe(
        *("POST", "/audio/transcriptions", "", "transcription"),
        lambda model: transcription_request(_second_of_silence(), model=model),
        lambda answer, _: [answer.format, *_usage(answer)],
    ),
]
NEEDED = ("/public/models", "/models"), ("/chat/completions",), ("/embeddings",)
"""Of each of these groups one route must work for a deployment to be of use."""
