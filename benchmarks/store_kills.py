"""`python -m benchmarks.store_kills`: the rows of a usage store that 20 kills with -9 lose.

A process adds calls at one of three paces and prints each; it is killed after three to five
seconds. A row may be lost only if it was younger than a second, or among the last hundred.
"""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import tempfile
import time

_PROGRAM = """
import sys, time
from lunos_core import CallRecord, Usage, UsageStore
usage = Usage(1, 1, cost=0.1)
with UsageStore(sys.argv[1]) as store:
    while True:
        store.add(CallRecord("a", "m", "/chat/completions", 1, 0.1, None, usage, None))
        print(time.time(), flush=True)
        time.sleep(float(sys.argv[2]))
"""
_PAUSES = (0.0005, 0.005, 0.05)
_KILLS, _LAST, _YOUNG = 20, 100, 1.0


def main() -> None:
    """Kill, count and print a table."""
    moments = random.Random(3)
    print("| pause, s | added | lost | younger than a second | within the bound |")
    print("|---|---|---|---|---|")
    for i in range(_KILLS):
        pause = _PAUSES[i % len(_PAUSES)]
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", _PROGRAM, f"{folder}/usage.db", str(pause)]
            with subprocess.Popen(  # noqa: S603 - our own program
                command, stdout=subprocess.PIPE, text=True
            ) as process:
                time.sleep(3 + 2 * moments.random())
                process.kill()
                assert process.stdout is not None
                lines = process.stdout.read().split("\n")[:-1]
            connection = sqlite3.connect(f"{folder}/usage.db")
            (kept,) = connection.execute("SELECT COUNT(*) FROM calls").fetchone()
            connection.close()
        added = [float(line) for line in lines]
        young = sum(added[-1] - moment < _YOUNG for moment in added)
        lost = max(len(added) - kept, 0)
        is_within = "yes" if lost <= max(_LAST, young) else "NO"
        print(f"| {pause} | {len(added)} | {lost} | {young} | {is_within} |", flush=True)


if __name__ == "__main__":
    main()
