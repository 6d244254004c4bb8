"""The catalog: fetched when asked for, once, kept, and searched."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from lunos_core import (
    AsyncCatalog,
    AsyncClient,
    AsyncLunos,
    CallRecord,
    Catalog,
    Client,
    Config,
    Lunos,
    LunosAuthenticationError,
    LunosConnectionError,
    LunosError,
    LunosNotFoundError,
    ModelInfo,
)
from tests.core.forked import passes_in_a_forked_child
from tests.core.wire_samples import Wire, raw, reply

from .test_models import LATER, MINIMUM, REFERENCE

if TYPE_CHECKING:
    from tests.conftest import Both


def entry(id: str, input: float | None = None, output: float | None = None, **more: Any) -> Any:
    prices = {"input": input, "output": output}
    return {"id": id, "pricePerMillionTokens": prices, "inputModalities": ["text"], **more}


MODELS = [
    entry("openai/gpt-4o", 2.5, 10, inputModalities=["text", "image"], capabilities=["chat"]),
    entry("openai/gpt-4o-mini", 0.15, 0.6, supportedParameters=["tools", "seed"]),
    entry("anthropic/claude", 3, 15, parameters={"context": 200_000}, supportReasoning=True),
    entry("meta/llama", None, None),
    entry("openai/old", 0.1, 0.1, isEnabled=False),
    entry("openai/ada", 0.02, None, outputModalities=["embeddings"], capabilities=["embedding"]),
]
LIST = reply(MODELS)


def catalog_of(both: Both, wire: Any, **settings: Any) -> Any:
    own = {name: settings.pop(name) for name in ("ttl", "cache_dir") if name in settings}
    return (AsyncCatalog if both.is_async else Catalog)(both.client(wire, **settings), **own)


def by_path(**answers: Any) -> Any:
    """A wire with one answer for each of `public` and `v1`."""

    class Paths(Wire):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            self.requests.append(request)
            name = "public" if request.url.path.startswith("/public") else "v1"
            return answers[name]()

        @property
        def paths(self) -> list[str]:
            return [request.url.path for request in self.requests]

    return Paths(LIST)


def ids(models: list[ModelInfo]) -> list[str]:
    return [model.id for model in models]


# --- when it is fetched --------------------------------------------------------------------------


async def test_nothing_is_fetched_before_the_first_question_and_then_once(both: Both) -> None:
    wire = Wire(LIST)
    catalog = catalog_of(both, wire)
    assert catalog.cached("gpt-4o") is None
    assert wire.requests == []
    assert ids(await both(catalog.list())) == [item["id"] for item in MODELS]
    assert (await both(catalog.get("gpt-4o"))).id == "openai/gpt-4o"
    assert await both(catalog.find(provider="meta"))
    assert await both(catalog.suggest("gpt4o"))
    assert catalog.cached("gpt-4o").id == "openai/gpt-4o"
    assert wire.sent.url.path == "/public/models"


async def test_a_list_that_has_lived_its_time_is_fetched_again_and_refresh_does_so_at_once(
    both: Both,
) -> None:
    wire = Wire(LIST)
    eager = catalog_of(both, wire, ttl=0)
    await both(eager.list())
    await both(eager.list())
    assert len(wire.requests) == 2
    patient = catalog_of(both, wire)
    await both(patient.list())
    await both(patient.list(refresh=True))
    assert len(wire.requests) == 4


async def test_what_a_caller_does_to_the_list_stays_with_the_caller(both: Both) -> None:
    catalog = catalog_of(both, Wire(LIST))
    (await both(catalog.list())).clear()
    assert len(await both(catalog.list())) == len(MODELS)


def test_threads_that_ask_at_once_make_one_request() -> None:
    asked, answer = threading.Event(), threading.Event()

    def slow(request: httpx.Request) -> httpx.Response:
        wire(request)
        asked.set()
        assert answer.wait(10)
        return LIST()

    wire = Wire(LIST)
    with (
        Client(
            Config(api_key="k", base_url="https://lunos.test"),
            http_client=httpx.Client(transport=httpx.MockTransport(slow)),
        ) as client,
        ThreadPoolExecutor(4) as pool,
    ):
        catalog = Catalog(client)
        first = pool.submit(catalog.list)
        assert asked.wait(10)
        others = [pool.submit(catalog.get, "gpt-4o"), pool.submit(catalog.list)]
        answer.set()
        assert ids(first.result(10)) == ids(others[1].result(10))
        assert others[0].result(10).id == "openai/gpt-4o"
    assert len(wire.requests) == 1


class Slow:
    """A gateway that answers when it is told to."""

    def __init__(self) -> None:
        self.asked, self.answer = asyncio.Event(), asyncio.Event()
        self.requests = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        self.asked.set()
        await self.answer.wait()
        return LIST()

    @contextlib.asynccontextmanager
    async def lunos(self) -> AsyncIterator[AsyncLunos]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(self)) as http:
            yield AsyncLunos("k", base_url="https://lunos.test", http_client=http)


async def test_tasks_that_ask_at_once_make_one_request_and_a_cancelled_one_stops_nobody() -> None:
    slow = Slow()
    async with slow.lunos() as lunos:
        first = asyncio.create_task(lunos.models.list())
        await slow.asked.wait()
        waiting = [asyncio.create_task(lunos.models.list()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()  # one that waits
        await asyncio.sleep(0)
        slow.answer.set()
        assert len(await first) == len(MODELS)
        assert [len(await task) for task in waiting[1:]] == [len(MODELS)] * 2
        assert slow.requests == 1


async def test_when_the_task_that_fetches_is_cancelled_another_fetches() -> None:
    slow = Slow()
    async with slow.lunos() as lunos:
        first = asyncio.create_task(lunos.models.list())
        second = asyncio.create_task(lunos.models.list())
        await slow.asked.wait()
        first.cancel()
        slow.answer.set()
        assert len(await second) == len(MODELS)
        assert slow.requests == 2
        assert first.cancelled()


async def test_a_failure_is_raised_and_the_next_question_asks_again(both: Both) -> None:
    wire = Wire(raw(b"", 503), LIST)
    catalog = catalog_of(both, wire, max_retries=0)
    with pytest.raises(LunosError, match="503"):
        await both(catalog.list())
    assert len(await both(catalog.list())) == len(MODELS)


async def test_when_a_refresh_fails_the_old_list_serves_on(
    both: Both, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wire = Wire(LIST, httpx.ConnectError("down"))
    await both(catalog_of(both, wire, cache_dir=tmp_path).list())
    late = catalog_of(both, wire, cache_dir=tmp_path, ttl=0, max_retries=0)
    assert len(await both(late.list())) == len(MODELS)
    assert len(await both(late.list())) == len(MODELS)
    assert len(wire.requests) == 2  # and the gateway is left in peace for a while
    assert "the old one serves" in caplog.text
    with pytest.raises(LunosConnectionError):
        await both(late.list(refresh=True))


def test_an_observer_that_asks_for_the_list_being_fetched_does_not_wait_for_itself() -> None:
    result: list[Any] = []

    def observe(record: CallRecord) -> None:
        try:
            result.append(catalog.get("gpt-4o"))
        except LunosError as error:
            result.append(str(error))

    http = httpx.Client(transport=httpx.MockTransport(Wire(LIST)))
    with http:
        config = Config(base_url="https://lunos.test")
        catalog = Catalog(Client(config, http_client=http, observers=[observe]))
        catalog.list()
    assert result == ["the model catalog was asked for while it was being fetched"]


@pytest.mark.subprocess
def test_a_child_forked_while_a_thread_fetches_does_not_wait_for_that_thread() -> None:
    asked, answer = threading.Event(), threading.Event()
    parent = os.getpid()

    def slow(request: httpx.Request) -> httpx.Response:
        if os.getpid() == parent:
            asked.set()
            assert answer.wait(30)
        return LIST()

    http = httpx.Client(transport=httpx.MockTransport(slow))
    config = Config(api_key="k", base_url="https://lunos.test")
    with Client(config, http_client=http) as client, ThreadPoolExecutor(1) as pool:
        catalog = Catalog(client)
        first = pool.submit(catalog.list)
        assert asked.wait(10)

        def check() -> None:
            assert catalog.cached("gpt-4o") is None
            assert len(catalog.list()) == len(MODELS)

        try:
            with catalog._cache._lock:  # held by a thread that the child lacks
                assert passes_in_a_forked_child(check)
        finally:
            answer.set()
        assert len(first.result(10)) == len(MODELS)  # the parent's fetch goes on


# --- which list ----------------------------------------------------------------------------------


async def test_without_a_key_every_question_is_answered_from_the_public_list(both: Both) -> None:
    wire = Wire(LIST)
    kind = AsyncLunos if both.is_async else Lunos
    models = kind(base_url="https://lunos.test", http_client=both.http_client(wire)).models
    assert ids(await both(models.list(input="text,image"))) == ["openai/gpt-4o"]
    assert ids(await both(models.list(output="embeddings"))) == ["openai/ada"]
    assert (await both(models.get("claude"))).context_window == 200_000
    assert str(wire.sent.url) == "https://lunos.test/public/models"


async def test_with_a_key_a_filter_is_the_gateways_work_and_checked(both: Both) -> None:
    wire = by_path(v1=reply({"data": [*MODELS, MINIMUM]}))
    catalog = catalog_of(both, wire)
    result = await both(catalog.list(input=["text", "image"], output="text"))
    assert wire.sent.url.query == b"input=text,image&output=text"
    # a gateway that does not hear the filter is corrected where the facts are known
    assert ids(result) == ["openai/gpt-4o", "openai/gpt-4"]


async def test_a_deployment_without_v1_models_is_filtered_here(both: Both) -> None:
    wire = by_path(public=LIST, v1=raw(b"", 404))
    result = await both(catalog_of(both, wire).list(input="image"))
    assert (ids(result), wire.paths) == (["openai/gpt-4o"], ["/v1/models", "/public/models"])


async def test_a_wrong_key_is_not_hidden_behind_the_public_list(both: Both) -> None:
    wire = by_path(public=LIST, v1=reply({"error": "Invalid secret key"}, 401))
    with pytest.raises(LunosAuthenticationError):
        await both(catalog_of(both, wire).list(input="image"))


async def test_a_deployment_without_a_public_list_is_asked_behind_its_key(both: Both) -> None:
    wire = by_path(public=raw(b"", 404), v1=LIST)
    catalog = catalog_of(both, wire)
    assert len(await both(catalog.list())) == len(MODELS)
    assert (await both(catalog.get("gpt-4o"))).id == "openai/gpt-4o"
    assert wire.paths == ["/public/models", "/v1/models"]
    with pytest.raises(LunosNotFoundError):
        await both(catalog_of(both, wire, api_key=None).list())


async def test_what_the_references_list_does_not_say_is_asked_once_behind_the_key(
    both: Both,
) -> None:
    wire = by_path(public=reply({"data": {"models": [REFERENCE]}}), v1=reply({"data": [LATER]}))
    catalog = catalog_of(both, wire)
    assert [model.context_window for model in await both(catalog.list())] == [None]
    assert await both(catalog.find(provider="openai", max_input_price=1))
    assert wire.paths == ["/public/models"]
    model = await both(catalog.get("openai/gpt-4"))
    assert (model.id, model.context_window, model.capabilities[0]) == (
        "gpt-4",
        8192,
        "text-completion",
    )
    assert ids(await both(catalog.find(min_context=8000, input="image"))) == ["gpt-4"]
    assert catalog.cached("gpt-4").context_window == 8192
    assert wire.paths == ["/public/models", "/v1/models"]


@pytest.mark.parametrize(
    ("wanted", "asks"),
    [
        *(({"input": "text"}, True), ({"output": "text"}, True), ({"parameter": "tools"}, True)),
        *(({"reasoning": True}, True), ({"reasoning": False}, True), ({"min_output": 1}, True)),
        *(({"provider": "openai"}, False), ({"max_output_price": 1}, False)),
        *(({"capability": "chat"}, False), ({"include_disabled": True}, False)),
    ],
)
async def test_a_search_asks_behind_the_key_for_what_the_references_list_leaves_out(
    both: Both, wanted: Any, asks: bool
) -> None:
    for extra in ({}, {"supportedParameters": ["seed"]}):
        lean = {"id": "openai/a", "pricing": {"input": 1, "output": 1}, **extra}
        wire = by_path(public=reply([lean]), v1=reply([lean]))
        await both(catalog_of(both, wire).find(**wanted))
        assert ("/v1/models" in wire.paths) is (asks and not extra)


async def test_details_that_cannot_be_had_leave_what_is_known(both: Both) -> None:
    wire = by_path(public=reply([REFERENCE]), v1=reply({"error": "no"}, 401))
    model = await both(catalog_of(both, wire).get("gpt-4"))
    assert (model.input_price, model.context_window) == (Decimal("0.00003"), None)


# --- against the local gateway --------------------------------------------------------------------


@pytest.mark.socket
@pytest.mark.parametrize("shape", [1, 2, 3, 4])
async def test_the_local_gateways_list_is_read_in_each_shape(both: Both, shape: int) -> None:
    from lunos_local import LocalGateway

    with LocalGateway(catalog_shape=shape) as gateway:
        kind = AsyncLunos if both.is_async else Lunos
        lunos = both.closing(kind(base_url=gateway.base_url))
        model = await both(lunos.models.get("scripted"))
        assert (model.id, model.provider) == ("lunos/scripted", "lunos")
        assert model.context_window == (131072 if shape in (2, 3) else None)
        assert model.input_price == (None if shape == 4 else 0)


@pytest.mark.parametrize(("kind", "client"), [(Catalog, AsyncClient), (AsyncCatalog, Client)])
def test_a_client_of_the_other_kind_is_named(kind: Any, client: Any) -> None:
    with pytest.raises(TypeError, match="Catalog takes a Client, AsyncCatalog an AsyncClient"):
        kind(client(Config(api_key="k")))
