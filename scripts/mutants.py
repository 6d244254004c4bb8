"""`make mutants`: which changes of the code no test notices.

Cosmic Ray makes the changes; this script chooses them with a fixed seed and works on copies, so
that the checkout stays as it is. What makes a mutant cost a second or two:

- every test runs once under coverage, which says which tests reach each line (`scripts/reach.py`;
  kept in `.mutants/` until a file changes)
- a mutant meets the tests that reach its line, the quickest first, until one fails
- each runs in a fork of a process that has imported the frameworks already

What counts:

- A place in the code counts once. Cosmic Ray changes a `+` in eleven ways, most of which are a
  TypeError: one of them is chosen.
- Docstrings and other texts aren't changed. A changed annotation counts only where pydantic reads
  it, at a field of an adapter's class. A decorator that is taken off, and `is` for `==`, don't
  count either (`mutations.LEFT_OUT`).
- A change with which the module can't be imported doesn't count: any test would fail.
- A kill is a failing test that passes without the change: the tests that ran until then run again
  in the same copy, in the same order, with the code as it is. Where the last of them fails there
  too, the change meets the others without it.
- A test that hangs is such a failure too. Its limit is four times what the tests took under
  coverage, and 20 s; without the change they must pass within the same limit. These kills are
  counted, and printed on their own.
- A change that no test reaches survives, and so does one that only a test outside of this
  package's folders (`reach.TESTS`), a slow one or one beyond `--seconds` would notice.
- A survivor that nobody can notice is listed, with the reason, in `tests/equivalent_mutants.txt`
  and doesn't count; one that matches the list and is killed does.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import enum
import gc
import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

from mutations import Change, chosen_changes
from reach import ROOT, TESTS, Reach, measure

EQUIVALENT = ROOT / "tests" / "equivalent_mutants.txt"
BAR = 0.9
STILLBORN = 99  # a child's exit code: the module can't be imported
# what a forked child need not import again
PRELOADED = (
    *("pytest", "pytest_asyncio", "hypothesis", "httpx", "pydantic", "starlette.applications"),
    *("langchain_core.language_models", "langchain_core.runnables", "langchain_tests", "uvicorn"),
    *("llama_index.core", "langchain.agents", "numpy", "vcr", "syrupy", "llama_index.core.agent"),
)


class Work(NamedTuple):
    """A change, the tests that it meets, and how many seconds they may take."""

    number: int
    change: Change
    path: str
    tests: list[str]
    seconds: float


class Verdict(enum.Enum):
    """What became of a mutant."""

    SURVIVED = 0
    KILLED = 1
    HUNG = 2
    STILLBORN = 3


def git(*arguments: str) -> list[str]:
    """The lines that a git command prints."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def sources(asked: list[str], base: str) -> list[str]:
    """The files to mutate: those asked for, else those that have changed since `base`."""
    changed = git("diff", "--name-only", "--diff-filter=d", base, "--", *TESTS)
    inside = git("ls-files", *asked) if asked else changed
    return [path for path in inside if path.endswith(".py") and "/__init__" not in path]


def equivalents() -> list[re.Pattern[str]]:
    """The listed mutants that nobody can notice: a line each, the reasons are comments."""
    lines = EQUIVALENT.read_text("utf-8").splitlines()
    return [re.compile(line) for line in lines if line and not line.startswith("#")]


class Progress:
    """A plugin of pytest's that writes down each test that begins."""

    def __init__(self, begun: Path) -> None:
        self.begun = begun

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Add the test's name to the file."""
        with self.begun.open("a", encoding="utf-8") as file:
            file.write(nodeid + "\n")


def child(tests: list[str], copy: Path, module: str, begun: Path) -> None:
    """Run the tests on a copy of the checkout; the exit code is pytest's, or `STILLBORN`."""
    os.setsid()
    sink = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(sink, stream)
    os.chdir(copy)
    sys.path.insert(0, str(copy))
    sys.dont_write_bytecode = False
    try:
        importlib.import_module(module)
    except BaseException:
        os._exit(STILLBORN)
    import pytest

    options = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:cov", "-p", "no:xdist")
    options += ("--assert=plain", "-W", "ignore::pytest.PytestWarning")
    os._exit(int(pytest.main([*options, *tests], plugins=[Progress(begun)])))


def run(work: Work, tests: list[str], copy: Path) -> tuple[int | None, list[str]]:
    """Run the tests in a fork: its exit code, None where it hung, and the tests that began."""
    begun = copy.with_suffix(".begun")
    begun.write_text("", "utf-8")
    if not (process := os.fork()):
        child(tests, copy, work.path.removesuffix(".py").replace("/", "."), begun)
    until = time.monotonic() + work.seconds
    done, status = 0, 0
    try:
        while not done and time.monotonic() < until:
            time.sleep(0.02)
            done, status = os.waitpid(process, os.WNOHANG)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)  # what the tests started, too
    if not done:
        os.waitpid(process, 0)
    code = os.waitstatus_to_exitcode(status) if done else None
    return code, begun.read_text("utf-8").splitlines()


