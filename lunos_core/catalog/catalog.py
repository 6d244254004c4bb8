"""The model catalog over a client: fetched on first use, and cached.

It is kept in memory and on disk, for a time to live (an hour). Creating a `Catalog` fetches
nothing, and the same list is never fetched twice at once, however many threads and tasks need it.
"""

from __future__ import annotations

import asyncio
import functools
import os
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from decimal import Decimal
from pathlib import Path
from typing import Any, Generic, Self, TypeVar, Unpack
from urllib.parse import urlsplit

from lunos_core.accounting.pricing import Prices, price_of
from lunos_core.accounting.usage import Usage
from lunos_core.catalog.cache import DETAILED, PUBLIC, ModelCache, Models
from lunos_core.catalog.disk import cache_file, cache_folder
from lunos_core.catalog.models import ModelInfo, models_request
from lunos_core.catalog.preflight import refusal
from lunos_core.catalog.search import (
    FilterOptions,
    ModelFilter,
    ModelIndex,
    Words,
    completed,
    contradicts,
    is_lean,
    matching,
    similar,
)
from lunos_core.errors import LunosError, LunosNotFoundError
from lunos_core.request import Request
from lunos_core.transport.client import AsyncClient, Client

T = TypeVar("T")
C = TypeVar("C", Client, AsyncClient)

Ids = list[str]  # `list` is a method here

DEFAULT_TTL = 3600.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class _Catalog(ABC, Generic[C]):
    """The catalog's methods as coroutines, which await only the two abstract methods below."""

    def __init__(
        self,
        client: C,
        *,
        ttl: float = DEFAULT_TTL,
        cache_dir: str | os.PathLike[str] | bool | None = None,
    ) -> None:
        if isinstance(client, AsyncClient if isinstance(self, Catalog) else Client):
            raise TypeError(
                f"{type(self).__name__} can't use {type(client).__name__}: "
                "Catalog takes a Client, AsyncCatalog an AsyncClient"
            )
        self._client: C = client
        self._settings: dict[str, Any] = {"ttl": ttl, "cache_dir": cache_dir}
        folder = _folder(client, cache_dir)
        root_url = client.config.root_url
        file = None if folder is None else cache_file(folder, root_url)
        self._cache = ModelCache(root_url, file, ttl)
        self._has_public_list = True

    @abstractmethod
    async def _send(self, request: Request[Models]) -> Models:
        """Send the request."""

    @abstractmethod
    async def _wait(self, result: Future[Models | None]) -> Models | None:
        """Wait for the fetch of another thread or task."""

    def cached(self, id: str, *, disk: bool = True) -> ModelInfo | None:
        """Return a model without a request, from memory or else from disk.

        For code that must not wait, such as a framework's `metadata`. The model may be outdated,
        and is `None` if nothing has been fetched yet.

        Args:
            id: the model's id, with or without its provider.
            disk: whether the file may be read, which happens once.
        """
        return self._cache.known(disk=disk).get(id)

    def cached_models(self) -> Models:
        """Return all models that are known without a request."""
        return [*self._cache.known(disk=True).models]

    def check(self, content: Any, *, model: str, params: Mapping[str, Any]) -> None:
        """Refuse a request that cannot work, as far as is known without a request.

        Args:
            content: wire messages, or a prompt.
            model: the model's id.
            params: the wire's parameters. With a `fallback_model` nothing is refused: that model
                may support the request.

        Raises:
            LunosBadRequestError: the model lacks something that the request uses.
            LunosContextOverflowError: the prompt is too long for the model.
        """
        index = self._cache.known(disk=True)
        error = refusal(index, content, model=model, params=params)
        if error is not None:
            raise error

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(type(self), **self._settings), (self._client,)

    async def _fetch(self, request: Request[Models], refresh: bool = False) -> Models:
        """Return a list: the fresh one, else the one that this call or another fetches."""
        blocking = isinstance(self._client, Client)
        while True:
            claimed = self._cache.claim(request, refresh=refresh, blocking=blocking)
            if claimed is None:
                try:
                    return self._cache.store(request, await self._send(request))
                except BaseException as error:
                    return self._cache.failed(request, error)
            models = await self._wait(claimed) if isinstance(claimed, Future) else claimed
            if models is not None:
                return models

    async def _all(self, refresh: bool = False) -> Models:
        """Return the public list, or the one that needs the key if there is no public one."""
        if self._has_public_list:
            try:
                return await self._fetch(PUBLIC, refresh)
            except LunosNotFoundError:
                if not self._has_key:
                    raise
                self._has_public_list = False
        return await self._fetch(DETAILED, refresh)

    async def _list(self, input: Words | None, output: Words | None, refresh: bool) -> Models:
        wanted = ModelFilter.of(input=input, output=output, include_disabled=True)
        if not wanted.input and not wanted.output:
            return [*await self._all(refresh)]
        if self._has_key:
            filtered = models_request(input=wanted.input, output=wanted.output)
            try:
                models = await self._fetch(filtered, refresh)
                return [model for model in models if not contradicts(model, wanted)]
            except LunosNotFoundError:
                pass  # a deployment may have only the reference's routes, without /v1/models
        return [model for model in await self._all(refresh) if wanted.fits(model)]

    async def _find(self, options: FilterOptions) -> Models:
        wanted = ModelFilter.of(**options)
        models = await self._all()
        if wanted.needs_details and all(map(is_lean, models)):
            models = await self._with_details(models)
        return matching(models, wanted)

    async def _get(self, id: str) -> ModelInfo | None:
        model = ModelIndex(await self._all()).get(id)
        if model is not None and is_lean(model):
            (model,) = await self._with_details([model])
        return model

    async def _suggest(self, id: str) -> Ids:
        return similar(await self._all(), id)

    async def _cost(self, usage: Usage | None, model: str | ModelInfo) -> Decimal | None:
        priced = model if isinstance(model, ModelInfo) else ModelIndex(await self._all()).get(model)
        return None if priced is None else price_of(usage, priced)

    async def _with_details(self, models: Models) -> Models:
        """Add facts that only `/v1/models` may have, if there is a key."""
        if not self._has_key:
            return models
        try:
            return completed(models, await self._fetch(DETAILED))
        except LunosError:
            return models  # the known facts are still an answer

    @property
    def _has_key(self) -> bool:
        return self._client.config.api_key is not None


