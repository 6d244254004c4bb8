"""Speech: what is sent, what is read, and how it is saved."""

from __future__ import annotations

import os
import shutil
import wave
from collections.abc import AsyncIterator, Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from lunos_core import (
    AsyncLunos,
    CallRecord,
    Lunos,
    LunosAuthenticationError,
    LunosError,
    LunosNotFoundError,
    LunosPaymentError,
    LunosResponseError,
    LunosStreamInterruptedError,
    speech_request,
)
from lunos_core.endpoints.speech import Speech, spoken_mistake
from tests.core.raw_server import CLOSE, RawServer
from tests.core.wire_samples import Answer, Wire, raw, reply

if TYPE_CHECKING:
    from lunos_local import LocalGateway
    from tests.conftest import Both

PATH = "/v1/audio/generations"
MP3 = b"ID3\x04sound"


def lunos_of(both: Both, wire: Any, **settings: Any) -> Any:
    kind = AsyncLunos if both.is_async else Lunos
    settings = {"base_url": "https://lunos.test", "max_retries": 0, **settings}
    return kind("k", http_client=both.http_client(wire), **settings)


async def pieces(both: Both, stream: Any) -> list[bytes]:
    """The pieces of either kind of stream."""
    return [piece async for piece in stream] if both.is_async else list(stream)


async def test_all_parameters_of_the_wire_are_sent_and_nothing_else(both: Both) -> None:
    params: dict[str, Any] = {"voice": "alloy", "response_format": "mp3", "speed": 1.5}
    google = {"google_voice_config": {"voiceName": "Kore"}, "extra_body": {"new": 1}}
    wire = Wire(raw(MP3, content_type="audio/mpeg"))
    records: list[CallRecord] = []
    lunos = lunos_of(both, wire, observers=[records.append])
    speech = await both(lunos.audio.speech.create(model="m", input="Hi", app_id="app"))
    await both(lunos.audio.speech.create(model="m", input="Hi", **params, **google))
    await pieces(both, lunos.audio.speech.stream(model="m", input="Hi", **params, app_id="app"))
    assert (speech.content, speech.media_type, speech.ending) == (MP3, "audio/mpeg", ".mp3")
    assert wire.bodies == [
        {"model": "m", "input": "Hi"},
        {"model": "m", "input": "Hi", **params, "google_voice_config": {"voiceName": "Kore"}}
        | {"new": 1},
        {"model": "m", "input": "Hi", **params},
    ]
    assert [(record.endpoint, record.app_id) for record in records] == [
        ("/audio/generations", "app"),
        ("/audio/generations", None),
        ("/audio/generations", "app"),
    ]
    assert {request.url.path for request in wire.requests} == {PATH}
    assert wire.requests[0].headers["x-app-id"] == "app"


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"input": "a" * 4097}, ValueError, "4,097 characters"),
        ({"input": " "}, ValueError, "input is empty"),
        ({"input": 7}, TypeError, "input must be a str"),
        ({"speed": 0.2}, ValueError, "speed must be from 0.25 to 4"),
        ({"speed": 4.5}, ValueError, "speed"),
        ({"speed": "fast"}, TypeError, "speed"),
        ({"response_format": "pcm17"}, ValueError, "response_format must be one of"),
        ({"voice": ""}, ValueError, "voice"),
        ({"google_voice_config": {"voice": "Kore"}}, ValueError, "voiceName"),
        ({"google_voice_config": "Kore"}, TypeError, "google_voice_config"),
        ({"model": ""}, ValueError, "model is empty"),
    ],
)
async def test_what_the_wire_cannot_carry_raises_before_anything_is_sent(
    both: Both, given: dict[str, Any], error: type[Exception], said: str
) -> None:
    wire = Wire(raw(MP3))
    speech = lunos_of(both, wire).audio.speech
    params = {"model": "m", "input": "Hi", **given}
    with pytest.raises(error, match=said):
        await both(speech.create(**params))
    with pytest.raises(error, match=said):
        speech.stream(**params)
    assert not wire.requests
    assert speech_request("a" * 4096, model="m", speed=4, voice=None).path == "/audio/generations"


