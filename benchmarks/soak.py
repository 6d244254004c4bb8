"""Soak test: many calls through a few objects; memory and open files before and after.

`python -m benchmarks.soak --calls 100000`: sync and async by turns, through both frameworks, and a
stream for each five calls; a few minutes. The server is a process of its own (`load_server.py`), so
that what is measured is what the calls leave behind in this one.
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

from llama_index.core.llms import ChatMessage

from langchain_lunos import ChatLunos
from llama_index_lunos import Lunos

HELLO = [ChatMessage(role="user", content="Hello")]
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
    """The models, kept for the whole run; each round makes five calls to one stream."""

    def __init__(self, url: str) -> None:
        self.chat = ChatLunos(model="m", api_key="k", base_url=url)
        self.llm = Lunos("m", api_key="k", api_base=url)
        self.calls = self.streams = 0

    def synchronous(self) -> None:
        """Make ten calls and two streams."""
        for _ in range(5):
            self.chat.invoke("Hello")
            self.llm.chat(HELLO)
        read(self.chat.stream("Hello"))
        read(self.llm.stream_chat(HELLO))
        self._count()

    async def asynchronous(self) -> None:
        """Make ten calls and two streams."""
        for _ in range(5):
            await self.chat.ainvoke("Hello")
            await self.llm.achat(HELLO)
        await aread(self.chat.astream("Hello"))
        await aread(await self.llm.astream_chat(HELLO))
        self._count()

    async def several(self) -> None:
        """Make rounds at once, in a new event loop each time."""
        await asyncio.gather(*(self.asynchronous() for _ in range(AT_ONCE)))

    def _count(self) -> None:
        self.calls += 10
        self.streams += 2


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=5, help="lines to print after the first")
    arguments = parser.parse_args()
    with load_server() as port:
        calls = Calls(f"http://127.0.0.1:{port}/soak/good")
        began = time.perf_counter()
        for step in range(arguments.steps + 1):  # the first one, a tenth as long, fills the caches
            until = arguments.calls * (step or 0.1) // arguments.steps
            while calls.calls < until:
                for _ in range(AT_ONCE):
                    calls.synchronous()
                asyncio.run(calls.several())
            memory, files = standing()
            took = time.perf_counter() - began
            print(
                f"after {calls.calls} calls and {calls.streams} streams, {took:.0f} s: "
                f"{memory:.1f} MB, {files} open files",
                flush=True,
            )


if __name__ == "__main__":
    main()
