"""`POST /audio/generations`: text to speech.

Source of the format: the vendor's later pages and its clients; the reference has no speech, and the
route was never seen live. If a deployment lacks it, the error says so.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lunos_core.accounting.files import write_in, write_whole
from lunos_core.accounting.usage import Usage
from lunos_core.endpoints.audio import ending_of
from lunos_core.endpoints.build import check_params, fallback_of, json_call
from lunos_core.endpoints.params import EMBEDDING, Check, number
from lunos_core.request import Reply, Request, StreamRequest
from lunos_core.wire import json
from lunos_core.wire.sse import PlainPieces

PATH = "/audio/generations"
FORMATS = ("mp3", "opus", "aac", "flac", "wav")
LONGEST_INPUT = 4096

_ABSENT = f"this deployment can't generate speech: it has no route {PATH}"
_MEDIA_TYPES = {"mp3": "audio/mpeg", "opus": "audio/ogg", "m4a": "audio/mp4"}


def _format(name: str, value: Any) -> None:
    if value not in FORMATS:
        raise ValueError(f"{name} must be one of {FORMATS}, not {value!r}")


def _google_voice(name: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping, not {type(value).__name__}")
    if not isinstance(value.get("voiceName"), str) or not value["voiceName"]:
        raise ValueError(f"{name} needs a voiceName, such as 'Kore'")


SPEECH: dict[str, Check] = {
    "voice": EMBEDDING["user"],  # a str that isn't empty
    "response_format": _format,
    "speed": number(0.25, 4),
    "google_voice_config": _google_voice,
    "fallback_model": EMBEDDING["fallback_model"],
}


@dataclass(slots=True)
class Speech:
    """Spoken text.

    Attributes:
        content: the audio, as a file of its format.
        media_type: of the content, such as "audio/mpeg".
        model: the requested model.
        usage: always `None` so far: the answer is only audio.
        request_id: the server's id of the request.
        attempts: requests sent for this answer, retries included.
    """

    content: bytes = field(repr=False)
    media_type: str
    model: str | None = None
    usage: Usage | None = None
    request_id: str | None = None
    attempts: int = 1

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the audio to a file atomically.

        Raises:
            OSError: the file cannot be written; an existing one is unchanged.
        """
        write_whole(path, self.content)

    def save_in(self, folder: str | os.PathLike[str]) -> Path:
        """Write the audio to a file named by a hash of its contents, and return the path.

        Args:
            folder: created if it doesn't exist.

        Raises:
            OSError: the file cannot be written.
        """
        return write_in(folder, self.content, self.ending)

    @property
    def ending(self) -> str:
        """The file extension of the media type, such as ".mp3"."""
        known = {kind: name for name, kind in _MEDIA_TYPES.items()}
        kind = self.media_type
        return f".{known.get(kind) or kind.rpartition('/')[2].removeprefix('x-')}"


def speech_request(text: str, /, *, model: str, **params: Any) -> Request[Speech]:
    """Return the request for a text as speech.

    Args:
        text: at most 4,096 characters.
        model: the model's id, such as "openai/tts-1".
        **params: `voice` ("alloy"), `response_format` (one of `FORMATS`), `speed` (0.25 to 4),
            `google_voice_config` ({"voiceName": "Kore"}, for Google's models), `fallback_model`,
            and `app_id`, `extra_headers`, `extra_body`, `timeout` for this call.

    Raises:
        TypeError: a parameter of the wrong type.
        ValueError: an empty text, or one that is too long; a parameter out of range.

    Example:
        >>> from lunos_core import speech_request
        >>> speech_request("Hello", model="m", voice="alloy").body
        b'{"model":"m","input":"Hello","voice":"alloy"}'
    """
    return Request(
        **_call(text, model, params),
        parse=lambda reply: parse_speech(reply, model, params.get("response_format")),
        fallback=fallback_of(speech_request, text, params),
        absent=_ABSENT,
    )


