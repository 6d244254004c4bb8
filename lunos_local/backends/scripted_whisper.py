"""`lunos/scripted-whisper`: a scripted transcription that describes the file."""

from __future__ import annotations

import io
import wave

from lunos_local.backends.transcription import Heard, Recording, Stretch

_BYTES_PER_SECOND = 16_000  # a guess for formats other than WAV
_WORDS_PER_SEGMENT = 4


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
