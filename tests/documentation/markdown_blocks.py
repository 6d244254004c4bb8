"""Code blocks of Markdown pages, and how a test runs them."""

from __future__ import annotations

import gc
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_EXAMPLE = re.compile(
    r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Example:
    """A Python block of a page.

    Attributes:
        name: the page and the heading that the block stands below, unique in the page.
        code: the block, as it is printed.
        printed: the text block right below it, which is the expected output.
    """

    name: str
    code: str
    printed: str | None


def examples_of(page: Path) -> list[Example]:
    """Return the Python blocks of a page with their outputs, in order."""
    text = page.read_text("utf-8")
    examples: list[Example] = []
    for match in _EXAMPLE.finditer(text):
        if match[1].startswith("{% include"):
            continue  # a program's file: tests/examples runs it
        headings = re.findall(r"^#+ (.+)$", text[: match.start()], re.MULTILINE)
        heading = re.sub(r"\W+", "-", headings[-1].lower()).strip("-")
        name = f"{page.stem}-{heading}"
        same = sum(
            re.fullmatch(rf"{re.escape(name)}(-\d+)?", other.name) is not None for other in examples
        )
        examples.append(Example(f"{name}-{same + 1}" if same else name, match[1], match[2]))
    return examples


def matches(expected: str, printed: str) -> bool:
    """Return whether an output is the expected one.

    In an expected output, "…" stands for any text within a line, and a line "…" for any lines:
    for ports, times and ids, which differ from run to run. Spaces at the ends of lines don't count.
    """
    lines = [
        r"(?:[^\n]*\n)*?"
        if line == "…"
        else "[^\n]*".join(re.escape(part) for part in line.rstrip().split("…")) + r"[^\S\n]*\n"
        for line in expected.splitlines()
    ]
    return (
        re.fullmatch("".join(lines), printed if printed.endswith("\n") else f"{printed}\n")
        is not None
    )


def blocks_of(page: str, language: str) -> list[str]:
    """Return the text of each code block in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


@contextmanager
def dropped_connections() -> Iterator[None]:
    """Ignore unclosed sockets: like most scripts, the examples close nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()  # now, not in another test


@pytest.fixture
def run_block(
    gateway: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], str]:
    """Run a block exactly as it is printed, with a key and a base URL set; return its output."""
    monkeypatch.setenv("LUNOS_API_KEY", gateway.api_key)
    monkeypatch.setenv("LUNOS_BASE_URL", gateway.base_url)
    monkeypatch.chdir(ROOT)

    def run(code: str) -> str:
        with dropped_connections():
            exec(compile(code, "page.md", "exec"), {"__name__": "__main__"})
        return capsys.readouterr().out

    return run
