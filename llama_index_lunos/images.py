"""`LunosImageToolSpec`: images from a prompt, as a tool for LlamaIndex's agents."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, Literal

from llama_index.core.base.llms.types import ImageBlock

from llama_index_lunos._results import to_image
from llama_index_lunos._tool_spec import LunosToolSpec
from lunos_core.adapters import find_image
from lunos_core.endpoints.chat.images import drawing_request
from lunos_core.endpoints.images import IMAGE, GeneratedImage, Images
from lunos_core.endpoints.params import CHAT
from lunos_core.request import Request


class LunosImageToolSpec(LunosToolSpec):
    """Generates images with a model behind the Lunos gateway.

    Args:
        model: the model's id, such as "openai/dall-e-3".
        folder: save images that arrive as bytes in this folder; the block then names the file.
        params: the wire's parameters as a dict.
        route: "images" asks `/images/generations`, "chat" a chat model that draws; "auto" takes
            chat if the `catalog` is loaded and says that the model writes images.
        edits: adds a second tool, `edit_image`, which goes through chat.
        **settings: the wire's parameters by name: `n`, `size`, `quality`, `style`,
            `response_format`, `seed`, `user`, `fallback_model`, `extra_body`; through chat also
            `modalities` and `image_config`. For several images the tool returns a list. Also the
            connection's settings as in `Lunos`: `api_key`, `api_base`, `app_id`,
            `timeout`, `max_retries`, `default_headers`, `catalog`, `http_client`,
            `async_http_client`.

    Raises:
        LunosConfigError: there is no key, or a setting is invalid.
        TypeError: there is no such parameter, or it has the wrong type.
        ValueError: a parameter is out of range.

    Example:
        >>> from llama_index_lunos import LunosImageToolSpec
        >>> spec = LunosImageToolSpec("lunos/scripted-image")
        >>> tool, = spec.to_tool_list()
        >>> tool.metadata.name
        'generate_image'
        >>> spec.generate_image("a red cat").block_type
        'image'
        >>> spec.close()
    """

    spec_functions = [("generate_image", "agenerate_image")]  # noqa: RUF012  # LlamaIndex's own name
    _names = (*IMAGE, *CHAT)

    def __init__(
        self,
        model: str,
        *,
        folder: str | os.PathLike[str] | None = None,
        params: dict[str, Any] | None = None,
        route: Literal["auto", "images", "chat"] = "auto",
        edits: bool = False,
        **settings: Any,
    ) -> None:
        self.route = route
        if edits:
            self.spec_functions = [*self.spec_functions, ("edit_image", "aedit_image")]
        super().__init__(model, folder=folder, params=params, **settings)

    def generate_image(self, prompt: str) -> Any:
        """Generate an image from a description. Use it when the user asks for an image.

        Args:
            prompt (str): what to draw, in full sentences.
        """
        if not prompt.strip():
            return _EMPTY
        return self._blocks(self._connection.client.send(self._request(prompt)))

    async def agenerate_image(self, prompt: str) -> Any:
        """Generate an image from a description. Use it when the user asks for an image.

        Args:
            prompt (str): what to draw, in full sentences.
        """
        if not prompt.strip():
            return _EMPTY
        return await self._asend(self._request(prompt))

    def edit_image(self, prompt: str, image: str) -> Any:
        """Change an image. Use it when the user wants an image to be different.

        Args:
            prompt (str): what to change, in full sentences.
            image (str): the image's web address, or the name of a file that was generated.
        """
        source = find_image(image, self.folder)
        if mistake := _mistake(prompt, image, source):
            return mistake
        return self._blocks(self._connection.client.send(self._request(prompt, source)))

    async def aedit_image(self, prompt: str, image: str) -> Any:
        """Change an image. Use it when the user wants an image to be different.

        Args:
            prompt (str): what to change, in full sentences.
            image (str): the image's web address, or the name of a file that was generated.
        """
        source = find_image(image, self.folder)
        if mistake := _mistake(prompt, image, source):
            return mistake
        # in a thread: it may read a file
        return await self._asend(await asyncio.to_thread(self._request, prompt, source))

    def _request(self, prompt: str, source: str | Path | None = None) -> Request[Images]:
        return drawing_request(
            prompt,
            model=self.model,
            route=self.route,
            catalog=self._connection.catalog,
            image=source,
            **self._options(),
        )

    async def _asend(self, request: Request[Images]) -> Any:
        images = await self._connection.async_client.send(request)
        return await asyncio.to_thread(self._blocks, images)  # it may write files

    def _blocks(self, images: Images) -> ImageBlock | list[ImageBlock]:
        files: list[Path | None] = [None] * len(images.images)
        if self.folder is not None:
            files = images.save(self.folder)
        pairs = zip(images.images, files, strict=True)
        blocks = [to_block(image, file) for image, file in pairs]
        return blocks[0] if len(blocks) == 1 else blocks


_EMPTY = "Nothing was drawn: the prompt is empty."


def _mistake(prompt: str, image: str, source: Any) -> str:
    """Return what is wrong with the arguments; the calling model may try again."""
    if not prompt.strip():
        return _EMPTY
    return "" if source is not None else f"Nothing was drawn: there is no image {image!r}."


def to_block(image: GeneratedImage, file: Path | None = None) -> ImageBlock:
    """Return an image as a block: its file, else its bytes, else its URL."""
    if file is not None:
        return ImageBlock(path=file, image_mimetype=image.mime_type)
    if image.b64_json is not None:
        return ImageBlock(image=image.b64_json.encode(), image_mimetype=image.mime_type)
    return to_image(str(image.url))
