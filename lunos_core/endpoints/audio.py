"""`POST /audio/transcriptions`: speech to text.

Source of the format: the Lunos API reference names the endpoint; the rest is
OpenAI's multipart form and answers. If a deployment lacks the route, the error says so.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from lunos_core.accounting.usage import Usage, usage_with_cost
from lunos_core.endpoints.build import fallback_of, form_call
from lunos_core.endpoints.params import CHAT, EMBEDDING, SAMPLING, Check
from lunos_core.request import Reply, Request, unwrap
from lunos_core.wire.multipart import FormFile
from lunos_core.wire.subtitles import Cue, is_srt, read_srt, read_vtt

PATH = "/audio/transcriptions"
FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
GRANULARITIES = ("segment", "word")
Sound = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO

_TEXT = EMBEDDING["user"]
TRANSCRIPTION: dict[str, Check] = {
    "language": _TEXT,
    "prompt": _TEXT,
    "temperature": SAMPLING["temperature"],
    "response_format": _TEXT,
    "timestamp_granularities": CHAT["modalities"],  # a list of str that isn't empty
    "fallback_model": _TEXT,
}
_ABSENT = f"this deployment can't transcribe audio: it has no route {PATH}"
_SIGNATURES = (
    (b"RIFF", "wav"),
    (b"ID3", "mp3"),
    (b"\xff\xfb", "mp3"),
    (b"\xff\xf3", "mp3"),
    (b"\xff\xf2", "mp3"),
    (b"\xff\xf1", "aac"),
    (b"\xff\xf9", "aac"),
    (b"OggS", "ogg"),
    (b"fLaC", "flac"),
    (b"\x1aE\xdf\xa3", "webm"),
)


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of the recording.

    Attributes:
        text: the spoken text.
        start: seconds from the beginning; `None` if the server sent no times.
        end: seconds from the beginning.
        raw: the original entry.
    """

    text: str
    start: float | None = None
    end: float | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Word:
    """One word, with its times in seconds."""

    word: str
    start: float | None = None
    end: float | None = None


@dataclass(slots=True)
class Transcription:
    """The text of a recording.

    Attributes:
        text: the text; for "srt" and "vtt", the original subtitles.
        language: as the server names it.
        duration: of the recording, in seconds.
        segments: with times; from a "verbose_json" answer, or from subtitles ("srt", "vtt").
        words: with times, if they were requested.
        format: of the answer, whichever was requested: one of `FORMATS`.
        usage: tokens and cost, or `None` if the server sent neither.
        model: the model that answered, as the server names it.
        request_id: the server's id of the request.
        attempts: requests sent for this answer, retries included.
        raw: the original answer; empty if it was plain text.
    """

    text: str
    language: str | None = None
    duration: float | None = None
    segments: list[Segment] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    format: str = "json"
    usage: Usage | None = None
    model: str | None = None
    request_id: str | None = None
    attempts: int = 1
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def documents(self, *, by_segment: bool = False) -> list[tuple[str, dict[str, Any]]]:
        """Return texts with metadata, for both frameworks' documents.

        The metadata contains what the server sent: `language`, `duration` (seconds), `format`,
        `model`, `cost` (USD), and the times of the segments in seconds.

        Args:
            by_segment: one text for each segment, with `segment` (its number), `start` and `end`,
                if there are segments; else one text, with all `segments`.
        """
        facts = {
            "language": self.language,
            "duration": self.duration,
            "format": self.format,
            "model": self.model,
            "cost": None if self.usage is None else self.usage.cost,
        }
        known = {name: value for name, value in facts.items() if value is not None}
        if not by_segment or not self.segments:
            items = [
                {"text": item.text, "start": item.start, "end": item.end} for item in self.segments
            ]
            return [(self.text, {**known, "segments": items} if items else known)]
        # the cost of the call, only in the first text, so that sums are right
        shared = {name: value for name, value in known.items() if name != "cost"}
        return [
            (
                item.text.strip(),
                {**(shared if i else known), "segment": i, "start": item.start, "end": item.end},
            )
            for i, item in enumerate(self.segments)
        ]


def transcription_request(
    file: Sound | FormFile, /, *, model: str, filename: str | None = None, **params: Any
) -> Request[Transcription]:
    """Return the request for the text of a recording.

    The file is read once, here: a retry sends the same bytes again.

    Args:
        file: a path, the bytes, or an open binary file (read from its position).
        model: the model's id.
        filename: servers recognise the format by its extension. Default: the file's name, or
            one that fits the first bytes.
        **params: `language` ("en"), `prompt`, `temperature`, `response_format` (one of `FORMATS`),
            `timestamp_granularities` (["segment", "word"], with "verbose_json"), `fallback_model`,
            and `app_id`, `extra_headers`, `extra_body`, `timeout` for this call.

    Raises:
        OSError: the file cannot be read.
        TypeError: a file in text mode, a parameter of the wrong type.
        ValueError: an empty file, a parameter out of range.

    Example:
        >>> from lunos_core import transcription_request
        >>> request = transcription_request(b"RIFF....WAVE", model="m", response_format="text")
        >>> b'name="file"; filename="audio.wav"' in request.body
        True
    """
    form = _read(file, filename)
    _check_words("response_format", params.get("response_format"), FORMATS)
    call = form_call(PATH, {"model": model}, params, TRANSCRIPTION, form)
    for word in params.get("timestamp_granularities") or ():
        _check_words("timestamp_granularities", word, GRANULARITIES)
    wanted = params.get("response_format") or "json"
    return Request(
        **call,
        parse=lambda reply: parse_transcription(reply, wanted),
        fallback=fallback_of(transcription_request, form, params),
        absent=_ABSENT,
    )


