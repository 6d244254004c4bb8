"""`POST /v1/audio/transcriptions`: reads the form and writes the transcript in each format."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from lunos_local.checks import values
from lunos_local.checks.values import fail
from lunos_local.errors import WireError

FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
GRANULARITIES = ("segment", "word")
_FIELDS = ("model", "language", "prompt", "temperature", "response_format", "stream")


@dataclass(frozen=True)
class Recording:
    """A checked transcription request."""

    model: str
    filename: str
    data: bytes
    language: str | None
    prompt: str | None
    temperature: float | None
    format: str
    granularities: tuple[str, ...]


@dataclass(frozen=True)
class Stretch:
    """A word or a segment, with its times in seconds."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Heard:
    """The transcript of a recording, in no particular format.

    Attributes:
        language: the language code, such as "en".
        seconds: the recording's length.
        segments: their joined texts are the whole text.
        words: the same, word by word.
    """

    language: str
    seconds: float
    segments: Sequence[Stretch]
    words: Sequence[Stretch]

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(segment.text for segment in self.segments).strip()

    def cost(self, price: float) -> float:
        """Return the cost in USD; `price` is per minute."""
        return round(math.ceil(self.seconds) * price / 60, 10)


class Listener(Protocol):
    """A model that transcribes recordings."""

    async def hear(self, recording: Recording) -> Heard:
        """Transcribe a whole recording."""
        ...


async def read_recording(request: Request) -> tuple[Recording, dict[str, Any]]:
    """Return the checked form of a request, and its fields for the log."""
    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        raise WireError("Send the audio as multipart/form-data.", code="invalid_content_type")
    async with request.form() as form:
        file = form.get("file")
        if file is None or isinstance(file, str):
            raise values.missing("file")
        data = await file.read()
        fields: dict[str, Any] = {
            name: value for name in _FIELDS if isinstance(value := form.get(name), str)
        }
        granularities = [
            value
            for name in ("timestamp_granularities[]", "timestamp_granularities")
            for value in form.getlist(name)
            if isinstance(value, str)
        ]
        name = file.filename or ""
    if granularities:
        fields["timestamp_granularities"] = granularities
    logged = {**fields, "file": {"filename": name, "bytes": len(data)}}
    return _checked(fields, granularities, name, data), logged


def _checked(fields: dict[str, Any], granularities: list[str], name: str, data: bytes) -> Recording:
    if not fields.get("model"):
        raise values.missing("model")
    if not data:
        raise fail("file", "must not be empty", "empty_file")
    output = fields.get("response_format") or "json"
    values.one_of(FORMATS)(output, "response_format")
    temperature: float | None = None
    if fields.get("temperature"):
        try:
            temperature = float(fields["temperature"])
        except ValueError:
            raise fail("temperature", "expected a number", "invalid_type") from None
        values.number(0, 1)(temperature, "temperature")
    for i, granularity in enumerate(granularities):
        values.one_of(GRANULARITIES)(granularity, f"timestamp_granularities[{i}]")
    if granularities and output != "verbose_json":
        raise fail("timestamp_granularities", "needs 'response_format': 'verbose_json'")
    return Recording(
        model=fields["model"],
        filename=name,
        data=data,
        language=fields.get("language") or None,
        prompt=fields.get("prompt") or None,
        temperature=temperature,
        format=output,
        granularities=tuple(granularities) or ("segment",),
    )


def to_response(recording: Recording, heard: Heard, price: float = 0.0) -> Response:
    """Return the response in the requested format; `price` is in USD per minute."""
    if recording.format == "text":
        return PlainTextResponse(heard.text + "\n")
    if recording.format in ("srt", "vtt"):
        return PlainTextResponse(_subtitles(heard.segments, recording.format))
    seconds = math.ceil(heard.seconds)
    usage = {"type": "duration", "seconds": seconds, "cost": heard.cost(price)}
    body: dict[str, Any] = {"text": heard.text, "model": recording.model, "usage": usage}
    if recording.format == "verbose_json":
        body |= {
            "task": "transcribe",
            "language": heard.language,
            "duration": heard.seconds,
        }
        if "segment" in recording.granularities:
            body["segments"] = [
                {"id": i, "seek": 0, "start": item.start, "end": item.end, "text": item.text}
                for i, item in enumerate(heard.segments)
            ]
        if "word" in recording.granularities:
            body["words"] = [
                {"word": word.text.strip(), "start": word.start, "end": word.end}
                for word in heard.words
            ]
    return JSONResponse(body)


def events_of(heard: Heard) -> Iterator[dict[str, Any]]:
    """Yield the events of a streamed transcript, as in OpenAI's API."""
    for segment in heard.segments:
        yield {"type": "transcript.text.delta", "delta": segment.text}
    yield {"type": "transcript.text.done", "text": heard.text}


def _subtitles(segments: Sequence[Stretch], kind: str) -> str:
    point = "," if kind == "srt" else "."
    cues = []
    for number, segment in enumerate(segments, start=1):
        times = f"{_clock(segment.start, point)} --> {_clock(segment.end, point)}"
        head = f"{number}\n" if kind == "srt" else ""
        cues.append(f"{head}{times}\n{segment.text.strip()}\n\n")
    return ("WEBVTT\n\n" if kind == "vtt" else "") + "".join(cues)


def _clock(seconds: float, point: str) -> str:
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    minutes, seconds_ = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds_:02}{point}{thousandths:03}"
