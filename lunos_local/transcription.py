"""`lunos/scripted-whisper`: listens to nothing, says what it was given, in every format."""

from __future__ import annotations

import io
import math
import wave
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from lunos_local import checks
from lunos_local.checks import fail
from lunos_local.errors import WireError

FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
GRANULARITIES = ("segment", "word")
_BYTES_PER_SECOND = 16_000  # a guess for sound that is no WAV
_WORDS_PER_SEGMENT = 4
_FIELDS = ("model", "language", "prompt", "temperature", "response_format")


@dataclass(frozen=True)
class Recording:
    """A checked transcription request."""

    model: str
    filename: str
    data: bytes
    language: str
    format: str
    granularities: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """How long it is: exact for WAV, else guessed from its size."""
        try:
            with wave.open(io.BytesIO(self.data), "rb") as sound:
                return round(sound.getnframes() / sound.getframerate(), 3)
        except (wave.Error, EOFError, ZeroDivisionError):
            return round(len(self.data) / _BYTES_PER_SECOND, 3)


async def read_recording(request: Request) -> tuple[Recording, dict[str, Any]]:
    """The request's form, checked, and what the log says of it."""
    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        raise WireError("Send the audio as multipart/form-data.", code="invalid_content_type")
    async with request.form() as form:
        file = form.get("file")
        if file is None or isinstance(file, str):
            raise WireError(
                "Missing required parameter: 'file'",
                param="file",
                code="missing_required_parameter",
            )
        data = await file.read()
        fields: dict[str, Any] = {
            name: value for name in _FIELDS if isinstance(value := form.get(name), str)
        }
        several = [
            value
            for name in ("timestamp_granularities[]", "timestamp_granularities")
            for value in form.getlist(name)
            if isinstance(value, str)
        ]
        name = file.filename or ""
    if several:
        fields["timestamp_granularities"] = several
    logged = {**fields, "file": {"filename": name, "bytes": len(data)}}
    return _checked(fields, several, name, data), logged


def _checked(fields: dict[str, Any], granularities: list[str], name: str, data: bytes) -> Recording:
    if not fields.get("model"):
        raise WireError(
            "Missing required parameter: 'model'", param="model", code="missing_required_parameter"
        )
    if not data:
        raise fail("file", "must not be empty", "empty_file")
    wanted = fields.get("response_format") or "json"
    checks.one_of(FORMATS)(wanted, "response_format")
    if fields.get("temperature"):
        try:
            temperature = float(fields["temperature"])
        except ValueError:
            raise fail("temperature", "expected a number", "invalid_type") from None
        checks.number(0, 1)(temperature, "temperature")
    for index, one in enumerate(granularities):
        checks.one_of(GRANULARITIES)(one, f"timestamp_granularities[{index}]")
    if granularities and wanted != "verbose_json":
        raise fail("timestamp_granularities", "needs 'response_format': 'verbose_json'")
    return Recording(
        model=fields["model"],
        filename=name,
        data=data,
        language=fields.get("language") or "en",
        format=wanted,
        granularities=tuple(granularities) or ("segment",),
    )


class ScriptedWhisper:
    """Says the file's name, size and length; the words are spread evenly over the time."""

    def transcribe(self, recording: Recording) -> Response:
        """Answer in the format that was asked for."""
        seconds = recording.seconds
        text = (
            f"This is a scripted transcription of {recording.filename}, which holds "
            f"{len(recording.data)} bytes and lasts {seconds:g} seconds."
        )
        words = _spread(text.split(), seconds)
        segments = [
            words[at : at + _WORDS_PER_SEGMENT] for at in range(0, len(words), _WORDS_PER_SEGMENT)
        ]
        if recording.format == "text":
            return PlainTextResponse(text + "\n")
        if recording.format in ("srt", "vtt"):
            return PlainTextResponse(_subtitles(segments, recording.format))
        usage = {"type": "duration", "seconds": math.ceil(seconds), "cost": 0.0}
        body: dict[str, Any] = {"text": text, "model": recording.model, "usage": usage}
        if recording.format == "verbose_json":
            body |= {"task": "transcribe", "language": recording.language, "duration": seconds}
            if "segment" in recording.granularities:
                body["segments"] = [
                    {"id": at, "seek": 0, **_joined(segment), "temperature": 0.0}
                    for at, segment in enumerate(segments)
                ]
            if "word" in recording.granularities:
                body["words"] = words
        return JSONResponse(body)


def _spread(words: list[str], seconds: float) -> list[dict[str, Any]]:
    step = seconds / len(words)
    return [
        {"word": word, "start": round(at * step, 3), "end": round((at + 1) * step, 3)}
        for at, word in enumerate(words)
    ]


def _joined(segment: list[dict[str, Any]]) -> dict[str, Any]:
    text = " " + " ".join(word["word"] for word in segment)
    return {"start": segment[0]["start"], "end": segment[-1]["end"], "text": text}


def _subtitles(segments: list[list[dict[str, Any]]], kind: str) -> str:
    point = "," if kind == "srt" else "."
    cues = []
    for number, segment in enumerate(segments, start=1):
        cue = _joined(segment)
        times = f"{_clock(cue['start'], point)} --> {_clock(cue['end'], point)}"
        head = f"{number}\n" if kind == "srt" else ""
        cues.append(f"{head}{times}\n{cue['text'].strip()}\n\n")
    return ("WEBVTT\n\n" if kind == "vtt" else "") + "".join(cues)


def _clock(seconds: float, point: str) -> str:
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    minutes, seconds_ = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds_:02}{point}{thousandths:03}"
