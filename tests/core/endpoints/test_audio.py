"""Transcription: the form that is sent, and each format that comes back."""

from __future__ import annotations

import email
import io
import json
from email.message import Message
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from lunos_core import (
    AsyncLunos,
    Lunos,
    LunosAPIError,
    LunosNotFoundError,
    LunosResponseError,
    Transcription,
    transcription_request,
)
from lunos_core.endpoints.audio import Segment, Word, parse_transcription
from lunos_core.request import Reply
from tests.core.wire_samples import Wire, raw, reply

if TYPE_CHECKING:
    from lunos_local import LocalGateway
    from tests.conftest import Both

WAV = b"RIFF\x24\x00\x00\x00WAVEfmt \r\n--x\r\n\x00\xff"
VERBOSE = {
    "task": "transcribe",
    "text": "Hello there.",
    "language": "english",
    "duration": "1.5",
    "segments": [{"id": 0, "start": 0.0, "end": 1.5, "text": " Hello there.", "avg_logprob": -0.1}],
    "words": [{"word": "Hello", "start": 0, "end": 0.7}, {"word": "there", "start": 0.7, "end": 1}],
}
SRT = "1\n00:00:00,000 --> 00:00:01,500\nHello there.\n\n"
VTT = "WEBVTT\n\n00:00.000 --> 00:01.500\nHello there.\n\n"


