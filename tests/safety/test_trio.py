"""trio's event loops are not asyncio's: said clearly, and the sync methods work there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
import trio

from lunos_core import AsyncClient, AsyncLunos, Config, LunosConfigError
from tests.safety.answering_server import AnsweringServer
from tests.safety.models import KINDS

HELLO = [{"role": "user", "content": "Hello"}]


def _chat(url: str, **settings: Any) -> Awaitable[Any]:
    return AsyncLunos("k", base_url=url, **settings).chat.completions.create(
        model="m", messages=HELLO
    )


async def _stream(url: str) -> Any:
    return await AsyncLunos("k", base_url=url).chat.completions.create(
        model="m", messages=HELLO, stream=True
    )


CASES: dict[str, Callable[[str], Awaitable[Any]]] = {
    "a call": _chat,
    "a call through a client of the user's own": lambda url: _chat(
        url, http_client=httpx.AsyncClient()
    ),
    "a stream": _stream,
    **{
        name: lambda url, name=name: KINDS[name].make(api_key="k", base_url=url).ainvoke("Hello")
        for name in ("ChatLunos", "LunosLLM")
        if name in KINDS
    },
    "LunosEmbeddings": lambda url: KINDS["LunosEmbeddings"].aask(
        KINDS["LunosEmbeddings"].make(api_key="k", base_url=url)
    ),
    "LunosEmbedding": lambda url: KINDS["LunosEmbedding"].aask(
        KINDS["LunosEmbedding"].make(api_key="k", base_url=url)
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_async_methods_say_that_they_are_asyncios(
    case: Callable[[str], Awaitable[Any]],
) -> None:
    async def main() -> None:
        with pytest.raises(LunosConfigError, match="not in trio's"):
            await case(server.url)

    with AnsweringServer() as server:
        trio.run(main)
        assert not server.requests


@pytest.mark.parametrize("name", KINDS)
def test_the_sync_methods_work_in_a_thread_of_trio(name: str) -> None:
    kind = KINDS[name]

    async def main() -> Any:
        return await trio.to_thread.run_sync(kind.ask, model)

    with AnsweringServer() as server:
        model = kind.make(api_key="k", base_url=server.url)
        assert trio.run(main) == kind.answer
        model.client.close()


def test_making_a_client_needs_no_loop() -> None:
    assert AsyncClient(Config(api_key="k")).config.key == "k"
