"""trio's event loops are not asyncio's: said clearly, and the sync methods work there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
import trio
from langchain_core.messages import HumanMessage

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


def _langchain(ask: Callable[[Any], Any], kind: str = "ChatLunos") -> Callable[[str], Any]:
    """A case: what LangChain's class is asked, awaited or iterated to its end."""

    async def case(url: str) -> None:
        result = ask(KINDS[kind].make(api_key="k", base_url=url))
        if hasattr(result, "__aiter__"):
            async for _ in result:
                pass
        else:
            await result

    return case


CASES: dict[str, Callable[[str], Awaitable[Any]]] = {
    "astream": _langchain(lambda llm: llm.astream("Hello")),
    "astream of a text model": _langchain(lambda llm: llm.astream("Hello"), "LunosLLM"),
    "abatch": _langchain(lambda llm: llm.abatch(["Hello", "Hi"])),
    "abatch of a text model": _langchain(lambda llm: llm.abatch(["Hello"]), "LunosLLM"),
    "abatch_as_completed": _langchain(lambda llm: llm.abatch_as_completed(["Hello"])),
    "agenerate": _langchain(lambda llm: llm.agenerate([[HumanMessage("Hello")]])),
    "astream_events v2": _langchain(lambda llm: llm.astream_events("Hello", version="v2")),
    "astream_events v3": _langchain(lambda llm: llm.astream_events("Hello", version="v3")),
    "a stream with a stop bound": _langchain(lambda llm: llm.bind(stop=["x"]).astream("Hello")),
    "LlamaIndex's batch of texts": _langchain(
        lambda model: model.aget_text_embedding_batch(["a", "b"]), "LunosEmbedding"
    ),
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
