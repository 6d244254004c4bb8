"""`LunosImageGeneration`: images from a prompt, as a LangChain tool."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Literal

from langchain_core.callbacks import (
    AsyncCallbackManagerForToolRun,
    CallbackManagerForToolRun,
)
from langchain_core.tools import BaseTool
from pydantic import AliasChoices, BaseModel, Field

from langchain_lunos._settings import LunosConnection, config_app_id
from lunos_core.adapters import find_image
from lunos_core.endpoints.chat.images import drawing_request
from lunos_core.endpoints.images import GeneratedImage, Images
from lunos_core.request import Request

__all__ = ["LunosImageGeneration"]


class ImagePrompt(BaseModel):
    """The arguments that a model fills in."""

    prompt: str = Field(description="What to draw, in full sentences.")


class ImageEdit(ImagePrompt):
    """The same, for a tool that also changes images."""

    image: str | None = Field(
        default=None,
        description="An image to change: its web address, or the name of a file that this tool "
        "saved. Leave it out to draw a new one.",
    )


class LunosImageGeneration(LunosConnection, BaseTool, defer_build=False):
    """Generates images with a model behind Lunos.

    The model that calls the tool gets a short text, which says where the images are. The images
    themselves are the artifact of the `ToolMessage`: standard image blocks.

    Example:
        >>> from langchain_lunos import LunosImageGeneration
        >>> draw = LunosImageGeneration(model="lunos/scripted-image", image_format="b64_json")
        >>> message = draw.invoke(
        ...     {"type": "tool_call", "id": "1", "name": draw.name, "args": {"prompt": "a red cat"}}
        ... )
        >>> message.artifact[0]["type"], message.artifact[0]["mime_type"]
        ('image', 'image/png')

    Raises:
        LunosConfigError: no key (`api_key` or `LUNOS_API_KEY`), or settings that cannot work.
    """

    name: str = "generate_image"
    description: str = "Draw a picture from a description. Use it when the user asks for a picture."
    args_schema: Any = ImagePrompt
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"

    model: str = Field(validation_alias=AliasChoices("model", "model_name"))
    """The model's id, such as "openai/dall-e-3"."""
    n: int | None = None
    """How many images."""
    size: str | None = None
    """Such as "1024x1024"; through chat also "1K", "2K" or "4K"."""
    width: int | None = None
    """Pixels, 256 to 1792: seen in the vendor's client, not in the reference."""
    height: int | None = None
    """The same."""
    quality: str | None = None
    """"standard" or "hd"."""
    style: str | None = None
    """"vivid" or "natural"."""
    seed: int | None = None
    """For repeatable images, as far as the provider supports it."""
    user: str | None = None
    """Your end user's id, for the provider's abuse checks."""
    image_format: Literal["url", "b64_json"] | None = None
    """The wire's `response_format`, a name that means something else in LangChain's tools."""
    fallback_model: str | None = None
    """The model to try once if `model` fails permanently."""
    extra_body: dict[str, Any] | None = None
    """Fields of the request body that this class doesn't know."""
    route: Literal["auto", "images", "chat"] = "auto"
    """"images" asks `/images/generations`, "chat" a chat model that draws; "auto" takes chat if
    the `catalog` is loaded and says that the model writes images."""
    modalities: list[str] | None = None
    """Through chat: `["image"]` for models that write no text, if no catalog says so."""
    image_config: dict[str, Any] | None = None
    """Through chat: `{"aspect_ratio": "16:9", "image_size": "2K"}`."""
    edits: bool = False
    """Let the calling model name an image to change; edits go through chat."""
    folder: Path | None = None
    """Save the images here; the text then names the files. Images that arrive as a web address
    aren't fetched, and so not saved."""

    def model_post_init(self, context: Any, /) -> None:
        """Choose the arguments that the model sees."""
        super().model_post_init(context)
        if self.edits and self.args_schema is ImagePrompt:
            self.args_schema = ImageEdit

    def _run(
        self,
        prompt: str,
        image: str | None = None,
        run_manager: CallbackManagerForToolRun | None = None,
    ) -> tuple[str, list[dict[str, Any]]]:
        if mistake := self._mistake(prompt, image):
            return mistake, []
        return self._result(self.client.send(self._request(prompt, image)))

    async def _arun(
        self,
        prompt: str,
        image: str | None = None,
        run_manager: AsyncCallbackManagerForToolRun | None = None,
    ) -> tuple[str, list[dict[str, Any]]]:
        if mistake := self._mistake(prompt, image):
            return mistake, []
        # in threads: they may read and write files
        request = await asyncio.to_thread(self._request, prompt, image)
        images = await self.async_client.send(request)
        return await asyncio.to_thread(self._result, images)

    def _mistake(self, prompt: str, image: str | None) -> str:
        """Return what is wrong with the arguments; the calling model may try again."""
        if not prompt.strip():
            return "Nothing was drawn: the prompt is empty."
        if image and self._find_image(image) is None:
            return f"Nothing was drawn: there is no image {image!r}."
        return ""

    def _find_image(self, image: str) -> str | Path | None:
        return find_image(image, self.folder) if self.edits else None

    def _request(self, prompt: str, image: str | None) -> Request[Images]:
        names = ("n", "size", "width", "height", "quality", "style", "seed", "user")
        more = ("modalities", "image_config", "fallback_model", "extra_body")
        return drawing_request(
            prompt,
            model=self.model,
            route=self.route,
            catalog=self.catalog,
            image=self._find_image(image) if image else None,
            response_format=self.image_format,
            app_id=config_app_id(),
            **{name: getattr(self, name) for name in (*names, *more)},
        )

    def _result(self, images: Images) -> tuple[str, list[dict[str, Any]]]:
        files = [] if self.folder is None else images.save(self.folder)
        saved = [str(file) for file in files if file is not None]
        links = [image.url for image in images.images if image.data is None and image.url]
        count = len(images.images)
        text = f"{count} image{'s were' if count > 1 else ' was'} generated."
        if saved or links:
            text += f" See {', '.join([*saved, *links])}"
        if images.text:
            text += f" The model wrote: {images.text}"
        return text, [to_block(image) for image in images.images]


def to_block(image: GeneratedImage) -> dict[str, Any]:
    """Return an image as LangChain's standard image block."""
    data = image.b64_json
    if data is None and image.url is not None and image.url.startswith("data:"):
        data = image.url.partition(",")[2]
    if data is None:
        block: dict[str, Any] = {"type": "image", "url": image.url}
    else:
        kind = image.mime_type or "image/png"
        block = {"type": "image", "base64": data, "mime_type": kind}
    if image.revised_prompt:
        block["extras"] = {"revised_prompt": image.revised_prompt}
    return block
