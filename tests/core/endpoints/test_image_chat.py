"""Images through chat: when, with which body, and how they are read."""

from __future__ import annotations

import asyncio
import base64
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lunos_core import (
    AsyncLunos,
    CallRecord,
    Completion,
    GeneratedImage,
    Lunos,
    LunosAuthenticationError,
    LunosResponseError,
    image_chat_request,
)
from lunos_core.wire import json
from tests.core.wire_samples import Wire, reply

if TYPE_CHECKING:
    from lunos_local import LocalGateway
    from tests.conftest import Both

PNG = b"\x89PNG\r\n\x1a\n...."
PNG64 = base64.b64encode(PNG).decode()
URL = f"data:image/png;base64,{PNG64}"
WRAPPED = {"type": "image_url", "image_url": {"url": URL}}
USAGE = {"prompt_tokens": 3, "completion_tokens": 1290, "cost": 0.04}
CHAT, IMAGES = "/v1/chat/completions", "/v1/images/generations"
CATALOG = [
    {"id": "google/draws", "outputModalities": ["text", "image"]},
    {"id": "draws-only", "provider": "flux", "outputModalities": ["Image"]},
    {"id": "openai/gpt-4", "outputModalities": ["text"]},
    {"id": "openai/dall-e", "capabilities": ["image-generation"]},
]


def chat(images: Any, content: Any = "Here.", **message: Any) -> Any:
    choice = {"index": 0, "message": {"content": content, "images": images, **message}}
    return reply({"model": "served", "created": 7, "choices": [choice], "usage": USAGE})


class Service(Wire):
    """Answers by route."""

    def __init__(self, answer: Any = None) -> None:
        super().__init__(reply(CATALOG))
        self.routes = {
            CHAT: answer or chat([WRAPPED]),
            IMAGES: reply({"data": [{"url": "https://x.test/1.png"}]}),
            "/public/models": reply(CATALOG),
        }

    def __call__(self, request: Any) -> Any:
        self._answers = [self.routes[request.url.path]]
        return super().__call__(request)

    @property
    def paths(self) -> list[str]:
        return [request.url.path for request in self.requests]


def lunos_of(both: Both, wire: Any, **settings: Any) -> Any:
    kind = AsyncLunos if both.is_async else Lunos
    settings = {"base_url": "https://lunos.test", "max_retries": 0, **settings}
    return kind("k", http_client=both.http_client(wire), **settings)


@pytest.mark.parametrize(
    ("model", "modalities"),
    [
        ("google/draws", ["image", "text"]),
        ("lunos/google/draws", ["image", "text"]),
        ("openrouter/google/draws", ["image", "text"]),
        ("draws-only", ["image"]),
        ("lunos/flux/draws-only", ["image"]),
        ("openai/gpt-4", None),
        ("openai/dall-e", None),
        ("nobody/knows", None),
    ],
)
async def test_the_loaded_catalog_chooses_the_route(
    both: Both, model: str, modalities: list[str] | None
) -> None:
    wire = Service()
    lunos = lunos_of(both, wire)
    await both(lunos.images.generate(model=model, prompt="a cat"))
    assert wire.paths == [IMAGES], "no catalog is fetched for it"
    await both(lunos.models.list())
    await both(lunos.images.generate(model=model, prompt="a cat"))
    await both(lunos.images.generate(model=model, prompt="a cat", route="images"))
    await both(lunos.images.generate(model=model, prompt="a cat", quality="hd"))
    await both(
        lunos.images.generate(model=model, prompt="a cat", image_config={"image_size": "2K"})
    )
    await both(lunos.images.generate(model=model, prompt="a cat", route="chat"))
    assert wire.paths[2:] == [CHAT if modalities else IMAGES, IMAGES, IMAGES, CHAT, CHAT]
    last = json.loads(wire.requests[-1].content)
    assert last["modalities"] == (modalities or ["image", "text"])
    if modalities:
        sent = json.loads(wire.requests[2].content)
        assert sent == {
            "model": model,
            "messages": [{"role": "user", "content": "a cat"}],
            "modalities": modalities,
        }