def judge(work: Work, copy: Path) -> Verdict:
    """Meet the tests with the change, and those that ran until one failed without it."""
    target = copy / work.path
    tests = work.tests
    # a time of its own for each mutant's file, or Python takes the old code
    clock = 1_000_000_000 + 10 * work.number
    while tests:
        target.write_text(work.change.after, "utf-8")
        os.utime(target, (clock, clock))
        code, begun = run(work, tests, copy)
        shutil.copy2(ROOT / work.path, target)
        if code == 0:
            break
        if code == STILLBORN:
            return Verdict.STILLBORN
        control, passed = run(work, begun or ["--collect-only", *tests], copy)
        if control == 0:
            return Verdict.KILLED if code is not None else Verdict.HUNG
        failed = passed[-1] if passed else "collecting"
        print(f"fails without a mutant: {failed}", flush=True)
        tests = [test for test in tests if passed and test != failed]
    return Verdict.SURVIVED


def outcomes(work: Iterator[Work], copies: list[Path]) -> Iterator[tuple[int, Verdict]]:
    """Judge each piece of work in a process of its own; yield its number and the verdict."""
    running: dict[int, tuple[int, Path]] = {}
    free = [*copies]
    for item in work:
        copy = free.pop()
        if not (process := os.fork()):
            try:
                os._exit(judge(item, copy).value)
            except BaseException:
                traceback.print_exc()
                os._exit(len(Verdict))  # no verdict's value
        running[process] = item.number, copy
        while not free:
            yield ended(running, free)
    while running:
        yield ended(running, free)


def ended(running: dict[int, tuple[int, Path]], free: list[Path]) -> tuple[int, Verdict]:
    """Wait for the next process that ends; its copy is free then."""
    process, status = os.wait()
    number, copy = running.pop(process)
    free.append(copy)
    return number, Verdict(os.waitstatus_to_exitcode(status))


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
    parser.add_argument("--together", action="store_true", help="... and of all files at most")
    parser.add_argument("--seconds", type=float, default=20, help="of tests for each mutant")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    protect_null_device()
    paths = sources(given.paths, given.base)
    reach = Reach.merged(
        [measure(package) for package in TESTS if any(path.startswith(package) for path in paths)]
    )
    chosen = chosen_changes(paths, given.most, given.seed, together=given.together)
    listed = equivalents()
    print(f"{len(chosen)} mutants in {len(paths)} files", flush=True)
    plugins = [point for point in entry_points(group="pytest11") if "lunos" not in point.value]
    for name in [*PRELOADED, *(point.module for point in plugins)]:
        with contextlib.suppress(ImportError):
            __import__(name)
    gc.freeze()  # a collection in a child looks at its own objects alone

    rates: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
    counts = collections.Counter[str]()

    def note(number: int, verdict: Verdict) -> None:
        mutant, change = chosen[number]
        line = f"{mutant.path}: {change.old} -> {change.new}"
        survived = verdict is Verdict.SURVIVED
        if survived and any(pattern.fullmatch(line) for pattern in listed):
            counts["EQUIVALENT"] += 1
            return
        counts[verdict.name] += 1
        if verdict is not Verdict.STILLBORN:
            rates[mutant.path][0] += not survived
            rates[mutant.path][1] += 1
        if verdict in {Verdict.SURVIVED, Verdict.HUNG}:
            where = f"{mutant.path}:{change.number}"
            print(f"{verdict.name} {where}: {change.old} -> {change.new}", flush=True)

    def work() -> Iterator[Work]:
        for number, (mutant, change) in enumerate(chosen):
            tests, seconds = reach.tests_of(mutant.path, change.number, given.seconds)
            if tests:
                yield Work(number, change, mutant.path, tests, 4 * seconds + 20)
            else:
                note(number, Verdict.SURVIVED)

    with tempfile.TemporaryDirectory() as folder:
        for number, verdict in outcomes(work(), copies_of_checkout(folder, given.workers)):
            note(number, verdict)

    for path, (killed, tried) in sorted(rates.items()):
        print(f"{killed:4} of {tried:4} killed  {path}")
    killed, tried = (sum(column) for column in zip(*rates.values(), strict=True))
    spread = 1.96 * (killed * (tried - killed) / tried**3) ** 0.5
    print(
        f"{killed:4} of {tried:4} killed: {killed / tried:.1%} ± {spread:.1%}, the bar is {BAR:.0%}"
    )
    print(
        f"{counts['HUNG']} of these by hanging; not counted: {counts['EQUIVALENT']} equivalent "
        f"ones and {counts['STILLBORN']} with which the module can't be imported"
    )
    return 0 if killed >= BAR * tried else 1


if __name__ == "__main__":
    sys.exit(main())
