"""Draw docs/dashboard.png: `python -m docs.tools.dashboard_picture`, with Chromium installed.

The calls are made up, from one seed: 30 days of four apps. The page is what `write_html` writes.
"""

from __future__ import annotations

import base64
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from lunos_core import Budget, CallRecord, LunosServerError, Usage, UsageStore
from lunos_core.accounting.schema import SHOW
from tests.browser import chromium

NOW = 1_795_600_000.0  # 2026-11-25T09:46 UTC
DAY = 86_400
PICTURE = Path(__file__).parents[1] / "dashboard.png"
# app id: calls a day, model, USD for a call
APPS = {
    "website": (420, "openai/gpt-4o", 0.006),
    "support-bot": (300, "anthropic/claude-sonnet-4", 0.008),
    "nightly-report": (90, "openai/gpt-4o", 0.018),
    "search": (900, "openai/text-embedding-3-small", 0.0004),
}
BUDGETS = (
    *(Budget(5, per="day", app="website"), Budget(3, per="day", app="support-bot")),
    *(Budget(200, per="month"), Budget(20, per="month", app="search")),
)


def calls() -> Iterator[CallRecord]:
    """Yield made-up calls: fewer at weekends, and a bad day."""
    choose = random.Random(18)
    for day in range(30):
        begin = NOW - (30 - day) * DAY
        weekend = time.gmtime(begin + DAY / 2).tm_wday >= 5
        for app, (a_day, model, cost) in APPS.items():
            for _ in range(int(a_day * choose.uniform(0.8, 1.2) * (0.45 if weekend else 1))):
                failed = choose.random() < (0.06 if day == 19 else 0.006)
                is_chat = "embedding" not in model
                usage = Usage(
                    input_tokens=choose.randrange(200, 2400),
                    output_tokens=choose.randrange(40, 600) if is_chat else 0,
                    cost=None if failed else cost * choose.uniform(0.4, 1.6),
                    cost_source="gateway",
                )
                slow = (1.7 if day == 19 else 1) * (1 if is_chat else 0.15)
                yield CallRecord(
                    *(app, model, "/chat/completions" if is_chat else "/embeddings"),
                    *(1 + (choose.random() < (0.2 if day == 19 else 0.02)),),
                    *(slow * choose.lognormvariate(0.2, 0.5),),
                    *(slow * choose.lognormvariate(-1, 0.4) if is_chat else None, usage),
                    *(LunosServerError("overloaded", status=503) if failed else None,),
                    time=begin + choose.random() * DAY,
                )


def main() -> None:
    """Fill a store, write its page, and take the picture of its upper part."""
    with tempfile.TemporaryDirectory() as folder:
        with UsageStore(f"{folder}/usage.db", clock=lambda: NOW) as store:
            store.add_many(sorted(calls(), key=lambda call: call.time or 0))
            rows = [budget.row(NOW) for budget in BUDGETS]
            store.database.transact(lambda connection: connection.executemany(SHOW, rows))
            store.write_html(f"{folder}/usage.html")
        with chromium(Path(folder) / "profile") as page:
            page.open(f"file://{folder}/usage.html", 1100)
            page.wait_for("document.documentElement.dataset.ready === 'yes'")
            time.sleep(1)
            height = page.evaluate("document.querySelector('#models').closest('section').offsetTop")
            clip = {"x": 0, "y": 0, "width": 1100, "height": height, "scale": 1}
            options = {"format": "png", "captureBeyondViewport": True}
            shot = page.send("Page.captureScreenshot", clip=clip, **options)
    PICTURE.write_bytes(base64.b64decode(shot["data"]))


if __name__ == "__main__":
    main()
