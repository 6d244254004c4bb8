"""The documentation site in a browser: wide and narrow, and its search."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.browser import CHROMIUM, Page, chromium

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: make browser"),
]

# what is wider than the window, or scrolls; code may scroll
TOO_WIDE = """JSON.stringify((() => {
  const width = document.documentElement.clientWidth, found = [];
  if (document.documentElement.scrollWidth > width) found.push("the page");
  for (const table of document.querySelectorAll(".md-content table:not(.highlighttable)")) {
    const box = table.closest(".md-typeset__scrollwrap") || table;
    if (box.scrollWidth > box.clientWidth + 1) found.push("table: " + table.innerText.slice(0, 60));
  }
  for (const element of document.querySelectorAll(".md-content *:not(pre *):not(table *)")) {
    const right = element.getBoundingClientRect().right;
    if (right > width + 1) found.push(element.tagName + ": " + element.innerText.slice(0, 60));
  }
  return found;
})())"""


class Handler(SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def copyfile(self, source: object, outputfile: object) -> None:
        """Send a file, also to a browser that has gone on to the next page."""
        try:
            super().copyfile(source, outputfile)  # type: ignore[misc]  # bytes, both
        except OSError:
            self.close_connection = True


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The built site, and its address."""
    pytest.importorskip("mkdocs", reason="needs the extra [docs]")
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    subprocess.run(build, cwd=ROOT, check=True, env=environment, timeout=300)
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))
    ) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """One page of a browser."""
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_and_no_table_is_wider_than_the_window(
    site: tuple[Path, str], page: Page, width: int
) -> None:
    folder, address = site
    wide = {}
    for file in sorted(folder.rglob("*.html")):
        name = file.relative_to(folder).as_posix()
        if name in ("404.html", "what-works.html"):  # the second leads to another page
            continue
        page.open(f"{address}/{name}", width)
        page.wait_for(f"document.readyState == 'complete' && location.href.endsWith('{name}')")
        if found := json.loads(page.evaluate(TOO_WIDE)):
            wide[name] = found
    assert wide == {}


@pytest.mark.parametrize(
    ("word", "title"),
    [
        ("PDF", "RAG over your own PDFs and Markdown, with citations"),
        ("chatbot", "A chatbot with memory"),
        ("dashboard", "Usage, budgets and the dashboard"),
        ("progress", "5,000 embeddings"),
        ("cassette", "Test your own app offline"),
    ],
)
def test_the_search_finds(site: tuple[Path, str], page: Page, word: str, title: str) -> None:
    page.open(f"{site[1]}/index.html?q={word}")
    page.wait_for("document.readyState == 'complete'")
    results = "[...document.querySelectorAll('.md-search-result__link h1')]"
    titles = page.wait_for(f"{results}.map(h => h.innerText).join('|')")
    assert title in titles
