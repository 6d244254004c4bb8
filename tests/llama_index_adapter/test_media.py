"""The image tool and the audio reader: over the real local gateway, and over any wire."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import httpx
import pytest
from llama_index.core import SimpleDirectoryReader
from llama_index.core.base.llms.types import ImageBlock

from llama_index_lunos import LunosAudioReader, LunosImageToolSpec
from lunos_core import LunosNotFoundError, UsageLedger
from lunos_local import LocalGateway
from tests.llama_index_adapter.wire import Way, Wire, reply
from tests.sounds import wav

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 8
ENCODED = base64.b64encode(PNG).decode()
SUBTITLES = {
    "srt": "1\n00:00:00,000 --> 00:00:01,000\nHello\n\n2\n00:00:01,000 --> 00:00:02,500\nthere.\n",
    "vtt": "WEBVTT\n\n00:00.000 --> 00:01.000\nHello\n\n00:01.000 --> 00:02.500\nthere.\n",
}
VERBOSE = {
    "text": "Hello there.",
    "language": "en",
    "duration": 2.0,
    "segments": [{"text": " Hello", "start": 0.0, "end": 1.0}, {"text": " there.", "start": 1.0}],
}


def speech() -> bytes:
    """A second and a half of silence."""
    return wav(b"\0\0" * 12_000, sample_bytes=2)


async def draw(way: Way, spec: LunosImageToolSpec) -> Any:
    (tool,) = spec.to_tool_list()
    return await tool.acall("a red cat") if way.is_async else tool.call("a red cat")


async def test_an_image_is_an_image_block(way: Way) -> None:
    wire = Wire(reply({"data": [{"b64_json": ENCODED}], "cost": 0.04}))
    params = {"size": "256x256", "response_format": "b64_json"}
    spec = LunosImageToolSpec("m", params=params, app_id="app", **way._connection(wire))
    with UsageLedger() as ledger:
        output = await draw(way, spec)
    assert not output.is_error
    assert isinstance(output.raw_output, ImageBlock)
    assert output.raw_output.resolve_image().read() == PNG
    assert wire.body == {"model": "m", "prompt": "a red cat", **params}
    assert ledger.rows()[0]["cost"] == 0.04
    assert ledger.rows()[0]["app_id"] == "app"


async def test_a_folder_keeps_the_images_and_the_block_names_the_file(
    way: Way, tmp_path: Path
) -> None:
    wire = Wire(reply({"data": [{"b64_json": ENCODED}, {"url": "https://x.test/1.png"}]}))
    spec = LunosImageToolSpec("m", folder=tmp_path, **way._connection(wire))
    first, second = (await draw(way, spec)).raw_output
    assert first.path.parent == tmp_path
    assert first.resolve_image().read() == PNG
    assert str(second.url) == "https://x.test/1.png"


async def test_the_local_gateway_draws(way: Way, gateway: LocalGateway) -> None:
    spec = LunosImageToolSpec(
        "lunos/scripted-image",
        params={"response_format": "b64_json"},
        api_key=gateway.api_key,
        api_base=gateway.base_url,
    )
    output = await draw(way, spec)
    assert output.raw_output.resolve_image().read().startswith(b"\x89PNG")
    await spec.aclose() if way.is_async else spec.close()


async def test_a_deployment_with_the_other_path_draws_and_is_remembered(
    way: Way, singular_gateway: LocalGateway
) -> None:
    spec = LunosImageToolSpec(
        "lunos/scripted-image",
        params={"response_format": "b64_json"},
        api_key=singular_gateway.api_key,
        api_base=singular_gateway.base_url,
    )
    for _ in range(2):
        output = await draw(way, spec)
        assert output.raw_output.resolve_image().read().startswith(b"\x89PNG")
    await spec.aclose() if way.is_async else spec.close()
    assert [request["path"] for request in singular_gateway.requests()] == [
        "/v1/images/generations", "/v1/image/generations", "/v1/image/generations"
    ]  # fmt: skip


async def read(way: Way, reader: LunosAudioReader, *args: Any, **more: Any) -> Any:
    return await way(reader, "load_data", *args, **more)


async def test_a_recording_is_a_document(way: Way, tmp_path: Path) -> None:
    path = tmp_path / "memo.wav"
    path.write_bytes(speech())
    wire = Wire(reply(VERBOSE))
    reader = LunosAudioReader("m", **way._connection(wire))
    (document,) = await read(way, reader, path, {"team": "red"})
    assert document.text == "Hello there."
    assert document.metadata["team"] == "red"
    assert document.metadata["duration"] == 2.0
    assert "segments" in document.excluded_embed_metadata_keys
    assert b'filename="memo.wav"' in wire.request.content
    first, second = await read(way, LunosAudioReader(
        "m", by_segment=True, **way._connection(Wire(reply(VERBOSE)))
    ), path)  # fmt: skip
    assert (first.text, first.metadata["start"], second.text) == ("Hello", 0.0, "there.")


@pytest.mark.parametrize("kind", SUBTITLES)
async def test_subtitles_are_segments_with_their_times_like_json_s(
    way: Way, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "memo.wav"
    path.write_bytes(speech())
    wire = Wire(lambda: httpx.Response(200, text=SUBTITLES[kind]))
    settings = {"response_format": kind, **way._connection(wire)}
    (whole,) = await read(way, LunosAudioReader("m", **settings), path)
    assert whole.text == SUBTITLES[kind]
    assert whole.metadata["segments"] == [
        {"text": "Hello", "start": 0.0, "end": 1.0},
        {"text": "there.", "start": 1.0, "end": 2.5},
    ]
    several = await read(way, LunosAudioReader("m", by_segment=True, **settings), path)
    assert f"\r\n\r\n{kind}\r\n".encode() in wire.requests[-1].content
    assert [
        (item.text, item.metadata["start"], item.metadata["end"], item.metadata["format"])
        for item in several
    ] == [("Hello", 0.0, 1.0, kind), ("there.", 1.0, 2.5, kind)]


async def test_any_file_system_will_do(way: Way) -> None:
    fsspec = pytest.importorskip("fsspec")
    fs = fsspec.filesystem("memory")
    with fs.open("/memos/memo.wav", "wb") as file:
        file.write(speech())
    wire = Wire(reply(VERBOSE))
    reader = LunosAudioReader("m", **way._connection(wire))
    (document,) = await read(way, reader, "/memos/memo.wav", fs=fs)
    assert document.text == "Hello there."
    assert speech() in wire.request.content


def test_it_reads_a_folder_for_simple_directory_reader(
    tmp_path: Path, gateway: LocalGateway
) -> None:
    (tmp_path / "memo.wav").write_bytes(speech())
    reader = LunosAudioReader(
        "lunos/scripted-whisper", api_key=gateway.api_key, api_base=gateway.base_url
    )
    folder = SimpleDirectoryReader(
        str(tmp_path), file_extractor={".wav": reader}, raise_on_error=True
    )
    (document,) = folder.load_data()
    assert document.text
    assert document.metadata["file_name"] == "memo.wav"
    assert "api_key" not in reader.to_dict()
    reader.close()


async def test_a_deployment_without_the_route_gives_a_clear_error(way: Way, tmp_path: Path) -> None:
    path = tmp_path / "memo.wav"
    path.write_bytes(speech())
    missing = reply({"error": {"message": "Cannot POST /v1/audio/transcriptions"}}, 404)
    reader = LunosAudioReader("m", **way._connection(Wire(missing)))
    with pytest.raises(LunosNotFoundError, match="can't transcribe audio"):
        await read(way, reader, path)
