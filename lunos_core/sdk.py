"""Lunos without a framework: `lunos.chat.completions.create(…)`, as the API reference has it.

A thin layer: it checks the arguments, builds the request and sends it.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack, overload

from lunos_core.accounting.observers import Observer
from lunos_core.accounting.pricing import Prices
from lunos_core.catalog.catalog import AsyncCatalog, Catalog, aload_prices, load_prices
from lunos_core.catalog.models import ModelInfo
from lunos_core.config import ApiKey, Config, Settings
from lunos_core.endpoints.audio import Sound, Transcription, transcription_request
from lunos_core.endpoints.balance import (
    Balance,
    OnLowBalance,
    atell_low_balance,
    balance_request,
    tell_low_balance,
)
from lunos_core.endpoints.chat.requests import (
    chat_request,
    chat_stream_request,
    completion_request,
    completion_stream_request,
)
from lunos_core.endpoints.chat.types import Chunk, Completion
from lunos_core.endpoints.embedding_arrays import EmbeddingArray, embedding_array_request
from lunos_core.endpoints.embeddings import Embeddings, embedding_request
from lunos_core.endpoints.images import ImagePath, Images, image_request
from lunos_core.endpoints.params import check_messages
from lunos_core.transport.client import AsyncClient, Client
from lunos_core.transport.streams import AsyncStream, Stream

if TYPE_CHECKING:
    import httpx

Messages = Sequence[Mapping[str, Any]]
Prompt = str | Sequence[str]


class Lunos:
    """A client for Lunos, without a framework.

    Args:
        api_key: the key, or a function that returns it for each call; `LUNOS_API_KEY` when not
            given.
        http_client: an `httpx.Client` of your own.
        observers: called with a `CallRecord` when a call is over: `[ledger.record]`.
        on_low_balance: called with the `Balance` when `balance()` finds it low.
        **settings: those of `Config`: `base_url` (`LUNOS_BASE_URL` when not given, else the public
            service), `app_id` (`LUNOS_APP_ID`), `timeout`, `max_retries`, `default_headers`,
            `total_timeout`, `stream_idle_timeout`, and so on. `None` means "not given".

    Raises:
        LunosConfigError: settings that cannot work. A missing key raises with the first call that
            needs one, before anything is sent.

    Example:
        >>> from lunos_core import Lunos
        >>> lunos = Lunos(api_key=gateway.api_key, base_url=gateway.base_url)
        >>> response = lunos.chat.completions.create(
        ...     model="lunos/scripted",
        ...     messages=[{"role": "user", "content": "Hello"}],
        ...     app_id="my-python-app",
        ... )
        >>> bool(response.choices[0].message.content)
        True
    """

    def __init__(
        self,
        api_key: ApiKey | None = None,
        *,
        http_client: httpx.Client | None = None,
        observers: Sequence[Observer] = (),
        on_low_balance: OnLowBalance | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        config = Config.from_env(api_key=api_key, **settings)
        self._on_low_balance = on_low_balance
        self.client = Client(config, http_client=http_client, observers=observers)
        self.chat = _Chat(_ChatCompletions(self.client))
        self.completions = _TextCompletions(self.client)
        self.embeddings = _Embeddings(self.client)
        self.images = _Images(self.client)
        self.audio = _Audio(_Transcriptions(self.client))
        self.models = Catalog(self.client)
        self.client.prices = _weakly(self.models)
        self.client.load_prices = load_prices

    def balance(self, *, app_id: str | None = None) -> Balance:
        """Ask what is left on the account: `amount`, `is_low`, `email`, `updated_at`.

        The route is on the vendor's later pages only; a deployment without it says so.

        Raises:
            LunosError: the call failed.
        """
        balance = self.client.send(balance_request(app_id=app_id))
        tell_low_balance(balance, self._on_low_balance)
        return balance

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncLunos:
    """`Lunos`, awaited: the same arguments; `http_client` is an `httpx.AsyncClient`.

    `api_key` may be an async function.

    Example:
        >>> import asyncio
        >>> from lunos_core import AsyncLunos
        >>> async def ask():
        ...     async with AsyncLunos(gateway.api_key, base_url=gateway.base_url) as lunos:
        ...         response = await lunos.chat.completions.create(
        ...             model="lunos/scripted", messages=[{"role": "user", "content": "Hello"}]
        ...         )
        ...         return response.choices[0].message.content
        >>> asyncio.run(ask())
        'Scripted answer to: Hello'
    """

    def __init__(
        self,
        api_key: ApiKey | None = None,
        *,
        http_client: httpx.AsyncClient | None = None,
        observers: Sequence[Observer] = (),
        on_low_balance: OnLowBalance | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        config = Config.from_env(api_key=api_key, **settings)
        self._on_low_balance = on_low_balance
        self.client = AsyncClient(config, http_client=http_client, observers=observers)
        self.chat = _AsyncChat(_AsyncChatCompletions(self.client))
        self.completions = _AsyncTextCompletions(self.client)
        self.embeddings = _AsyncEmbeddings(self.client)
        self.images = _AsyncImages(self.client)
        self.audio = _AsyncAudio(_AsyncTranscriptions(self.client))
        self.models = AsyncCatalog(self.client)
        self.client.prices = _weakly(self.models)
        self.client.load_prices = aload_prices

    async def balance(self, *, app_id: str | None = None) -> Balance:
        """Ask what is left on the account: see `Lunos`; `on_low_balance` may be async."""
        balance = await self.client.send(balance_request(app_id=app_id))
        await atell_low_balance(balance, self._on_low_balance)
        return balance

    async def close(self) -> None:
        """Close the connections of this event loop."""
        await self.client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _weakly(catalog: Catalog | AsyncCatalog) -> Prices:
    """The catalog's prices, without a reference cycle of client and catalog."""
    known = weakref.ref(catalog)

    def prices(model: str) -> ModelInfo | None:
        alive = known()
        return None if alive is None else alive.cached(model)

    return prices


