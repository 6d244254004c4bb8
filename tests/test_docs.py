"""The pages in docs/ are true: their examples run, their links lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from markdown_blocks import ROOT, blocks_of, run_block

__all__ = ["run_block"]

PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCKS = [
    pytest.param(code, id=f"{page.stem}-{name}")
    for page in PAGES
    for name, code in blocks_of(page.read_text("utf-8"), "python")
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LlamaIndex' own workflows
@pytest.mark.parametrize("code", BLOCKS)
def test_an_example_of_the_docs_runs(code: str, run_block: Callable[[str], str]) -> None:
    assert run_block(code).strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (ROOT / "docs" / target).exists(), target


def test_the_tables_of_new_names_hold_every_field_of_ours() -> None:
    """A new field of a class belongs into its page."""
    from langchain_core.language_models import BaseChatModel

    from langchain_lunos import ChatLunos
    from llama_index_lunos import Lunos

    langchain = (ROOT / "docs" / "langchain.md").read_text("utf-8")
    ours = ChatLunos.model_fields.keys() - BaseChatModel.model_fields.keys()
    assert not {name for name in ours if f"`{name}`" not in langchain}
    llama_index = (ROOT / "docs" / "llamaindex.md").read_text("utf-8")
    own = {name for base in Lunos.__mro__[:6] for name in vars(base).get("__annotations__", ())}
    public = {name for name in own & Lunos.model_fields.keys() if not name.startswith("_")}
    assert not {name for name in public if f"`{name}`" not in llama_index}
