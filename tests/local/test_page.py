"""The gateway's page, in a real browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from lunos_core import Lunos
from lunos_local import LocalGateway
from tests.browser import chromium

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
in_a_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here, so nothing was tried in it: `make browser`"
)
MARKUP = "<img src=x onerror=alert(1)></script><b>bold</b>"


def facts_of(page: str) -> dict[str, object]:
    match = re.search(r'<script type="application/json" id="facts">(.*?)</script>', page, re.DOTALL)
    assert match
    facts: dict[str, object] = json.loads(match[1])
    return facts


def test_the_page_loads_nothing_from_elsewhere(gateway: LocalGateway) -> None:
    answer = httpx.get(gateway.base_url.removesuffix("v1"))
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    facts = facts_of(answer.text)
    assert facts["base_url"] == gateway.base_url
    assert not re.findall(r"(?:src|href)=\"(?!data:)", answer.text)
    assert not re.findall(r"https?://(?!127\.0\.0\.1)", answer.text)


def test_a_key_of_ones_own_and_hostile_names_are_safe_in_the_page() -> None:
    with LocalGateway(api_key="s3cret-key", aliases={MARKUP: "lunos/scripted"}) as gateway:
        page = httpx.get(gateway.base_url.removesuffix("v1")).text
    assert "s3cret-key" not in page
    assert MARKUP not in page
    facts = facts_of(page)
    assert facts["key"] == ""
    assert MARKUP in str(facts["models"])


def test_the_page_opens_from_a_link_and_for_the_owner_only(gateway: LocalGateway) -> None:
    url = gateway.base_url.removesuffix("v1")
    link = {"sec-fetch-site": "cross-site", "sec-fetch-dest": "document"}
    assert httpx.get(url, headers=link).status_code == 200
    assert httpx.get(url, headers={**link, "sec-fetch-dest": "iframe"}).status_code == 401
    assert httpx.get(url, headers={"host": "192.0.2.1"}).status_code == 401


def dom(url: str, folder: Path) -> str:
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu"),
            *(f"--user-data-dir={folder}", "--virtual-time-budget=8000", "--dump-dom", url),
        ],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return done.stdout


@in_a_browser
def test_the_try_it_box_streams_and_the_request_is_listed(tmp_path: Path) -> None:
    with LocalGateway(aliases={MARKUP: "lunos/scripted"}) as gateway:
        asked = f"What colour is {MARKUP}? {MARKUP} is blue."
        page = dom(f"{gateway.base_url.removesuffix('v1')}#ask={quote(asked)}", tmp_path)
        request = gateway.requests()[-1]
    assert (request["app_id"], request["stream"]) == ("try-it", True)
    text = html.unescape(re.search(r"<output[^>]*>(.*?)</output>", page, re.DOTALL)[1])  # type: ignore[index]  # it is there
    assert MARKUP in text
    rows = re.findall(r"<tr>(.*?)</tr>", page.split('id="requests"')[1], re.DOTALL)
    assert "try-it" in rows[0]
    assert "openai/gpt-4o-mini" in rows[0]
    assert page.count("<img") == 0
    assert re.findall(r"<label>([\w ]+) <\w+ id=", page) == ["model", "app id", "key"]
    assert html.escape(MARKUP) in page.split('id="models"')[1]


@in_a_browser
def test_an_error_is_shown_in_the_answer(tmp_path: Path) -> None:
    with LocalGateway() as gateway:
        gateway.fail("402", times=None)
        page = dom(f"{gateway.base_url.removesuffix('v1')}#ask=Hello", tmp_path)
    assert re.search(r'<output[^>]*class="bad"[^>]*>\s*402: .*balance', page)


@pytest.mark.slow
@in_a_browser
@pytest.mark.parametrize("width", [390, 1280])
def test_a_long_app_id_pushes_no_cost_out_of_view(tmp_path: Path, width: int) -> None:
    with LocalGateway() as gateway, chromium(tmp_path / "profile") as page:
        service = {"api_key": gateway.api_key, "base_url": gateway.base_url}
        with Lunos(app_id="x" * 200, **service) as lunos:
            hello = [{"role": "user", "content": "hi"}]
            lunos.chat.completions.create(model="openai/gpt-4o", messages=hello)
        page.open(gateway.base_url.removesuffix("v1"), width)
        page.wait_for("document.querySelectorAll('#apps td').length === 5")
        right = "document.querySelector('#apps tr').lastElementChild.getBoundingClientRect().right"
        assert page.evaluate(right) <= width
