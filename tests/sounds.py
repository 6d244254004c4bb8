"""Sound for the tests: WAV files with one channel, 8,000 samples a second."""

from __future__ import annotations

import io
import wave


def wav(frames: bytes, *, sample_bytes: int) -> bytes:
    """A whole file."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(sample_bytes)
        file.setframerate(8000)
        file.writeframes(frames)
    return out.getvalue()
