"""Images through `POST /chat/completions`: from a prompt, or from another image.

Source of the format: the vendor's later pages, in OpenRouter's style: `modalities`, `image_config`,
and the images beside the answer's text. The reference has only `/images/generations`.
"""

from __future__ import annotations

import base64
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

from lunos_core.endpoints.build import check_params, fallback_of, json_call
from lunos_core.endpoints.chat.content_parts import data_url, image_part, text_part
from lunos_core.endpoints.chat.requests import PATH, parse_chat
from lunos_core.endpoints.images import (
    GeneratedImage,
    Images,
    check_prompt,
    image_request,
    mime_type_of,
    read_images,
)
from lunos_core.endpoints.params import CHAT, integer
from lunos_core.errors import LunosResponseError
from lunos_core.request import Reply, Request

Route = Literal["auto", "images", "chat"]
ROUTES = ("auto", "images", "chat")
Picture = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | GeneratedImage

_RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
_SIDES = ((2900, "4K"), (1450, "2K"))  # between a side of 1024, 2048 and 4096 pixels
_OF_IMAGES = {"quality", "style"}
_OF_CHAT = {"modalities", "image_config"}


class KnowsOutputs(Protocol):
    """A catalog that gives what it has loaded already: enough to choose a route."""

    def cached(self, id: str) -> Any:
        """Return the known facts about a model, or `None`."""
        ...


def drawing_request(
    prompt: str,
    /,
    *,
    model: str,
    route: Route | str = "auto",
    catalog: KnowsOutputs | None = None,
    image: Picture | Sequence[Picture] | None = None,
    **params: Any,
) -> Request[Images]:
    """Return the request for images by the route that fits the model.

    Args:
        prompt: a description of the image, or of the change to `image`.
        model: the model's id.
        route: "images" (`/images/generations`), "chat", or "auto": chat if the catalog says that
            the model writes images, or if there is an `image` or a parameter that only chat has
            (`modalities`, `image_config`); else, and with `quality` or `style`, "images".
        catalog: for "auto", used without a request.
        image: the original image, or several: only through chat.
        **params: those of `image_request` or `image_chat_request`.

    Raises:
        TypeError: a parameter of the wrong type.
        ValueError: there is no such route, or it can't carry a parameter.
    """
    if route not in ROUTES:
        raise ValueError(f"route must be one of {ROUTES}, not {route!r}")
    known = None if catalog is None or route == "images" else catalog.cached(model)
    outputs = [word.lower() for word in getattr(known, "output_modalities", None) or ()]
    given = {name for name, value in params.items() if value is not None}
    if route == "auto":
        draws = "image" in outputs and not given & _OF_IMAGES
        route = "chat" if image is not None or draws or given & _OF_CHAT else "images"
    if route == "chat":
        if params.get("modalities") is None and "image" in outputs:
            # "text" fails with models that write no text
            params["modalities"] = [word for word in ("image", "text") if word in outputs]
        return image_chat_request(prompt, model=model, image=image, **params)
    wrong = sorted(given & _OF_CHAT) if image is None else ["image"]
    if wrong:
        raise ValueError(f"{wrong[0]} needs route='chat': /images/generations takes only a prompt")
    return image_request(prompt, model=model, **params)


def image_chat_request(
    prompt: str,
    /,
    *,
    model: str,
    image: Picture | Sequence[Picture] | None = None,
    **params: Any,
) -> Request[Images]:
    """Return the request for images from a chat model.

    Args:
        prompt: a description of the image, or of the change to `image`.
        model: the model's id, such as "google/gemini-2.5-flash-image".
        image: the original: an https or `data:` URL, a path, bytes, an open file, a
            `GeneratedImage`, or a list of them.
        **params: `size` ("1536x1024", or "1K", "2K", "4K"), or `width` and `height`: sent as the
            nearest `aspect_ratio` and `image_size`; `image_config`, which overrides them;
            `modalities` (["image", "text"] by default; ["image"] for models that write no text);
            `response_format` ("b64_json" gives `data:` URLs as base64); and those of a chat request
            (`n`, `seed`, `user`, `fallback_model`, `app_id`, `timeout`, …).

    Raises:
        OSError: a file cannot be read.
        TypeError: a parameter of the wrong type.
        ValueError: an empty prompt, or a parameter that this route cannot carry.

    Example:
        >>> from lunos_core import image_chat_request
        >>> image_chat_request("a cat", model="m", size="1536x1024").body.decode()[:60]
        '{"model":"m","messages":[{"role":"user","content":"a cat"}],'
    """
    wanted = params.pop("response_format", None)
    as_base64 = wanted == "b64_json"
    check_prompt(prompt, wanted)
    check_params(params, CHAT)
    for name in sorted(_OF_IMAGES):
        if params.pop(name, None) is not None:
            raise ValueError(
                f"{name} isn't known to image models that are used through chat: leave it out, "
                "or set route='images'"
            )
    pictures = [] if image is None else _pictures(image)
    content = [text_part(prompt), *map(image_part, pictures)] if pictures else prompt
    config = {**_image_config(params), **(params.pop("image_config", None) or {})}
    fields = {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "modalities": params.pop("modalities", None) or ["image", "text"],
        **({"image_config": config} if config else {}),
    }
    # from its URLs, so that a file is read once
    again = {**params, "image": pictures or None, "response_format": wanted}
    again |= {name: fields.get(name) for name in ("modalities", "image_config")}
    return Request(
        **json_call(PATH, fields, params, CHAT),
        parse=lambda reply: parse_chat_images(reply, as_base64=as_base64),
        fallback=fallback_of(image_chat_request, prompt, again),
    )