def form_of(request: httpx.Request) -> list[tuple[str, str | None, str, bytes]]:
    """The parts of a form: name, file name, type, content; read by another parser than ours."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    whole = email.message_from_bytes(head + request.content)
    assert whole.is_multipart()
    result = []
    for part in whole.get_payload():
        assert isinstance(part, Message)
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        result.append((str(name), part.get_filename(), part.get_content_type(), content))
    return result


def plain(text: str, kind: str = "text/plain; charset=utf-8") -> Any:
    return raw(text.encode(), content_type=kind)


async def sent_by(both: Both, file: Any, **params: Any) -> httpx.Request:
    wire = Wire(reply({"text": "a"}))
    kind = AsyncLunos if both.is_async else Lunos
    lunos = kind("k", base_url="https://lunos.test", http_client=both.http_client(wire))
    await both(lunos.audio.transcriptions.create(file=file, model="m", **params))
    return wire.sent


async def test_the_form_has_the_wires_fields_and_the_file_byte_for_byte(both: Both) -> None:
    sent = await sent_by(
        both,
        WAV,
        filename="talk.wav",
        language="en",
        prompt='Names: "Ada",\nüml',
        temperature=0,
        response_format="verbose_json",
        timestamp_granularities=["segment", "word"],
        app_id="app",
        extra_body={"new": True},
    )
    assert form_of(sent) == [
        ("model", None, "text/plain", b"m"),
        ("language", None, "text/plain", b"en"),
        ("prompt", None, "text/plain", 'Names: "Ada",\nüml'.encode()),
        ("temperature", None, "text/plain", b"0"),
        ("response_format", None, "text/plain", b"verbose_json"),
        ("timestamp_granularities[]", None, "text/plain", b"segment"),
        ("timestamp_granularities[]", None, "text/plain", b"word"),
        ("new", None, "text/plain", b"true"),
        ("file", "talk.wav", "audio/wav", WAV),
    ]
    assert (sent.method, str(sent.url)) == ("POST", "https://lunos.test/v1/audio/transcriptions")
    assert sent.headers["x-app-id"] == "app"
    assert sent.headers["content-length"] == str(len(sent.content))


async def test_nothing_is_sent_that_the_user_did_not_set(both: Both) -> None:
    assert [part[0] for part in form_of(await sent_by(both, WAV))] == ["model", "file"]


async def test_a_file_can_be_a_path_bytes_or_open(both: Both, tmp_path: Path) -> None:
    path = tmp_path / "talk.mp3"
    path.write_bytes(WAV)
    with open(path, "rb") as opened:  # noqa: ASYNC230 - a test's own file
        sounds = [path, str(path), WAV, bytearray(WAV), memoryview(WAV), io.BytesIO(WAV), opened]
        sent = [form_of(await sent_by(both, sound))[-1] for sound in sounds]
    assert {part[3] for part in sent} == {WAV}
    name = "talk.mp3"
    assert [part[1] for part in sent] == [name, name, *["audio.wav"] * 4, name]


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"ID3\x04", "audio.mp3"),
        (b"\xff\xfb\x90", "audio.mp3"),
        (b"OggS", "audio.ogg"),
        (b"fLaC", "audio.flac"),
        (b"\x1aE\xdf\xa3", "audio.webm"),
        (b"\x00\x00\x00\x20ftypM4A ", "audio.m4a"),
        (b"who knows", "audio.wav"),
    ],
)
def test_bytes_without_a_name_get_one_that_fits_how_they_begin(data: bytes, name: str) -> None:
    assert f'filename="{name}"'.encode() in transcription_request(data, model="m").body


@pytest.mark.parametrize("name", ['a"b.wav', "a\r\nX-Bad: 1.wav", "ü.wav", "\udcff.wav", "a"])
async def test_no_file_name_breaks_out_of_its_header(both: Both, name: str) -> None:
    sent = await sent_by(both, WAV, filename=name)
    parts = form_of(sent)
    assert [part[0] for part in parts] == ["model", "file"]
    assert parts[-1][3] == WAV
    assert b"\r\nX-Bad" not in sent.content


def test_the_boundary_is_in_no_part_and_the_same_request_is_the_same_bytes() -> None:
    request = transcription_request(b"lunos-form-0", model="lunos-form-1")
    assert request.content_type == "multipart/form-data; boundary=lunos-form-2"
    assert request.body == transcription_request(b"lunos-form-0", model="lunos-form-1").body


async def test_a_retry_sends_the_same_bytes_though_the_file_is_read_once(both: Both) -> None:
    wire = Wire(raw(b"", 503, retry_after="0"), reply({"text": "a"}))
    opened = io.BytesIO(WAV)
    await both(both.client(wire).send(transcription_request(opened, model="m")))
    first, second = wire.requests
    assert first.content == second.content
    assert WAV in second.content
    assert opened.read() == b""


async def test_json_is_read(both: Both) -> None:
    usage = {"type": "tokens", "input_tokens": 14, "output_tokens": 3, "total_tokens": 17}
    wire = Wire(reply({"text": "Hello.", "usage": usage, "cost": 0.006}, x_request_id="r"))
    answer = await both(both.client(wire).send(transcription_request(WAV, model="m")))
    assert (answer.text, answer.format, answer.segments, answer.request_id) == (
        "Hello.",
        "json",
        [],
        "r",
    )
    assert (answer.usage.input_tokens, answer.usage.cost) == (14, 0.006)


async def test_verbose_json_is_read_with_its_times(both: Both) -> None:
    request = transcription_request(WAV, model="m", response_format="verbose_json")
    answer = await both(both.client(Wire(reply(VERBOSE))).send(request))
    assert answer == Transcription(
        text="Hello there.",
        language="english",
        duration=1.5,
        segments=[Segment(" Hello there.", 0.0, 1.5)],
        words=[Word("Hello", 0.0, 0.7), Word("there", 0.7, 1.0)],
        format="verbose_json",
        raw=VERBOSE,
    )
    assert answer.segments[0].raw["avg_logprob"] == -0.1


@pytest.mark.parametrize(
    ("wanted", "body", "text", "kind"),
    [
        ("text", "Hello there.\n", "Hello there.", "text"),
        ("text", '{"said": "braces"}', '{"said": "braces"}', "text"),
        ("text", "", "", "text"),
        ("srt", SRT, SRT, "srt"),
        ("srt", SRT.replace("\n", "\r\n"), SRT.replace("\n", "\r\n"), "srt"),
        ("srt", "Hello there.", "Hello there.", "text"),
        ("srt", "", "", "srt"),
        ("vtt", VTT, VTT, "vtt"),
        ("vtt", "\ufeff" + VTT, VTT, "vtt"),
        (None, "Hello there.\n", "Hello there.", "text"),
        ("json", '{"text": "Hello there."}', "Hello there.", "json"),
    ],
)
async def test_plain_answers_are_read_as_what_they_are(
    both: Both, wanted: str | None, body: str, text: str, kind: str
) -> None:
    request = transcription_request(WAV, model="m", response_format=wanted)
    answer = await both(both.client(Wire(plain(body))).send(request))
    assert (answer.text, answer.format) == (text, kind)
    timed = [Segment("Hello there.", 0.0, 1.5)] if "-->" in body else []
    assert answer.segments == timed


@pytest.mark.parametrize("wanted", ["text", "srt", "vtt"])
async def test_json_in_place_of_plain_text_is_read_too(both: Both, wanted: str) -> None:
    request = transcription_request(WAV, model="m", response_format=wanted)
    for body, kind in (
        ({"text": "Hello."}, "json"),
        ("Hello.\n", "text"),
        (VERBOSE, "verbose_json"),
    ):
        answer = await both(both.client(Wire(reply(body))).send(request))
        assert (answer.text.split(".")[0].split()[0], answer.format) == ("Hello", kind)


@pytest.mark.parametrize("wanted", ["json", "verbose_json", "text", "srt", "vtt"])
@pytest.mark.parametrize(
    "answer",
    [
        raw(b"<html>", content_type="text/html"),
        raw(b"\xff\xfe", content_type="text/plain"),
        reply({"text": None}),
        reply({"text": 7}),
        reply([]),
        reply({}),
        raw(b"{", content_type="application/json"),
    ],
)
async def test_an_answer_without_a_text_is_a_typed_error(
    both: Both, wanted: str, answer: Any
) -> None:
    request = transcription_request(WAV, model="m", response_format=wanted)
    with pytest.raises(LunosResponseError):
        await both(both.client(Wire(answer)).send(request))


async def test_an_error_that_came_with_status_200_is_raised(both: Both) -> None:
    request = transcription_request(WAV, model="m", response_format="text")
    with pytest.raises(LunosAPIError, match="too long"):
        await both(both.client(Wire(reply({"error": "too long"}))).send(request))


@pytest.mark.parametrize(
    "change",
    [
        {"segments": 7, "words": "x", "duration": [], "language": 7, "usage": 7},
        {"segments": [7, {}, {"text": 7}], "words": [None, {"word": 7}], "duration": "long"},
        {"duration": True, "segments": None, "words": None, "model": {}},
        {"duration": "inf", "segments": [], "words": {}},
        {"duration": -0.5, "segments": [], "words": {}},
    ],
)
def test_fields_of_another_type_are_left_out(change: dict[str, Any]) -> None:
    answer = parse_transcription(Reply(200, {}, json.dumps({**VERBOSE, **change}).encode()))
    assert (answer.text, answer.segments, answer.words, answer.duration) == (
        "Hello there.",
        [],
        [],
        None,
    )


def test_the_length_is_taken_from_the_bill_where_it_is_nowhere_else() -> None:
    body = b'{"text": "a", "usage": {"type": "duration", "seconds": 9}}'
    answer = parse_transcription(Reply(200, {}, body))
    assert (answer.duration, answer.usage) == (9.0, None)


@pytest.mark.parametrize("status", [404, 501])
async def test_a_deployment_without_the_route_gives_one_clear_error(
    both: Both, status: int
) -> None:
    wire = Wire(raw(b"Cannot POST /v1/audio/transcriptions", status, content_type="text/plain"))
    request = transcription_request(WAV, model="m", fallback_model="would not help")
    with pytest.raises(
        LunosNotFoundError, match="this deployment can't transcribe audio"
    ) as caught:
        await both(both.client(wire).send(request))
    assert wire.sent.url.path == "/v1/audio/transcriptions"
    assert (caught.value.status, caught.value.model) == (status, "m")
    assert caught.value.response is not None


async def test_a_missing_model_is_not_a_missing_route(both: Both) -> None:
    wire = Wire(reply({"error": {"message": "The model 'm' does not exist"}}, 404))
    with pytest.raises(LunosNotFoundError, match="The model 'm'") as caught:
        await both(both.client(wire).send(transcription_request(WAV, model="m")))
    assert "deployment" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "params", "error"),
    [
        (b"", {}, ValueError),
        (io.StringIO("text"), {}, TypeError),
        (7, {}, TypeError),
        (None, {}, TypeError),
        ("no/such/file.wav", {}, FileNotFoundError),
        (WAV, {"response_format": "mp3"}, ValueError),
        (WAV, {"response_format": 7}, TypeError),
        (WAV, {"timestamp_granularities": "word"}, TypeError),
        (WAV, {"timestamp_granularities": ["letter"]}, ValueError),
        (WAV, {"temperature": "hot"}, TypeError),
        (WAV, {"filename": 7}, TypeError),
        (WAV, {"extra_body": {"a": object()}}, TypeError),
    ],
)
def test_what_the_wire_cannot_carry_raises_before_anything_is_sent(
    file: Any, params: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        transcription_request(file, model="m", **params)


@pytest.mark.parametrize("wanted", ["json", "text", "srt", "verbose_json", "vtt"])
async def test_the_local_gateway_answers_in_every_format(
    both: Both, gateway: LocalGateway, wanted: str
) -> None:
    kind = AsyncLunos if both.is_async else Lunos
    lunos = both.closing(kind(gateway.api_key, base_url=gateway.base_url))
    answer = await both(
        lunos.audio.transcriptions.create(
            file=WAV, filename="talk.wav", model="lunos/scripted-whisper", response_format=wanted
        )
    )
    assert answer.format == wanted
    assert "talk.wav" in answer.text
    assert bool(answer.segments) == (wanted in ("srt", "verbose_json", "vtt"))
