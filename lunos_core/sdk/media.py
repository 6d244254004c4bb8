"""`lunos.images` and `lunos.audio`: they check arguments and send requests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Generator, Sequence
from typing import Any, Self

from lunos_core.accounting.files import replacing
from lunos_core.catalog.catalog import AsyncCatalog, Catalog
from lunos_core.endpoints.audio import Sound, Transcription, transcription_request
from lunos_core.endpoints.chat.images import Picture, Route, drawing_request
from lunos_core.endpoints.images import Images as Drawn
from lunos_core.endpoints.speech import Speech, speech_request, speech_stream_request
from lunos_core.sdk.text import Resource
from lunos_core.transport.client import AsyncClient, Client
from lunos_core.transport.streams import AsyncStream, Stream

_VARIATION = "Make a variation of this image."


class Images:
    """`lunos.images`."""

    def __init__(self, client: Client, catalog: Catalog) -> None:
        self._client, self._catalog = client, catalog

    def generate(self, *, model: str, prompt: str, route: Route = "auto", **params: Any) -> Drawn:
        """Generate images: `data[0].url` or `.b64_json`, and `.data` for the bytes.

        Args:
            model: the model's id.
            prompt: a description of the image.
            route: "images" for `/images/generations`, "chat" for a chat model that draws, "auto"
                for chat if the loaded catalog (`lunos.models`) says that the model writes images.
                The catalog isn't fetched for this.
            **params: `n`, `size`, `seed`, `response_format` and so on: see `image_request` and
                `image_chat_request`.

        Raises:
            TypeError: a parameter has the wrong type.
            ValueError: a parameter is out of range, or the route can't carry it.
            LunosError: the call failed.
        """
        request = drawing_request(prompt, model=model, route=route, catalog=self._catalog, **params)
        return self._client.send(request)

    def edit(
        self, *, model: str, image: Picture | Sequence[Picture], prompt: str, **params: Any
    ) -> Drawn:
        """Change one or more images as the prompt says, through chat, with models that draw.

        Args:
            model: the model's id, such as "google/gemini-2.5-flash-image".
            image: an https or `data:` URL, a path, bytes, an open file or a `GeneratedImage`.
            prompt: what to change.
            **params: as in `generate`.
        """
        request = drawing_request(
            prompt, model=model, image=image, route="chat", catalog=self._catalog, **params
        )
        return self._client.send(request)

    def create_variation(
        self,
        *,
        model: str,
        image: Picture | Sequence[Picture],
        prompt: str = _VARIATION,
        **params: Any,
    ) -> Drawn:
        """Make a variation of an image: `edit` with a default prompt."""
        return self.edit(model=model, image=image, prompt=prompt, **params)


class AsyncImages:
    """`lunos.images`, awaited."""

    def __init__(self, client: AsyncClient, catalog: AsyncCatalog) -> None:
        self._client, self._catalog = client, catalog

    async def generate(
        self, *, model: str, prompt: str, route: Route = "auto", **params: Any
    ) -> Drawn:
        """Generate images: see `Lunos`."""
        request = drawing_request(prompt, model=model, route=route, catalog=self._catalog, **params)
        return await self._client.send(request)

    async def edit(
        self, *, model: str, image: Picture | Sequence[Picture], prompt: str, **params: Any
    ) -> Drawn:
        """Change an image: see `Lunos`."""
        options = {"image": image, "route": "chat", "catalog": self._catalog, **params}
        # in a thread: it may read files
        request = await asyncio.to_thread(drawing_request, prompt, model=model, **options)
        return await self._client.send(request)

    async def create_variation(
        self,
        *,
        model: str,
        image: Picture | Sequence[Picture],
        prompt: str = _VARIATION,
        **params: Any,
    ) -> Drawn:
        """Make a variation of an image: see `Lunos`."""
        return await self.edit(model=model, image=image, prompt=prompt, **params)


class SpeechStream(Stream[bytes]):
    """Audio as it arrives: an iterator of pieces and a context manager."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the rest of the audio to a file, which replaces an older one only when complete.

        Raises:
            LunosError: the stream broke off; an older file is unchanged.
            OSError: the file cannot be written.
        """
        with self, replacing(path) as file:
            for piece in self:
                file.write(piece)


class AsyncSpeechStream:
    """`SpeechStream`, awaited. `await`, `async with` or `async for` opens it."""

    def __init__(self, opening: Any) -> None:
        self._opening = opening
        self._stream: AsyncStream[bytes] | None = None

    async def save(self, path: str | os.PathLike[str]) -> None:
        """Write the rest of the audio to a file: see `SpeechStream`."""
        async with self:
            with replacing(path) as file:
                async for piece in self:
                    await asyncio.to_thread(file.write, piece)

    async def close(self) -> None:
        """Stop reading."""
        if self._stream is not None:
            await self._stream.close()

    async def _opened(self) -> AsyncStream[bytes]:
        stream = self._stream
        if stream is None:
            stream = self._stream = await self._opening()
        return stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in await self._opened():
            yield piece

    async def __aenter__(self) -> Self:
        await self._opened()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __await__(self) -> Generator[Any, Any, Self]:
        return self.__aenter__().__await__()


class Speeches(Resource[Client]):
    """`lunos.audio.speech`: on the vendor's later pages, not in the reference."""

    def create(
        self,
        *,
        model: str,
        input: str,
        voice: str | None = None,
        response_format: str | None = None,
        speed: float | None = None,
        **params: Any,
    ) -> Speech:
        """Speak a text: `content` is the audio, `save(path)` writes it to a file.

        Args:
            model: the model's id, such as "openai/tts-1".
            input: the text, at most 4,096 characters.
            voice: such as "alloy"; Google's models take `google_voice_config={"voiceName": …}`.
            response_format: "mp3", "opus", "aac", "flac" or "wav".
            speed: 0.25 to 4.
            **params: `google_voice_config`, `fallback_model`, `app_id`, `timeout`, `extra_body`, …

        Raises:
            TypeError: a parameter has the wrong type.
            ValueError: the text is empty or too long, or a parameter is out of range.
            LunosError: the call failed.

        Example:
            >>> from lunos_core import Lunos
            >>> lunos = Lunos()
            >>> speech = lunos.audio.speech.create(model="openai/tts-1", input="Hi", voice="alloy")
            >>> speech.media_type, speech.content[:4]
            ('audio/wav', b'RIFF')
        """
        params |= {"voice": voice, "response_format": response_format, "speed": speed}
        return self._client.send(speech_request(input, model=model, **params))

    def stream(self, *, model: str, input: str, **params: Any) -> SpeechStream:
        """Speak a text, piece by piece: iterate, or `save(path)`.

        Args:
            model: the model's id.
            input: the text, at most 4,096 characters.
            **params: as in `create`.
        """
        stream = self._client.stream(speech_stream_request(input, model=model, **params))
        return SpeechStream(iter(stream))


