"""Speech to documents for LangChain's blob loaders, and text to speech as a tool."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from langchain_core.callbacks import (
    AsyncCallbackManagerForToolRun,
    CallbackManagerForToolRun,
)
from langchain_core.document_loaders import BaseBlobParser, Blob
from langchain_core.documents import Document
from langchain_core.tools import BaseTool
from pydantic import AliasChoices, BaseModel, Field

from langchain_lunos._settings import LunosConnection, config_app_id
from lunos_core.endpoints.audio import transcription_request
from lunos_core.endpoints.speech import LONGEST_INPUT, Speech, speech_request, spoken_mistake
from lunos_core.request import Request

__all__ = ["LunosAudioTranscriber", "LunosSpeech"]


class LunosAudioTranscriber(LunosConnection, BaseBlobParser, defer_build=False):
    """Transcribes audio blobs with a model behind Lunos.

    It makes one document for each blob, or for each segment (`by_segment=True`), with times in the
    metadata if the server returns them (`response_format="verbose_json"`). It works in any loader
    that takes a blob parser.

    Example:
        >>> from langchain_lunos import LunosAudioTranscriber
        >>> transcriber = LunosAudioTranscriber(model="lunos/scripted-whisper", by_segment=True)
        >>> # GenericLoader(FileSystemBlobLoader("memos", glob="*.wav"), transcriber).lazy_load()
        >>> transcriber.model
        'lunos/scripted-whisper'

    Raises:
        LunosConfigError: no key (`api_key` or `LUNOS_API_KEY`), or settings that cannot work.
        LunosNotFoundError: when parsing: this deployment lacks the route or the model.
    """

    model: str = Field(validation_alias=AliasChoices("model", "model_name"))
    """The model's id, such as "openai/whisper-1"."""
    language: str | None = None
    """Such as "en"; if not given, the model detects it."""
    prompt: str | None = None
    """Words that are likely to be said."""
    temperature: float | None = None
    """0 to 1."""
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt"] | None = None
    """The format to ask for; `verbose_json` has segments with times."""
    timestamp_granularities: list[str] | None = None
    """`["segment", "word"]`, with `verbose_json`."""
    by_segment: bool = False
    """One document for each segment; asks for `verbose_json`."""
    fallback_model: str | None = None
    """The model to try once if `model` fails permanently."""
    extra_body: dict[str, Any] | None = None
    """Fields of the form that this class doesn't know."""

    def lazy_parse(self, blob: Blob) -> Iterator[Document]:
        """Yield the documents of one recording.

        Raises:
            OSError: the blob cannot be read.
            LunosError: the call failed.
        """
        wanted = self.response_format or ("verbose_json" if self.by_segment else None)
        name = None if blob.path is None else str(blob.path).replace("\\", "/").rpartition("/")[2]
        request = transcription_request(
            # a path is read once, into the request
            blob.path if blob.data is None and blob.path is not None else blob.as_bytes(),
            model=self.model,
            filename=name,
            language=self.language,
            prompt=self.prompt,
            temperature=self.temperature,
            response_format=wanted,
            timestamp_granularities=self.timestamp_granularities,
            fallback_model=self.fallback_model,
            extra_body=self.extra_body,
            app_id=config_app_id(),
        )
        answer = self.client.send(request)
        about = {**blob.metadata, **({} if blob.source is None else {"source": blob.source})}
        for text, facts in answer.documents(by_segment=self.by_segment):
            yield Document(page_content=text, metadata={**about, **facts})


class SpokenText(BaseModel):
    """The arguments that a model fills in."""

    text: str = Field(description=f"What to say, at most {LONGEST_INPUT:,} characters.")


class LunosSpeech(LunosConnection, BaseTool, defer_build=False):
    """Speaks texts with a model behind Lunos.

    The model that calls the tool gets a short text. The audio is the artifact of the
    `ToolMessage`: a standard audio block.

    Example:
        >>> from langchain_lunos import LunosSpeech
        >>> speak = LunosSpeech(model="openai/tts-1", voice="alloy")
        >>> message = speak.invoke(
        ...     {"type": "tool_call", "id": "1", "name": speak.name, "args": {"text": "Hello!"}}
        ... )
        >>> message.artifact[0]["type"], message.artifact[0]["mime_type"]
        ('audio', 'audio/wav')

    Raises:
        LunosConfigError: no key (`api_key` or `LUNOS_API_KEY`), or settings that cannot work.
        LunosNotFoundError: when speaking: this deployment lacks the route or the model.
    """

    name: str = "speak"
    description: str = "Read a text aloud. Use it when the user wants to hear something."
    args_schema: Any = SpokenText
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"

    model: str = Field(validation_alias=AliasChoices("model", "model_name"))
    """The model's id, such as "openai/tts-1"."""
    voice: str | None = None
    """Such as "alloy"."""
    speed: float | None = None
    """0.25 to 4."""
    audio_format: Literal["mp3", "opus", "aac", "flac", "wav"] | None = None
    """The wire's `response_format`, a name that means something else in LangChain's tools."""
    google_voice_config: dict[str, Any] | None = None
    """`{"voiceName": "Kore"}`, for Google's models."""
    fallback_model: str | None = None
    """The model to try once if `model` fails permanently."""
    extra_body: dict[str, Any] | None = None
    """Fields of the request body that this class doesn't know."""
    folder: Path | None = None
    """Save the audio here; the text then names the file."""

    def _run(
        self, text: str, run_manager: CallbackManagerForToolRun | None = None
    ) -> tuple[str, list[dict[str, Any]]]:
        if mistake := spoken_mistake(text):
            return mistake, []
        return self._result(self.client.send(self._request(text)))

    async def _arun(
        self, text: str, run_manager: AsyncCallbackManagerForToolRun | None = None
    ) -> tuple[str, list[dict[str, Any]]]:
        if mistake := spoken_mistake(text):
            return mistake, []
        speech = await self.async_client.send(self._request(text))
        return await asyncio.to_thread(self._result, speech)  # it may write a file

    def _request(self, text: str) -> Request[Speech]:
        names = ("voice", "speed", "google_voice_config", "fallback_model", "extra_body")
        return speech_request(
            text,
            model=self.model,
            response_format=self.audio_format,
            app_id=config_app_id(),
            **{name: getattr(self, name) for name in names},
        )

    def _result(self, speech: Speech) -> tuple[str, list[dict[str, Any]]]:
        text = "The text was spoken."
        if self.folder is not None:
            text += f" See {speech.save_in(self.folder)}"
        data = base64.b64encode(speech.content).decode()
        return text, [{"type": "audio", "base64": data, "mime_type": speech.media_type}]
