"""The cheapest request for each route of a deployment, and the facts in its answer."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

from lunos_core.catalog.models import ModelInfo, models_request
from lunos_core.catalog.search import ModelFilter, ModelIndex, matching
from lunos_core.endpoints.audio import transcription_request
from lunos_core.endpoints.balance import balance_request
from lunos_core.endpoints.chat.images import image_chat_request
from lunos_core.endpoints.chat.requests import chat_request, chat_stream_request, completion_request
from lunos_core.endpoints.embeddings import embedding_request
from lunos_core.endpoints.images import image_request
from lunos_core.endpoints.speech import speech_request
from lunos_core.wire import json

Kind = Literal["chat", "embedding", "image", "drawing", "speech", "transcription"]

_HELLO = [{"role": "user", "content": "Say hello."}]
_WEATHER = [{"role": "user", "content": "Use the tool: what is the weather in Rome?"}]
_OBJECT = {"type": "object", "additionalProperties": False}
_CITY = {**_OBJECT, "properties": {"city": {"type": "string"}}, "required": ["city"]}
_TOOL = {"type": "function", "function": {"name": "weather", "parameters": _CITY}}
_FORMAT = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": _CITY}}
_CAT = "A cat, as plain as can be."

# a well-known, cheap model of each kind, and the filter for another one
_MODELS: dict[Kind, tuple[str, ModelFilter]] = {
    "chat": ("openai/gpt-4o-mini", ModelFilter(capability=("chat",))),
    "embedding": ("openai/text-embedding-3-small", ModelFilter(capability=("embeddings",))),
    "image": ("openai/dall-e-3", ModelFilter(capability=("image-generation",))),
    "drawing": ("google/gemini-2.5-flash-image", ModelFilter(output=("image",))),
    "speech": ("openai/tts-1", ModelFilter(capability=("speech",))),
    "transcription": ("openai/whisper-1", ModelFilter(capability=("transcription",))),
}


class Probe(NamedTuple):
    """One route, or one feature of it.

    Attributes:
        route: the request's method, its path below the base URL, and the tested feature:
            "POST /chat/completions (tools)".
        kind: of the model; `None` for a request that costs nothing.
        make: makes the request, for a `model` if there is a kind.
        tell: returns short facts about the answer and its JSON (`None` for a stream).
    """

    route: str
    kind: Kind | None
    make: Callable[..., Any]
    tell: Callable[[Any, Any], list[str]]

    @property
    def path(self) -> str:
        """The path below the base URL, as in the reference."""
        return self.route.split()[1]


def choose_models(listed: Sequence[ModelInfo], model: str | None) -> dict[Kind, str]:
    """Return the model for each kind: the well-known one, if the catalog has it."""
    usable = matching({info.id: info for info in listed}.values(), ModelFilter())  # cheapest first
    index = ModelIndex(usable)
    chosen: dict[Kind, str] = {}
    for kind, (known, wanted) in _MODELS.items():
        info = index.get(known) or next(iter(matching(usable, wanted)), None)
        chosen[kind] = known if info is None else info.id
    return {**chosen, "chat": model} if model else chosen


def _models(models: Any, body: Any) -> list[str]:
    shape = "{data: [...]}"
    if isinstance(body, list):
        shape = "a bare array"
    elif isinstance(body, dict) and isinstance(body.get("data"), dict):
        shape = "the reference's envelope"
    elif isinstance(body, dict) and body.get("object") == "list":
        shape = "OpenAI's list"
    priced = sum(model.input_price is not None for model in models)
    wide = sum(model.context_window is not None for model in models)
    return [shape, f"{len(models)} models", f"{priced} with prices", f"{wide} with windows"]


def _usage(answer: Any, body: Any = None) -> list[str]:
    usage = answer.usage
    is_priced = usage is not None and usage.cost_source == "gateway"
    return ["no usage" if usage is None else "usage", "cost" if is_priced else "no cost"]


def _chat(answer: Any, body: Any) -> list[str]:
    envelope = ["in an envelope"] if "data" in answer.raw else []
    return [*envelope, *_usage(answer), *(["no text"] if not answer.text else [])]


def _stream(chunks: Any, body: Any) -> list[str]:
    last = next((chunk.last for chunk in reversed(chunks) if chunk.last is not None), None)
    return [f"{len(chunks)} chunks", *(["no end"] if last is None else _usage(last))]


def _tools(answer: Any, body: Any) -> list[str]:
    count = len(answer.choices[0].message.tool_calls)
    return [f"{count} call{'s' if count != 1 else ''}", *_usage(answer)]


def _schema(answer: Any, body: Any) -> list[str]:
    try:
        value = json.loads(answer.text)
    except ValueError:
        value = None
    return ["as asked" if isinstance(value, dict) and "city" in value else "not as asked"]


def _vectors(answer: Any, body: Any) -> list[str]:
    is_base64 = b'"embedding":"' in json.dumps(body)
    form = "base64" if is_base64 else "floats, where base64 was asked for"
    return [f"{len(answer.vectors[0])} dimensions", form, *_usage(answer)]


def _images(answer: Any, body: Any) -> list[str]:
    image = answer.images[0]
    return ["a web address" if image.data is None else f"{image.mime_type}", *_usage(answer)]


def _drawn(answer: Any, body: Any) -> list[str]:
    wrapped = b"image_url" in json.dumps(body)
    return [*_images(answer, body), "wrapped" if wrapped else "unwrapped"]


def _second_of_silence() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 16_000, 16_000, "NONE", ""))
        sound.writeframes(bytes(32_000))
    return file.getvalue()


PROBES = [
    Probe("GET /public/models", None, models_request, _models),
    Probe("GET /models", None, partial(models_request, public=False), _models),
    Probe("GET /balance", None, balance_request, lambda *_: ["amount read"]),
    Probe("POST /chat/completions", "chat", partial(chat_request, _HELLO, max_tokens=16), _chat),
    Probe(
        *("POST /chat/completions (streamed)", "chat"),
        partial(chat_stream_request, _HELLO, max_tokens=16),
        _stream,
    ),
    Probe(
        *("POST /chat/completions (tools)", "chat"),
        partial(chat_request, _WEATHER, tools=[_TOOL], max_tokens=64),
        _tools,
    ),
    Probe(
        *("POST /chat/completions (json_schema)", "chat"),
        partial(chat_request, _WEATHER, response_format=_FORMAT, max_tokens=64),
        _schema,
    ),
    Probe("POST /chat/completions (images)", "drawing", partial(image_chat_request, _CAT), _drawn),
    Probe(
        "POST /completions", "chat", partial(completion_request, "Say hello.", max_tokens=16), _chat
    ),
    Probe("POST /embeddings", "embedding", partial(embedding_request, "hello"), _vectors),
    Probe("POST /images/generations", "image", partial(image_request, _CAT), _images),
    Probe(
        *("POST /audio/generations", "speech"),
        partial(speech_request, "Hello.", voice="alloy"),
        lambda answer, _: [answer.media_type, f"{len(answer.content):,} bytes"],
    ),
    Probe(
        *("POST /audio/transcriptions", "transcription"),
        lambda model: transcription_request(_second_of_silence(), model=model),
        lambda answer, _: [answer.format, *_usage(answer)],
    ),
]
NEEDED = ("/public/models", "/models"), ("/chat/completions",), ("/embeddings",)
"""A deployment is useful if one route of each group works."""