class AsyncSpeeches(Resource[AsyncClient]):
    """`lunos.audio.speech`, awaited."""

    async def create(
        self,
        *,
        model: str,
        input: str,
        voice: str | None = None,
        response_format: str | None = None,
        speed: float | None = None,
        **params: Any,
    ) -> Speech:
        """Speak a text: see `Lunos`."""
        params |= {"voice": voice, "response_format": response_format, "speed": speed}
        return await self._client.send(speech_request(input, model=model, **params))

    def stream(self, *, model: str, input: str, **params: Any) -> AsyncSpeechStream:
        """Speak a text, piece by piece: see `Lunos`."""
        request = speech_stream_request(input, model=model, **params)
        return AsyncSpeechStream(lambda: self._client.stream(request))


class Transcriptions(Resource[Client]):
    """`lunos.audio.transcriptions`."""

    def create(self, *, model: str, file: Sound, **params: Any) -> Transcription:
        """Transcribe a recording, given as a path, bytes or an open binary file, to `text`."""
        return self._client.send(transcription_request(file, model=model, **params))


class AsyncTranscriptions(Resource[AsyncClient]):
    """`lunos.audio.transcriptions`, awaited."""

    async def create(self, *, model: str, file: Sound, **params: Any) -> Transcription:
        """Transcribe a recording: see `Lunos`."""
        # in a thread: it reads the file
        request = await asyncio.to_thread(transcription_request, file, model=model, **params)
        return await self._client.send(request)


class Audio:
    """`lunos.audio`."""

    def __init__(self, client: Client) -> None:
        self.transcriptions = Transcriptions(client)
        self.speech = Speeches(client)


class AsyncAudio:
    """`lunos.audio`, awaited."""

    def __init__(self, client: AsyncClient) -> None:
        self.transcriptions = AsyncTranscriptions(client)
        self.speech = AsyncSpeeches(client)
