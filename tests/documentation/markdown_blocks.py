"""Code blocks of Markdown pages, and how a test runs them."""

from __future__ import annotations

import gc
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

# The one thing that is changed before a block is run: the local gateway has no such models.
STAND_INS = {
    "openai/gpt-4o": "lunos/scripted",
    "openai/gpt-3.5-turbo-instruct": "lunos/scripted",
    "openai/text-embedding-3-small": "lunos/scripted-embedding",
    "openai/whisper-1": "lunos/scripted-whisper",
}


def with_stand_ins(code: str) -> str:
    for model, stand_in in STAND_INS.items():
        code = code.replace(f'"{model}"', f'"{stand_in}"').replace(f":{model}", f":{stand_in}")
    return code


def blocks_of(page: str, language: str) -> list[tuple[str, str]]:
    """Return (the heading or sentence before it, its text) of each code block."""
    found = []
    for match in re.finditer(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        before = page[: match.start()].strip().splitlines()[-1]
        found.append((re.sub(r"\W+", "-", before)[:40].strip("-").lower(), match[1]))
    return found


@contextmanager
def dropped_connections() -> Iterator[None]:
    """Ignore unclosed sockets: like most scripts, the examples close nothing."""
    gc.freeze()  # the frameworks' own objects: walking them takes most of a collection
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            yield
            gc.collect()  # now, not in another test
    finally:
        gc.unfreeze()


@pytest.fixture
def run_block(
    gateway: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], str]:
    """Run a block as a script of its own; return what it printed."""
    monkeypatch.setenv("LUNOS_API_KEY", gateway.api_key)
    monkeypatch.setenv("LUNOS_BASE_URL", gateway.base_url)

    def run(code: str) -> str:
        with dropped_connections():
            exec(compile(with_stand_ins(code), "page.md", "exec"), {"__name__": "page"})
        return capsys.readouterr().out

    return run