EXPIRED = {"success": False, "message": "Secret key expired", "error": "UNAUTHORIZED"}
NO_SOUND: list[tuple[Answer, type[LunosError]]] = [
    (reply(EXPIRED), LunosAuthenticationError),
    (reply(EXPIRED, 401), LunosAuthenticationError),
    (raw(b'{"error":{"code":402,"message":"no"}}', content_type="audio/mpeg"), LunosPaymentError),
    (
        raw(b'\n {"error":{"code":402,"message":"no"}}', content_type="application/octet-stream"),
        LunosPaymentError,
    ),
    (raw(b'{"error":{"code":402,"message":"no"}}', content_type="text/plain"), LunosPaymentError),
    (reply({"ok": True}), LunosResponseError),
    (raw(b"<html>busy</html>", content_type="text/html"), LunosResponseError),
    (raw(b"busy", content_type="text/plain"), LunosResponseError),
    (raw(b"", content_type="audio/mpeg"), LunosResponseError),
    (reply({"error": "Not Found"}, 404), LunosNotFoundError),
]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("answer", "kind"), NO_SOUND)
async def test_an_answer_other_than_audio_is_a_typed_error(
    both: Both, streamed: bool, answer: Answer, kind: type[LunosError]
) -> None:
    speech = lunos_of(both, Wire(answer)).audio.speech
    asked = {"model": "m", "input": "Hi"}
    with pytest.raises(kind):
        await (pieces(both, speech.stream(**asked)) if streamed else both(speech.create(**asked)))


async def test_a_deployment_without_the_route_gives_a_clear_error(both: Both) -> None:
    speech = lunos_of(both, Wire(reply({"error": "Not Found"}, 404))).audio.speech
    with pytest.raises(LunosNotFoundError, match="can't generate speech"):
        await both(speech.create(model="m", input="Hi"))
    with pytest.raises(LunosNotFoundError, match="can't generate speech"):
        await pieces(both, speech.stream(model="m", input="Hi"))


@pytest.mark.parametrize(
    ("body", "kind", "media_type"),
    [
        (MP3, "audio/mpeg; charset=x", "audio/mpeg"),
        (MP3, "application/octet-stream", "audio/mpeg"),
        (MP3, "", "audio/mpeg"),
        (b"RIFF....WAVE", "binary/octet-stream", "audio/wav"),
        (b"fLaC....", "", "audio/flac"),
        (b"OggS....", "", "audio/ogg"),
        (b"\xff\xf1\x50\x80", "", "audio/aac"),
        (b"[not JSON", "audio/L16", "audio/l16"),
    ],
)
async def test_the_media_type_is_the_servers_or_that_of_the_bytes(
    both: Both, body: bytes, kind: str, media_type: str
) -> None:
    wire = Wire(raw(body, content_type=kind))
    speech = await both(lunos_of(both, wire).audio.speech.create(model="m", input="Hi"))
    assert (speech.media_type, speech.content) == (media_type, body)
    stream = lunos_of(both, wire).audio.speech.stream(model="m", input="Hi")
    assert b"".join(await pieces(both, stream)) == body


