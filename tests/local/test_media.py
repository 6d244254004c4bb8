"""Pictures, transcription, the balance, and the catalog in all its shapes."""

from __future__ import annotations

import base64
import io
import struct
import wave
import zlib
from itertools import pairwise
from typing import Any

import httpx
import pytest

from lunos_local import LocalGateway
from tests.local.wire import Wire

WHISPER = {"model": "lunos/scripted-whisper"}


def sound(seconds: float = 1.5) -> bytes:
    """A silent WAV."""
    file = io.BytesIO()
    with wave.open(file, "wb") as opened:
        opened.setnchannels(1)
        opened.setsampwidth(2)
        opened.setframerate(8000)
        opened.writeframes(b"\0\0" * int(8000 * seconds))
    return file.getvalue()


WAV = sound()


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height of a PNG whose pixels are all there."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    length = struct.unpack(">I", png[33:37])[0]
    assert png[37:41] == b"IDAT"
    assert len(zlib.decompress(png[41 : 41 + length])) == height * (1 + 3 * width)
    return width, height


def draw(wire: Wire, **fields: Any) -> httpx.Response:
    body = {"model": "lunos/scripted-image", "prompt": "a red cat", **fields}
    return wire.http.post("/images/generations", json=body)


def pictures(wire: Wire, **fields: Any) -> list[bytes]:
    answer = draw(wire, response_format="b64_json", **fields)
    assert answer.status_code == 200, answer.text
    return [base64.b64decode(entry["b64_json"]) for entry in answer.json()["data"]]


def transcribe(wire: Wire, file: bytes | None = WAV, **fields: Any) -> httpx.Response:
    files = None if file is None else {"file": ("talk.wav", file, "audio/wav")}
    data = {**WHISPER, **fields}
    if files is None:
        return wire.http.post("/audio/transcriptions", files={"other": ("a", b"b")}, data=data)
    return wire.http.post("/audio/transcriptions", files=files, data=data)


# --- images --------------------------------------------------------------------------------------


def test_an_image_is_a_png_of_the_requested_size(wire: Wire) -> None:
    assert [size_of(png) for png in pictures(wire)] == [(256, 256)]
    assert [size_of(png) for png in pictures(wire, size="300x64", n=3)] == [(300, 64)] * 3


def test_an_image_depends_on_prompt_and_seed_alone(
    wire: Wire,
) -> None:
    (first,) = pictures(wire)
    assert pictures(wire) == [first]
    assert len({first, *pictures(wire, prompt="a blue dog"), *pictures(wire, seed=1)}) == 3
    assert len(set(pictures(wire, n=4))) == 4


def test_an_image_url_needs_no_key(wire: Wire) -> None:
    answer = draw(wire).json()
    assert answer["data"][0]["revised_prompt"] == "a red cat"
    assert (answer["model"], answer["cost"]) == ("lunos/scripted-image", 0.0)
    url = answer["data"][0]["url"]
    assert url.startswith(f"{wire.root}/files/")
    fetched = httpx.get(url)
    assert (fetched.headers["content-type"], [fetched.content]) == ("image/png", pictures(wire))
    assert httpx.get(f"{wire.root}/files/none.png").status_code == 404


