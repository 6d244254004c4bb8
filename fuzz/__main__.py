"""`python -m fuzz --seconds 60 [PARSER …]`: each parser in a process of its own, by atheris.

A finding is an input that makes a parser raise what is none of our errors. It is kept in
`fuzz/findings/`; fix the parser, then move the file to `tests/fuzz_cases/`, where it stays a test.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

NAMES = (
    "sse", "chat", "stream", "embeddings", "catalog", "images", "audio", "errors", "tool_arguments",
    "balance", "scrubbing", "drawn", "speech", "video",
)  # fmt: skip
FINDINGS = Path(__file__).parent / "findings"
WORDS = Path(__file__).parent / "wire.dict"


def run_one(name: str, options: list[str]) -> None:
    """In the parser's own process: instrument the packages, then fuzz until the time is up."""
    import atheris

    packages = ["lunos_core", "langchain_lunos", "llama_index_lunos", "fuzz.parsers"]
    with atheris.instrument_imports(include=packages):
        from fuzz.parsers import PARSERS

    atheris.Setup([name, *options], PARSERS[name])
    atheris.Fuzz()


def start(name: str, seconds: int, corpus: Path) -> bool:
    """Fuzz one parser; say what libFuzzer said last. False where it found something."""
    from fuzz.parsers import seeds

    for number, seed in enumerate(seeds(name)):
        (corpus / f"seed{number}").write_bytes(seed)
    FINDINGS.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "fuzz", "--inside", name]
    options = [
        f"-max_total_time={seconds}", f"-artifact_prefix={FINDINGS}/{name}-", "-max_len=4096",
        "-timeout=20", "-print_final_stats=1", f"-dict={WORDS}",
        str(corpus),
    ]  # fmt: skip
    done = subprocess.run([*command, *options], capture_output=True, text=True)  # noqa: S603
    said = done.stderr.splitlines()
    told = [line for line in said if line.startswith("#") and " cov: " in line][-1:]
    told += [line for line in said if "number_of_executed_units" in line]
    print(f"{name}: {'no finding' if done.returncode == 0 else 'FOUND SOMETHING'}")
    print("\n".join(f"    {line}" for line in told), flush=True)
    if done.returncode:
        print("\n".join(f"    | {line}" for line in said[-30:]), flush=True)
    return done.returncode == 0


def main() -> int:
    """Fuzz the parsers that were named, or all."""
    if sys.argv[1:2] == ["--inside"]:
        run_one(sys.argv[2], sys.argv[3:])
        return 0
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each parser")
    parser.add_argument("parsers", nargs="*", metavar="PARSER", help=", ".join(NAMES))
    asked = parser.parse_args()
    unknown = set(asked.parsers) - set(NAMES)
    if unknown:
        parser.error(f"no such parser: {', '.join(sorted(unknown))}")
    good = True
    for name in asked.parsers or NAMES:
        with tempfile.TemporaryDirectory() as corpus:
            good &= start(name, asked.seconds, Path(corpus))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
