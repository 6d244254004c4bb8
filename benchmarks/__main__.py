"""`python -m benchmarks`: measure, print limits and tables, and keep them in a folder."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.baseline import compare
from benchmarks.baseline import keep as keep_baseline
from benchmarks.measures import GROUPS, MEASURES
from benchmarks.peers import PEERS
from benchmarks.picture import draw
from benchmarks.report import report
from benchmarks.runner import Results, bench

_ENVIRONMENT = "LUNOS_BENCH_PYTHONS"
_VERSIONS = ("httpx", "langchain-core", "llama-index-core", "orjson", "pydantic")


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run."""
    asked = _parser().parse_args(arguments)
    names = asked.clients or [peer.name for peer in PEERS]
    if asked.quick and not asked.clients:
        names.remove("ChatOpenRouter")  # alone it takes as long as all others together
    pythons = _pythons(asked.python)
    began = time.monotonic()
    results: Results = {}
    with bench(names, pythons) as running:
        for name, why in running.left_out.items():
            _say(f"left out: {name} ({why})")
        for measure in MEASURES:
            repetitions = measure.repetitions[asked.quick]
            if measure.group not in asked.only or not repetitions:
                continue
            started = time.monotonic()
            results[measure.name] = running.run(measure, repetitions)
            _say(f"{measure.name}: {repetitions} times, {time.monotonic() - started:.0f} s")
        left_out = dict(running.left_out)
    about = _about(time.monotonic() - began, left_out)
    text = report(results, about)
    print(text)
    print(compare(results))
    if asked.keep_baseline:
        keep_baseline(results, about)
    _keep(asked.out, text, results, about)


def _keep(folder: Path, text: str, results: Results, about: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.iterdir()):
        (folder / ".gitignore").write_text("*\n")  # figures of one machine on one day
    (folder / "results.md").write_text(text)
    (folder / "results.json").write_text(json.dumps({"about": about, "results": results}))
    drawn = draw(results, folder / "results.png")
    _say(f"kept in {folder}" + ("" if drawn else " (no picture: matplotlib is not installed)"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about two minutes instead of fifteen")
    parser.add_argument("--only", type=_groups, default=GROUPS, help=f"some of: {','.join(GROUPS)}")
    parser.add_argument(
        "--clients", type=lambda text: text.split(","), help="some clients; httpx is the measure"
    )
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="CLIENT[,CLIENT]=PATH",
        help=f"the interpreter of a client, whose pins clash with ours; also {_ENVIRONMENT}, "
        "with several of these separated by ';'",
    )
    parser.add_argument(
        "--keep-baseline", action="store_true", help="keep the figures in benchmarks/baseline.json"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out"), help="where to keep")
    return parser


def _groups(text: str) -> list[str]:
    groups = text.split(",")
    unknown = set(groups) - set(GROUPS)
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose from {', '.join(GROUPS)}")
    return groups


def _pythons(given: list[str]) -> dict[str, str]:
    several = [*os.environ.get(_ENVIRONMENT, "").split(";"), *given]
    found: dict[str, str] = {}
    for one in filter(None, several):
        names, _, path = one.partition("=")
        found |= dict.fromkeys(names.split(","), path)
    return found


def _about(seconds: float, left_out: Mapping[str, str]) -> dict[str, Any]:
    versions = []
    for name in _VERSIONS:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            versions.append(f"no {name}")
    about: dict[str, Any] = {
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "packages": ", ".join(versions),
        "took": f"{seconds:.0f} s",
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
    }
    if left_out:
        about["left out"] = ", ".join(left_out)
    return about


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