def speech_stream_request(text: str, /, *, model: str, **params: Any) -> StreamRequest[bytes]:
    """Return the request for a text as streamed speech.

    Args:
        text: at most 4,096 characters.
        model: the model's id.
        **params: those of `speech_request`.

    Raises:
        TypeError: a parameter of the wrong type.
        ValueError: an empty text, or one that is too long; a parameter out of range.

    Example:
        >>> from lunos_core import speech_stream_request
        >>> speech_stream_request("Hello", model="m").path
        '/audio/generations'
    """
    return StreamRequest(
        **_call(text, model, params),
        reader=lambda reply: _SpeechReader(reply, model),
        fallback=fallback_of(speech_stream_request, text, params),
        absent=_ABSENT,
        decoder=PlainPieces,
    )


def check_text(text: Any) -> None:
    """Check a text before it is sent to be spoken.

    Raises:
        TypeError: it isn't a `str`.
        ValueError: it is empty or too long.
    """
    if not isinstance(text, str):
        raise TypeError(f"input must be a str, not {type(text).__name__}")
    if not text.strip():
        raise ValueError("input is empty: give the text to speak")
    if len(text) > LONGEST_INPUT:
        raise ValueError(
            f"input has {len(text):,} characters, and one call takes at most "
            f"{LONGEST_INPUT:,}: send it in pieces"
        )


def spoken_mistake(text: str) -> str:
    """Return the message to a model whose text can't be spoken; "" for a valid text."""
    try:
        check_text(text)
    except ValueError as error:
        return f"Nothing was spoken: {error}"
    return ""


def parse_speech(reply: Reply, model: str | None = None, wanted: str | None = None) -> Speech:
    """Read the audio.

    Args:
        reply: the answer.
        model: the requested model.
        wanted: the requested format, used if the answer doesn't show its format.

    Raises:
        LunosResponseError: the answer is empty or something else, such as an HTML page.
        LunosAPIError: an error as JSON, sent with a successful status.
    """
    if _is_text(reply):
        reply.value()  # raises, as it is mostly an error
        raise reply.malformed("isn't audio")
    kind = reply.headers.get("content-type", "").split(";")[0].strip().lower()
    if not reply.body or kind.startswith("text/"):
        raise reply.malformed("isn't audio")
    if not kind.startswith("audio/"):
        name = ending_of(reply.body) or wanted
        kind = _MEDIA_TYPES.get(name, f"audio/{name}") if name else "application/octet-stream"
    return Speech(reply.body, kind, model, None, reply.request_id, reply.attempts)


def _call(text: Any, model: str, params: Mapping[str, Any]) -> dict[str, Any]:
    check_params(params, SPEECH)
    check_text(text)
    return json_call(PATH, {"model": model, "input": text}, params, SPEECH)


def _is_text(reply: Reply) -> bool:
    """Whether the answer is JSON, under any media type; no audio format begins like it."""
    if "json" in reply.headers.get("content-type", ""):
        return True
    if reply.body.lstrip()[:1] not in (b"{", b"["):
        return False
    try:
        json.loads(reply.body)
    except ValueError:
        return False
    return True


class _SpeechReader:
    """Passes the audio on, and reads an error sent in its place."""

    done = whole = False

    def __init__(self, reply: Reply, model: str) -> None:
        self._reply, self._model = reply, model
        self._held: list[bytes] = []  # possibly an error, which is read as a whole
        self._began = False

    def read(self, event: bytes) -> bytes | None:
        kind = self._reply.headers.get("content-type", "")
        if not self._began:
            start = b"".join([*self._held, event]).lstrip()
            if not start or start[:1] in (b"{", b"[") or kind.startswith("text/"):
                self._held.append(event)
                return self.end() if "json" in kind else None
        self._began = True
        event, self._held = b"".join([*self._held, event]), []
        return event

    def end(self) -> bytes | None:
        if self._began:
            return None
        reply = replace(self._reply, body=b"".join(self._held))
        return parse_speech(reply, self._model).content

    def partial(self) -> None:
        """Return `None`: the caller has the pieces."""
