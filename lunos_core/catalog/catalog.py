"""The model catalog over a client: fetched when asked for, once, and kept.

In memory and on disk for a time to live (an hour). A `Catalog` fetches nothing when it is made,
and never the same list twice at once, however many threads and tasks ask for it.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Generator
from concurrent.futures import Future
from decimal import Decimal
from pathlib import Path
from typing import Any, Generic, Self, TypeVar, Unpack
from urllib.parse import urlsplit

from lunos_core.accounting.pricing import price_of
from lunos_core.accounting.usage import Usage
from lunos_core.catalog.cache import Models, Shelf, Ticket
from lunos_core.catalog.disk import cache_file, cache_folder
from lunos_core.catalog.models import ModelInfo, models_request, words_of
from lunos_core.catalog.search import (
    Wishes,
    Words,
    completed,
    contradicts,
    is_lean,
    matching,
    named,
    similar,
    wanted,
)
from lunos_core.errors import LunosError, LunosNotFoundError
from lunos_core.request import Request
from lunos_core.transport.client import AsyncClient, Client

T = TypeVar("T")
C = TypeVar("C", Client, AsyncClient)

Ids = list[str]
# Steps of a question: they ask for one list after the other (the flag: afresh), are given each, or
# its failure, and return the answer.
Steps = Generator[tuple[Request[Models], bool], Models, T]

DEFAULT_TTL = 3600.0
_Known = tuple[int | None, dict[str, ModelInfo | None]]
_MOST_KNOWN = 1000
_PUBLIC, _DETAILED = models_request(), models_request(public=False)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class _Catalog(Generic[C]):
    """The questions, as steps: what `Catalog` and `AsyncCatalog` share."""

    def __init__(
        self,
        client: C,
        *,
        ttl: float = DEFAULT_TTL,
        cache_dir: str | os.PathLike[str] | bool | None = None,
    ) -> None:
        self._client: C = client
        self._settings: dict[str, Any] = {"ttl": ttl, "cache_dir": cache_dir}
        folder = _folder(client, cache_dir)
        root_url = client.config.root_url
        file = None if folder is None else cache_file(folder, root_url)
        self._shelf = Shelf(root_url, file, ttl)
        self._has_public_list = True
        # of one state of the lists: what each id was found to be. Every call asks for it
        self._known: _Known = (None, {})

    def cached(self, id: str, *, disk: bool = True) -> ModelInfo | None:
        """What is known of a model without asking anyone: from memory, else from disk.

        For places that must not wait, such as a framework's `metadata`; however old, and `None`
        where nothing has been fetched yet.

        Args:
            id: bare, or with its provider in front.
            disk: whether the file may be read, which happens once.
        """
        state, known = self._known
        if state == self._shelf.state(disk=disk) and id in known:
            return known[id]
        # before the lists: should one come meanwhile, what is found here is asked for again
        now = self._shelf.state(disk=False)
        public: Models | None = self._shelf.peek(_PUBLIC, disk=disk)
        detailed: Models | None = self._shelf.peek(_DETAILED)
        lean, whole = named(public or [], id), named(detailed or [], id)
        found = whole if lean is None else completed(lean, whole)
        if now != state or len(known) >= _MOST_KNOWN:  # ids are the user's: they may be without end
            known = {}
            self._known = (now, known)
        known[id] = found
        return found

    def cached_models(self) -> Models:
        """All models that are known without asking anyone, with all that is known of them."""
        detailed: Models = self._shelf.peek(_DETAILED) or []
        public: Models = self._shelf.peek(_PUBLIC) or []
        if not public:
            return [*detailed]
        return [completed(model, named(detailed, model.id)) for model in public]

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """The same one: copies of a model share what is known of it."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Settings travel, lists do not."""
        return functools.partial(type(self), **self._settings), (self._client,)

    def _all(self, refresh: bool = False) -> Steps[Models]:
        """The public list; where a deployment has none, the one behind the key."""
        has_key = self._client.config.api_key is not None
        if self._has_public_list:
            try:
                return (yield models_request(), refresh)
            except LunosNotFoundError:
                if not has_key:
                    raise
                self._has_public_list = False
        return (yield models_request(public=False), refresh)

    def _listed(self, input: Words | None, output: Words | None, refresh: bool) -> Steps[Models]:
        reading, writing = words_of(input, "input"), words_of(output, "output")
        if not reading and not writing:
            return [*(yield from self._all(refresh))]
        if self._client.config.api_key is not None:
            try:
                models = yield models_request(input=reading, output=writing), refresh
                return [one for one in models if not contradicts(one, reading, writing)]
            except LunosNotFoundError:
                pass  # a deployment of the reference alone: it has no /v1/models
        asked = wanted(input=reading, output=writing, include_disabled=True)
        return [one for one in (yield from self._all(refresh)) if asked.fits(one)]

    def _found(self, wishes: Wishes) -> Steps[Models]:
        asked = wanted(**wishes)
        models = yield from self._all()
        if asked.needs_details and all(is_lean(model) for model in models):
            models = yield from self._with_details(models)
        return matching(models, asked)

    def _got(self, id: str) -> Steps[ModelInfo | None]:
        models = yield from self._all()
        model = named(models, id)
        if model is not None and is_lean(model):
            (model,) = yield from self._with_details([model])
        return model

    def _suggested(self, id: str) -> Steps[Ids]:
        return similar((yield from self._all()), id)

    def _cost(self, usage: Usage | None, model: str | ModelInfo) -> Steps[Decimal | None]:
        if isinstance(model, ModelInfo):
            return price_of(usage, model)
        found = named((yield from self._all()), model)
        return None if found is None else price_of(usage, found)

    def _with_details(self, models: Models) -> Steps[Models]:
        """The models with the facts that only `/v1/models` may have, where there is a key."""
        if self._client.config.api_key is None:
            return models
        try:
            detailed = yield models_request(public=False), False
        except LunosError:
            return models  # what is known already is still an answer
        return [completed(model, named(detailed, model.id)) for model in models]


