"""The image tool and the audio parser: over the real local gateway, and over any wire."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from langchain_core.document_loaders import Blob
from langchain_core.runnables import RunnableLambda

from langchain_lunos import LunosAudioTranscriber, LunosImageGeneration, LunosNotFoundError
from lunos_core import UsageLedger
from lunos_local import LocalGateway
from tests.langchain_adapter.wire import KEY, Wire, clients, raw, reply
from tests.sounds import wav

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 8
ENCODED = base64.b64encode(PNG).decode()
SETTINGS = {"model": "m", "api_key": KEY, "base_url": "https://lunos.test", "max_retries": 0}


def tool(wire: Any, **settings: Any) -> LunosImageGeneration:
    return LunosImageGeneration(**{**SETTINGS, **clients(wire), **settings})


def parser(wire: Any, **settings: Any) -> LunosAudioTranscriber:
    return LunosAudioTranscriber(**{**SETTINGS, **clients(wire), **settings})


async def call(tool: LunosImageGeneration, is_async: bool, config: Any = None) -> Any:
    asked = {"type": "tool_call", "id": "1", "name": tool.name, "args": {"prompt": "a red cat"}}
    return await tool.ainvoke(asked, config) if is_async else tool.invoke(asked, config)


def speech() -> bytes:
    """A second and a half of silence."""
    return wav(b"\0\0" * 12_000, sample_bytes=2)


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_image_is_a_standard_block_beside_a_text_for_the_model(is_async: bool) -> None:
    wire = Wire(reply({"data": [{"b64_json": ENCODED, "revised_prompt": "A cat."}], "cost": 0.04}))
    draw = tool(wire, n=1, size="256x256", quality="hd", style="vivid", seed=3, user="u")
    with UsageLedger() as ledger:
        message = await call(draw, is_async)
    assert wire.bodies == [
        {
            "model": "m", "prompt": "a red cat", "n": 1, "size": "256x256", "quality": "hd",
            "style": "vivid", "seed": 3, "user": "u",
        }
    ]  # fmt: skip
    assert message.artifact == [
        {
            "type": "image", "base64": ENCODED, "mime_type": "image/png",
            "extras": {"revised_prompt": "A cat."},
        }
    ]  # fmt: skip
    assert message.content == "1 image was generated."
    assert ENCODED not in message.content  # a model would read it as millions of tokens
    assert [(row["endpoint"], row["cost"]) for row in ledger.rows()] == [
        ("/images/generations", 0.04)
    ]


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_folder_keeps_what_came_as_bytes(is_async: bool, tmp_path: Path) -> None:
    several = [{"b64_json": ENCODED}, {"url": "https://x.test/1.png"}]
    draw = tool(Wire(reply({"data": several})), folder=tmp_path / "new", image_format="b64_json")
    message = await call(draw, is_async)
    (file,) = (tmp_path / "new").iterdir()
    assert file.read_bytes() == PNG
    assert message.content == f"2 images were generated. See {file}, https://x.test/1.png"
    assert message.artifact[1] == {"type": "image", "url": "https://x.test/1.png"}


@pytest.mark.parametrize("is_async", [False, True])
async def test_the_other_path_is_asked_on_404_and_remembered(is_async: bool) -> None:
    missing = reply({"error": {"message": "Cannot POST /v1/images/generations"}}, 404)
    wire = Wire(missing, reply({"data": [{"b64_json": ENCODED}]}))
    draw = tool(wire)
    for _ in range(2):
        await call(draw, is_async)
    assert [request.url.path for request in wire.requests] == [
        "/v1/images/generations", "/v1/image/generations", "/v1/image/generations"
    ]  # fmt: skip


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_deployment_with_the_other_path_draws_and_is_remembered(
    is_async: bool, singular_gateway: LocalGateway
) -> None:
    draw = LunosImageGeneration(
        model="lunos/scripted-image",
        image_format="b64_json",
        api_key=singular_gateway.api_key,
        base_url=singular_gateway.base_url,
    )
    for _ in range(2):
        message = await call(draw, is_async)
        assert base64.b64decode(message.artifact[0]["base64"]).startswith(b"\x89PNG")
    assert [request["path"] for request in singular_gateway.requests()] == [
        "/v1/images/generations", "/v1/image/generations", "/v1/image/generations"
    ]  # fmt: skip


@pytest.mark.parametrize("is_async", [False, True])
async def test_the_tool_draws_for_the_app_id_of_the_config(is_async: bool) -> None:
    wire = Wire(reply({"data": [{"b64_json": ENCODED}]}))
    draw = tool(wire, app_id="made")
    await call(draw, is_async, {"metadata": {"app_id": "config"}})
    await call(draw, is_async)
    assert [r.headers["x-app-id"] for r in wire.requests] == ["config", "made"]


@pytest.mark.parametrize("is_async", [False, True])
async def test_the_local_gateway_draws(is_async: bool, gateway: LocalGateway) -> None:
    draw = LunosImageGeneration(
        model="lunos/scripted-image",
        image_format="b64_json",
        api_key=gateway.api_key,
        base_url=gateway.base_url,
    )
    message = await call(draw, is_async)
    assert base64.b64decode(message.artifact[0]["base64"]).startswith(b"\x89PNG")
    assert draw.args.keys() == {"prompt"}


SUBTITLES = {
    "srt": "1\n00:00:00,000 --> 00:00:01,000\nHello\n\n2\n00:00:01,000 --> 00:00:02,500\nthere.\n",
    "vtt": "WEBVTT\n\n00:00.000 --> 00:01.000\nHello\n\n00:01.000 --> 00:02.500\nthere.\n",
}
VERBOSE = {
    "text": "Hello there.",
    "language": "en",
    "duration": 2.0,
    "segments": [{"text": " Hello", "start": 0.0, "end": 1.0}, {"text": " there.", "start": 1.0}],
    "cost": 0.01,
}


def test_a_recording_is_a_document_with_what_the_server_said(tmp_path: Path) -> None:
    path = tmp_path / "memo.wav"
    path.write_bytes(speech())
    wire = Wire(reply(VERBOSE))
    (document,) = parser(wire, language="en").lazy_parse(Blob.from_path(path))
    assert document.page_content == "Hello there."
    assert document.metadata["source"] == str(path)
    assert document.metadata["duration"] == 2.0
    assert document.metadata["cost"] == 0.01
    assert b'filename="memo.wav"' in wire.sent.content
    assert speech() in wire.sent.content
    assert b"response_format" not in wire.sent.content


def test_by_segment_there_is_one_document_each_and_the_cost_once() -> None:
    wire = Wire(reply(VERBOSE))
    blob = Blob.from_data(speech(), path="memo.wav")
    first, second = parser(wire, by_segment=True).parse(blob)
    assert b"verbose_json" in wire.sent.content
    assert (first.page_content, first.metadata["start"], first.metadata["end"]) == ("Hello", 0, 1)
    assert (second.page_content, second.metadata["end"]) == ("there.", None)
    assert "cost" in first.metadata
    assert "cost" not in second.metadata


@pytest.mark.parametrize("kind", SUBTITLES)
def test_subtitles_are_segments_with_their_times_like_json_s(kind: str) -> None:
    said = SUBTITLES[kind]
    blob = Blob.from_data(speech(), path="memo.wav")
    (whole,) = parser(
        Wire(raw(said.encode(), content_type="text/plain")), response_format=kind
    ).parse(blob)
    assert whole.page_content == said
    assert whole.metadata["segments"] == [
        {"text": "Hello", "start": 0.0, "end": 1.0},
        {"text": "there.", "start": 1.0, "end": 2.5},
    ]
    wire = Wire(raw(said.encode(), content_type="text/plain"))
    several = parser(wire, response_format=kind, by_segment=True).parse(blob)
    assert f"\r\n\r\n{kind}\r\n".encode() in wire.sent.content
    assert [
        (item.page_content, item.metadata["start"], item.metadata["end"], item.metadata["format"])
        for item in several
    ] == [("Hello", 0.0, 1.0, kind), ("there.", 1.0, 2.5, kind)]


def test_a_deployment_without_the_route_gives_a_clear_error() -> None:
    missing = reply({"error": {"message": "Cannot POST /v1/audio/transcriptions"}}, 404)
    with pytest.raises(LunosNotFoundError, match="can't transcribe audio"):
        parser(Wire(missing)).parse(Blob.from_data(speech()))


def test_the_parser_follows_the_config_of_the_chain_around_it() -> None:
    wire = Wire(reply(VERBOSE))
    blob = Blob.from_data(speech())
    RunnableLambda(parser(wire).parse).invoke(blob, {"metadata": {"app_id": "chain"}})
    assert wire.sent.headers["x-app-id"] == "chain"


def test_the_local_gateway_transcribes(gateway: LocalGateway) -> None:
    result = LunosAudioTranscriber(
        model="lunos/scripted-whisper", api_key=gateway.api_key, base_url=gateway.base_url
    )
    with UsageLedger() as ledger:
        (document,) = result.parse(Blob.from_data(speech(), path="memo.wav"))
    assert document.page_content
    assert [row["endpoint"] for row in ledger.rows()] == ["/audio/transcriptions"]


def test_a_typo_in_a_setting_is_named() -> None:
    with pytest.raises(TypeError, match="quality"):
        LunosImageGeneration(**{**SETTINGS, "qualty": "hd"})


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_recording_is_sent_under_its_files_name(in_memory: bool, tmp_path: Path) -> None:
    file = tmp_path / "a memo.wav"
    file.write_bytes(speech())
    blob = Blob(data=b"sound", path="C:\\memos\\b.wav") if in_memory else Blob.from_path(file)
    wire = Wire(reply({"text": "Hello"}))
    (document,) = parser(wire).lazy_parse(blob)
    sent = wire.requests[0].content
    assert (b'filename="b.wav"' if in_memory else b'filename="a memo.wav"') in sent
    assert (b"sound" if in_memory else speech()) in sent
    assert (document.page_content, document.metadata["source"]) == ("Hello", str(blob.path))