@pytest.mark.parametrize(
    "images",
    [
        [WRAPPED],
        [{"url": URL}],
        [{"type": "image", "url": URL}],
        [{"image_url": URL}],
        [{"type": "image_url", "image_url": URL}],
        [{"b64_json": PNG64}],
        [{"type": "image_url", "image_url": {"b64_json": PNG64}}],
        [URL],
        URL,
        {"url": URL},
        [WRAPPED, {"url": URL}],
    ],
)
@pytest.mark.parametrize("response_format", [None, "url", "b64_json"])
async def test_images_are_read_in_every_wrapper(
    both: Both, images: Any, response_format: str | None
) -> None:
    records: list[CallRecord] = []
    lunos = lunos_of(both, Service(chat(images)), observers=[records.append])
    answer = await both(
        lunos.images.generate(
            model="m", prompt="a", route="chat", response_format=response_format, app_id="app"
        )
    )
    (image,) = answer.data
    assert (image.data, image.mime_type) == (PNG, "image/png")
    expected = (None, PNG64) if response_format == "b64_json" else (URL, None)
    assert (image.url, image.b64_json) == expected
    assert (answer.text, answer.model, answer.cost, answer.created) == ("Here.", "served", 0.04, 7)
    assert (records[0].app_id, records[0].usage.cost) == ("app", 0.04)  # type: ignore[union-attr]  # it has one


async def test_several_choices_and_addresses_give_all_their_images(both: Both) -> None:
    choices = [
        {"index": i, "message": {"content": None, "images": [{"url": f"https://x.test/{i}.png"}]}}
        for i in range(2)
    ]
    lunos = lunos_of(both, Service(reply({"data": {"choices": choices}, "id": "1"})))
    answer = await both(lunos.images.generate(model="m", prompt="a", route="chat", n=2))
    assert [image.url for image in answer.images] == [
        "https://x.test/0.png",
        "https://x.test/1.png",
    ]
    assert answer.images[0].data is None


async def test_an_answer_without_an_image_is_an_error_that_keeps_it_and_its_cost(
    both: Both,
) -> None:
    records: list[CallRecord] = []
    wire = Service(chat([], "I can't draw that."))
    lunos = lunos_of(both, wire, observers=[records.append])
    with pytest.raises(LunosResponseError, match="I can't draw that") as caught:
        await both(lunos.images.generate(model="m", prompt="a", route="chat"))
    assert isinstance(caught.value.partial, Completion)
    assert records[0].usage is not None
    assert records[0].usage.cost == 0.04
    wire.routes[CHAT] = reply({"success": False, "message": "no", "error": "UNAUTHORIZED"})
    with pytest.raises(LunosAuthenticationError):
        await both(lunos.images.generate(model="m", prompt="a", route="chat"))


@pytest.mark.parametrize(
    ("params", "config"),
    [
        ({}, None),
        ({"size": "auto"}, None),
        ({"size": "1024x1024"}, {"aspect_ratio": "1:1"}),
        ({"size": "1792x1024"}, {"aspect_ratio": "16:9"}),
        ({"size": "2048x2048"}, {"aspect_ratio": "1:1", "image_size": "2K"}),
        ({"size": "3072x4096"}, {"aspect_ratio": "3:4", "image_size": "4K"}),
        ({"size": "4K"}, {"image_size": "4K"}),
        ({"width": 512, "height": 1024}, {"aspect_ratio": "9:16"}),
        (
            {"size": "2K", "image_config": {"aspect_ratio": "21:9"}},
            {"image_size": "2K", "aspect_ratio": "21:9"},
        ),
    ],
)
def test_a_size_is_sent_in_the_words_of_chat_models(
    params: dict[str, Any], config: dict[str, str] | None
) -> None:
    body = json.loads(image_chat_request("a", model="m", **params).body)
    assert body.get("image_config") == config
    assert not body.keys() & {"size", "width", "height"}


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"quality": "hd"}, "quality isn't known"),
        ({"style": "vivid"}, "style isn't known"),
        ({"size": "large"}, "size must be like"),
        ({"size": "0x1024"}, "size must be like"),
        ({"width": 512}, "height must be an int"),
        ({"response_format": "png"}, "response_format must be one of"),
        ({"image": []}, "image is an empty list"),
        ({"image": b""}, "image is empty"),
        ({"image": 7}, "image must be a URL"),
        ({"modalities": "image"}, "modalities must be a list"),
        ({"image_config": "2K"}, "image_config must be a mapping"),
        ({"route": "fax"}, "route must be one of"),
        ({"route": "images", "image": URL}, "image needs route='chat'"),
        ({"route": "images", "image_config": {}}, "image_config needs route='chat'"),
        ({"prompt": ""}, "prompt is empty"),
    ],
)
async def test_what_chat_cannot_carry_raises_before_anything_is_sent(
    both: Both, params: dict[str, Any], said: str
) -> None:
    wire = Service()
    images = lunos_of(both, wire).images
    with pytest.raises((ValueError, TypeError), match=said):
        await both(images.generate(**{"model": "m", "prompt": "a", "route": "chat", **params}))
    assert not wire.requests


