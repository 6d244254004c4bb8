"""Load test: 500 calls at once, a server that stalls, 10,000 vectors while requests fail.

`python -m benchmarks.load`; against `load_server.py` in a process of its own, one to two minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
import urllib.request
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.soak import load_server, standing
from langchain_lunos import ChatLunos, LunosEmbeddings
from llama_index_lunos import Lunos, LunosEmbedding
from lunos_core import LunosTimeoutError

Call = Callable[[], Any]
AsyncCall = Callable[[], Coroutine[Any, Any, Any]]


def counts(url: str) -> str:
    """Return what the server counted under the name of a base URL."""
    with urllib.request.urlopen(url.rpartition("/")[0]) as answer:  # noqa: S310 - the loopback
        found = json.load(answer)
    return (
        f"{found['requests']} requests, {found['failed']} of them failed, "
        f"{found['connections']} connections, {found['most_at_once']} at once"
    )


def caught(call: Call) -> Any:
    """Return the result of a call, or the error that it raises."""
    try:
        return call()
    except Exception as error:
        return error


def in_threads(call: Call, count: int) -> list[Any]:
    """Make the calls, each in its own thread."""
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(lambda _: caught(call), range(count)))


def in_tasks(call: AsyncCall, count: int) -> list[Any]:
    """Make the calls, each in a task of one event loop."""

    async def gather() -> list[Any]:
        return await asyncio.gather(*(call() for _ in range(count)), return_exceptions=True)

    return asyncio.run(gather())


def callers(framework: str, url: str, **settings: Any) -> tuple[Call, AsyncCall]:
    """Return the sync and the async call of a chat model."""
    if framework == "langchain":
        chat = ChatLunos(model="m", api_key="k", base_url=url, **settings)
        return lambda: chat.invoke("Hello").text, lambda: chat.ainvoke("Hello")
    llm = Lunos("m", api_key="k", api_base=url, **settings)
    return lambda: llm.complete("Hello").text, lambda: llm.acomplete("Hello")


def vectors(framework: str, url: str, texts: list[str]) -> tuple[Call, AsyncCall]:
    """Return the sync and the async function that embeds many texts."""
    settings: Any = {"api_key": "k", "base_url": url, "max_retries": 6}
    if framework == "langchain":
        mine = LunosEmbeddings(model="m", chunk_size=20, **settings)
        return lambda: mine.embed_documents(texts), lambda: mine.aembed_documents(texts)
    theirs = LunosEmbedding("m", embed_batch_size=20, **settings)
    return (
        lambda: theirs.get_text_embedding_batch(texts),
        lambda: theirs.aget_text_embedding_batch(texts),
    )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=500, help="at once")
    parser.add_argument("--texts", type=int, default=10_000)
    asked = parser.parse_args()
    texts = [str(number) for number in range(asked.texts)]
    wanted = [[float(text), 1.0] for text in texts]
    with load_server() as port:
        for framework in ("langchain", "llama_index"):
            for number, way in enumerate(("threads", "tasks")):
                base = f"http://127.0.0.1:{port}/{framework}-{way}"

                def run(kind: str, base: str = base, **settings: Any) -> tuple[str, list[Any]]:
                    url = f"{base}-{kind}/{kind}"
                    calls = callers(framework, url, **settings)  # noqa: B023 - used at once
                    count = asked.calls
                    if way == "threads":  # noqa: B023
                        return url, in_threads(calls[0], count)
                    return url, in_tasks(calls[1], count)

                began = time.perf_counter()
                url, answers = run(f"together-{asked.calls}")
                good = sum(not isinstance(one, Exception) for one in answers)
                took = time.perf_counter() - began
                print(f"{framework}, {way}: {good}/{asked.calls} succeeded in {took:.1f} s")
                print(f"    {counts(url)}")
                before = standing()
                url, answers = run("stall-0", timeout=2.0)
                late = sum(isinstance(one, LunosTimeoutError) for one in answers)
                after = standing()
                print(f"{framework}, {way}, a server that stalls: {late} timed out; {counts(url)}")
                print(
                    f"    open files {before[1]} -> {after[1]}, MB {before[0]:.0f}->{after[0]:.0f}"
                )
                url = f"{base}/unlucky-10"
                began = time.perf_counter()
                ask = vectors(framework, url, texts)[number]
                found = asyncio.run(ask()) if way == "tasks" else ask()
                took = time.perf_counter() - began
                right = "whole and in order" if found == wanted else "WRONG"
                print(f"{framework}, {way}: {len(found)} vectors {right} in {took:.1f} s")
                print(f"    {counts(url)}")


if __name__ == "__main__":
    main()