async def test_a_busy_server_is_retried_and_a_fallback_model_too(both: Both) -> None:
    wire = Wire(raw(b"", 503, retry_after="0"), reply({"error": "x"}, 400), raw(MP3))
    speech = lunos_of(both, wire, max_retries=1).audio.speech
    answer = await both(speech.create(model="m", input="Hi", fallback_model="n"))
    assert (answer.model, answer.attempts) == ("n", 3)
    assert [body["model"] for body in wire.bodies] == ["m", "m", "n"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_sound_is_saved_in_one_step(both: Both, tmp_path: Path, streamed: bool) -> None:
    file = tmp_path / "a.mp3"
    file.write_bytes(b"old")
    speech = lunos_of(both, Wire(raw(MP3, content_type="audio/mpeg"))).audio.speech
    if streamed:
        await both(speech.stream(model="m", input="Hi").save(file))
    else:
        (await both(speech.create(model="m", input="Hi"))).save(str(file))
    assert file.read_bytes() == MP3
    assert os.listdir(tmp_path) == ["a.mp3"]


async def test_a_stream_that_breaks_leaves_the_old_file(both: Both, tmp_path: Path) -> None:
    file = tmp_path / "a.mp3"
    file.write_bytes(b"old")
    head = b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: 99\r\n\r\n"
    with RawServer([head + MP3, CLOSE]) as server:
        kind = AsyncLunos if both.is_async else Lunos
        lunos = both.closing(kind("k", base_url=server.url, max_retries=0))
        with pytest.raises(LunosStreamInterruptedError):
            await both(lunos.audio.speech.stream(model="m", input="Hi").save(file))
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.mp3"]


async def test_a_stream_is_a_context_manager_and_stops_when_it_is_left(both: Both) -> None:
    closed: list[bool] = []

    class Endless(httpx.AsyncByteStream, httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                yield MP3

        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield MP3

        def close(self) -> None:
            closed.append(True)

        async def aclose(self) -> None:
            closed.append(True)

    headers = {"content-type": "audio/mpeg"}
    wire = Wire(lambda: httpx.Response(200, headers=headers, stream=Endless()))
    stream = lunos_of(both, wire).audio.speech.stream(model="m", input="Hi")
    if both.is_async:
        async with await stream as opened:
            assert (await anext(aiter(opened))).startswith(MP3)
    else:
        with stream as opened:
            assert next(opened) == MP3
    assert closed


@pytest.mark.parametrize("program", [None, "espeak-ng"])
async def test_the_local_gateway_speaks(
    both: Both, gateway: LocalGateway, program: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if program is None:  # a tone for each word
        monkeypatch.setattr("lunos_local.backends.scripted_audio.shutil.which", lambda name: None)
    elif shutil.which(program) is None:
        pytest.skip("espeak-ng isn't installed: only the tones were tested")
    kind = AsyncLunos if both.is_async else Lunos
    lunos = both.closing(kind(gateway.api_key, base_url=gateway.base_url))
    asked = {"model": "openai/tts-1", "input": "Good morning, dear listeners."}
    lengths = {}
    for speed in (1, 2):
        speech = await both(lunos.audio.speech.create(**asked, speed=speed, voice="alloy"))
        assert speech.media_type == "audio/wav"
        with wave.open(BytesIO(speech.content)) as sound:
            lengths[speed] = len(sound.readframes(10**8)) / sound.getframerate()
    assert lengths[1] > lengths[2] > 0.2
    stream = lunos.audio.speech.stream(**asked, speed=2)
    assert len(b"".join(await pieces(both, stream))) == len(speech.content)


def test_a_sound_is_saved_under_a_name_of_its_contents_in_any_folder(tmp_path: Path) -> None:
    speech = Speech(b"sound", "audio/mpeg", "m")
    saved = [speech.save_in(tmp_path / "a" / "b") for _ in range(2)]
    assert saved == [tmp_path / "a" / "b" / "dd29442deca69f52.mp3"] * 2
    assert saved[0].read_bytes() == b"sound"


def test_a_text_that_cannot_be_spoken_is_told_to_the_model() -> None:
    assert spoken_mistake("Hello") == ""
    assert spoken_mistake("").startswith("Nothing was spoken: input ")
    assert spoken_mistake("a" * 4096) == ""
    assert "4,097 characters" in spoken_mistake("a" * 4097)


def test_the_bytes_of_speech_are_in_no_log() -> None:
    assert "spoken" not in repr(Speech(content=b"spoken", media_type="audio/mpeg"))
