"""`make mutants`: which changes of the code no test notices.

Cosmic Ray makes the changes; this script chooses them with a fixed seed and works on copies, so
that the checkout stays as it is. What makes a mutant cost a second or two:

- every test runs once under coverage, which says which tests reach each line (`scripts/reach.py`;
  kept in `.mutants/` until a file changes)
- a mutant meets the tests that reach its line, the quickest first, until one fails
- each runs in a fork of a process that has imported the frameworks already

A mutant that nobody can notice is listed, with the reason, in `tests/equivalent_mutants.txt`.
"""

from __future__ import annotations

import argparse
import ast
import collections
import contextlib
import functools
import gc
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from reach import ROOT, Reach, measure

PACKAGES = ("lunos_core", "langchain_lunos", "llama_index_lunos")
EQUIVALENT = ROOT / "tests" / "equivalent_mutants.txt"
BAR = 0.9
# a decorator that is taken off is mostly a syntax of the framework, and every test fails; whether
# `is` or `==` stands before a constant is a question of style
LEFT_OUT = (
    "core/RemoveDecorator",
    *(
        f"core/ReplaceComparisonOperator_{pair}"
        for pair in ("Is_Eq", "IsNot_NotEq", "Eq_Is", "NotEq_IsNot")
    ),
)
# what a forked child need not import again
PRELOADED = (
    *("pytest", "pytest_asyncio", "hypothesis", "httpx", "pydantic", "starlette.applications"),
    *("langchain_core.language_models", "langchain_core.runnables", "langchain_tests", "uvicorn"),
    *("llama_index.core", "langchain.agents", "numpy", "vcr", "syrupy", "llama_index.core.agent"),
)


class Mutant(NamedTuple):
    """One change: which file, by which operator, at its how-manieth place."""

    path: str
    operator: str
    occurrence: int


class Change(NamedTuple):
    """What a mutant makes of its file, and the first line that differs."""

    after: str
    number: int
    old: str
    new: str


def git(*arguments: str) -> list[str]:
    """The lines that a git command prints."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def sources(asked: list[str], base: str) -> list[str]:
    """The files to mutate: those asked for, else those that have changed since `base`."""
    changed = git("diff", "--name-only", "--diff-filter=d", base, "--", *PACKAGES)
    inside = git("ls-files", *asked) if asked else changed
    return [path for path in inside if path.endswith(".py") and "/__init__" not in path]


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


@functools.lru_cache(2)  # the code before is asked for each of its mutants
def without_hints(source: str, *, fields_too: bool) -> str:
    """The code without the annotations that nothing reads at run time.

    pydantic reads those of its models' fields, which the adapters have and the core has not.
    """
    tree = ast.parse(source)
    nodes = [*ast.walk(tree)]
    fields = {item for node in nodes if isinstance(node, ast.ClassDef) for item in node.body}
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign) and (fields_too or node not in fields):
            node.annotation = ast.Constant(None)
    return ast.dump(tree)


def change_of(mutant: Mutant) -> Change | None:
    """What the mutant changes; None where that is a hint alone, or no Python."""
    before = (ROOT / mutant.path).read_text("utf-8")
    try:
        after = mutate_code(before, get_operator(mutant.operator)(), mutant.occurrence) or before
    except AttributeError:  # Cosmic Ray stumbles over `except module.Name`
        return None
    try:
        core = mutant.path.startswith("lunos_core/")
        if without_hints(before, fields_too=core) == without_hints(after, fields_too=core):
            return None
    except SyntaxError:  # Cosmic Ray takes the bare `*` of a signature for an operator
        return None
    pairs = enumerate(zip(before.splitlines(), after.splitlines(), strict=False), 1)
    number, (old, new) = next((item for item in pairs if item[1][0] != item[1][1]), (1, ("", "")))
    if "*," in old and new.count("/,") > old.count("/,"):
        return None  # a signature's bare `*` is no multiplication: the callers would be the same
    return Change(after, number, old.strip(), new.strip())


def equivalents() -> list[re.Pattern[str]]:
    """The listed mutants that nobody can notice: a line each, the reasons are comments."""
    lines = EQUIVALENT.read_text("utf-8").splitlines()
    return [re.compile(line) for line in lines if line and not line.startswith("#")]


def child(tests: list[str], copy: Path) -> None:
    """Run the tests on a copy of the checkout; the exit code is pytest's."""
    os.setsid()
    sink = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(sink, stream)
    os.chdir(copy)
    sys.path.insert(0, str(copy))
    import pytest

    sys.dont_write_bytecode = False
    options = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:cov", "-p", "no:xdist")
    options += ("--assert=plain", "-W", "ignore::pytest.PytestWarning")
    os._exit(int(pytest.main([*options, *tests])))


