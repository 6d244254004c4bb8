"""Many calls at once, a server that slows down, ten thousand vectors with failures among them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from langchain_core.runnables import RunnableConfig
from llama_index.core.async_utils import run_jobs

from langchain_lunos import ChatLunos, LunosEmbeddings
from llama_index_lunos import Lunos, LunosEmbedding
from lunos_core import LunosServerError, LunosTimeoutError
from tests.safety.conftest import LoadServer
from tests.safety.models import KINDS, Kind, close, every_kind

both_ways = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


def made(kind: Kind, url: str, **settings: Any) -> Any:
    return kind.make(api_key="k", base_url=url, **settings)


async def at_once(
    count: int, model: Any, kind: Kind, *, is_async: bool, each: int = 1
) -> list[Any]:
    """`count` calls begun together; errors come as results."""
    if is_async:
        return await asyncio.gather(
            *(kind.aask(model) for _ in range(count)), return_exceptions=True
        )
    together = threading.Barrier(count // each)

    def call(_: int) -> list[Any]:
        together.wait()
        return [_caught(kind.ask, model) for _ in range(each)]

    with ThreadPoolExecutor(count // each) as threads:
        answers = await asyncio.to_thread(lambda: list(threads.map(call, range(count // each))))
    return [answer for several in answers for answer in several]


def _caught(ask: Callable[[Any], Any], model: Any) -> Any:
    try:
        return ask(model)
    except Exception as error:
        return error


@both_ways
@pytest.mark.parametrize("name", ["ChatLunos", pytest.param("Lunos", marks=pytest.mark.slow)])
async def test_500_calls_at_once_succeed_without_waiting_for_a_connection(
    name: str, is_async: bool, load_server: LoadServer
) -> None:
    kind = KINDS[name]
    # no answer comes before all five hundred are under way
    model = made(kind, load_server.url("together-500"), max_retries=0)
    answers = await at_once(500, model, kind, is_async=is_async)
    await close(model)
    assert answers == [kind.answer] * 500
    counts = load_server.counts()
    assert (counts["requests"], counts["most_at_once"]) == (500, 500)


@every_kind
@both_ways
async def test_200_calls_by_20_callers_use_20_connections_at_most(
    kind: Kind, is_async: bool, load_server: LoadServer
) -> None:
    model = made(kind, load_server.url("good"), max_retries=0)
    if is_async:
        answers = [
            item for _ in range(10) for item in await at_once(20, model, kind, is_async=True)
        ]
    else:
        answers = await at_once(200, model, kind, is_async=False, each=10)
    await close(model)
    assert answers == [kind.answer] * 200
    assert load_server.counts()["connections"] <= 20


@both_ways
async def test_a_server_that_slows_down_is_asked_by_no_more_than_the_batches_bound(
    is_async: bool, load_server: LoadServer
) -> None:
    texts = [str(number) for number in range(40)]
    url = load_server.url("slow-20")
    langchain = LunosEmbeddings(
        model="m", api_key="k", base_url=url, chunk_size=1, max_concurrency=5
    )
    if is_async:
        await langchain.aembed_documents(texts)
    else:
        langchain.embed_documents(texts)
    await close(langchain)
    assert load_server.counts()["most_at_once"] <= 5


async def test_llama_index_batches_are_bounded_where_it_gathers_without_a_bound(
    load_server: LoadServer,
) -> None:
    texts = [str(number) for number in range(40)]
    model = LunosEmbedding(
        "m", api_key="k", api_base=load_server.url("slow-20"), embed_batch_size=1, num_workers=5
    )
    # several callers share the bound: it is the instance's
    await asyncio.gather(*(model.aget_text_embedding_batch(texts) for _ in range(3)))
    await close(model)
    assert load_server.counts()["most_at_once"] <= 5


async def test_the_frameworks_own_bounds_hold(load_server: LoadServer) -> None:
    url = load_server.url("slow-20")
    chat = ChatLunos(model="m", api_key="k", base_url=url)
    await chat.abatch(["Hello"] * 40, RunnableConfig(max_concurrency=6))
    chat.batch(["Hello"] * 40, RunnableConfig(max_concurrency=6))
    assert load_server.counts()["most_at_once"] <= 6
    llm = Lunos("m", api_key="k", api_base=url)
    await run_jobs([llm.acomplete("Hello") for _ in range(40)], workers=6)
    assert load_server.counts()["most_at_once"] <= 6
    await close(chat)
    await close(llm)


@every_kind
@both_ways
async def test_behind_a_server_that_answers_no_more_nothing_is_left_and_nothing_multiplied(
    kind: Kind, is_async: bool, load_server: LoadServer
) -> None:
    model = made(kind, load_server.url("stall-0"), timeout=httpx.Timeout(30, read=0.3))
    outcomes = await at_once(20, model, kind, is_async=is_async)
    assert all(isinstance(item, LunosTimeoutError) for item in outcomes)
    # the server may be slower than the timeout; every connection was given back
    await _until(lambda: load_server.counts()["requests"] >= 20)
    await _until(lambda: load_server.counts()["now"] == 0)
    assert load_server.counts()["requests"] == 20  # a timeout is not tried again by itself
    await close(model)


@every_kind
@both_ways
async def test_a_server_that_fails_is_asked_no_more_than_the_retries_say(
    kind: Kind, is_async: bool, load_server: LoadServer
) -> None:
    model = made(kind, load_server.url("unlucky-1"), max_retries=2)  # every request fails
    outcomes = await at_once(30, model, kind, is_async=is_async)
    assert all(isinstance(item, Exception) for item in outcomes)
    assert any(isinstance(item, LunosServerError) for item in outcomes)
    assert {item.attempts for item in outcomes} == {3}
    assert load_server.counts()["requests"] == 90
    await close(model)


async def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds() and time.monotonic() < end:  # noqa: ASYNC110 - in another process
        await asyncio.sleep(0.02)
    assert holds()


TEXTS = [str(number) for number in range(10_000)]
VECTORS = [[float(number), 1.0] for number in range(10_000)]


@both_ways
@pytest.mark.parametrize(
    "adapter", ["langchain", pytest.param("llama_index", marks=pytest.mark.slow)]
)
async def test_10000_embeddings_come_whole_and_in_order_while_a_tenth_of_the_requests_fails(
    adapter: str, is_async: bool, load_server: LoadServer
) -> None:
    settings: Any = {"api_key": "k", "base_url": load_server.url("fail-10"), "max_retries": 1}
    model: Any
    if adapter == "langchain":
        model = LunosEmbeddings(model="m", chunk_size=40, **settings)
        result = await model.aembed_documents(TEXTS) if is_async else model.embed_documents(TEXTS)
    else:
        model = LunosEmbedding("m", embed_batch_size=40, **settings)
        result = (
            await model.aget_text_embedding_batch(TEXTS)
            if is_async
            else model.get_text_embedding_batch(TEXTS)
        )
    await close(model)
    assert result == VECTORS
    counts = load_server.counts()
    assert (counts["failed"], counts["requests"]) == (25, 275)
