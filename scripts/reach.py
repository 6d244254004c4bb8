"""Which tests reach which lines: for `make mutants`, kept in `.mutants/` until a file changes."""

from __future__ import annotations

import ast
import collections
import functools
import hashlib
import heapq
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
KEPT = ROOT / ".mutants"
MOST_TESTS = 400  # for one mutant: to collect thousands takes longer than to run them
_BOTH_ADAPTERS = ("tests/safety/test_trio.py", "tests/safety/test_loaded_objects.py")
TESTS = {
    "lunos_core": (
        *("tests/core", "tests/faults/test_faults_core.py", "tests/faults/test_faults_aiohttp.py"),
        *("tests/safety/test_plain_http.py", "tests/safety/test_clocks.py"),
        "tests/cli/test_deep_check.py",
    ),
    "langchain_lunos": ("tests/langchain_adapter", *_BOTH_ADAPTERS),
    "llama_index_lunos": ("tests/llama_index_adapter", *_BOTH_ADAPTERS),
    "lunos_local": ("tests/local",),
    "lunos_cli": ("tests/cli", "tests/bulk"),
    "lunos_bulk": ("tests/bulk",),
}
# run by pytest in a process of its own: the context of coverage is the running test
PLUGIN = """
import json, sys, time, coverage, pytest
class Notes:
    def __init__(self): self.seconds, self.failed = {}, set()
    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        coverage.Coverage.current().switch_context(item.nodeid)
        begun = time.perf_counter()
        result = yield
        self.seconds[item.nodeid] = time.perf_counter() - begun
        coverage.Coverage.current().switch_context("")
        return result
    def pytest_runtest_logreport(self, report):
        if report.failed: self.failed.add(report.nodeid)
if __name__ == "__main__":  # and not where a test's worker process imports this once more
    notes = Notes()
    code = pytest.main(["-q", "-p", "no:cacheprovider", "-m", "not slow", *sys.argv[2:]],
        plugins=[notes])
    passed = {name: notes.seconds[name] for name in notes.seconds.keys() - notes.failed}
    json.dump(passed, open(sys.argv[1], "w"))
    sys.exit(code)
"""


@dataclass
class Reach:
    """For each file and line the tests that reach it, and how long each test takes."""

    lines: dict[str, dict[int, list[str]]]
    seconds: dict[str, float]

    @classmethod
    def merged(cls, parts: list[Reach]) -> Reach:
        """The reach of several packages' tests as one."""
        lines: dict[str, dict[int, list[str]]] = {}
        seconds: dict[str, float] = {}
        for part in parts:
            seconds |= part.seconds
            for path, by_line in part.lines.items():
                mine = lines.setdefault(path, {})
                for line, tests in by_line.items():
                    mine[line] = [*mine.get(line, ()), *tests]
        return cls(lines, seconds)

    def tests_of(self, path: str, number: int, most: float) -> tuple[list[str], float]:
        """The tests for a change in this line, the quickest first, and their time together.

        A line that runs at import (a default, a field, a constant) is seen by whatever reaches
        the function or class around it, else by what reaches the file.
        """
        lines = self.lines.get(path, {})
        reaching: set[str] = set()
        for first, last in around(path, number):
            reaching = {test for line in range(first, last + 1) for test in lines.get(line, ())}
            if reaching:
                break
        # a field or constant has run before any test did: whoever names it may look at its value,
        # and so may whoever reaches a line of its file that names it
        name = assigned_name(path, number)
        naming = tests_naming(name, frozenset(self.seconds))
        uses = lines_naming(path, name)
        using = {test for line in uses for test in lines.get(line, ())}
        reaching |= naming | using
        # first a few tests for each line of the function (or of those that use the constant), and
        # most of those that reach a rare one: a condition that thousands of tests meet matters to
        # those that go into its branches
        first_of_all = {*heapq.nsmallest(30, naming, self.seconds.__getitem__)}
        first_of_all.update(heapq.nsmallest(150, using, self.seconds.__getitem__))
        # the other cases of these tests come next, such as the one that stays out of the branch
        close: set[str] = set()
        for line in {line for place in [number, *uses] for line in function_lines(path, place)}:
            several = reaching.intersection(lines.get(line, ()))
            is_rare = 10 * len(several) <= len(reaching)
            quickest = heapq.nsmallest(200 if is_rare else 3, several, self.seconds.__getitem__)
            first_of_all.update(quickest)
            close.update(test.partition("[")[0] for test in quickest if is_rare)
        # and those of the files that say a word of the line, first the cases that have it as a name
        for word in re.findall(r'"([\w-]{4,})"', source_of(path).splitlines()[number - 1]):
            several = {test for test in reaching if word in source_of(test.partition("::")[0])}
            ranks = sorted((word not in test, self.seconds[test], test) for test in several)
            first_of_all.update(test for *_, test in ranks[:30])
        # then the package's own tests; of those a case of each, then the next case: the cases of
        # one test mostly see the same
        own = TESTS[path.partition("/")[0]]
        cases = collections.Counter[str]()
        ranked = []
        for test in sorted(reaching, key=self.seconds.__getitem__):
            name = test.partition("[")[0]
            cases[name] += 1
            rank = 0 if test in first_of_all else 1 if name in close else 2
            place = (rank, not test.startswith(own), cases[name])
            ranked.append((*place, self.seconds[test], test))
        total = 0.0
        chosen: list[str] = []
        for *_, took, test in sorted(ranked)[:MOST_TESTS]:
            if chosen and total + took > most:
                continue  # too slow for what is left; a quicker case may still fit
            total += took
            chosen.append(test)
        return chosen, total


