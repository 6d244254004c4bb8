"""Speech to documents, also for `SimpleDirectoryReader`, and text to speech as a tool."""

from __future__ import annotations

import asyncio
import base64
from pathlib import PurePath
from typing import Any

from llama_index.core.base.llms.types import AudioBlock
from llama_index.core.bridge.pydantic import Field
from llama_index.core.readers.base import BasePydanticReader
from llama_index.core.schema import Document

from llama_index_lunos._settings import Connection, run_options
from llama_index_lunos._tool_spec import LunosToolSpec
from lunos_core.endpoints.audio import Transcription, transcription_request
from lunos_core.endpoints.speech import SPEECH, Speech, speech_request, spoken_mistake
from lunos_core.request import Request


class LunosAudioReader(Connection, BasePydanticReader):
    """Transcribes audio files with a model behind the Lunos gateway.

    It makes one document for each file, or for each segment (`by_segment=True`), with times in the
    metadata if the server returns them (`response_format="verbose_json"`).

    Args:
        model: the model's id, such as "openai/whisper-1".
        **settings: the fields below, and the connection's as in `Lunos`.

    Raises:
        LunosConfigError: there is no key, or a setting is invalid.

    Example:
        >>> from llama_index_lunos import LunosAudioReader
        >>> reader = LunosAudioReader("lunos/scripted-whisper")
        >>> reader.is_remote
        True
        >>> # SimpleDirectoryReader("memos", file_extractor={".wav": reader}).load_data()
    """

    model: str = Field(description="The model's id.")
    is_remote: bool = Field(default=True, description="The text comes from a service.")
    language: str | None = Field(default=None, description='Such as "en".')
    prompt: str | None = Field(default=None, description="Words that are likely to occur.")
    temperature: float | None = Field(default=None, description="0 to 1.")
    response_format: str | None = Field(
        default=None, description='"json", "text", "srt", "verbose_json" or "vtt".'
    )
    timestamp_granularities: list[str] | None = Field(
        default=None, description='["segment", "word"], with verbose_json.'
    )
    by_segment: bool = Field(
        default=False, description="Make one document for each segment; requests verbose_json."
    )
    fallback_model: str | None = Field(
        default=None, description="The model to try if `model` fails."
    )
    extra_body: dict[str, Any] | None = Field(
        default=None, description="Fields added to the form unchanged."
    )

    def __init__(self, model: str | None = None, **settings: Any) -> None:
        super().__init__(model=model, **settings)

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex stores this class."""
        return "LunosAudioReader"

    def load_data(
        self, file: Any, extra_info: dict[str, Any] | None = None, fs: Any = None
    ) -> list[Document]:
        """Transcribe one recording.

        Args:
            file: its path.
            extra_info: added to the metadata, as `SimpleDirectoryReader` expects.
            fs: the file system of the path (fsspec's interface); the local one by default.

        Raises:
            OSError: the file can't be read.
            LunosError: the call failed, for example because the deployment lacks the route.
        """
        answer = self.client.send(self._request(file, fs))
        return self._documents(answer, file, extra_info)

    async def aload_data(
        self, file: Any, extra_info: dict[str, Any] | None = None, fs: Any = None
    ) -> list[Document]:
        """`load_data`, awaited."""
        # in a thread: it reads the file
        request = await asyncio.to_thread(self._request, file, fs)
        answer = await self.async_client.send(request)
        return self._documents(answer, file, extra_info)

    def _request(self, file: Any, fs: Any) -> Request[Transcription]:
        sound: Any = file
        if fs is not None:
            with fs.open(str(file), "rb") as opened:
                sound = opened.read()
        names = ("language", "prompt", "temperature", "timestamp_granularities", "fallback_model")
        return transcription_request(
            sound,
            model=self.model,
            filename=PurePath(str(file)).name,
            response_format=self.response_format or ("verbose_json" if self.by_segment else None),
            extra_body=self.extra_body,
            **run_options(),
            **{name: getattr(self, name) for name in names},
        )

    def _documents(
        self, answer: Transcription, file: Any, extra_info: dict[str, Any] | None
    ) -> list[Document]:
        about = {"file_name": PurePath(str(file)).name, **(extra_info or {})}
        documents = []
        for text, facts in answer.documents(by_segment=self.by_segment):
            document = Document(text=text, metadata={**about, **facts})
            # numbers are for programs; embeddings and prompts gain nothing from them
            hidden = [name for name in facts if name != "language"]
            document.excluded_embed_metadata_keys = hidden
            document.excluded_llm_metadata_keys = hidden
            documents.append(document)
        return documents


class LunosSpeechToolSpec(LunosToolSpec):
    """Speaks texts with a model behind the Lunos gateway.

    Args:
        model: the model's id, such as "openai/tts-1".
        folder: save the audio in this folder; the block then names the file.
        params: the wire's parameters as a dict.
        **settings: the wire's parameters by name: `voice`, `response_format`, `speed`,
            `google_voice_config`, `fallback_model`, `extra_body`; and the connection's settings
            as in `Lunos`: `api_key`, `api_base`, `app_id`, `timeout` and so on.

    Raises:
        LunosConfigError: there is no key, or a setting is invalid.
        TypeError: there is no such parameter, or it has the wrong type.
        ValueError: a parameter is out of range.

    Example:
        >>> from llama_index_lunos import LunosSpeechToolSpec
        >>> spec = LunosSpeechToolSpec("openai/tts-1", voice="alloy")
        >>> tool, = spec.to_tool_list()
        >>> tool.metadata.name
        'speak'
        >>> spec.speak("Good morning!").block_type
        'audio'
        >>> spec.close()
    """

    spec_functions = [("speak", "aspeak")]  # noqa: RUF012  # LlamaIndex's own name
    _names = SPEECH

    def speak(self, text: str) -> Any:
        """Read a text aloud. Use it when the user wants to hear something.

        Args:
            text (str): what to say, at most 4,096 characters.
        """
        if mistake := spoken_mistake(text):
            return mistake
        return self._block(self._connection.client.send(self._request(text)))

    async def aspeak(self, text: str) -> Any:
        """Read a text aloud. Use it when the user wants to hear something.

        Args:
            text (str): what to say, at most 4,096 characters.
        """
        if mistake := spoken_mistake(text):
            return mistake
        speech = await self._connection.async_client.send(self._request(text))
        return await asyncio.to_thread(self._block, speech)  # it may write a file

    def _request(self, prompt: str) -> Request[Speech]:
        return speech_request(prompt, model=self.model, **self._options())

    def _block(self, speech: Speech) -> AudioBlock:
        kind = speech.ending.removeprefix(".")
        if self.folder is not None:
            return AudioBlock(path=speech.save_in(self.folder), format=kind)
        return AudioBlock(audio=base64.b64encode(speech.content), format=kind)
