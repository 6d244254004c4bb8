"""Forks children while threads make their first calls: run as a program, it counts the hung ones.

A process makes its first calls once, so each round is a fork of this one, which has imported
everything and called nothing. `python -m tests.safety.forks_while_calling --help` says how many.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import json
import os
import random
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lunos_core import AsyncLunos, UsageLedger
from lunos_core import Lunos as Core
from tests.core.raw_server import Got, Step, http
from tests.safety.answering_server import AnsweringServer
from tests.safety.models import KINDS

MODELS = {"data": [{"id": "m", "input_price": "1", "output_price": "1"}]}
Ask = Callable[[], object]


class Server(AnsweringServer):
    """Lists models too."""

    def _answer(self, got: Got) -> list[Step]:
        listed = got.line.startswith("GET")
        return [http(body=json.dumps(MODELS).encode())] if listed else super()._answer(got)


def calls(url: str) -> dict[str, Ask]:
    """Each class's calls, sync and async; nothing is called yet."""
    settings: dict[str, Any] = {"api_key": "k", "base_url": url, "max_retries": 0}
    question: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    core, awaited = Core(**settings), AsyncLunos(**settings)
    asked: dict[str, Ask] = {
        "core": lambda: core.chat.completions.create(**question),
        "core, async": lambda: asyncio.run(awaited.chat.completions.create(**question)),
        "catalog": lambda: Core(**settings).models.list(),
    }
    for name, kind in KINDS.items():
        model = kind.make(**settings, catalog=core.models)
        other = kind.make(**settings, transport="aiohttp")
        asked[name] = lambda kind=kind, model=model: kind.ask(model)
        asked[f"{name}, async"] = lambda kind=kind, model=model: asyncio.run(kind.aask(model))
        asked[f"{name}, aiohttp"] = lambda kind=kind, model=other: asyncio.run(kind.aask(model))
    return asked


def in_a_child(check: Callable[[], object], seconds: float) -> int:
    """Fork a child that shows where it hangs, should it take longer, and return its id."""
    child = os.fork()
    if child == 0:
        faulthandler.dump_traceback_later(seconds, exit=True)
        status = 1
        try:
            status = int(check() == "failed")
        finally:
            os._exit(status)
    return child


def fails(child: int) -> bool:
    return os.waitpid(child, 0)[1] != 0


def play(asked: dict[str, Ask], children: int, seconds: float, seed: int) -> int:
    """Begin two threads for each call, fork meanwhile, and return how many children failed."""
    chance = random.Random(seed)
    begin, enough = threading.Barrier(2 * len(asked) + 1), threading.Event()

    def call(ask: Ask) -> None:
        begin.wait()
        while not enough.is_set():
            ask()

    for ask in [*asked.values()] * 2:
        threading.Thread(target=call, args=(ask,), daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        UsageLedger(store=Path(folder) / "usage.db").start()
        begin.wait()
        forked = []
        for _ in range(children):
            time.sleep(chance.random() / 10)
            forked.append(in_a_child(chance.choice([*asked.values()]), seconds))
        failed = sum(map(fails, forked))
        enough.set()
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--children", type=int, default=8, help="of each round (8)")
    parser.add_argument("--seconds", type=float, default=20, help="that a child may take (20)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12's, of forks beside threads
    server = Server()
    playing = os.fork()  # so that no round begins with the server's threads
    if playing == 0:
        with server:
            threading.Event().wait()
    asked = calls(server.url)
    failed = 0
    for number in range(given.rounds):
        seed = given.seed * 1000 + number
        round_ = os.fork()
        if round_ == 0:
            os._exit(play(asked, given.children, given.seconds, seed))
        failed += os.waitstatus_to_exitcode(os.waitpid(round_, 0)[1])
    os.kill(playing, 9)
    print(f"{given.rounds * given.children} children, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