async def test_edits_and_variations_start_from_an_image(both: Both, tmp_path: Path) -> None:
    file = tmp_path / "cat.png"
    await asyncio.to_thread(file.write_bytes, PNG)
    wire = Service()
    images = lunos_of(both, wire).images
    part = {"type": "image_url", "image_url": {"url": URL}}
    given = [file, str(file), PNG, bytearray(PNG), BytesIO(PNG), URL, GeneratedImage(url=URL)]
    for image in [*given, GeneratedImage(b64_json=PNG64)]:
        await both(images.edit(model="m", image=image, prompt="Make it blue."))
    await both(images.create_variation(model="m", image=[URL, "https://x.test/2.png"], n=2))
    await both(images.generate(model="m", image=URL, prompt="Make it blue."))
    *edits, variation, generated = wire.bodies
    text = {"type": "text", "text": "Make it blue."}
    assert all(body["messages"][0]["content"] == [text, part] for body in [*edits, generated])
    assert [one["type"] for one in variation["messages"][0]["content"]] == ["text"] + [
        "image_url"
    ] * 2
    assert variation["n"] == 2
    assert set(wire.paths) == {CHAT}


async def test_the_fallback_model_gets_the_same_image_and_sizes(both: Both) -> None:
    answers = iter([reply({"error": "model is out"}, 400), chat([WRAPPED])])
    wire = Service(lambda: next(answers)())
    images = lunos_of(both, wire).images
    asked = {"model": "m", "image": BytesIO(PNG), "prompt": "a", "size": "2K", "seed": 7}
    await both(images.edit(**asked, fallback_model="n", response_format="b64_json"))
    first, second = wire.bodies
    assert (first.pop("model"), second.pop("model"), first.pop("fallback_model")) == ("m", "n", "n")
    assert first == second


async def test_the_local_gateway_draws_through_chat(both: Both, gateway: LocalGateway) -> None:
    kind = AsyncLunos if both.is_async else Lunos
    lunos = both.closing(kind(gateway.api_key, base_url=gateway.base_url))
    await both(lunos.models.list(output="image"))
    answer = await both(
        lunos.images.generate(model="openai/dall-e-3", prompt="a", n=2, size="1536x1024")
    )
    assert (len(answer.data), answer.cost, answer.text) == (2, 0.08, "")
    assert {image.mime_type for image in answer.data} == {"image/png"}
    assert gateway.requests()[-1]["path"] == CHAT
    mixed = await both(
        lunos.images.generate(model="google/gemini-2.5-flash-image", prompt="a", route="chat")
    )
    assert mixed.text
    edited = await both(
        lunos.images.edit(
            model="google/gemini-2.5-flash-image", image=mixed.data[0], prompt="Blue."
        )
    )
    assert "1 image" in edited.text


@pytest.mark.parametrize("size", ["00x64", "64x00"])
def test_a_picture_without_width_or_height_is_refused(size: str) -> None:
    with pytest.raises(ValueError, match=r"(width|height) must be"):
        image_chat_request("a cat", model="m", size=size)
