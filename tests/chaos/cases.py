"""Cases, and the oracle: the right answer, or our error with what had come, and nothing besides."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lunos_core import LunosConnectionError, LunosError
from tests.chaos.answers import TEXT
from tests.chaos.body_faults import spellings
from tests.chaos.faults import ANSWER, EITHER, ERROR, FAULTS
from tests.chaos.styles import STYLES, Style

KEY = "sk-chaos-5f1d-93c7"
_numbers = itertools.count(1)
_LONGEST = 20.0  # seconds: not how fast a call is, but that it ends
_SHORT = 0.4  # `total_timeout` where only that ends the call


@dataclass(frozen=True)
class Case:
    """One call that meets a fault.

    Attributes:
        cut: how the server's bytes are cut up: "whole", "dripped" or the number of a boundary.
        style: of `STYLES`.
    """

    fault: str
    cut: str
    style: str
    transport: str = "httpx"
    retries: int = 0

    def __str__(self) -> str:
        return f"{self.fault}:{self.cut}:{self.style}:{self.transport}:{self.retries}"

    @classmethod
    def read(cls, text: str) -> Case:
        fault, cut, style, transport, retries = text.split(":")
        return cls(fault, cut, style, transport, int(retries))

    @property
    def expected(self) -> str:
        expected = FAULTS[self.fault].outcome(streamed=STYLES[self.style].streamed)
        return EITHER if expected == ERROR and self.retries else expected


@dataclass
class Came:
    """What came of a case."""

    answer: Any = None
    error: BaseException | None = None
    pieces: list[str] = field(default_factory=list)


def problems(case: Case, port: int) -> list[str]:
    """Play a case, and say what is wrong with what came of it."""
    style = STYLES[case.style]
    fault = FAULTS[case.fault]
    settings: dict[str, Any] = {
        "api_key": KEY,
        "base_url": f"http://127.0.0.1:{port}/{case.fault}/{case.cut}/{os.getpid()}-{next(_numbers)}",
        "max_retries": case.retries,
        "transport": case.transport,
        "timeout": 10,
        "total_timeout": _SHORT if fault.stalls else _LONGEST,
        "max_response_bytes": 8 * 1024 * 1024,
    }
    before, start = sockets(), time.monotonic()
    with _Logs() as logs, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        how = style, settings, fault.spills
        calls = asyncio.run(_awaited(*how)) if style.is_async else _plain(*how)
    last = calls[-1]
    wrong = [*_judge(case, style, calls[0]), *_judge_key(calls, [*logs, *warned])]
    if last.answer != style.right and not (fault.stalls or fault.spills):
        wrong.append(f"the next call gave {last.answer!r}, {last.error!r}")
    if (left := sockets() - before) > 0:
        wrong.append(f"{left} sockets stay open")
    if time.monotonic() - start > _LONGEST:
        wrong.append("it took too long")
    wrong += [f"a warning: {item.message}" for item in warned if item.category is ResourceWarning]
    return wrong


def _plain(style: Style, settings: dict[str, Any], only: bool) -> list[Came]:
    model = style.make(settings)
    calls: list[Came] = []
    while _goes_on(calls, only):
        calls.append(came := Came())
        try:
            came.answer = style.ask(model, came.pieces)
        except Exception as error:
            came.error = error
    getattr(model, "client", model).close()
    return calls


async def _awaited(style: Style, settings: dict[str, Any], only: bool) -> list[Came]:
    model = style.make(settings)
    calls: list[Came] = []
    while _goes_on(calls, only):
        calls.append(came := Came())
        try:
            came.answer = await style.ask(model, came.pieces)
        except Exception as error:
            came.error = error
    await getattr(model, "async_client", model).close()
    return calls


def _goes_on(calls: list[Came], only: bool) -> bool:
    """One call or two, and a third where the second met the end of the first one's connection."""
    if only:
        return not calls
    lost = isinstance(calls[-1].error, LunosConnectionError) if calls else False
    return len(calls) < 2 or (len(calls) == 2 and lost)


def _judge(case: Case, style: Style, came: Came) -> Iterator[str]:
    error, said = came.error, "".join(came.pieces)
    if error is None and came.answer != style.right:
        yield f"a wrong answer: {came.answer!r}"
    if error is not None and not isinstance(error, LunosError):
        yield f"a foreign exception: {error!r}\n{''.join(traceback.format_exception(error))}"
    if error is None and case.expected == ERROR:
        yield "an answer where there is none"
    if error is not None and case.expected == ANSWER:
        yield f"an error where there is an answer: {error!r}"
    if not TEXT.startswith(said):
        yield f"wrong pieces: {came.pieces!r}"
    if isinstance(error, LunosError) and said:
        partial = _text_of(error.partial)
        if not partial.startswith(said) or not TEXT.startswith(partial):
            yield f"{said!r} had come, and the error has {error.partial!r}"


def _text_of(partial: Any) -> str:
    for name in ("text", "content"):
        text = getattr(partial, name, None)
        if isinstance(text, str):
            return text
    return ""


def _judge_key(calls: list[Came], texts: list[Any]) -> Iterator[str]:
    told = [str(text) for text in texts]
    for came in calls:
        if came.error is not None:
            told += [str(came.error), repr(came.error), *traceback.format_exception(came.error)]
            told += _all_texts(vars(came.error))
    for name, spelled in spellings(KEY).items():
        for text in told:
            if spelled in text:
                yield f"{name} in {text[:300]!r}"


def _all_texts(value: Any, depth: int = 5) -> Iterator[str]:
    """Every text in a value, in what it contains, and in its attributes."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode("utf-8", "replace")
    elif depth:
        if isinstance(value, dict):
            inner = [*value, *value.values()]
        elif isinstance(value, list | tuple):
            inner = list(value)
        else:
            names = [*getattr(type(value), "__slots__", ()), *getattr(value, "__dict__", ())]
            inner = [getattr(value, name, None) for name in names]
        yield repr(value)
        for item in inner:
            yield from _all_texts(item, depth - 1)


class _Logs(logging.Handler):
    """Collects what our loggers say."""

    NAMES = ("lunos_core", "langchain_lunos", "llama_index_lunos")

    def __enter__(self) -> list[str]:
        self.lines: list[str] = []
        for name in self.NAMES:
            logger = logging.getLogger(name)
            logger.addHandler(self)
            logger.setLevel(logging.DEBUG)
        return self.lines

    def __exit__(self, *_: object) -> None:
        for name in self.NAMES:
            logger = logging.getLogger(name)
            logger.removeHandler(self)
            logger.setLevel(logging.NOTSET)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def sockets() -> int:
    """How many sockets this process has open; 0 where that can't be seen."""
    folder = Path("/proc/self/fd")
    count = 0
    for file in folder.iterdir() if folder.exists() else ():
        with contextlib.suppress(OSError):  # closed meanwhile, as the folder itself
            count += os.readlink(file).startswith("socket:")
    return count
