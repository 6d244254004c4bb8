"""`lunos dashboard DB`: over a real socket, and in a real browser."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from lunos_cli.commands import lunos
from lunos_core import CallRecord, Usage, UsageStore
from tests.browser import CHROMIUM, chromium
from tests.core.accounting.test_dashboard import HOSTILE

in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
READY = "document.documentElement.dataset.ready === 'yes'"


def fill(path: Path, apps: list[str], cost: float = 0.25) -> None:
    now = time.time()
    with UsageStore(path) as store:
        store.add_many(
            CallRecord(
                *(app, "m", "/chat/completions", 1, 0.5, 0.1),
                *(Usage(input_tokens=9, output_tokens=3, cost=cost), None),
                time=now - 3600 * i,
            )
            for i, app in enumerate(apps * 3)
        )


@contextmanager
def dashboard(path: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "lunos_cli", "dashboard", str(path), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def test_the_page_its_facts_and_metrics_are_served_to_this_machine_alone(tmp_path: Path) -> None:
    fill(tmp_path / "u.db", ["a", "b"])
    with dashboard(tmp_path / "u.db") as url, httpx.Client(base_url=url) as http:
        page = http.get("/", params={"app": "a", "since": "7d"})
        assert page.status_code == 200
        assert page.headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in page.text
        facts = http.get("/data", params={"app": "a", "since": "7d"}).json()
        assert (facts["live"], facts["app"], facts["total"]["calls"]) == (True, "a", 3)
        assert http.get("/data", params={"since": "all"}).json()["total"]["calls"] == 6
        metrics = http.get("/metrics")
        assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert 'lunos_cost_usd_total{app="a",model="m",endpoint="/chat/completions"} 0.75' in (
            metrics.text.splitlines()
        )
        refused: list[tuple[dict[str, str], int]] = [
            ({"host": "evil.example"}, 403),
            ({"host": "192.0.2.1"}, 403),
            ({"origin": "https://evil.example"}, 403),
            ({"sec-fetch-site": "cross-site", "sec-fetch-dest": "iframe"}, 403),
            ({"host": "localhost"}, 200),
        ]
        for path in ("/", "/data", "/metrics"):
            for headers, status in refused:
                assert http.get(path, headers=headers).status_code == status
        answer = http.get("/data", params={"since": "yesterday"})
        assert (answer.status_code, answer.text[:5]) == (400, "since")
        assert http.get("/elsewhere").status_code == 404
        assert http.post("/").status_code == 405


def test_a_store_that_disappears_is_a_503_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "u.db"
    fill(path, ["a"])
    with dashboard(path) as url, httpx.Client(base_url=url) as http:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("DROP TABLE calls")
        for page in ("/data", "/metrics"):
            answer = http.get(page)
            assert answer.status_code == 503
            assert "u.db" in answer.text


def test_a_file_that_is_not_a_store_and_a_port_in_use_end_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    fill(tmp_path / "u.db", ["a"])

    def run(*arguments: str) -> Any:
        done = CliRunner().invoke(lunos, ["dashboard", *arguments])
        assert (done.exit_code in (1, 2), done.stderr.count("\n")) == (True, 1)
        return done.stderr

    assert "isn't a usage store" in run(str(tmp_path / "text"))
    assert "does not exist" in run(str(tmp_path / "missing.db"))
    with dashboard(tmp_path / "u.db") as url:
        assert "--port 0" in run(
            str(tmp_path / "u.db"), "--port", url.rpartition(":")[2].strip("/")
        )


@pytest.mark.slow
@in_a_browser
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize(
    ("apps", "cost"),
    [(["website"], 0.25), (["a", "b", "c"], 0.0), ([f"app-{i}" for i in range(50)], 0.1)],
)
def test_it_draws_in_a_browser(tmp_path: Path, apps: list[str], cost: float, width: int) -> None:
    fill(tmp_path / "u.db", apps, cost)
    with dashboard(tmp_path / "u.db") as url, chromium(tmp_path / "profile") as page:
        page.open(url, width)
        page.wait_for(READY)
        assert page.evaluate("document.querySelectorAll('canvas').length") == 4
        assert page.evaluate("document.querySelectorAll('#apps tbody tr').length") == len(apps)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        # something is drawn on each canvas
        drawn = "[...document.querySelectorAll('canvas')].map(c => new Set(c.getContext('2d')"
        drawn += ".getImageData(0, 0, c.width, c.height).data).size > 2).every(Boolean)"
        assert page.evaluate(drawn) is True


@pytest.mark.slow
@in_a_browser
def test_it_refreshes_itself_filters_by_address_and_runs_no_app_id(tmp_path: Path) -> None:
    fill(tmp_path / "u.db", list(HOSTILE))
    with dashboard(tmp_path / "u.db") as url, chromium(tmp_path / "profile") as page:
        page.open(url)
        page.wait_for(READY)
        assert page.evaluate("document.title") == "Lunos usage"
        names = page.evaluate("[...document.querySelectorAll('#apps tbody a')].map(a => a.text)")
        assert HOSTILE[0] in names
        assert "\\x1b[31m\\u202ered\\x00" in names
        page.evaluate("document.querySelector('#apps tbody a').click()")
        page.wait_for(f"location.search.includes('app=') && {READY}")
        assert page.evaluate("document.querySelectorAll('#apps tbody tr').length") == 1
        page.open(url)
        page.wait_for(f"location.search === '' && {READY}")
        fill(tmp_path / "u.db", ["new"])
        page.wait_for("document.querySelector('#apps').textContent.includes('new')")


@pytest.mark.slow
@in_a_browser
def test_the_file_draws_without_a_server_in_the_dark(tmp_path: Path) -> None:
    fill(tmp_path / "u.db", ["a"])
    with UsageStore(tmp_path / "u.db") as store:
        store.write_html(tmp_path / "usage.html")
    with chromium(tmp_path / "profile") as page:
        dark = [{"name": "prefers-color-scheme", "value": "dark"}]
        page.send("Emulation.setEmulatedMedia", features=dark)
        page.open(f"file://{tmp_path}/usage.html")
        page.wait_for(READY)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 29)"
        assert page.evaluate("document.querySelectorAll('canvas').length") == 4
        assert page.evaluate("document.querySelector('#filters').hidden") is True
        # the legend is names alone, until the pointer is over a bar: then their values and the day
        legend = "document.querySelector('#spend .u-legend').innerText"
        assert page.evaluate(legend).split() == ["a"]
        bar = "(r => [r.right - 20, r.bottom - 40])"
        bar += "(document.querySelector('#spend .u-over').getBoundingClientRect())"
        x, y = page.evaluate(bar)
        page.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        page.wait_for(f"{legend}.includes('UTC') && {legend}.includes('$')")
