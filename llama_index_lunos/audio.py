"""`LunosAudioReader`: speech as documents, also for `SimpleDirectoryReader`."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from llama_index.core.bridge.pydantic import Field
from llama_index.core.readers.base import BasePydanticReader
from llama_index.core.schema import Document

from llama_index_lunos._settings import Connection, resolve_app_id
from lunos_core.endpoints.audio import Transcription, transcription_request
from lunos_core.request import Request


class LunosAudioReader(Connection, BasePydanticReader):
    """Transcribes audio files with a model behind the Lunos gateway.

    It makes one document for each file, or for each segment (`by_segment=True`), with times in the
    metadata if the server gives them (`response_format="verbose_json"`).

    Args:
        model: the model's id, such as "openai/whisper-1".
        **settings: the fields below and the connection's, as `Lunos` has them.

    Raises:
        LunosConfigError: there is no key, or a setting is invalid.

    Example:
        >>> from llama_index_lunos import LunosAudioReader
        >>> reader = LunosAudioReader(
        ...     "lunos/scripted-whisper", api_key=gateway.api_key, api_base=gateway.base_url
        ... )
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
        default=None, description="The model to ask when `model` fails."
    )
    extra_body: dict[str, Any] | None = Field(
        default=None, description="Fields put into the form as they are."
    )

    def __init__(self, model: str | None = None, **settings: Any) -> None:
        super().__init__(model=model, **settings)

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex stores this class."""
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
            LunosError: the call failed, such as at a deployment without the route.
        """
        answer = self.client.send(self._request(file, fs))
        return self._documents(answer, file, extra_info)

    async def aload_data(
        self, file: Any, extra_info: dict[str, Any] | None = None, fs: Any = None
    ) -> list[Document]:
        """`load_data`, awaited."""
        import asyncio

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
            app_id=resolve_app_id(None),
            **{name: getattr(self, name) for name in names},
        )

    def _documents(
        self, answer: Transcription, file: Any, extra_info: dict[str, Any] | None
    ) -> list[Document]:
        about = {"file_name": PurePath(str(file)).name, **(extra_info or {})}
        documents = []
        for text, facts in answer.documents(by_segment=self.by_segment):
            document = Document(text=text, metadata={**about, **facts})
            # numbers for programs: an embedding or a prompt gains nothing from them
            hidden = [name for name in facts if name != "language"]
            document.excluded_embed_metadata_keys = hidden
            document.excluded_llm_metadata_keys = hidden
            documents.append(document)
        return documents