@functools.cache
def source_of(path: str) -> str:
    """The text of a file."""
    return (ROOT / path).read_text("utf-8")


def assigned_name(path: str, number: int) -> str:
    """The name of the field or constant that a line outside of functions sets; "" if none."""
    if function_lines(path, number):
        return ""
    for node in ast.walk(ast.parse(source_of(path))):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        spans = isinstance(node, ast.stmt) and node.lineno <= number <= (node.end_lineno or 0)
        if spans and isinstance(targets[0], ast.Name):
            return targets[0].id
    return ""


def lines_naming(path: str, name: str) -> list[int]:
    """The lines of a file's functions that use a name."""
    tree = ast.parse(source_of(path) if name else "")
    uses = [
        node
        for node in ast.walk(tree)
        if name in (getattr(node, "id", 0), getattr(node, "attr", 0))
    ]
    return [node.lineno for node in uses if function_lines(path, node.lineno)]


def _first_line(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return min([function.lineno, *(item.lineno for item in function.decorator_list)])


@functools.cache
def tests_naming(name: str, tests: frozenset[str]) -> frozenset[str]:
    """The tests whose function has a name in its source."""
    if not name:
        return frozenset()
    named: dict[str, set[str]] = {}
    for file in {test.partition("::")[0] for test in tests}:
        source = source_of(file)
        lines = source.splitlines()
        named[file] = {
            node.name
            for node in ast.walk(ast.parse(source) if name in source else ast.parse(""))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and name in "\n".join(lines[_first_line(node) - 1 : node.end_lineno])
        }
    return frozenset(
        test
        for test in tests
        if test.partition("[")[0].rpartition("::")[2] in named[test.partition("::")[0]]
    )


def function_lines(path: str, number: int) -> range:
    """The lines of the innermost function around a line; none outside of functions."""
    tree = ast.parse(source_of(path))
    spans = [
        range(node.body[0].lineno, (node.end_lineno or node.lineno) + 1)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return min((span for span in spans if number in span), key=len, default=range(0))


def around(path: str, number: int) -> list[tuple[int, int]]:
    """The spans of lines to look at for a line: its statement; outside functions, ever more."""
    source = source_of(path)
    tree, spans, inside_function = ast.parse(source), [], False
    for node in ast.walk(tree):
        if not isinstance(node, ast.stmt | ast.ExceptHandler):
            continue
        first = min([node.lineno, *(item.lineno for item in getattr(node, "decorator_list", ()))])
        last = node.end_lineno or node.lineno
        if not first <= number <= last:
            continue
        body = getattr(node, "body", None)
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if body and number >= body[0].lineno:
            inside_function |= is_function
            spans.append((first if not is_function else body[0].lineno, last))
        elif body and not is_function and not isinstance(node, ast.ClassDef):
            spans.append((first, body[0].lineno - 1))
        else:
            spans.append((body[0].lineno if body else first, last))
    spans.sort(key=lambda span: span[1] - span[0])
    # a function that only an import calls is seen by whatever reaches the file
    return [*(spans[:1] if inside_function else spans), (1, source.count("\n") + 1)]


def digest(paths: list[str]) -> dict[str, str]:
    """A hash for each file under these paths."""
    roots = [ROOT / path for path in paths]
    files = [file for root in roots for file in sorted([root, *root.rglob("*.py")])]
    return {
        file.relative_to(ROOT).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        for file in files
        if file.is_file()
    }


def measure(package: str) -> Reach:
    """Run the package's tests under coverage, those alone that have changed since the last time."""
    kept = KEPT / f"{package}.json"
    code, tests = digest([package]), digest([*TESTS[package]])
    old = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
    if old.get("code") != code:
        old = {"tests": {}, "lines": {}, "seconds": {}}
    changed = {file for file, value in tests.items() if old["tests"].get(file) != value}
    gone = changed | (old["tests"].keys() - tests.keys())

    names = [*old["seconds"]]  # the kept lines name tests by their place in this list
    stays = [name.partition("::")[0] not in gone for name in names]
    seconds = {name: old["seconds"][name] for name, stay in zip(names, stays, strict=True) if stay}
    lines = {
        path: {
            int(line): [names[i] for i in reaching if stays[i]]
            for line, reaching in by_line.items()
        }
        for path, by_line in old["lines"].items()
    }
    if wanted := sorted(file for file in changed if Path(file).name.startswith("test_")):
        print(f"{package}: which lines the tests of {len(wanted)} files reach", flush=True)
        _run(wanted, lines, seconds)
    places = {name: i for i, name in enumerate(seconds)}
    kept_lines = {
        path: {line: [places[name] for name in reaching] for line, reaching in by_line.items()}
        for path, by_line in lines.items()
    }
    KEPT.mkdir(exist_ok=True)
    value = {"code": code, "tests": tests, "lines": kept_lines, "seconds": seconds}
    kept.write_text(json.dumps(value), "utf-8")
    return Reach(lines, seconds)


def _run(
    files: list[str], lines: dict[str, dict[int, list[str]]], seconds: dict[str, float]
) -> None:
    import coverage

    with tempfile.TemporaryDirectory() as folder:
        script, data, times = (Path(folder, name) for name in ("run.py", "data", "times"))
        script.write_text(PLUGIN, "utf-8")
        command = [
            *(sys.executable, "-m", "coverage", "run", f"--data-file={data}", "--rcfile=/dev/null"),
            *("--source=" + ",".join(TESTS), str(script), str(times), *files),
        ]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, check=False, stdout=subprocess.DEVNULL
        )
        if done.returncode not in (0, 1):
            sys.exit(f"pytest stopped with code {done.returncode}: run it on {' '.join(files)}")
        if done.returncode:
            print("a test fails without a mutant: its reach is not counted", flush=True)
        passed = json.loads(times.read_text("utf-8"))
        # a name with a path of this checkout is unknown in a copy of it, and pytest would fail
        seconds |= {name: took for name, took in passed.items() if str(ROOT) not in name}
        measured = coverage.CoverageData(str(data))
        measured.read()
        for file in measured.measured_files():
            path = Path(file).relative_to(ROOT).as_posix()
            by_line = lines.setdefault(path, {})
            for line, contexts in measured.contexts_by_lineno(file).items():
                by_line.setdefault(line, []).extend(test for test in contexts if test in seconds)
