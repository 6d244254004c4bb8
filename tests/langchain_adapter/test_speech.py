"""The tools that speak, and that draw and change images through chat."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest

from langchain_lunos import LunosError, LunosImageGeneration, LunosResponseError, LunosSpeech
from lunos_core import Lunos, UsageLedger, app
from lunos_local import LocalGateway
from tests.langchain_adapter.wire import KEY, Wire, clients, raw, reply

MP3 = b"ID3\x04sound"
PNG64 = base64.b64encode(b"\x89PNG\r\n\x1a\n....").decode()
URL = f"data:image/png;base64,{PNG64}"
SETTINGS = {"model": "m", "api_key": KEY, "base_url": "https://lunos.test", "max_retries": 0}

pytestmark = pytest.mark.parametrize("is_async", [False, True])


async def call(tool: Any, is_async: bool, **args: str) -> Any:
    asked = {"type": "tool_call", "id": "1", "name": tool.name, "args": args}
    return await tool.ainvoke(asked) if is_async else tool.invoke(asked)


def chat(*images: Any, content: str = "Here.") -> Any:
    choice = {"index": 0, "message": {"content": content, "images": list(images)}}
    return reply({"choices": [choice], "usage": {"prompt_tokens": 1, "cost": 0.04}})


async def test_sound_is_a_standard_block_beside_a_text_for_the_model(
    is_async: bool, tmp_path: Path
) -> None:
    wire = Wire(raw(MP3, content_type="audio/mpeg"))
    params = {"voice": "alloy", "speed": 1.5, "google_voice_config": {"voiceName": "Kore"}}
    settings = {**params, "audio_format": "mp3", "folder": tmp_path / "new"}
    speak = LunosSpeech(**SETTINGS, **clients(wire), **settings)  # type: ignore[arg-type]  # mixed
    with UsageLedger() as ledger, app("reader"):
        message = await call(speak, is_async, text="Hello")
    (file,) = (tmp_path / "new").iterdir()
    assert (file.suffix, file.read_bytes()) == (".mp3", MP3)
    assert message.content == f"The text was spoken. See {file}"
    data = base64.b64encode(MP3).decode()
    assert message.artifact == [{"type": "audio", "base64": data, "mime_type": "audio/mpeg"}]
    assert wire.bodies == [{"model": "m", "input": "Hello", **params, "response_format": "mp3"}]
    assert [(row["app_id"], row["endpoint"]) for row in ledger.rows()] == [
        ("reader", "/audio/generations")
    ]


@pytest.mark.parametrize("text", ["", " ", "a" * 4097])
async def test_the_model_learns_that_a_text_cannot_be_spoken(is_async: bool, text: str) -> None:
    wire = Wire(raw(MP3))
    message = await call(LunosSpeech(**SETTINGS, **clients(wire)), is_async, text=text)
    assert message.content.startswith("Nothing was spoken: input")
    assert (message.artifact, wire.requests) == ([], [])


async def test_an_error_as_json_is_the_adapters(is_async: bool) -> None:
    wire = Wire(reply({"success": False, "message": "no", "error": "UNAUTHORIZED"}))
    with pytest.raises(LunosError, match="no"):
        await call(LunosSpeech(**SETTINGS, **clients(wire)), is_async, text="Hello")


@pytest.mark.parametrize("image", [{"type": "image_url", "image_url": {"url": URL}}, {"url": URL}])
async def test_a_chat_model_draws(is_async: bool, image: Any) -> None:
    wire = Wire(chat(image))
    config = {"aspect_ratio": "16:9"}
    draw = LunosImageGeneration(
        **SETTINGS, **clients(wire), route="chat", modalities=["image"], image_config=config
    )
    with UsageLedger() as ledger:
        message = await call(draw, is_async, prompt="a cat")
    assert message.artifact == [{"type": "image", "base64": PNG64, "mime_type": "image/png"}]
    assert message.content == "1 image was generated. The model wrote: Here."
    (body,) = wire.bodies
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "a cat"}],
        "modalities": ["image"],
        "image_config": config,
    }
    assert ledger.rows()[0]["cost"] == 0.04


async def test_the_loaded_catalog_chooses_the_route(is_async: bool, gateway: LocalGateway) -> None:
    with Lunos(gateway.api_key, base_url=gateway.base_url) as lunos:
        draw = LunosImageGeneration(
            model="lunos/openai/dall-e-3",
            api_key=gateway.api_key,
            base_url=gateway.base_url,
            catalog=lunos.models,
        )
        await call(draw, is_async, prompt="a cat")
        lunos.models.get("openai/dall-e-3")
        message = await call(draw, is_async, prompt="a cat")
    paths = [entry["path"] for entry in gateway.requests() if entry["method"] == "POST"]
    assert paths[-2:] == ["/v1/images/generations", "/v1/chat/completions"]
    assert message.artifact[0]["mime_type"] == "image/png"


async def test_an_answer_without_an_image_keeps_its_text(is_async: bool) -> None:
    draw = LunosImageGeneration(**SETTINGS, **clients(Wire(chat(content="I won't."))), route="chat")
    with pytest.raises(LunosResponseError, match="I won't") as caught:
        await call(draw, is_async, prompt="a cat")
    assert caught.value.partial.content == "I won't."


async def test_the_model_may_name_an_image_to_change(is_async: bool, tmp_path: Path) -> None:
    wire = Wire(chat({"url": URL}))
    draw = LunosImageGeneration(**SETTINGS, **clients(wire), edits=True, folder=tmp_path)
    assert set(draw.args) == {"prompt", "image"}
    drawn = await call(draw, is_async, prompt="a cat", image=URL)
    (file,) = (tmp_path / name for name in os.listdir(tmp_path))
    assert str(file) in drawn.content
    for image in (str(file), file.name, "https://x.test/1.png"):
        await call(draw, is_async, prompt="Make it blue.", image=image)
    sent = [body["messages"][0]["content"][1]["image_url"]["url"] for body in wire.bodies]
    assert sent == [URL, URL, URL, "https://x.test/1.png"]
    secret = tmp_path.parent / "secret.png"
    secret.write_bytes(b"\x89PNG\r\n\x1a\nsecret")
    for image in (str(secret), "../secret.png", "gone.png", "file:///etc/passwd", ".."):
        refused = await call(draw, is_async, prompt="Make it blue.", image=image)
        assert "there is no image" in refused.content
    assert (await call(draw, is_async, prompt=" ")).content.startswith("Nothing was drawn")
    assert len(wire.requests) == 4


async def test_without_edits_the_arguments_are_the_prompt_alone(is_async: bool) -> None:
    draw = LunosImageGeneration(**SETTINGS, **clients(Wire(chat({"url": URL}))))
    assert set(draw.args) == {"prompt"}
    assert (await call(draw, is_async, prompt="")).artifact == []
