"""Show where the live service answers otherwise than the stand-in.

python -m scripts.cassette_differences [FOLDER]

`make record` with a key runs this at its end. Answers are compared by the names and types in them:
`+` is in the live answer alone, `-` in the stand-in's alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

CASSETTES = Path(__file__).parents[1] / "cassettes"


def differences(root: Path) -> dict[str, list[str]]:
    """Return, for each live cassette that differs from the stand-in's, what differs."""
    found = {}
    for live in sorted((root / "live").rglob("test_recorded_*/*.yaml")):
        name = live.relative_to(root / "live").as_posix()
        ours, theirs = (_facts(path) for path in (root / name, live))
        lines = [f"- {fact}" for fact in sorted(ours - theirs)]
        lines += [f"+ {fact}" for fact in sorted(theirs - ours)]
        if lines:
            found[name] = lines
    return found


def _facts(path: Path) -> set[str]:
    if not path.exists():
        return set()
    facts = set()
    for interaction in yaml.safe_load(path.read_text("utf-8"))["interactions"]:
        request, response = interaction["request"], interaction["response"]
        where = f"{request['method']} {urlsplit(request['uri']).path}"
        kind = (response["headers"].get("content-type") or ["no content type"])[0].split(";")[0]
        facts.add(f"{where}: status {response['status']['code']}, {kind}")
        facts |= {f"{where}: {fact}" for fact in _names(response["body"]["string"])}
    return facts


def _names(body: str | bytes) -> Iterator[str]:
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    events = [line[5:] for line in text.splitlines() if line.startswith("data:")]
    for part in events or [text]:
        try:
            yield from _types(json.loads(part), "")
        except ValueError:
            yield "[DONE]" if part.strip() == "[DONE]" else "text"


def _types(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _types(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for item in value:
            yield from _types(item, f"{path}[]")
    else:
        yield f"{path}: {type(value).__name__}"


def main(root: Path) -> None:
    """Print the differences."""
    found = differences(root)
    for name, lines in found.items():
        print(name, *lines, sep="\n  ")
    count = len(list((root / "live").rglob("test_recorded_*/*.yaml")))
    print(f"{len(found)} of {count} live cassettes differ; tests replay them in place of ours.")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else CASSETTES)