def load_prices(client: Client, catalog: Any = None) -> Prices:
    """Fetch the list of models for a budget, and return a function that finds their prices.

    Args:
        client: sends the request.
        catalog: the user's own catalog, which comes first.

    Raises:
        LunosError: the list could not be fetched.
    """
    own = catalog if isinstance(catalog, Catalog) else Catalog(client)
    return _prices(ModelIndex(own.list()), catalog)


async def aload_prices(client: AsyncClient, catalog: Any = None) -> Prices:
    """Fetch the list of models: see `load_prices`."""
    own = catalog if isinstance(catalog, AsyncCatalog) else AsyncCatalog(client)
    return _prices(ModelIndex(await own.list()), catalog)


def _prices(index: ModelIndex, catalog: Any) -> Prices:
    # the index, not a catalog: client and catalog would keep each other alive
    def find(model: str) -> ModelInfo | None:
        known: ModelInfo | None = None if catalog is None else catalog.cached(model)
        return index.get(model) if known is None else known

    return find


class Catalog(_Catalog[Client]):
    """The models of a gateway. Safe to share between threads.

    The first method call fetches the list. Without a key all answers come from the public list;
    with a key, `/v1/models` is used if the public list lacks facts.

    Args:
        client: sends the requests.
        ttl: how long a list is fresh, in seconds; 0 fetches in every call. If a refresh fails, the
            old list stays.
        cache_dir: the folder of the public list's file; `False` for no file, `True` for the usual
            folder: `LUNOS_CACHE_DIR`, else the platform's cache folder. By default it is the usual
            folder, except for a gateway on this machine or a client with an `http_client` of your
            own, which get a file only if `LUNOS_CACHE_DIR` is set: a port means nothing tomorrow,
            and a mock's models are of no use to others.

    Example:
        >>> from lunos_core import Lunos
        >>> lunos = Lunos()
        >>> lunos.models.get("scripted").id
        'lunos/scripted'
        >>> lunos.models.suggest("lunos/scriptd")[0]
        'lunos/scripted'
    """

    def list(
        self,
        *,
        input: Words | None = None,
        output: Words | None = None,
        refresh: bool = False,
    ) -> Models:
        """Return all models, in the catalog's order.

        Args:
            input: only models that read these modalities ("text,image" or a list). With a key,
                `/v1/models` filters, else the public list is filtered here.
            output: only models that write these.
            refresh: fetch now, even a fresh list.

        Raises:
            LunosError: the catalog could not be fetched, and there is no older one.
        """
        return _run(self._list(input, output, refresh))

    def find(self, **options: Unpack[FilterOptions]) -> Models:
        """Return the models known to meet all options, cheapest first, unknown prices last.

        Args:
            **options: `provider`, `input`, `output`, `capability`, `parameter`, `reasoning`,
                `max_input_price` and `max_output_price` (USD for one token), `min_context`,
                `min_output`, `include_disabled`.

        Raises:
            TypeError: there is no such option, or its value has the wrong type.
            ValueError: a price isn't a number.
            LunosError: as in `list`.
        """
        return _run(self._find(options))

    def get(self, id: str) -> ModelInfo | None:
        """Return the model with this id, with or without its provider, or `None`."""
        return _run(self._get(id))

    def suggest(self, id: str) -> Ids:
        """Return up to three ids that someone who wrote `id` may have meant, best first."""
        return _run(self._suggest(id))

    def cost(self, usage: Usage | None, model: str | ModelInfo) -> Decimal | None:
        """Return the cost of the tokens at the catalog's prices, in USD, or `None` if unknown.

        `usage.cost`, if the gateway sent one, is more exact: look there first.
        """
        return _run(self._cost(usage, model))

    async def _send(self, request: Request[Models]) -> Models:
        return self._client.send(request)

    async def _wait(self, result: Future[Models | None]) -> Models | None:
        return result.result()


