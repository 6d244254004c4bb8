"""The tools that speak, and that draw and change images through chat."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import AudioBlock, ImageBlock

from llama_index_lunos import LunosImageToolSpec, LunosSpeechToolSpec
from lunos_core import Lunos, LunosAuthenticationError, LunosResponseError, UsageLedger, app
from lunos_local import LocalGateway
from tests.core.wire_samples import raw
from tests.llama_index_adapter.wire import Way, Wire, answer, reply

MP3 = b"ID3\x04sound"
PNG = b"\x89PNG\r\n\x1a\n...."
URL = "data:image/png;base64," + base64.b64encode(PNG).decode()


async def call(way: Way, spec: Any, name: str, **args: str) -> Any:
    (tool,) = [tool for tool in spec.to_tool_list() if tool.metadata.name == name]
    output = await tool.acall(**args) if way.is_async else tool.call(**args)
    return output.raw_output


async def test_sound_is_an_audio_block(way: Way) -> None:
    wire = Wire(raw(MP3, content_type="audio/mpeg"))
    params = {"voice": "alloy", "speed": 2, "response_format": "mp3"}
    spec = LunosSpeechToolSpec("m", params=params, **way._connection(wire))
    with UsageLedger() as ledger, app("reader"):
        block = await call(way, spec, "speak", text="Hello")
    assert isinstance(block, AudioBlock)
    assert (block.resolve_audio().read(), block.format) == (MP3, "mp3")
    assert wire.body == {"model": "m", "input": "Hello", **params}
    assert [(row["app_id"], row["endpoint"]) for row in ledger.rows()] == [
        ("reader", "/audio/generations")
    ]


async def test_parameters_by_name_are_sent_too(way: Way) -> None:
    wire = Wire(raw(MP3, content_type="audio/mpeg"))
    spec = LunosSpeechToolSpec("m", voice="alloy", params={"speed": 2}, **way._connection(wire))
    await call(way, spec, "speak", text="Hello")
    assert wire.body == {"model": "m", "input": "Hello", "voice": "alloy", "speed": 2}


@pytest.mark.parametrize(
    ("kind", "wrong", "said"),
    [
        (
            LunosSpeechToolSpec,
            {"vioce": "alloy"},
            "LunosSpeechToolSpec.*'vioce': did you mean 'voice'",
        ),
        (LunosSpeechToolSpec, {"speed": 9}, "speed must be from 0.25 to 4"),
        (
            LunosImageToolSpec,
            {"time_out": 5},
            "LunosImageToolSpec.*'time_out': did you mean 'timeout'",
        ),
        (LunosImageToolSpec, {"size": 5}, "size must be a str"),
    ],
)
def test_a_wrong_argument_raises_when_the_tool_is_made(
    kind: Any, wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        kind("m", api_key="k", **wrong)


async def test_a_folder_keeps_the_sound(way: Way, tmp_path: Path) -> None:
    spec = LunosSpeechToolSpec("m", folder=tmp_path, **way._connection(Wire(raw(b"RIFF....WAVE"))))
    block = await call(way, spec, "speak", text="Hello")
    (file,) = (tmp_path / name for name in os.listdir(tmp_path))
    assert (block.path, file.suffix, file.read_bytes()) == (file, ".wav", b"RIFF....WAVE")


@pytest.mark.parametrize("text", ["", "a" * 4097])
async def test_the_model_learns_that_a_text_cannot_be_spoken(way: Way, text: str) -> None:
    wire = Wire(raw(MP3))
    spec = LunosSpeechToolSpec("m", **way._connection(wire))
    assert "Nothing was spoken: input" in await call(way, spec, "speak", text=text)
    assert not wire.requests


async def test_an_error_as_json_is_the_error_of_its_code(way: Way) -> None:
    wire = Wire(reply({"success": False, "message": "no", "error": "UNAUTHORIZED"}))
    spec = LunosSpeechToolSpec("m", **way._connection(wire))
    with pytest.raises(LunosAuthenticationError):
        await call(way, spec, "speak", text="Hello")


@pytest.mark.parametrize("image", [{"type": "image_url", "image_url": {"url": URL}}, {"url": URL}])
async def test_a_chat_model_draws(way: Way, image: Any) -> None:
    wire = Wire(answer({"content": "Here.", "images": [image]}))
    params = {"modalities": ["image"], "image_config": {"image_size": "2K"}}
    spec = LunosImageToolSpec("m", route="chat", params=params, **way._connection(wire))
    block = await call(way, spec, "generate_image", prompt="a cat")
    assert isinstance(block, ImageBlock)
    assert block.resolve_image().read() == PNG
    messages = [{"role": "user", "content": "a cat"}]
    assert wire.body == {"model": "m", "messages": messages, **params}


async def test_the_loaded_catalog_chooses_the_route(way: Way, gateway: LocalGateway) -> None:
    with Lunos(gateway.api_key, base_url=gateway.base_url) as lunos:
        spec = LunosImageToolSpec(
            "lunos/openai/dall-e-3",
            api_key=gateway.api_key,
            api_base=gateway.base_url,
            catalog=lunos.models,
        )
        await call(way, spec, "generate_image", prompt="a cat")
        lunos.models.get("openai/dall-e-3")
        await call(way, spec, "generate_image", prompt="a cat")
    paths = [entry["path"] for entry in gateway.requests() if entry["method"] == "POST"]
    assert paths[-2:] == ["/v1/images/generations", "/v1/chat/completions"]


async def test_an_answer_without_an_image_keeps_its_text(way: Way) -> None:
    spec = LunosImageToolSpec("m", route="chat", **way._connection(Wire(answer("I won't."))))
    with pytest.raises(LunosResponseError, match="I won't"):
        await call(way, spec, "generate_image", prompt="a cat")


async def test_a_second_tool_changes_images(way: Way, tmp_path: Path) -> None:
    wire = Wire(answer({"content": "", "images": [{"url": URL}]}))
    spec = LunosImageToolSpec("m", edits=True, folder=tmp_path, **way._connection(wire))
    block = await call(way, spec, "edit_image", prompt="Make it blue.", image=URL)
    for image in (str(block.path), "https://x.test/1.png"):
        await call(way, spec, "edit_image", prompt="Make it blue.", image=image)
    sent = [body["messages"][0]["content"][1]["image_url"]["url"] for body in wire.bodies]
    assert sent == [URL, URL, "https://x.test/1.png"]
    for image in ("../secret.png", "/etc/passwd", ""):
        said = await call(way, spec, "edit_image", prompt="Make it blue.", image=image)
        assert "there is no image" in said
    for name in ("generate_image", "edit_image"):
        args = {"prompt": " ", **({"image": URL} if name == "edit_image" else {})}
        assert await call(way, spec, name, **args) == "Nothing was drawn: the prompt is empty."
    assert len(wire.requests) == 3
