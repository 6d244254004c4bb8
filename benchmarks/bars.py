"""The project's own limits: what each figure may be at most, and what it is."""

# ruff: noqa: RUF001 - the multiplication sign is meant

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.figures import Figures

LC, LI = "ChatLunos", "Lunos"
PLAIN = "httpx"
_OF_LC, _OF_LI = "floor LC", "floor LI"


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
        group: the group of measures that it belongs to.
        text: what is compared.
        found: the figure, or `None` where something of it was not measured.
        limit: what it may be at most.
        stretch: what would be better still.
        at_least: the limit is a lower one.
    """

    group: str
    text: str
    found: float | None
    limit: float
    stretch: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the limit is met; `None` if the figure was not measured."""
        if self.found is None:
            return None
        return self.found >= self.limit if self.at_least else self.found <= self.limit


def bars(figures: Figures) -> list[Bar]:
    """Return every limit, with the measured figure."""
    return [
        *_calls(figures),
        *_streams(figures),
        *_tools(figures),
        *_concurrency(figures),
        *_embeddings(figures),
        *_starts(figures),
        *_memory(figures),
    ]


def _calls(figures: Figures) -> Iterator[Bar]:
    limits = {
        "call": ((LC, 1.40, 1.25), (LI, 1.30, 1.15)),
        "async call": ((LC, 1.35, 1.15), (LI, 1.20, 1.05)),
    }
    for measure, several in limits.items():
        for ours, limit, stretch in several:
            found = figures.ratio(measure, ours, PLAIN, "quietest")
            yield Bar("calls", f"{measure}: {ours} × httpx", found, limit, stretch)
    for ours, peer in ((LC, "ChatOpenAI"), (LI, "OpenAILike")):
        found = figures.ratio("call", ours, peer, "quietest")
        yield Bar("calls", f"call: {ours} × {peer}", found, 0.40, 0.33)
    found = figures.ratio("call", f"{LC}+ledger", LC, "quietest")
    yield Bar("calls", "call: with the ledger × without", found, 1.03)
    found = figures.ratio("stream 2000", f"{LC}+ledger", LC, "seconds")
    yield Bar("stream", "stream of 2,000: with the ledger × without", found, 1.03)


def _streams(figures: Figures) -> Iterator[Bar]:
    for ours, limit in ((LC, 1.6), (LI, 1.4)):
        found = figures.ratio("paced 250", ours, PLAIN, "cpu")
        yield Bar("stream", f"a chunk every 2 ms, CPU: {ours} × httpx", found, limit)
    for ours, peer in ((LC, "ChatOpenAI"), (LI, "OpenAILike")):
        found = figures.ratio("stream 2000", ours, PLAIN, "seconds")
        yield Bar("stream", f"stream of 2,000: {ours} × httpx", found, 2.0, 1.5)
        found = figures.ratio("stream 2000", ours, peer, "seconds")
        yield Bar("stream", f"stream of 2,000: {ours} × {peer}", found, 0.19)
    ours_growth = figures.growth("stream 2000", "stream 8000", LC, 4)
    floor = figures.growth("stream 2000", "stream 8000", _OF_LC, 4)
    yield Bar("stream", f"growth of a chunk, 8,000 over 2,000: {LC}", ours_growth, floor or 1.0)
    found = figures.growth("stream 2000", "stream 8000", LI, 4)
    yield Bar("stream", f"growth of a chunk, 8,000 over 2,000: {LI}", found, 1.05)


def _tools(figures: Figures) -> Iterator[Bar]:
    for count in (2000, 8000):
        measure = f"tool {count}"
        for ours in (LC, LI):
            found = figures.ratio(measure, ours, PLAIN, "seconds")
            yield Bar("tools", f"tool call in {count:,} fragments: {ours} × {PLAIN}", found, 2.2)