class _Chat:
    def __init__(self, completions: _ChatCompletions) -> None:
        self.completions = completions


class _AsyncChat:
    def __init__(self, completions: _AsyncChatCompletions) -> None:
        self.completions = completions


class _ChatCompletions:
    def __init__(self, client: Client) -> None:
        self._client = client

    @overload
    def create(
        self, *, model: str, messages: Messages, stream: Literal[False] = False, **params: Any
    ) -> Completion: ...

    @overload
    def create(
        self, *, model: str, messages: Messages, stream: Literal[True], **params: Any
    ) -> Stream[Chunk]: ...

    def create(
        self, *, model: str, messages: Messages, stream: bool = False, **params: Any
    ) -> Completion | Stream[Chunk]:
        """Ask a chat model.

        Args:
            model: the model's id, such as "openai/gpt-4".
            messages: `{"role": …, "content": …}` each.
            stream: return the answer in chunks, as they arrive.
            **params: the wire's parameters, and `app_id`, `extra_headers`, `extra_body`, `timeout`.

        Raises:
            TypeError: a message or parameter has the wrong type.
            ValueError: a message or parameter that cannot be sent.
            LunosError: the call failed.
        """
        checked = check_messages(messages)
        if stream:
            return self._client.stream(chat_stream_request(checked, model=model, **params))
        return self._client.send(chat_request(checked, model=model, **params))


class _AsyncChatCompletions:
    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    @overload
    async def create(
        self, *, model: str, messages: Messages, stream: Literal[False] = False, **params: Any
    ) -> Completion: ...

    @overload
    async def create(
        self, *, model: str, messages: Messages, stream: Literal[True], **params: Any
    ) -> AsyncStream[Chunk]: ...

    async def create(
        self, *, model: str, messages: Messages, stream: bool = False, **params: Any
    ) -> Completion | AsyncStream[Chunk]:
        """Ask a chat model: see `Lunos`."""
        checked = check_messages(messages)
        if stream:
            return await self._client.stream(chat_stream_request(checked, model=model, **params))
        return await self._client.send(chat_request(checked, model=model, **params))