class AsyncCatalog(_Catalog[AsyncClient]):
    """`Catalog`, awaited. One instance may be used from several event loops.

    Example:
        >>> import asyncio
        >>> from lunos_core import AsyncLunos
        >>> async def known():
        ...     async with AsyncLunos() as lunos:
        ...         return await lunos.models.get("scripted")
        >>> asyncio.run(known()).id
        'lunos/scripted'
    """

    async def list(
        self,
        *,
        input: Words | None = None,
        output: Words | None = None,
        refresh: bool = False,
    ) -> Models:
        """Return all models: see `Catalog`."""
        return await self._list(input, output, refresh)

    async def find(self, **options: Unpack[FilterOptions]) -> Models:
        """Return the models that meet all options: see `Catalog`."""
        return await self._find(options)

    async def get(self, id: str) -> ModelInfo | None:
        """Return the model with this id: see `Catalog`."""
        return await self._get(id)

    async def suggest(self, id: str) -> Ids:
        """Return up to three similar ids: see `Catalog`."""
        return await self._suggest(id)

    async def cost(self, usage: Usage | None, model: str | ModelInfo) -> Decimal | None:
        """Return the cost of the tokens at the catalog's prices: see `Catalog`."""
        return await self._cost(usage, model)

    async def _send(self, request: Request[Models]) -> Models:
        return await self._client.send(request)

    async def _wait(self, result: Future[Models | None]) -> Models | None:
        return await asyncio.wrap_future(result)


def _run(question: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine of the sync `Catalog`, which blocks instead of awaiting."""
    try:
        question.send(None)
    except StopIteration as finished:
        answer: T = finished.value
        return answer
    raise AssertionError("a sync catalog awaits nothing")


def _folder(
    client: Client | AsyncClient, cache_dir: str | os.PathLike[str] | bool | None
) -> Path | None:
    if cache_dir is False:
        return None
    if cache_dir is not None and cache_dir is not True:
        return Path(cache_dir)
    asked_for = cache_dir is True or bool(os.environ.get("LUNOS_CACHE_DIR"))
    local = urlsplit(client.config.root_url).hostname in _LOOPBACK
    if (local or client._given is not None) and not asked_for:
        return None
    return cache_folder(os.environ)