def _concurrency(figures: Figures) -> Iterator[Bar]:
    for ours, of_100 in ((LC, 0.85), (LI, 0.7)):
        for in_flight, limit, stretch in ((100, of_100, 0.6), (500, 0.5, 0.4)):
            measure = f"concurrent {in_flight}"
            found = figures.ratio(measure, ours, PLAIN, "cpu")
            text = f"{in_flight} at once, CPU of a call: {ours}"
            yield Bar("concurrency", f"{text} × httpx", found, limit, stretch)
            found = figures.value(measure, ours, "connections")
            yield Bar("concurrency", f"{in_flight} at once, connections: {ours}", found, in_flight)
        for in_flight, limit in ((100, 0.5), (500, 0.25)):
            found = figures.ratio(f"concurrent {in_flight}", f"{ours}+aiohttp", PLAIN, "cpu")
            text = f"{in_flight} at once, CPU of a call: {ours} with aiohttp × httpx"
            yield Bar("concurrency", text, found, limit)
    # LangChain's peer has OpenAI's SDK 3 here, LlamaIndex's has SDK 2
    for ours, peer, limit in ((LC, "ChatOpenAI", 2.2), (LI, "OpenAILike", 10.0)):
        found = figures.ratio("concurrent 100", ours, peer, "rate")
        text = f"100 at once, calls a second: {ours} × {peer}"
        yield Bar("concurrency", text, found, limit, at_least=True)
    for ours in (LC, LI):
        found = figures.value("threads 100", ours, "rate")
        text = f"100 threads on one client, calls a second: {ours}"
        yield Bar("threads", text, found, 1400, at_least=True)


def _embeddings(figures: Figures) -> Iterator[Bar]:
    for ours, limit in ((LC, 0.25), (LI, 0.30)):
        found = figures.ratio("embed", ours, PLAIN, "seconds")
        yield Bar("embeddings", f"vectors as lists: {ours} × httpx", found, limit)
        found = figures.ratio("embed", ours, PLAIN, "peak")
        yield Bar("embeddings", f"peak memory: {ours} × httpx", found, 0.75)
        sent = figures.value("embed", ours, "bytes")
        found = None if sent is None else sent / 1e6
        yield Bar("embeddings", f"megabytes received: {ours}", found, 17)
        array, lists = (
            figures.value("array", ours, "seconds"),
            figures.value("embed", PLAIN, "seconds"),
        )
        found = array / lists if array and lists else None
        yield Bar("embeddings", f"vectors as one array: {ours} × httpx's lists", found, 0.2)


def _starts(figures: Figures) -> Iterator[Bar]:
    for ours, limit in ((LC, 1.10), (LI, 1.05)):
        found = figures.ratio("imports", ours, ours, "import", "base")
        yield Bar("imports", f"import: {ours} × its framework's base", found, limit)
    more = figures.value("imports", LC, "import_modules")
    base = figures.value("imports", LC, "base_modules")
    found = None if more is None or base is None else more - base
    yield Bar("imports", f"modules: {LC} beyond its framework's base", found, 40)
    found = figures.ratio("imports", LC, LC, "embeddings", "base")
    yield Bar("imports", "import: LunosEmbeddings × BaseChatModel", found, 0.45)
    for ours in (LC, LI):
        for what, limit, factor in (("first", 3.0, 1e3), ("later", 80.0, 1e6)):
            seconds = figures.value("objects", ours, what)
            found = None if seconds is None else seconds * factor
            unit = "ms" if what == "first" else "µs"
            yield Bar("objects", f"{what} object, {unit}: {ours}", found, limit)


def _memory(figures: Figures) -> Iterator[Bar]:
    measure = "memory 100000"
    # "no more than core itself keeps": some noise of the allocator is nobody's
    found = figures.ratio(measure, LC, _OF_LC, "peak")
    yield Bar("memory", f"stream of 100,000, peak memory: {LC} × {_OF_LC}", found, 1.05)
    found = figures.value(measure, LI, "peak")
    found = None if found is None else found / 1e6
    yield Bar("memory", f"stream of 100,000, megabytes more than before: {LI}", found, 10)
