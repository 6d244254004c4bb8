"""`lunos/scripted-speech` and `lunos/scripted-whisper`: audio without a model.

Speech is by espeak-ng if it is installed, else a tone for each word. The answer and its media type
are always WAV, whatever `response_format` asks for.
"""

from __future__ import annotations

import asyncio
import base64
import io
import math
import shutil
import struct
import wave
from typing import Any

from lunos_local.backends.answer import CREATED
from lunos_local.backends.base import Body
from lunos_local.backends.conversation import fingerprint
from lunos_local.backends.transcription import Heard, Recording, Stretch

_RATE = 8_000
_WORD_SECONDS = 0.12
_VOLUME = 8_000
_WORDS_PER_MINUTE = 160
_SPEECH_SECONDS = 20.0
_BYTES_PER_SECOND = 16_000  # a guess for formats other than WAV
_WORDS_PER_SEGMENT = 4


class ScriptedSpeech:
    """Speaks a text."""

    async def speak(self, body: Body) -> tuple[bytes, str]:
        """Return the audio and its media type."""
        speed = body.get("speed") or 1.0
        program = shutil.which("espeak-ng")
        data = await _spoken(program, body["input"], speed) if program else b""
        return data or await asyncio.to_thread(_tones, body["input"], speed), "audio/wav"


def spoken(text: str) -> dict[str, Any]:
    """Return the `audio` of a chat message: a WAV of tones."""
    return {
        "id": f"audio_{fingerprint(text)}",
        "data": base64.b64encode(_tones(text, 1.0)).decode(),
        "transcript": text,
        "expires_at": CREATED + 3600,
    }


async def _spoken(program: str, text: str, speed: float) -> bytes:
    process = await asyncio.create_subprocess_exec(
        program, "--stdin", "--stdout", "-s", str(round(_WORDS_PER_MINUTE * speed)),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        data, _ = await asyncio.wait_for(process.communicate(text.encode()), _SPEECH_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        return b""
    return data if process.returncode == 0 else b""


def _tones(text: str, speed: float) -> bytes:
    samples = bytearray()
    count = round(_RATE * _WORD_SECONDS / speed)
    tones: dict[int, bytes] = {}
    for word in text.split():
        pitch = 220 * 2 ** (len(word) % 12 / 12)
        if len(word) % 12 not in tones:
            step = 2 * math.pi * pitch / _RATE
            values = [int(_VOLUME * math.sin(i * step) * (1 - i / count)) for i in range(count)]
            tones[len(word) % 12] = struct.pack(f"<{count}h", *values)
        samples += tones[len(word) % 12]
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(_RATE)
        sound.writeframes(bytes(samples))
    return file.getvalue()


class ScriptedWhisper:
    """Answers with the file's name, size and length, the words spread evenly in time."""

    async def hear(self, recording: Recording) -> Heard:
        """Return the same transcript for the same recording."""
        seconds = _length(recording.data)
        text = (
            f"This is a scripted transcription of {recording.filename}, which holds "
            f"{len(recording.data)} bytes and lasts {seconds:g} seconds."
        )
        words = _spread(text.split(), seconds)
        groups = [
            words[i : i + _WORDS_PER_SEGMENT] for i in range(0, len(words), _WORDS_PER_SEGMENT)
        ]
        segments = [
            Stretch("".join(word.text for word in group), group[0].start, group[-1].end)
            for group in groups
        ]
        return Heard(recording.language or "en", seconds, segments, words)


def _length(data: bytes) -> float:
    try:
        with wave.open(io.BytesIO(data), "rb") as sound:
            return round(sound.getnframes() / sound.getframerate(), 3)
    except (wave.Error, EOFError, ZeroDivisionError):
        return round(len(data) / _BYTES_PER_SECOND, 3)


def _spread(words: list[str], seconds: float) -> list[Stretch]:
    step = seconds / len(words)
    return [
        Stretch(f" {word}", round(i * step, 3), round((i + 1) * step, 3))
        for i, word in enumerate(words)
    ]