def parse_chat_images(reply: Reply, *, as_base64: bool = False) -> Images:
    """Read the images of a chat answer.

    Raises:
        LunosResponseError: there is no image; `partial` has the answer, which was paid for.
        LunosAPIError: an error sent with a successful status.
    """
    answer = parse_chat(reply)
    urls = [url for choice in answer.choices for url in choice.message.images]
    if not urls:
        said = answer.text or answer.choices[0].message.refusal
        error = LunosResponseError(
            f"the model sent no image, but {f'the text {said[:200]!r}' if said else 'nothing'}",
            status=reply.status,
            response=reply.as_error_response(),
        )
        error.partial = answer
        raise error
    images = read_images(reply, [{"url": url} for url in urls])
    if as_base64:
        images = [
            GeneratedImage(b64_json=base64.b64encode(image.data).decode()) if image.data else image
            for image in images
        ]
    return Images(
        images=images,
        text=answer.text,
        model=answer.model,
        cost=None if answer.usage is None else answer.usage.cost,
        usage=answer.usage,
        created=answer.created,
        request_id=reply.request_id,
        attempts=reply.attempts,
    )


def _image_config(params: dict[str, Any]) -> dict[str, str]:
    size, width, height = (params.pop(name, None) for name in ("size", "width", "height"))
    if size in (None, "auto") and width is None and height is None:
        return {}
    if isinstance(size, str) and re.fullmatch("[124]K", size):
        return {"image_size": size}
    if size is not None:
        match = re.fullmatch(r"(\d{2,5})x(\d{2,5})", size) if isinstance(size, str) else None
        if match is None:
            raise ValueError(f"size must be like '1024x1024', '2K' or 'auto', not {size!r}")
        width, height = int(match[1]), int(match[2])
    for name, value in (("width", width), ("height", height)):
        integer(1)(name, value)
    wide, high = int(width or 0), int(height or 0)  # checked above
    config = {"aspect_ratio": min(_RATIOS, key=lambda ratio: _distance(ratio, wide / high))}
    side = math.sqrt(wide * high)
    larger = next((word for limit, word in _SIDES if side > limit), None)
    return config if larger is None else {**config, "image_size": larger}


def _distance(ratio: str, wanted: float) -> float:
    width, _, height = ratio.partition(":")
    return abs(math.log(int(width) / int(height) / wanted))


def _pictures(image: Any) -> list[str]:
    items = list(image) if isinstance(image, list | tuple) else [image]
    if not items:
        raise ValueError("image is an empty list: leave it out, or give one")
    return [_url_of(item) for item in items]


def _url_of(image: Any) -> str:
    if isinstance(image, GeneratedImage):
        if image.url is not None:
            return image.url
        image = image.data
    if isinstance(image, str) and re.match("(https?|data):", image, re.IGNORECASE):
        return image
    if isinstance(image, str | os.PathLike):
        image = Path(image).read_bytes()
    elif hasattr(image, "read"):
        image = image.read()
    if not isinstance(image, bytes | bytearray | memoryview):
        raise TypeError(
            f"image must be a URL, a path, bytes or a binary file, not {type(image).__name__}"
        )
    if not len(image):
        raise ValueError("the image is empty")
    data = bytes(image)
    return data_url(base64.b64encode(data).decode(), mime_type_of(data) or "image/png")
