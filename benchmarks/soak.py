"""Soak test: many calls through a few objects; memory and open files before and after.

`python -m benchmarks.soak --calls 100000`: sync, async, streamed and not, through the core and both
frameworks by turns; a few minutes. The server is a process of its own (`load_server.py`), so that
what is measured is what the calls leave behind in this one.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from langchain_lunos import ChatLunos
from llama_index_lunos import Lunos
from lunos_core import AsyncClient, Client, Config, chat_request, chat_stream_request

HELLO = [{"role": "user", "content": "Hello"}]
REQUEST = chat_request(HELLO, model="m")
STREAM = chat_stream_request(HELLO, model="m")
AT_ONCE = 20


@contextmanager
def load_server() -> Iterator[int]:
    """Run the server; yield its port."""
    command = [sys.executable, "-m", "benchmarks.load_server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def standing() -> tuple[float, int]:
    """Return memory in MB and the number of open file descriptors (Linux)."""
    gc.collect()
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(os.listdir("/proc/self/fd"))


def read(stream: Any) -> None:
    """Read a stream to its end."""
    for _ in stream:
        pass


async def aread(stream: Any) -> None:
    """The same, asynchronously."""
    async for _ in stream:
        pass


class Calls:
    """The objects, kept for the whole run, and one round of calls through each."""

    def __init__(self, url: str) -> None:
        config = Config(api_key="k", base_url=url)
        self.client, self.awaited = Client(config), AsyncClient(config)
        self.chat = ChatLunos(model="m", api_key="k", base_url=url)
        self.llm = Lunos("m", api_key="k", api_base=url)
        self.made = 0

    def synchronous(self) -> None:
        """Make six calls."""
        self.client.send(REQUEST)
        read(self.client.stream(STREAM))
        self.chat.invoke("Hello")
        read(self.chat.stream("Hello"))
        self.llm.complete("Hello")
        read(self.llm.stream_complete("Hello"))
        self.made += 6

    async def asynchronous(self) -> None:
        """Make six calls."""
        await self.awaited.send(REQUEST)
        await aread(await self.awaited.stream(STREAM))
        await self.chat.ainvoke("Hello")
        await aread(self.chat.astream("Hello"))
        await self.llm.acomplete("Hello")
        await aread(await self.llm.astream_complete("Hello"))
        self.made += 6

    async def several(self, rounds: int) -> None:
        """Make rounds of six, some at once, in a new event loop each time."""
        for _ in range(rounds):
            await asyncio.gather(*(self.asynchronous() for _ in range(AT_ONCE)))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000)
    wanted = parser.parse_args().calls
    with load_server() as port:
        calls = Calls(f"http://127.0.0.1:{port}/soak/good")
        began = time.perf_counter()
        steps = 5
        for step in range(steps + 1):  # the first one, a tenth as long, fills the caches
            until = wanted // 10 // steps if step == 0 else wanted * step // steps
            while calls.made < until:
                for _ in range(AT_ONCE):
                    calls.synchronous()
                asyncio.run(calls.several(1))
            memory, files = standing()
            took = time.perf_counter() - began
            print(
                f"after {calls.made} calls, {took:.0f} s: {memory:.1f} MB, {files} open files",
                flush=True,
            )


if __name__ == "__main__":
    main()
