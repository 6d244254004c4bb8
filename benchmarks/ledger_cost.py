"""Measure what accounting costs: `python -m benchmarks.ledger_cost`.

Two objects of each class: one bare; the other with a catalog that knows its model (so each answer
is priced, each request looked at before it is sent) and inside a `UsageLedger` with a store and two
budgets. They are asked in turn, call by call, in one process; the figure of a repetition is its
quietest call, the ratio is that of the quietest of all, and beside it the middle of the
repetitions' own ratios of medians.

The server is the benchmarks' own, on loopback and on another core. `--mock` leaves the network out
(httpx's `MockTransport`), where the same few microseconds are a larger part.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from benchmarks.bodies import MODEL, reply
from benchmarks.prompts import PROMPT
from benchmarks.runner import Server, cores
from langchain_lunos import ChatLunos
from llama_index_lunos import Lunos as LlamaIndexLunos
from lunos_core import Budget, Catalog, Client, Config, UsageLedger, UsageStore
from lunos_core.accounting.observers import begin_here, end_here

_CHUNKS = 2000
_BUDGETS = (Budget(1_000_000, per="day"), Budget(1_000_000, per="month", app="*"))
_CATALOG = {
    "data": [
        {
            "id": MODEL,
            "parameters": {"context": 128_000},
            "pricePerMillionTokens": {"input": 2.5, "output": 10},
            "supportedParameters": ["temperature", "tools"],
            "inputModalities": ["text"],
            "outputModalities": ["text"],
        }
    ]
}


@dataclass
class Case:
    """One case: `ask(model)`, and the two models."""

    name: str
    ask: Callable[[Any], Any]
    bare: Any
    whole: Any
    each: float
    calls: int
    store: UsageStore
    ratios: list[float] = field(default_factory=list)
    best: dict[str, float] = field(default_factory=dict)

    async def turn(self) -> None:
        """Measure both in turn, call by call, so that a noisy moment hits both."""
        gc.collect()
        gc.freeze()  # a collection walks what a call leaves, and not all that is imported
        took: dict[str, list[float]] = {"bare": [], "whole": []}
        ledger = UsageLedger(store=self.store, budgets=_BUDGETS)
        for _ in range(self.calls):
            took["bare"].append(await self._seconds(self.bare))
            begin_here(ledger)  # `with` would write the rows at its end
            took["whole"].append(await self._seconds(self.whole))
            end_here(ledger)
        rows = ledger.rows()
        assert rows[0]["cost"] is not None, "the catalog did not price"
        for name, seconds in took.items():
            self.best[name] = min([*seconds, self.best.get(name, float("inf"))])
        self.ratios.append(statistics.median(took["whole"]) / statistics.median(took["bare"]))

    async def _seconds(self, model: Any) -> float:
        began = time.perf_counter()
        answer = self.ask(model)
        if isinstance(answer, Awaitable):
            await answer
        return time.perf_counter() - began

    def row(self) -> str:
        """Return name, microseconds off and on, the difference, and both ratios."""
        off, on = (self.best[name] * 1e6 / self.each for name in ("bare", "whole"))
        middle = statistics.median(self.ratios)
        figures = f"{off:.2f} | {on:.2f} | {on - off:+.2f} | {on / off:.3f} | {middle:.3f}"
        return f"| {self.name} | {figures} |"


def _stream(model: Any) -> None:
    for _ in (
        model.stream(PROMPT) if isinstance(model, ChatLunos) else model.stream_complete(PROMPT)
    ):
        pass


def catalog() -> Catalog:
    """Return a catalog that knows the model and makes no request."""
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=_CATALOG))
    config = Config(api_key="sk-bench", base_url="http://catalog.test")
    known = Catalog(Client(config, http_client=httpx.Client(transport=transport)))
    assert known.get(MODEL) is not None
    return known


def _mock(request: httpx.Request) -> httpx.Response:
    kind = "stream" if b'"stream":true' in request.content else "call"
    _, _, body = reply(kind, _CHUNKS, False).partition(b"\r\n\r\n")
    if kind == "stream":
        body = b"".join(body.split(b"\r\n")[1::2])  # the chunks of HTTP, without their lengths
        return httpx.Response(200, content=body, headers={"content-type": "text/event-stream"})
    return httpx.Response(200, content=body, headers={"content-type": "application/json"})


def _cases(root: str | None, store: UsageStore) -> Iterator[Case]:
    def where(kind: str, name: str) -> dict[str, Any]:
        if root is not None:
            return {"api_key": "sk-bench", name: f"{root}/{kind}/v1"}
        transport = httpx.MockTransport(_mock)
        asynchronous = "http_async_client" if name == "base_url" else "async_http_client"
        return {
            "api_key": "sk-bench",
            name: "http://bench.test",
            "http_client": httpx.Client(transport=transport),
            asynchronous: httpx.AsyncClient(transport=transport),
        }

    known = catalog()
    makers: dict[str, Callable[[str, Any], Any]] = {
        "ChatLunos": lambda kind, it: ChatLunos(model=MODEL, catalog=it, **where(kind, "base_url")),
        "LlamaIndex": lambda kind, it: LlamaIndexLunos(
            MODEL, catalog=it, **where(kind, "api_base")
        ),
    }
    asked: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
        "ChatLunos": (lambda model: model.invoke(PROMPT), lambda model: model.ainvoke(PROMPT)),
        "LlamaIndex": (
            lambda model: model.complete(PROMPT),
            lambda model: model.acomplete(PROMPT),
        ),
    }
    for name, make in makers.items():
        for verb, ask in zip(("call", "async call"), asked[name], strict=True):
            yield Case(
                f"{name}: {verb}", ask, make("call", None), make("call", known), 1, 60, store
            )
        kind = f"stream-{_CHUNKS}"
        models = make(kind, None), make(kind, known)
        yield Case(f"{name}: chunk of {_CHUNKS}", _stream, *models, _CHUNKS, 2, store)


async def measure(cases: list[Case], repetitions: int) -> None:
    """Run all cases repeatedly."""
    for _ in range(repetitions):
        for case in cases:
            await case.turn()


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=40)
    parser.add_argument("--mock", action="store_true", help="without the network")
    asked = parser.parse_args()
    server = None if asked.mock else Server()
    folder = tempfile.TemporaryDirectory()
    try:
        os.sched_setaffinity(0, cores()[1])
        with folder as name, UsageStore(f"{name}/usage.db") as store:
            cases = list(_cases(server.root if server else None, store))
            asyncio.run(measure(cases, asked.repetitions))
    finally:
        if server is not None:
            server.close()
    print("| | off, µs | on, µs | more, µs | ratio | middle ratio |")
    print("|---|---|---|---|---|---|")
    print("\n".join(case.row() for case in cases))


if __name__ == "__main__":
    main()