def test_a_gateway_can_have_the_singular_image_path(
    singular_gateway: LocalGateway,
) -> None:
    wire = Wire(singular_gateway)
    body = {"model": "lunos/scripted-image", "prompt": "a red cat"}
    assert draw(wire).status_code == 404
    assert wire.http.post("/image/generations", json=body).status_code == 200
    wire.http.close()
    with pytest.raises(ValueError, match="image_path"), LocalGateway(image_path="/pictures"):
        pass


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({"n": 0}, "n"),
        ({"n": 9}, "n"),
        ({"size": "big"}, "size"),
        ({"size": "0x10"}, "size"),
        ({"size": 256}, "size"),
        ({"quality": "best"}, "quality"),
        ({"style": "odd"}, "style"),
        ({"response_format": "png"}, "response_format"),
        ({"model": "lunos/scripted"}, "model"),
    ],
)
def test_a_malformed_image_request_is_a_400_that_names_the_field(
    wire: Wire, fields: dict[str, Any], param: str
) -> None:
    answer = draw(wire, **fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_an_unknown_image_model_is_a_404(wire: Wire) -> None:
    for answer in (draw(wire, model="nobody"), transcribe(wire, model="nobody")):
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


# --- transcription -------------------------------------------------------------------------------


def test_a_scripted_transcript_names_the_file_its_size_and_length(wire: Wire) -> None:
    answer = transcribe(wire).json()
    assert answer["text"] == (
        f"This is a scripted transcription of talk.wav, which holds {len(WAV)} bytes "
        "and lasts 1.5 seconds."
    )
    assert answer["usage"] == {"type": "duration", "seconds": 2, "cost": 0.0}
    assert transcribe(wire).json() == answer


def test_verbose_json_has_segments_that_fill_the_time_and_words_where_asked(wire: Wire) -> None:
    fields = {"response_format": "verbose_json", "language": "de"}
    answer = transcribe(wire, **fields).json()
    assert (answer["language"], answer["duration"]) == ("de", 1.5)
    assert "words" not in answer
    times = [(segment["start"], segment["end"]) for segment in answer["segments"]]
    assert (times[0][0], times[-1][1]) == (0.0, 1.5)
    assert all(word[1] == next_[0] for word, next_ in pairwise(times))
    assert "".join(item["text"] for item in answer["segments"]).strip() == answer["text"]
    both = transcribe(wire, **fields, **{"timestamp_granularities[]": ["word", "segment"]}).json()
    assert [item["word"] for item in both["words"]] == both["text"].split()


def test_the_plain_formats_are_plain_text(wire: Wire) -> None:
    said = transcribe(wire).json()["text"]
    text, srt, vtt = (transcribe(wire, response_format=name) for name in ("text", "srt", "vtt"))
    for answer in (text, srt, vtt):
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert text.text == said + "\n"
    assert srt.text.startswith("1\n00:00:00,000 --> 00:00:00,")
    assert vtt.text.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:00.")
    cues = [line for line in srt.text.splitlines() if line[:1].isalpha()]
    assert " ".join(cues) == said


def test_the_log_shows_a_form_without_its_audio(wire: Wire) -> None:
    transcribe(wire, language="en")
    (entry,) = wire.gateway.requests()
    assert (entry["model"], entry["status"]) == ("lunos/scripted-whisper", 200)
    assert entry["body"] == {
        **WHISPER,
        "language": "en",
        "file": {"filename": "talk.wav", "bytes": len(WAV)},
    }


@pytest.mark.parametrize(
    ("file", "fields", "param"),
    [
        (None, {}, "file"),
        (b"", {}, "file"),
        (WAV, {"model": ""}, "model"),
        (WAV, {"model": "lunos/scripted"}, "model"),
        (WAV, {"response_format": "mp3"}, "response_format"),
        (WAV, {"temperature": "hot"}, "temperature"),
        (WAV, {"temperature": "2"}, "temperature"),
        (WAV, {"timestamp_granularities[]": "word"}, "timestamp_granularities"),
        (
            WAV,
            {"timestamp_granularities[]": ["letter"], "response_format": "verbose_json"},
            "timestamp_granularities[0]",
        ),
    ],
)
def test_a_malformed_form_is_a_400_that_names_the_field(
    wire: Wire, file: bytes | None, fields: dict[str, Any], param: str
) -> None:
    answer = transcribe(wire, file, **fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_another_content_type_and_a_wrong_key_are_errors(wire: Wire) -> None:
    assert wire.http.post("/audio/transcriptions", json=WHISPER).status_code == 400
    for path in ("images/generations", "audio/transcriptions"):
        answer = httpx.post(f"{wire.gateway.base_url}/{path}", json={})
        assert (answer.status_code, answer.json()) == (401, {"error": "Invalid secret key"})


# --- balance and catalog -------------------------------------------------------------------------


def test_the_balance_has_the_documented_shape_and_needs_the_key(wire: Wire) -> None:
    answer = wire.http.get("/balance").json()
    assert answer["success"] is True
    assert set(answer["data"]) == {
        "balance",
        "email",
        "alertBalance",
        "enableAlert",
        "isAlertEnabled",
        "isBalanceLow",
        "updatedAt",
    }
    assert httpx.get(f"{wire.gateway.base_url}/balance").status_code == 401


def entries(shape: int, body: Any) -> list[dict[str, Any]]:
    """The models of a body that must have this shape."""
    if shape == 1:
        assert set(body) == {"status", "data", "meta"}
        return list(body["data"]["models"])
    if shape == 2:
        return list(body)
    assert set(body) == ({"data"} if shape == 3 else {"object", "data"})
    return list(body["data"])


MARK = {1: "pricing", 2: "pricePerMillionTokens", 3: "pricePerMillionTokens", 4: "owned_by"}


@pytest.mark.parametrize("shape", MARK)
def test_the_catalog_comes_in_each_shape_of_the_wire_when_asked(wire: Wire, shape: int) -> None:
    public = httpx.get(f"{wire.root}/public/models", params={"shape": shape}).json()
    listed = wire.http.get("/models", params={"shape": shape}).json()
    assert public == listed
    listed = entries(shape, public)
    assert [model["id"] for model in listed] == wire.gateway.models
    assert all(MARK[shape] in model for model in listed)


@pytest.mark.parametrize("shape", MARK)
def test_a_gateway_can_list_models_in_a_given_shape(shape: int) -> None:
    with LocalGateway(catalog_shape=shape) as gateway:
        body = httpx.get(f"{gateway.base_url.removesuffix('/v1')}/public/models").json()
        assert len(entries(shape, body)) == len(gateway.models)


def test_an_unknown_shape_is_refused(wire: Wire) -> None:
    answer = httpx.get(f"{wire.root}/public/models?shape=5")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "shape")
    with pytest.raises(ValueError, match="catalog_shape"), LocalGateway(catalog_shape=5):
        pass


def test_the_media_models_are_in_the_catalog_with_what_they_do(wire: Wire) -> None:
    models = {model["id"]: model for model in wire.http.get("/models").json()["data"]}
    image, whisper = models["lunos/scripted-image"], models["lunos/scripted-whisper"]
    assert (image["outputModalities"], image["capabilities"]) == (["image"], ["image-generation"])
    # the second as the vendor's own client looks for it
    names = ["transcription", "audio-transcription"]
    assert (whisper["inputModalities"], whisper["capabilities"]) == (["audio"], names)
