"""A connection pool of the user's own that is exhausted; ours has no bound to wait for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from llama_index.core.base.llms.types import ChatMessage

import langchain_lunos
import lunos_core
from langchain_lunos import ChatLunos
from llama_index_lunos import Lunos
from lunos_core import AsyncLunos, LunosError
from tests.core.raw_server import STALL, RawServer, sse_head
from tests.faults.fault_rows import POOL_TIMEOUT, check

ONE = httpx.Limits(max_connections=1)
PATIENCE = httpx.Timeout(5, pool=0.05)


@asynccontextmanager
async def exhausted(server: RawServer, *, is_async: bool) -> AsyncIterator[Any]:
    """An HTTP client whose only connection is taken."""
    if is_async:
        async with httpx.AsyncClient(limits=ONE) as awaited:
            held = await awaited.send(awaited.build_request("GET", server.url), stream=True)
            yield awaited
            await held.aclose()
    else:
        with httpx.Client(limits=ONE) as http:
            taken = http.send(  # noqa: ASYNC212 - the sync case
                http.build_request("GET", server.url), stream=True
            )
            yield http
            taken.close()


async def _core(url: str, http: Any, streamed: bool) -> None:
    kind: Any = AsyncLunos if isinstance(http, httpx.AsyncClient) else lunos_core.Lunos
    lunos = kind("k", base_url=url, http_client=http, timeout=PATIENCE, max_retries=1)
    asked = [{"role": "user", "content": "Hello"}]
    answer = lunos.chat.completions.create(model="m", messages=asked, stream=streamed)
    if kind is AsyncLunos:
        await answer


async def _langchain(url: str, http: Any, streamed: bool) -> None:
    settings: Any = {"model": "m", "api_key": "k", "base_url": url, "timeout": PATIENCE}
    if isinstance(http, httpx.AsyncClient):
        chat = ChatLunos(**settings, max_retries=1, http_async_client=http)
        if streamed:
            _ = [chunk async for chunk in chat.astream("Hello")]
        await chat.ainvoke("Hello")
    else:
        chat = ChatLunos(**settings, max_retries=1, http_client=http)
        if streamed:
            list(chat.stream("Hello"))
        chat.invoke("Hello")


async def _llama_index(url: str, http: Any, streamed: bool) -> None:
    hello = [ChatMessage("Hello")]
    settings: Any = {"api_key": "k", "api_base": url, "timeout": PATIENCE, "max_retries": 1}
    if isinstance(http, httpx.AsyncClient):
        llm = Lunos("m", **settings, async_http_client=http)
        if streamed:
            _ = [item async for item in await llm.astream_chat(hello)]
        await llm.achat(hello)
    else:
        llm = Lunos("m", **settings, http_client=http)
        if streamed:
            list(llm.stream_chat(hello))
        llm.chat(hello)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(
    ("ask", "module"),
    [(_core, lunos_core), (_langchain, langchain_lunos), (_llama_index, lunos_core)],
    ids=["core", "langchain", "llama_index"],
)
async def test_a_pool_timeout_is_tried_again_and_reported(
    ask: Any, module: Any, is_async: bool, streamed: bool
) -> None:
    with RawServer([sse_head(), STALL]) as server:
        async with exhausted(server, is_async=is_async) as http:
            with pytest.raises(LunosError, match="PoolTimeout") as caught:
                await ask(server.url, http, streamed)
            assert caught.value.attempts == 2
            assert len(server.requests) == 1  # the one that holds the connection: nothing was sent
        check(POOL_TIMEOUT, caught.value, None, streamed=streamed, core=module)