def parse_transcription(reply: Reply, wanted: str = "json") -> Transcription:
    """Read the text, whether the server sent JSON or plain text.

    Args:
        reply: the answer.
        wanted: the requested format, used if the answer's media type doesn't show the format.

    Raises:
        LunosResponseError: an HTML page, an answer without text, or not UTF-8.
        LunosAPIError: an error sent with a successful status.
    """
    kind = reply.headers.get("content-type", "").split(";")[0].strip().lower()
    if "html" in kind:
        raise reply.malformed("isn't a transcription")
    is_json = "json" in kind
    if wanted.endswith("json") and not is_json:
        is_json = not kind.startswith("text/") or reply.body.lstrip().startswith(b"{")
    if not is_json:
        try:
            return _plain(reply, reply.body.decode("utf-8-sig"), wanted)
        except UnicodeDecodeError:
            raise reply.malformed("isn't text in UTF-8") from None
    value = reply.value()
    if isinstance(value, str):  # some servers send the plain formats as a JSON string
        return _plain(reply, value, wanted)
    if not isinstance(value, dict):
        raise reply.malformed("isn't a JSON object")
    return _parse_json(reply, unwrap(value))


def _parse_json(reply: Reply, value: dict[str, Any]) -> Transcription:
    text = value.get("text")
    if not isinstance(text, str):
        raise reply.malformed("has no text")
    usage = value.get("usage")
    billed = usage if isinstance(usage, dict) else {}
    segments = [
        Segment(said, _seconds(entry.get("start")), _seconds(entry.get("end")), entry)
        for entry in _entries(value.get("segments"))
        if isinstance(said := entry.get("text"), str)
    ]
    words = [
        Word(said, _seconds(entry.get("start")), _seconds(entry.get("end")))
        for entry in _entries(value.get("words"))
        if isinstance(said := entry.get("word"), str)
    ]
    duration = _seconds(value.get("duration"))
    is_verbose = duration is not None or bool(segments or words)
    language, model = value.get("language"), value.get("model")
    return Transcription(
        text=text,
        language=language if isinstance(language, str) else None,
        # newer models give the duration only in the usage
        duration=_seconds(billed.get("seconds")) if duration is None else duration,
        segments=segments,
        words=words,
        format="verbose_json" if is_verbose else "json",
        usage=usage_with_cost(value),
        model=model if isinstance(model, str) else None,
        request_id=reply.request_id,
        attempts=reply.attempts,
        raw=value,
    )


def _plain(reply: Reply, text: str, wanted: str) -> Transcription:
    start = text.removeprefix("\ufeff").lstrip()
    cues: list[Cue] = []
    if start.startswith("WEBVTT"):
        kind, cues = "vtt", read_vtt(start)
    elif is_srt(start):
        kind, cues = "srt", read_srt(start)
    else:
        # an empty subtitle file is valid: nobody spoke
        kind = wanted if not start and wanted in ("srt", "vtt") else "text"
        text = text.strip()
    return Transcription(
        text=text,
        segments=[Segment(cue.text, cue.start, cue.end, asdict(cue)) for cue in cues],
        format=kind,
        request_id=reply.request_id,
        attempts=reply.attempts,
    )


def _read(file: Any, filename: str | None) -> FormFile:
    if isinstance(file, FormFile):  # the same request again, for the fallback model
        return file
    own: Any = None
    if isinstance(file, str | os.PathLike):
        own = os.fspath(file)
        data = Path(own).read_bytes()
    elif isinstance(file, bytes | bytearray | memoryview):
        data = bytes(file)
    elif hasattr(file, "read"):
        own = getattr(file, "name", None)
        data = file.read()
    else:
        raise TypeError(f"file must be a path, bytes or an open file, not {type(file).__name__}")
    if not isinstance(data, bytes):
        raise TypeError("file must be opened in binary mode: open(path, 'rb')")
    if not data:
        raise ValueError("the audio file is empty")
    if filename is not None and not isinstance(filename, str):
        raise TypeError(f"filename must be a str, not {type(filename).__name__}")
    own = os.path.basename(own) if isinstance(own, str) else None
    return FormFile(filename or own or f"audio.{ending_of(data) or 'wav'}", data)


def ending_of(data: bytes) -> str | None:
    """Return the extension for audio data, by its first bytes; `None` if they are unknown."""
    if data[4:8] == b"ftyp":
        return "m4a"
    return next((end for start, end in _SIGNATURES if data.startswith(start)), None)


def _check_words(name: str, value: Any, options: tuple[str, ...]) -> None:
    if isinstance(value, str) and value not in options:
        raise ValueError(f"{name} must be one of {options}, not {value!r}")


def _entries(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds < float("inf") else None