class Catalog(_Catalog[Client]):
    """The models of a gateway. Safe to share between threads.

    Nothing is fetched before the first question. Without a key everything is answered from the
    public list; with one, `/v1/models` is asked where the public list does not say enough.

    Args:
        client: sends the requests.
        ttl: seconds for which a list is fresh; 0 fetches with every question. When a refresh
            fails, the old list serves on.
        cache_dir: the folder of the public list's file; `False` for no file, `True` for the usual
            folder: `LUNOS_CACHE_DIR`, else the platform's cache folder. Left out, it is the usual
            folder, but no file unless `LUNOS_CACHE_DIR` is set for a gateway on this machine or a
            client over an `http_client` of your own: a port means nothing tomorrow, and a mock's
            models are nobody else's.

    Example:
        >>> from lunos_core import Lunos
        >>> lunos = Lunos(api_key=gateway.api_key, base_url=gateway.base_url)
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
        """All models, in the catalog's order.

        Args:
            input: only those that read these modalities ("text,image" or a list). Asked of
                `/v1/models` where there is a key, else answered from the public list.
            output: only those that write these.
            refresh: fetch now, fresh or not.

        Raises:
            LunosError: the catalog could not be fetched, and there is no older one.
        """
        return self._run(self._listed(input, output, refresh))

    def find(self, **wishes: Unpack[Wishes]) -> Models:
        """The models that are known to meet all wishes, cheapest first, unknown prices last.

        Args:
            **wishes: `provider`, `input`, `output`, `capability`, `parameter`, `reasoning`,
                `max_input_price` and `max_output_price` (USD for one token), `min_context`,
                `min_output`, `include_disabled`.

        Raises:
            TypeError: a wish that there is not, or one of the wrong type.
            LunosError: as `list`.
        """
        return self._run(self._found(wishes))

    def get(self, id: str) -> ModelInfo | None:
        """The model with this id, bare or with its provider in front; `None` for no such model."""
        return self._run(self._got(id))

    def suggest(self, id: str) -> Ids:
        """Up to three ids that someone who wrote `id` may have meant, best first."""
        return self._run(self._suggested(id))

    def cost(self, usage: Usage | None, model: str | ModelInfo) -> Decimal | None:
        """What the catalog's prices make of the tokens, in USD; `None` where it is unknown.

        `usage.cost`, where the gateway sent one, is the better word: look there first.
        """
        return self._run(self._cost(usage, model))

    def _run(self, steps: Steps[T]) -> T:
        step = functools.partial(next, steps)
        while True:
            try:
                request, refresh = step()
            except StopIteration as finished:
                answer: T = finished.value
                return answer
            try:
                step = functools.partial(steps.send, self._fetch(request, refresh))
            except LunosError as error:
                step = functools.partial(steps.throw, error)

    def _fetch(self, request: Request[Models], refresh: bool) -> Models:
        while True:
            found = self._shelf.look(request, refresh=refresh, blocking=True)
            if isinstance(found, Ticket):
                try:
                    return found.done(self._client.send(request))
                except BaseException as error:
                    return found.failed(error)
            models = found.result() if isinstance(found, Future) else found
            if models is not None:
                return models


class AsyncCatalog(_Catalog[AsyncClient]):
    """`Catalog`, awaited. One instance may be used from several event loops.

    Example:
        >>> import asyncio
        >>> from lunos_core import AsyncLunos
        >>> async def known():
        ...     async with AsyncLunos(gateway.api_key, base_url=gateway.base_url) as lunos:
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
        """All models: see `Catalog`."""
        return await self._run(self._listed(input, output, refresh))

    async def find(self, **wishes: Unpack[Wishes]) -> Models:
        """The models that meet all wishes: see `Catalog`."""
        return await self._run(self._found(wishes))

    async def get(self, id: str) -> ModelInfo | None:
        """The model with this id: see `Catalog`."""
        return await self._run(self._got(id))

    async def suggest(self, id: str) -> Ids:
        """Up to three ids that were perhaps meant: see `Catalog`."""
        return await self._run(self._suggested(id))

    async def cost(self, usage: Usage | None, model: str | ModelInfo) -> Decimal | None:
        """What the catalog's prices make of the tokens: see `Catalog`."""
        return await self._run(self._cost(usage, model))

    async def _run(self, steps: Steps[T]) -> T:
        step = functools.partial(next, steps)
        while True:
            try:
                request, refresh = step()
            except StopIteration as finished:
                answer: T = finished.value
                return answer
            try:
                step = functools.partial(steps.send, await self._fetch(request, refresh))
            except LunosError as error:
                step = functools.partial(steps.throw, error)

    async def _fetch(self, request: Request[Models], refresh: bool) -> Models:
        while True:
            found = self._shelf.look(request, refresh=refresh, blocking=False)
            if isinstance(found, Ticket):
                try:
                    return found.done(await self._client.send(request))
                except BaseException as error:
                    return found.failed(error)
            models = await asyncio.wrap_future(found) if isinstance(found, Future) else found
            if models is not None:
                return models


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
