"""`lunos/scripted-speech`: speech by espeak-ng if it is installed, else a tone for each word.

The answer and its media type are always WAV, whatever `response_format` asks for.
"""

from __future__ import annotations

import asyncio
import io
import math
import shutil
import struct
import wave

from lunos_local.backends.base import Body

_RATE = 8_000
_WORD_SECONDS = 0.12
_VOLUME = 8_000
_WORDS_PER_MINUTE = 160
_SPEECH_SECONDS = 20.0


class ScriptedSpeech:
    """Speaks a text."""

    async def speak(self, body: Body) -> tuple[bytes, str]:
        """Return the audio and its media type."""
        speed = body.get("speed") or 1.0
        program = shutil.which("espeak-ng")
        data = await _spoken(program, body["input"], speed) if program else b""
        return data or await asyncio.to_thread(_tones, body["input"], speed), "audio/wav"


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
