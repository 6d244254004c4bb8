"""Play faults at random for a while: `python -m tests.chaos --seconds 600 --seed 3`."""

from __future__ import annotations

import argparse
import faulthandler
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache

from tests.chaos.cases import Case, problems
from tests.chaos.faults import FAULTS
from tests.chaos.server import DRIPPED, WHOLE, cuts_of
from tests.chaos.styles import STYLES

_cuts = cache(cuts_of)


@contextmanager
def running_server() -> Iterator[int]:
    """Run the server in a process of its own, and yield its port."""
    command = [sys.executable, "-m", "tests.chaos.server"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def chosen(chance: random.Random, fault: str | None = None) -> Case:
    """Choose a case."""
    fault = fault or chance.choice(list(FAULTS))
    name = chance.choice(list(STYLES))
    style = STYLES[name]
    cuts = _cuts(fault, streamed=style.streamed)
    cut = chance.choice([WHOLE, DRIPPED, *[None] * 6])
    cut = cut or (str(chance.randrange(cuts)) if cuts else WHOLE)
    transport = chance.choice(["httpx", "aiohttp"]) if style.is_async else "httpx"
    return Case(fault, cut, name, transport, chance.choice([0, 0, 0, 1]))


def _cases(given: argparse.Namespace, chance: random.Random) -> Iterator[Case]:
    if given.case:
        yield from map(Case.read, given.case)
    elif given.every:
        faults = [given.fault] if given.fault else list(FAULTS)
        cuts = [(fault, cut) for fault in faults for cut in range(_cuts(fault, streamed=True))]
        for fault, cut in chance.sample(cuts, len(cuts)):
            yield replace(chosen(chance, fault), cut=str(cut))
    else:
        while True:
            yield chosen(chance, given.fault)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", action="append", help="play this case alone, as it was printed")
    parser.add_argument("--fault", help="this fault alone")
    parser.add_argument("--every", action="store_true", help="every cut of every fault, once")
    given = parser.parse_args()
    chance = random.Random(given.seed)
    seen: dict[str, Counter[str]] = {name: Counter() for name in ("fault", "style", "transport")}
    played: set[Case] = set()
    count = failed = 0
    end = time.monotonic() + given.seconds
    with running_server() as port:
        for case in _cases(given, chance):
            if time.monotonic() > end and not given.case:
                break
            faulthandler.dump_traceback_later(120, exit=True)
            print(f"\r{count} {case}"[:100].ljust(100), end="", file=sys.stderr, flush=True)
            wrong = problems(case, port)
            count += 1
            played.add(case)
            for name, counter in seen.items():
                counter[getattr(case, name)] += 1
            if wrong:
                failed += 1
                print(f"\npython -m tests.chaos --case '{case}'", *wrong, sep="\n  ")
    faulthandler.cancel_dump_traceback_later()
    cuts = len({(case.fault, case.cut) for case in played})
    print(
        f"\n{count} calls, {len(played)} different: {len(seen['fault'])} of {len(FAULTS)} faults, "
        f"{cuts} with their cuts, {len(seen['style'])} styles, {dict(seen['transport'])}; "
        f"{failed} failed"
    )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
