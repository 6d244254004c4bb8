"""Images from a prompt: `POST /images/generations`, or a chat model that draws.

Source of the format: the Lunos API reference, with the plural path; the vendor's clients call
`/image/generations`, which is the second choice here. For image models through chat, as on the
vendor's later pages, see `endpoints.chat.images`.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lunos_core.accounting.files import write_in
from lunos_core.accounting.usage import Usage, usage_with_cost
from lunos_core.endpoints.build import fallback_of, json_call
from lunos_core.endpoints.chat.content_parts import data_of
from lunos_core.endpoints.params import SAMPLING, Check, integer
from lunos_core.request import Reply, Request

PATHS = ("/images/generations", "/image/generations")
FORMATS = ("url", "b64_json")

_TEXT = SAMPLING["user"]
IMAGE: dict[str, Check] = {
    "n": SAMPLING["n"],
    "size": _TEXT,
    "quality": _TEXT,
    "style": _TEXT,
    "seed": SAMPLING["seed"],
    "user": _TEXT,
    "fallback_model": _TEXT,
    # seen in the vendor's client, not in the reference
    "width": integer(256, 1792),
    "height": integer(256, 1792),
}
_ABSENT = f"this deployment can't generate images: it has neither {PATHS[0]} nor {PATHS[1]}"
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
)
_ENDINGS = {"image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif", "image/webp": ".webp"}


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """One image, as a URL or as base64: whichever the server sent.

    Attributes:
        url: its address, usually valid for a limited time.
        b64_json: the image as base64.
        revised_prompt: the model's version of the prompt, if the server sent it.
    """

    url: str | None = field(default=None, repr=False)
    b64_json: str | None = field(default=None, repr=False)
    revised_prompt: str | None = None

    @property
    def data(self) -> bytes | None:
        """The image's bytes; `None` if the server sent only a web address."""
        if self.b64_json is not None:
            return base64.b64decode(self.b64_json, validate=True)
        return None if self.url is None else data_of(self.url)

    @property
    def mime_type(self) -> str | None:
        """The media type of the bytes; `None` if there are none, or if it is unknown."""
        return mime_type_of(self.data or b"")


@dataclass(slots=True)
class Images:
    """The images of one request.

    Attributes:
        images: at least one; `data` is the same list under OpenAI's name.
        text: the text that a chat model added.
        model: the model that answered, as the server names it.
        cost: in USD, or `None` if the server sent none.
        usage: tokens and the same cost, or `None`.
        created: Unix time in seconds.
        request_id: the server's id of the request.
        attempts: requests sent for this answer, retries included.
    """

    images: list[GeneratedImage]
    text: str = ""
    model: str | None = None
    cost: float | None = None
    usage: Usage | None = None
    created: int | None = None
    request_id: str | None = None
    attempts: int = 1

    @property
    def data(self) -> list[GeneratedImage]:
        """The images: `response.data[0].url`, as in OpenAI's client."""
        return self.images

    def save(self, folder: str | os.PathLike[str]) -> list[Path | None]:
        """Write each image that has bytes to a file, and return the paths.

        The file names are hashes of the contents: no other file is overwritten, and equal images
        share one.

        Args:
            folder: created if it doesn't exist.

        Returns:
            A path for each image, or `None` for one that is only a web address.

        Raises:
            OSError: a file cannot be written.
        """
        return [
            None
            if (data := image.data) is None
            else write_in(folder, data, _ENDINGS.get(image.mime_type or "", ".bin"))
            for image in self.images
        ]


def mime_type_of(data: bytes) -> str | None:
    """Return the media type of an image, by its first bytes; `None` if they are unknown."""
    return next((kind for start, kind in _SIGNATURES if data.startswith(start)), None)


def image_request(prompt: str, /, *, model: str, **params: Any) -> Request[Images]:
    """Return the request for one image or several.

    Args:
        prompt: a description of the image.
        model: the model's id.
        **params: `n`, `size` ("1024x1024"), `quality` ("standard", "hd"), `style` ("vivid",
            "natural"), `response_format` ("url" or "b64_json"), `seed`, `user`, `fallback_model`,
            and `app_id`, `extra_headers`, `extra_body`, `timeout` for this call. `width` and
            `height` (256 to 1792) were seen in the vendor's client, not in the reference.

    Raises:
        TypeError: a parameter of the wrong type.
        ValueError: an empty prompt, a parameter out of range.

    Example:
        >>> from lunos_core import image_request
        >>> image_request("a red cat", model="m", size="256x256").body
        b'{"model":"m","prompt":"a red cat","size":"256x256"}'
    """
    check_prompt(prompt, params.get("response_format"))
    return Request(
        **json_call(PATHS[0], {"model": model, "prompt": prompt}, params, IMAGE),
        parse=parse_images,
        fallback=fallback_of(image_request, prompt, params),
        absent=_ABSENT,
        elsewhere=PATHS[1],
    )


def check_prompt(prompt: Any, response_format: Any) -> None:
    """Check the arguments that both ways to an image share.

    Raises:
        TypeError: the prompt isn't a `str`.
        ValueError: the prompt is empty, or there is no such format.
    """
    if not isinstance(prompt, str):
        raise TypeError(f"prompt must be a str, not {type(prompt).__name__}")
    if not prompt.strip():
        raise ValueError("prompt is empty: describe the image")
    if response_format is not None and response_format not in FORMATS:
        raise ValueError(f"response_format must be one of {FORMATS}, not {response_format!r}")


def parse_images(reply: Reply) -> Images:
    """Read the images, whether the server sent URLs or base64.

    Raises:
        LunosResponseError: there is no image, or one that is neither.
        LunosAPIError: an error sent with a successful status.
    """
    value = reply.json()
    data = value.get("data") or value.get("images")
    if not isinstance(data, list) or not data:
        raise reply.malformed("has no list of images")
    usage = usage_with_cost(value)
    model = value.get("model")
    created = value.get("created")
    return Images(
        images=read_images(reply, data),
        model=model if isinstance(model, str) else None,
        cost=None if usage is None else usage.cost,
        usage=usage,
        created=created if isinstance(created, int) and not isinstance(created, bool) else None,
        request_id=reply.request_id,
        attempts=reply.attempts,
    )


def read_images(reply: Reply, entries: Sequence[Any]) -> list[GeneratedImage]:
    """Read each image: an object, one in a wrapper, or only an address.

    Raises:
        LunosResponseError: an image is none of these.
    """
    return [_parse_image(reply, entry, i) for i, entry in enumerate(entries)]


def _parse_image(reply: Reply, entry: Any, position: int) -> GeneratedImage:
    fields = entry if isinstance(entry, dict) else {"url": entry}
    wrapped = fields.get("image_url")
    inner = wrapped if isinstance(wrapped, dict) else {"url": wrapped or fields.get("url")}
    url, encoded, revised = (
        text if isinstance(text := {**fields, **inner}.get(name), str) and text else None
        for name in ("url", "b64_json", "revised_prompt")
    )
    if url is not None and not url.lower().startswith(("http:", "https:", "data:")):
        url, encoded = None, encoded or url  # base64 under the wrong name
    if url is None and encoded is None:
        raise reply.malformed(f"has an image {position} without url and b64_json")
    if encoded is not None and encoded.startswith("data:"):
        url, encoded = encoded, None  # a URL under the wrong name
    image = GeneratedImage(url, encoded, revised)
    try:
        _ = image.data
    except ValueError:
        raise reply.malformed(f"has an image {position} that isn't valid base64") from None
    return image
