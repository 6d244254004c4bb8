"""What is measured, how often, and with which clients."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from benchmarks.peers import Peer


@dataclass(frozen=True)
class Measure:
    """One measure.

    Attributes:
        name: as results call it.
        group: what `--only` takes.
        verb: the worker's method.
        path: what the server is asked for.
        arguments: of the verb.
        repetitions: in a full run, and in a quick one (0: left out).
        value: the figure that ratios are made of.
        unit: of the figure in tables: a name and the factor from what was measured.
        fresh: in a process of its own each time.
        skipped: clients that would take minutes, or have nothing to show.
    """

    name: str
    group: str
    verb: str
    path: str
    arguments: dict[str, Any]
    repetitions: tuple[int, int]
    value: str
    unit: tuple[str, float]
    fresh: bool = False
    skipped: frozenset[str] = field(default_factory=frozenset)

    def concerns(self, peer: Peer) -> bool:
        """Return whether the client is measured."""
        if peer.name in self.skipped or (self.verb in ("embed", "array") and not peer.embeddings):
            return False
        if peer.name.endswith("+aiohttp"):  # an async transport: nothing else differs
            return self.verb in ("acall", "concurrent")
        if peer.name.endswith("+ledger"):
            return self.verb in ("call", "stream") and "8000" not in self.path
        if "lean" in peer.name:
            return self.verb in ("call", "acall", "stream")
        if peer.name.startswith("floor"):
            return self.verb not in ("threads", "objects", "imports")
        return True


_MICRO = ("µs", 1e6)
_CALLS = {"count": 200, "seconds": 0.25}


def _stream(verb: str, count: int, repetitions: tuple[int, int]) -> Measure:
    return Measure(
        name=f"{verb} {count}",
        group="tools" if verb == "tool" else "stream",
        verb=verb,
        path=f"{verb}-{count}",
        arguments={"count": count},
        repetitions=repetitions,
        value="seconds",
        unit=("µs per chunk", 1e6 / count),
        skipped=frozenset({"ChatOpenRouter"} if count > 2000 else ()),  # minutes for each
    )


def _at_once(verb: str, in_flight: int, count: int, repetitions: tuple[int, int]) -> Measure:
    return Measure(
        name=f"{verb} {in_flight}",
        group="threads" if verb == "threads" else "concurrency",
        verb=verb,
        path="slow-50",
        arguments={"in_flight": in_flight, "count": count},
        repetitions=repetitions,
        value="cpu",
        unit=("µs CPU per call", 1e6),
        skipped=frozenset({"ChatOpenRouter"}),  # minutes for each
    )


MEASURES = [
    Measure("call", "calls", "call", "call", _CALLS, (15, 5), "quietest", _MICRO),
    Measure("async call", "calls", "acall", "call", _CALLS, (15, 5), "quietest", _MICRO),
    _stream("stream", 2000, (5, 2)),
    _stream("stream", 8000, (3, 1)),
    Measure(
        "paced 250", "stream", "paced", "paced-250", {"count": 250}, (9, 3),
        "cpu", ("µs CPU per chunk", 1e6 / 250),
    ),
    _stream("tool", 2000, (5, 1)),
    _stream("tool", 8000, (3, 0)),
    _at_once("concurrent", 10, 400, (3, 0)),
    _at_once("concurrent", 100, 1000, (3, 1)),
    _at_once("concurrent", 500, 2000, (3, 0)),
    _at_once("threads", 100, 2000, (3, 1)),
    Measure(
        "embed", "embeddings", "embed", "vectors-2048", {"count": 2048}, (3, 1),
        "seconds", ("ms", 1e3), fresh=True,
    ),
    Measure(
        "array", "embeddings", "array", "vectors-2048", {"count": 2048}, (3, 1),
        "seconds", ("ms", 1e3), fresh=True,
        # they give lists of floats: an array of those is their users' own work
        skipped=frozenset({"ChatOpenAI", "OpenAILike"}),
    ),
    Measure("imports", "imports", "imports", "", {}, (5, 2), "import", ("ms", 1e3)),
    Measure(
        "objects", "objects", "objects", "call", {"count": 200}, (5, 1),
        "first", ("ms", 1e3), fresh=True,
    ),
    Measure(
        "memory 100000", "memory", "memory", "stream-100000", {"count": 100_000}, (1, 0),
        "peak", ("MB", 1e-6), fresh=True,
        # minutes each, and no limit is about them
        skipped=frozenset({"ChatOpenRouter", "ChatOpenAI", "OpenAILike", "ChatMistralAI"}),
    ),
]  # fmt: skip

GROUPS = list(dict.fromkeys(measure.group for measure in MEASURES))