class _TextCompletions:
    def __init__(self, client: Client) -> None:
        self._client = client

    @overload
    def create(
        self,
        *,
        model: str,
        prompt: Prompt,
        stream: Literal[False] = False,
        **params: Any,
    ) -> Completion: ...

    @overload
    def create(
        self, *, model: str, prompt: Prompt, stream: Literal[True], **params: Any
    ) -> Stream[Chunk]: ...

    def create(
        self, *, model: str, prompt: Prompt, stream: bool = False, **params: Any
    ) -> Completion | Stream[Chunk]:
        """Continue a prompt; the text is in `choices[0].text`."""
        if stream:
            return self._client.stream(completion_stream_request(prompt, model=model, **params))
        return self._client.send(completion_request(prompt, model=model, **params))


class _AsyncTextCompletions:
    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    @overload
    async def create(
        self,
        *,
        model: str,
        prompt: Prompt,
        stream: Literal[False] = False,
        **params: Any,
    ) -> Completion: ...

    @overload
    async def create(
        self, *, model: str, prompt: Prompt, stream: Literal[True], **params: Any
    ) -> AsyncStream[Chunk]: ...

    async def create(
        self, *, model: str, prompt: Prompt, stream: bool = False, **params: Any
    ) -> Completion | AsyncStream[Chunk]:
        """Continue a prompt: see `Lunos`."""
        if stream:
            request = completion_stream_request(prompt, model=model, **params)
            return await self._client.stream(request)
        return await self._client.send(completion_request(prompt, model=model, **params))


class _Embeddings:
    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, *, model: str, input: str | Sequence[str], **params: Any) -> Embeddings:
        """Embed texts: `vectors` has one for each text, in their order."""
        return self._client.send(embedding_request(input, model=model, **params))

    def create_array(
        self, *, model: str, input: str | Sequence[str], **params: Any
    ) -> EmbeddingArray:
        """Embed texts as one float32 numpy array: `array` has a row for each text."""
        return self._client.send(embedding_array_request(input, model=model, **params))


class _AsyncEmbeddings:
    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def create(self, *, model: str, input: str | Sequence[str], **params: Any) -> Embeddings:
        """Embed texts: see `Lunos`."""
        return await self._client.send(embedding_request(input, model=model, **params))

    async def create_array(
        self, *, model: str, input: str | Sequence[str], **params: Any
    ) -> EmbeddingArray:
        """Embed texts as one numpy array: see `Lunos`."""
        return await self._client.send(embedding_array_request(input, model=model, **params))


class _Images:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._path = ImagePath()

    def generate(self, *, model: str, prompt: str, **params: Any) -> Images:
        """Generate images: `images[0].url` or `.b64_json`, and `.data` for the bytes."""
        return self._client.send(image_request(prompt, model=model, path=self._path, **params))


class _AsyncImages:
    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._path = ImagePath()

    async def generate(self, *, model: str, prompt: str, **params: Any) -> Images:
        """Generate images: see `Lunos`."""
        request = image_request(prompt, model=model, path=self._path, **params)
        return await self._client.send(request)


class _Audio:
    def __init__(self, transcriptions: _Transcriptions) -> None:
        self.transcriptions = transcriptions


class _AsyncAudio:
    def __init__(self, transcriptions: _AsyncTranscriptions) -> None:
        self.transcriptions = transcriptions


class _Transcriptions:
    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, *, model: str, file: Sound, **params: Any) -> Transcription:
        """Transcribe a recording: a path, bytes, or an open binary file."""
        return self._client.send(transcription_request(file, model=model, **params))


class _AsyncTranscriptions:
    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def create(self, *, model: str, file: Sound, **params: Any) -> Transcription:
        """Transcribe a recording: see `Lunos`."""
        # in a thread: it reads the file
        request = await asyncio.to_thread(transcription_request, file, model=model, **params)
        return await self._client.send(request)
