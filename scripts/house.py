"""Print the figures of the house: rooms and floors of the core, and lines of each package.

python -m scripts.house

Rooms are the files and folders directly in `lunos_core`; floors are the longest chain of rooms that
import one another, imports inside functions counted and those under `TYPE_CHECKING` not; lines are
those of the tracked `.py` files. `tests/test_house.py` holds the limits.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.test_house import PACKAGES, ROOT, arrows


def floors(drawn: dict[str, set[str]]) -> dict[str, int]:
    """The floor of each room: 1 for a room that imports no other.

    Raises:
        RecursionError: two rooms import each other.
    """
    result: dict[str, int] = {}

    def floor(room: str) -> int:
        if room not in result:
            result[room] = 1 + max(map(floor, drawn[room]), default=0)
        return result[room]

    for room in drawn:
        floor(room)
    return result


def lines(package: str) -> tuple[int, int]:
    """How many tracked `.py` files a package has, and how many lines these have together."""
    listed = subprocess.run(  # noqa: S603
        ["git", "ls-files", f"{package}/*.py"],  # noqa: S607 (the developer's own git)
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    files = [Path(ROOT, name) for name in listed]
    return len(files), sum(file.read_bytes().count(b"\n") for file in files if file.exists())


def main() -> None:
    """Print the figures."""
    drawn = arrows()
    storeys = floors(drawn)
    print(f"{len(drawn)} rooms on {max(storeys.values())} floors")
    for floor in sorted(set(storeys.values()), reverse=True):
        print(f"  {floor}: {', '.join(sorted(r for r in drawn if storeys[r] == floor))}")
    counted = {package: lines(package) for package in PACKAGES}
    for package, (files, total) in counted.items():
        print(f"{package:20} {files:4} files {total:7,} lines")
    total = sum(number for _, number in counted.values())
    print(f"{'together':20} {sum(files for files, _ in counted.values()):4} files {total:7,} lines")


if __name__ == "__main__":
    main()
