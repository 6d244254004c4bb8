"""examples/chat_page.py: over HTTP, and in a browser where one is installed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from lunos_local import LocalGateway
from tests.browser import CHROMIUM, chromium

ROOT = Path(__file__).parents[2]
in_a_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here, so nothing was tried in it: `make browser`"
)
MARKUP = "Hello <b>you</b>"


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def served(gateway: LocalGateway, model: str) -> Iterator[str]:
    """The address of the page, run as a user runs it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    service = {"LUNOS_BASE_URL": gateway.base_url, "LUNOS_API_KEY": gateway.api_key}
    process = subprocess.Popen(
        [sys.executable, "examples/chat_page.py", port, model],
        cwd=ROOT,
        env={**os.environ, **service},
        text=True,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url == f"http://127.0.0.1:{port}/"
        deadline = time.monotonic() + 60
        while not answers(int(port)):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield url
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def page(gateway: LocalGateway) -> Iterator[Callable[[str], str]]:
    """`page(model)`: one server for each model."""
    urls: dict[str, str] = {}
    with ExitStack() as stack:

        def url_of(model: str) -> str:
            if model not in urls:
                urls[model] = stack.enter_context(served(gateway, model))
            return urls[model]

        yield url_of


def events_of(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    for name in lines:
        if name:
            yield name.removeprefix("event: "), json.loads(next(lines).removeprefix("data: "))


def test_the_answer_comes_in_pieces_and_names_its_app(
    page: Callable[[str], str], gateway: LocalGateway
) -> None:
    url = page("lunos/scripted")
    gateway.clear()
    with httpx.stream("POST", f"{url}chat", json={"text": MARKUP}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        *pieces, last = events_of(response.iter_lines())
    assert {name for name, _ in pieces} == {"piece"}
    assert "".join(text for _, text in pieces) == f"Scripted answer to: {MARKUP}"
    assert len(pieces) > 3
    assert last == ("done", "")
    assert [request["app_id"] for request in gateway.requests()] == ["chat-page"]


@pytest.mark.slow
def test_pieces_are_there_before_the_answer_is_whole(page: Callable[[str], str]) -> None:
    """The model falls silent in the middle, and what it has said so far has come."""
    with httpx.stream("POST", f"{page('lunos/stall')}chat", json={"text": "Hello"}) as response:
        events = events_of(response.iter_lines())
        assert [next(events)[0] for _ in range(2)] == ["piece"] * 2


@pytest.mark.slow
def test_a_failure_is_shown_without_its_details(page: Callable[[str], str]) -> None:
    answer = httpx.post(f"{page('lunos/error-402')}chat", json={"text": "Hello"})
    assert list(events_of(iter(answer.text.split("\n")))) == [("failed", "LunosPaymentError")]


@pytest.mark.parametrize("body", [{}, {"text": ""}, {"text": "x" * 4001}])
def test_an_invalid_question_is_refused(page: Callable[[str], str], body: dict[str, str]) -> None:
    assert httpx.post(f"{page('lunos/scripted')}chat", json=body).status_code == 422


def dom_of(url: str, folder: Path) -> dict[str, str]:
    """Return the texts of the elements that have an id, once the page has its answer."""
    with chromium(folder) as page:
        page.open(url)
        page.wait_for("/, [0-9]+ pieces$/.test(document.getElementById('state')?.textContent)")
        return {name: page.evaluate(f"{name}.textContent") for name in ("answer", "state")}


@pytest.mark.slow
@in_a_browser
def test_the_browser_shows_the_answer_and_takes_it_for_no_markup(
    page: Callable[[str], str], tmp_path: Path
) -> None:
    shown = dom_of(f"{page('lunos/scripted')}?question={quote(MARKUP)}", tmp_path)
    assert shown == {"answer": f"Scripted answer to: {MARKUP}", "state": "done, 5 pieces"}


@pytest.mark.slow
@in_a_browser
def test_the_browser_shows_that_an_answer_failed(
    page: Callable[[str], str], tmp_path: Path
) -> None:
    shown = dom_of(f"{page('lunos/error-402')}?question=Hello", tmp_path)
    assert shown == {"answer": "", "state": "failed: LunosPaymentError, 0 pieces"}
