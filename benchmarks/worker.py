"""The process of one client: read what to measure, a line of JSON each, and answer with figures.

Started by `runner.py` as `python -m benchmarks.worker NAME`, in the client's own interpreter.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.bodies import DIMENSIONS, TEXT, tool_arguments
from benchmarks.frameworks import Verbs, verbs_of
from benchmarks.peers import BY_NAME, URL, Peer

Answer = dict[str, Any]


class Worker:
    """Measure one client. Its objects are kept, so that their connections are warm."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._verbs: Verbs = verbs_of(peer.framework)
        self._kept: dict[tuple[str, str], Any] = {}
        self._runner = asyncio.Runner()  # one loop: some peers do not survive a second one
        find(peer.chat)

    def model(self, place: str, url: str, settings: dict[str, Any]) -> Any:
        """Return the object of a class for a URL, created at first use."""
        if (place, url) not in self._kept:
            filled = {name: url if it is URL else it for name, it in settings.items()}
            self._kept[place, url] = find(place)(**filled)
        return self._kept[place, url]

    def chat(self, url: str) -> Any:
        """The chat model."""
        return self.model(self._peer.chat, url, self._peer.settings)

    def call(self, url: str, count: int, seconds: float) -> Answer:
        """Make calls one after the other; return the fastest and the median."""
        model = self.chat(url)
        call = self._verbs.call
        assert call(model) == TEXT, "the answer is not the one that was sent"
        took: list[float] = []
        busy = time.process_time()
        until = time.perf_counter() + seconds
        while len(took) < count and (time.perf_counter() < until or len(took) < 10):
            began = time.perf_counter()
            call(model)
            took.append(time.perf_counter() - began)
        return _summary(took, time.process_time() - busy)

    def acall(self, url: str, count: int, seconds: float) -> Answer:
        """The same, asynchronously."""

        async def measure() -> Answer:
            model = self.chat(url)
            call = self._verbs.acall
            assert await call(model) == TEXT, "the answer is not the one that was sent"
            took: list[float] = []
            busy = time.process_time()
            until = time.perf_counter() + seconds
            while len(took) < count and (time.perf_counter() < until or len(took) < 10):
                began = time.perf_counter()
                await call(model)
                took.append(time.perf_counter() - began)
            return _summary(took, time.process_time() - busy)

        return self._runner.run(measure())

    def stream(self, url: str, count: int) -> Answer:
        """Read streams of text one after the other; return the fastest."""
        model = self.chat(url)
        took, seen = _quietest(lambda: self._verbs.stream(model))
        return {"seconds": took, "right": seen == count * len("word ")}

    def paced(self, url: str, count: int) -> Answer:
        """Read a stream whose chunks come one every 2 ms; return the CPU time."""
        model = self.chat(url)
        gc.collect()
        busy = time.process_time()
        seen = self._verbs.stream(model)
        busy = time.process_time() - busy
        return {"cpu": busy, "right": seen == count * len("word ")}

    def tool(self, url: str, count: int) -> Answer:
        """Read streams of a tool call one after the other; return the fastest."""
        model = self.chat(url)
        took, arguments = _quietest(lambda: self._verbs.tool(model))
        try:
            right = json.loads(arguments) == json.loads("".join(tool_arguments(count)))
        except ValueError:
            right = False
        return {"seconds": took, "right": right}

    def concurrent(self, url: str, in_flight: int, count: int) -> Answer:
        """Make `count` calls, with `in_flight` of them at once at any time."""

        async def measure() -> Answer:
            model = self.chat(url)
            left = iter(range(count))

            async def some() -> None:
                for _ in left:
                    await self._verbs.acall(model)

            gc.collect()
            began, busy = time.perf_counter(), time.process_time()
            await asyncio.gather(*(some() for _ in range(in_flight)))
            busy, took = time.process_time() - busy, time.perf_counter() - began
            return {"cpu": busy / count, "rate": count / took, "seconds": took}

        return self._runner.run(measure())

    def threads(self, url: str, in_flight: int, count: int) -> Answer:
        """Make `count` calls from `in_flight` threads on one object."""
        model = self.chat(url)
        left = iter(range(count))
        lock = threading.Lock()

        def some() -> None:
            while True:
                with lock:
                    if next(left, None) is None:
                        return
                self._verbs.call(model)

        several = [threading.Thread(target=some) for _ in range(in_flight)]
        began, busy = time.perf_counter(), time.process_time()
        for one in several:
            one.start()
        for one in several:
            one.join()
        busy, took = time.process_time() - busy, time.perf_counter() - began
        return {"cpu": busy / count, "rate": count / took, "seconds": took}

    def embed(self, url: str, count: int) -> Answer:
        """Embed many texts; return the time and the peak memory."""
        model = self.model(self._peer.embeddings, url, self._peer.embedding_settings)
        texts = ["a text to embed"] * count
        self._warm_up(url, count)
        before = _memory()
        took, vectors = _timed(lambda: self._verbs.embed(model, texts))
        peak = _memory("VmHWM") - before
        right = len(vectors) == count and all(len(vector) == DIMENSIONS for vector in vectors)
        return {"seconds": took, "peak": peak, "right": right}

    def _warm_up(self, url: str, count: int) -> None:
        """Load what a first call loads: some clients do it then, others on import."""
        one = url.replace(f"-{count}/", "-1/")
        model = self.model(self._peer.embeddings, one, self._peer.embedding_settings)
        assert len(self._verbs.embed(model, ["one text"])) == 1, "not one vector"
        importlib.import_module("numpy")

    def array(self, url: str, count: int) -> Answer:
        """Embed many texts into one numpy array of float32."""
        model = self.model(self._peer.embeddings, url, self._peer.embedding_settings)
        texts = ["a text to embed"] * count
        self._warm_up(url, count)
        before = _memory()
        took, array = _timed(lambda: self._verbs.embed_array(model, texts))
        peak = _memory("VmHWM") - before
        right = array.shape == (count, DIMENSIONS) and str(array.dtype) == "float32"
        return {"seconds": took, "peak": peak, "right": right}

    def memory(self, url: str, count: int) -> Answer:
        """Return the peak memory of one stream, in a process that did nothing else."""
        model = self.chat(url)
        self._verbs.stream(self.chat(url.replace(f"-{count}/", "-100/")))
        before = _memory()
        took, seen = _timed(lambda: self._verbs.stream(model))
        peak = _memory("VmHWM") - before
        return {"seconds": took, "peak": peak, "right": seen == count * len("word ")}

    def objects(self, url: str, count: int) -> Answer:
        """Time the first object of a process and its first call, then further objects."""
        settings = {name: url if it is URL else it for name, it in self._peer.settings.items()}
        make = find(self._peer.chat)
        gc.collect()
        first, model = _timed(lambda: make(**settings))
        first_call, _ = _timed(lambda: self._verbs.call(model))
        took = []
        kept = []
        for _ in range(count):
            seconds, model = _timed(lambda: make(**settings), collect=False)
            took.append(seconds)
            kept.append(model)
        return {"first": first, "first_call": first_call, "later": sorted(took)[len(took) // 2]}


def find(place: str) -> Any:
    """The object that "module:name" names."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what packages print must not look like an answer
    peer = BY_NAME[sys.argv[1]]
    try:
        worker = Worker(peer)
        entered = find(peer.around)() if peer.around else contextlib.nullcontext()
    except ImportError as error:
        answers.write(json.dumps({"missing": str(error)}) + "\n")
        return
    answers.write("{}\n")
    with entered:
        for line in sys.stdin:
            asked = json.loads(line)
            measure: Callable[..., Answer] = getattr(worker, asked.pop("measure"))
            try:
                answer = measure(**asked)
            except Exception as error:  # a peer's failure is a result, too
                answer = {"error": f"{type(error).__name__}: {error}"[:300]}
            answers.write(json.dumps(answer) + "\n")
    os._exit(0)  # some clients wait minutes for their threads and sockets


def _summary(took: list[float], busy: float) -> Answer:
    took.sort()
    middle = took[len(took) // 2]
    return {"quietest": took[0], "median": middle, "cpu": busy / len(took), "calls": len(took)}


def _quietest(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the fastest of up to four runs, as many as fit into a second."""
    several = [_timed(work)]
    while len(several) < 4 and sum(took for took, _ in several) < 1:
        several.append(_timed(work))
    return min(several, key=lambda one: one[0])


def _timed(work: Callable[[], Any], *, collect: bool = True) -> tuple[float, Any]:
    if collect:
        gc.collect()
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def _memory(which: str = "VmRSS") -> int:
    """Return the process's memory in bytes: the current, or ("VmHWM") the peak so far.

    Not `getrusage`: its highest is that of the process before `exec` as well.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{which}:")[2].split()[0]) * 1024


if __name__ == "__main__":
    main()
