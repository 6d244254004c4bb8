"""`make mutants`: which changes of the code no test notices.

Cosmic Ray makes the changes; this script chooses them with a fixed seed, gives each the tests of
its own room (`tests/` mirrors the house), and works on copies, so that the checkout stays as it
is. A mutant that cannot matter is listed, with the reason, in `tests/equivalent_mutants.txt`.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "lunos_core": "core",
    "langchain_lunos": "langchain_adapter",
    "llama_index_lunos": "llama_index_adapter",
}
EQUIVALENT = ROOT / "tests" / "equivalent_mutants.txt"
BAR = 0.9
# a decorator that is taken off is mostly a syntax of the framework, and every test fails
LEFT_OUT = ("core/RemoveDecorator",)


class Mutant(NamedTuple):
    """One change: which file, by which operator, at its how-manieth place."""

    path: str
    operator: str
    occurrence: int


def git(*arguments: str) -> list[str]:
    """The lines that a git command prints."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def sources(asked: list[str], base: str) -> list[str]:
    """The files to mutate: those asked for, else those that have changed since `base`."""
    changed = git("diff", "--name-only", "--diff-filter=d", base, "--", *PACKAGES)
    inside = git("ls-files", *asked) if asked else changed
    return [path for path in inside if path.endswith(".py") and "/__init__" not in path]


def tests_of(path: str) -> list[str]:
    """The tests of a file's package; those of its own room come first, so that most end early."""
    package, *folders, _ = Path(path).parts
    folder = ROOT / "tests" / PACKAGES[package]
    entries = [test for test in sorted(folder.iterdir()) if test.suffix == ".py" or test.is_dir()]
    tests = [test for test in entries if test.name.startswith("test_") or test.is_dir()]
    tests.sort(key=lambda test: test.name not in folders)
    return [test.relative_to(ROOT).as_posix() for test in tests if "__" not in test.name]


def mutants_of(path: str) -> Iterable[Mutant]:
    """Every mutant of a file."""
    tree = get_ast((ROOT / path).read_text("utf-8"))
    nodes = list(ast_nodes(tree))
    for name in sorted(operator_names()):
        operator_class = get_operator(name)
        if name in LEFT_OUT or operator_class.arguments():
            continue
        operator = operator_class()
        count = sum(1 for node in nodes for _ in operator.mutation_positions(node))
        for occurrence in range(count):
            yield Mutant(path, name, occurrence)


def changed_line(mutant: Mutant) -> tuple[str, str, str]:
    """The mutated file, and the first line that differs: before and after."""
    before = (ROOT / mutant.path).read_text("utf-8")
    after = mutate_code(before, get_operator(mutant.operator)(), mutant.occurrence) or before
    pairs = zip(before.splitlines(), after.splitlines(), strict=False)
    old, new = next(((old, new) for old, new in pairs if old != new), ("", ""))
    return after, old.strip(), new.strip()


def run(tests: list[str], copy: Path, seconds: float) -> bool:
    """Whether the tests pass on a copy of the checkout."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, timeout=seconds, check=False
        )
        return done.returncode == 0
    return False  # a mutant that hangs is noticed too


def main() -> int:
    """Run the chosen mutants and print the kill rates; 1 where one is below the bar."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("paths", nargs="*", help="files or folders; default: what has changed")
    parser.add_argument("--base", default="HEAD~1", help="changed since this commit")
    parser.add_argument("--seed", type=int, default=15)
    parser.add_argument("--most", type=int, default=60, help="how many mutants at most")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    paths = sources(given.paths, given.base)
    every = [mutant for path in paths for mutant in mutants_of(path)]
    chosen = random.Random(given.seed).sample(every, min(given.most, len(every)))
    listed = EQUIVALENT.read_text("utf-8") if EQUIVALENT.exists() else ""
    print(f"{len(chosen)} of {len(every)} mutants in {len(paths)} files")

    copies: SimpleQueue[Path] = SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(given.workers):
            copy = Path(folder, str(number))
            for name in git("ls-files"):
                target = copy / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target)
            copies.put(copy)

        limits: dict[tuple[str, ...], float] = {}
        for path in {mutant.path for mutant in chosen}:
            tests = tuple(tests_of(path))
            if tests not in limits:
                begun, copy = time.monotonic(), copies.get()
                passed = run([*tests], copy, 900)
                copies.put(copy)
                if not passed:
                    print(f"the tests of {path} fail without a mutant: mend that first")
                    return 2
                limits[tests] = 3 * (time.monotonic() - begun) + 10

        def survives(mutant: Mutant) -> bool:
            after, _, _ = changed_line(mutant)
            tests, copy = tests_of(mutant.path), copies.get()
            target = copy / mutant.path
            try:
                target.write_text(after, "utf-8")
                return run(tests, copy, limits[tuple(tests)])
            finally:
                shutil.copy2(ROOT / mutant.path, target)
                copies.put(copy)

        with ThreadPoolExecutor(given.workers) as threads:
            survived = list(threads.map(survives, chosen))

    rates: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
    for mutant, lives in zip(chosen, survived, strict=True):
        _, old, new = changed_line(mutant)
        if lives and f"{mutant.path}: {old} -> {new}" in listed:
            continue  # nothing that anybody could see has changed
        rates[mutant.path][0] += not lives
        rates[mutant.path][1] += 1
        if lives:
            print(f"SURVIVED {mutant.path}: {old} -> {new}")
    for path, (killed, tried) in sorted(rates.items()):
        print(f"{killed:4} of {tried:4} killed  {path}")
    killed, tried = (sum(column) for column in zip(*rates.values(), strict=True))
    print(f"{killed:4} of {tried:4} killed: {killed / tried:.1%}, the bar is {BAR:.0%}")
    return 0 if killed >= BAR * tried else 1


if __name__ == "__main__":
    sys.exit(main())
