"""`LunosAudioTranscriber`: speech as documents, for LangChain's blob loaders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from langchain_core.document_loaders import BaseBlobParser, Blob
from langchain_core.documents import Document
from pydantic import AliasChoices, Field

from langchain_lunos._app_id import config_app_id
from langchain_lunos._settings import LunosConnection
from lunos_core.endpoints.audio import transcription_request

__all__ = ["LunosAudioTranscriber"]


class LunosAudioTranscriber(LunosConnection, BaseBlobParser):
    """Transcribes audio blobs with a model behind Lunos.

    It makes one document for each blob, or for each segment (`by_segment=True`), with times in the
    metadata where the server gives them (`response_format="verbose_json"`). Any loader that takes
    a blob parser takes it.

    Example:
        >>> from langchain_lunos import LunosAudioTranscriber
        >>> transcriber = LunosAudioTranscriber(
        ...     model="lunos/scripted-whisper",
        ...     by_segment=True,
        ...     api_key=gateway.api_key,
        ...     base_url=gateway.base_url,
        ... )
        >>> # GenericLoader(FileSystemBlobLoader("memos", glob="*.wav"), transcriber).lazy_load()
        >>> transcriber.model
        'lunos/scripted-whisper'

    Raises:
        LunosConfigError: no key (`api_key` or `LUNOS_API_KEY`), or settings that cannot work.
        LunosNotFoundError: when parsing: this deployment has no such route, or no such model.
    """

    model: str = Field(validation_alias=AliasChoices("model", "model_name"))
    """The model's id, such as "openai/whisper-1"."""
    language: str | None = None
    """Such as "en"; when not given, the model finds out."""
    prompt: str | None = None
    """Words that are likely to be said."""
    temperature: float | None = None
    """0 to 1."""
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt"] | None = None
    """What to ask for; `verbose_json` has segments with times."""
    timestamp_granularities: list[str] | None = None
    """`["segment", "word"]`, with `verbose_json`."""
    by_segment: bool = False
    """One document for each segment; asks for `verbose_json`."""
    fallback_model: str | None = None
    """The model to ask once when `model` fails for good."""
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
            # by its path: it is read once, into the request
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