def outcomes(
    work: Iterator[tuple[int, Change, str, list[str], float]], copies: list[Path]
) -> Iterator[tuple[int, bool]]:
    """Run each piece of work in a fork; yield its number and whether the tests passed."""
    running: dict[int, tuple[int, Path, Path, float]] = {}
    free = [*copies]
    clock = 1_000_000_000  # a time of its own for each mutant's file, or Python takes the old code
    left = True
    while left or running:
        while left and free:
            item = next(work, None)
            if item is None:
                left = False
                break
            number, change, path, tests, seconds = item
            copy = free.pop()
            target = copy / path
            clock += 10
            target.write_text(change.after, "utf-8")
            os.utime(target, (clock, clock))
            if not (process := os.fork()):
                child(tests, copy)
            running[process] = number, copy, target, time.monotonic() + seconds
        for process, (number, copy, target, until) in [*running.items()]:
            done, status = os.waitpid(process, os.WNOHANG)
            late = not done and time.monotonic() > until
            if done or late:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process, signal.SIGKILL)
                if late:
                    os.waitpid(process, 0)
                del running[process]
                shutil.copy2(ROOT / target.relative_to(copy), target)
                free.append(copy)
                # a mutant that hangs is noticed too
                yield number, bool(done) and os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.02)


def copies_of_checkout(folder: str, count: int) -> list[Path]:
    """As many copies of the checkout as there are workers."""
    copies = [Path(folder, str(number)) for number in range(count)]
    for copy in copies:
        for name in git("ls-files", "--cached", "--others", "--exclude-standard"):
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_file():
                shutil.copy2(ROOT / name, target)
    return copies


def chosen_changes(paths: list[str], most: int, seed: int) -> list[tuple[Mutant, Change]]:
    """At most so many mutants of each file, by chance, and what they change."""
    chosen = []
    for path in paths:
        every = list(mutants_of(path))
        random.Random(f"{seed} {path}").shuffle(every)
        changes = ((mutant, change_of(mutant)) for mutant in every)
        real = ((mutant, change) for mutant, change in changes if change)
        chosen += [pair for pair, _ in zip(real, range(most), strict=False)]
    return chosen


def protect_null_device() -> None:
    """Begin again where nothing can replace /dev/null, if this process could.

    A mutant of code that writes a temporary file and renames it can rename it to any path: run as
    root, two of them put a plain file in the place of /dev/null, for the whole machine. In a mount
    namespace of its own /dev/null is a mount point, which nobody can rename over or remove.
    """
    mounts = Path("/proc/self/mountinfo")
    if os.geteuid() or (mounts.exists() and " /dev/null " in mounts.read_text("utf-8")):
        return
    if not mounts.exists() or not shutil.which("unshare"):
        sys.exit("A mutant run as root could replace /dev/null: run this as another user.")
    guarded = 'mount --bind /dev/null /dev/null && exec "$@"'
    command = ("unshare", "--mount", "sh", "-c", guarded, "sh", sys.executable, *sys.argv)
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


def main() -> int:
    """Run the chosen mutants and print the kill rates; 1 where one is below the bar."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("paths", nargs="*", help="files or folders; default: what has changed")
    parser.add_argument("--base", default="HEAD~1", help="changed since this commit")
    parser.add_argument("--seed", type=int, default=15)
    parser.add_argument("--most", type=int, default=30, help="how many mutants of a file at most")
    parser.add_argument("--seconds", type=float, default=20, help="of tests for each mutant")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    protect_null_device()
    paths = sources(given.paths, given.base)
    reach = Reach.merged(
        [
            measure(package)
            for package in PACKAGES
            if any(path.startswith(package) for path in paths)
        ]
    )
    chosen = chosen_changes(paths, given.most, given.seed)
    listed = equivalents()
    print(f"{len(chosen)} mutants in {len(paths)} files", flush=True)
    plugins = [point for point in entry_points(group="pytest11") if "lunos" not in point.value]
    for name in [*PRELOADED, *(point.module for point in plugins)]:
        with contextlib.suppress(ImportError):
            __import__(name)
    gc.freeze()  # a collection in a child looks at its own objects alone

    rates: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
    equivalent = 0

    def note(number: int, survived: bool) -> None:
        nonlocal equivalent
        mutant, change = chosen[number]
        line = f"{mutant.path}: {change.old} -> {change.new}"
        if survived and any(pattern.fullmatch(line) for pattern in listed):
            equivalent += 1
            return
        rates[mutant.path][0] += not survived
        rates[mutant.path][1] += 1
        if survived:
            print(
                f"SURVIVED {mutant.path}:{change.number}: {change.old} -> {change.new}", flush=True
            )

    def work() -> Iterator[tuple[int, Change, str, list[str], float]]:
        for number, (mutant, change) in enumerate(chosen):
            tests, seconds = reach.tests_of(mutant.path, change.number, given.seconds)
            if tests:
                yield number, change, mutant.path, tests, 4 * seconds + 20
            else:
                note(number, survived=True)

    with tempfile.TemporaryDirectory() as folder:
        for number, survived in outcomes(work(), copies_of_checkout(folder, given.workers)):
            note(number, survived)

    for path, (killed, tried) in sorted(rates.items()):
        print(f"{killed:4} of {tried:4} killed  {path}")
    killed, tried = (sum(column) for column in zip(*rates.values(), strict=True))
    print(f"{killed:4} of {tried:4} killed: {killed / tried:.1%}, the bar is {BAR:.0%};", end=" ")
    print(f"{equivalent} more are equivalent")
    return 0 if killed >= BAR * tried else 1


if __name__ == "__main__":
    sys.exit(main())
