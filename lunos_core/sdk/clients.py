"""Lunos without a framework: `lunos.chat.completions.create(…)`, as in the API reference.

A thin layer: it checks the arguments, builds the request and sends it.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Self, Unpack

from lunos_core.accounting.observers import Observer
from lunos_core.accounting.pricing import Prices
from lunos_core.catalog.catalog import AsyncCatalog, Catalog, aload_prices, load_prices
from lunos_core.catalog.models import ModelInfo
from lunos_core.config import ApiKey, Config, Settings
from lunos_core.endpoints.balance import (
    Balance,
    OnLowBalance,
    atell_low_balance,
    balance_request,
    tell_low_balance,
)
from lunos_core.sdk.media import AsyncAudio, AsyncImages, Audio, Images
from lunos_core.sdk.text import (
    AsyncChat,
    AsyncEmbeddings,
    AsyncTextCompletions,
    Chat,
    Embeddings,
    TextCompletions,
)
from lunos_core.sdk.video import AsyncVideos, Videos
from lunos_core.transport.client import AsyncClient, AsyncHttpxClient, Client, HttpxClient


class Lunos:
    """A client for Lunos, without a framework.

    Args:
        api_key: the key, or a function that returns it for each call. Default: `LUNOS_API_KEY`.
        http_client: an `httpx.Client` of your own.
        observers: called with a `CallRecord` when a call is over: `[ledger.record]`.
        on_low_balance: called with the `Balance` when `balance()` finds it low.
        **settings: those of `Config`: `base_url` (default: `LUNOS_BASE_URL`, else the public
            service), `app_id` (default: `LUNOS_APP_ID`), `timeout`, `max_retries`,
            `default_headers`, `total_timeout`, `stream_idle_timeout`, and so on. `None` means
            "not given".

    Raises:
        LunosConfigError: settings that cannot work. A missing key raises in the first call that
            needs one, before anything is sent.

    Example:
        >>> from lunos_core import Lunos
        >>> lunos = Lunos()
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
        http_client: HttpxClient | None = None,
        observers: Sequence[Observer] = (),
        on_low_balance: OnLowBalance | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        config = Config.from_env(api_key=api_key, **settings)
        self._on_low_balance = on_low_balance
        self.client = Client(config, http_client=http_client, observers=observers)
        self.chat = Chat(self.client)
        self.completions = TextCompletions(self.client)
        self.embeddings = Embeddings(self.client)
        self.audio = Audio(self.client)
        self.video = Videos(self.client)
        self.models = Catalog(self.client)
        self.images = Images(self.client, self.models)
        self.client.prices = _weakly(self.models)
        self.client.load_prices = load_prices

    def balance(self, *, app_id: str | None = None) -> Balance:
        """Return the account's balance: `amount`, `is_low`, `email`, `updated_at`.

        Only the vendor's later pages have this route; the error of a deployment without it says so.

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
        ...     async with AsyncLunos() as lunos:
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
        http_client: AsyncHttpxClient | None = None,
        observers: Sequence[Observer] = (),
        on_low_balance: OnLowBalance | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        config = Config.from_env(api_key=api_key, **settings)
        self._on_low_balance = on_low_balance
        self.client = AsyncClient(config, http_client=http_client, observers=observers)
        self.chat = AsyncChat(self.client)
        self.completions = AsyncTextCompletions(self.client)
        self.embeddings = AsyncEmbeddings(self.client)
        self.audio = AsyncAudio(self.client)
        self.video = AsyncVideos(self.client)
        self.models = AsyncCatalog(self.client)
        self.images = AsyncImages(self.client, self.models)
        self.client.prices = _weakly(self.models)
        self.client.load_prices = aload_prices

    async def balance(self, *, app_id: str | None = None) -> Balance:
        """Return the account's balance: see `Lunos`; `on_low_balance` may be async."""
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
    """Return a function for the catalog's prices, without a cycle of client and catalog."""
    known = weakref.ref(catalog)

    def prices(model: str) -> ModelInfo | None:
        alive = known()
        return None if alive is None else alive.cached(model)

    return prices
