"""The dashboard's facts, its page without a server, and metrics for Prometheus."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lunos_core import Budget, CallRecord, LunosServerError, Usage, UsageStore
from lunos_core.accounting.dashboard import facts
from lunos_core.accounting.dashboard.facts import dashboard_facts
from lunos_core.accounting.dashboard.metrics import metrics_of
from lunos_core.accounting.schema import SHOW

from .test_sums import NOW

HOSTILE = (
    "</script><script>document.title='owned'</script>",
    'a"} 1\nlunos_calls_total{app="x',
    "\x1b[31m\u202ered\x00",
    "__proto__",
    "客服机器人-生产环境",
    "x" * 300,
)


def call(app: str, ago: float, cost: float | None = 0.25, **more: Any) -> CallRecord:
    usage = Usage(input_tokens=10, output_tokens=5, cost=cost)
    record = CallRecord(app, "m", "/chat/completions", 1, 0.5, 0.1, usage, None, time=NOW - ago)
    return record._replace(**more)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[UsageStore]:
    with UsageStore(tmp_path / "u.db", clock=lambda: NOW) as store:
        yield store


def test_facts_add_up_and_every_hour_or_day_has_a_place(store: UsageStore) -> None:
    failed = LunosServerError("no", status=500)
    store.add_many(
        [
            *(call("a", 60), call("a", 7300, model="n"), call("b", 90_000)),
            call("b", 100, None, error=failed, attempts=3),
        ]
    )
    facts = dashboard_facts(store, since="24h")
    assert (facts["unit"], len(facts["times"])) == ("hour", 25)
    assert facts["total"]["calls"] == 3
    assert [line["app"] for line in facts["spend"]] == ["a", "b"]
    assert facts["spend"][0]["cost"][-4:] == [0.25, 0.0, 0.25, 0.0]  # 05:00 to 08:00
    assert sum(facts["by_time"]["errors"]) == 1
    assert facts["by_time"]["p50_seconds"][0] is None
    facts = dashboard_facts(store, since="7d", app="a", model="n")
    assert (facts["unit"], len(facts["times"]), facts["total"]["calls"]) == ("day", 8, 1)
    assert {item["value"] for item in facts["choices"]["app"]} == {"a", "b"}
    assert [row["model"] for row in facts["recent"]] == ["n"]
    assert dashboard_facts(store, since=None)["total"]["calls"] == 4
    assert next(row["status"] for row in dashboard_facts(store)["recent"]) == "LunosServerError"


@pytest.mark.parametrize(
    ("since", "unit", "places"), [("1d", "hour", 25), ("3d", "hour", 73), ("4d", "day", 5)]
)
def test_three_days_are_shown_by_the_hour_and_longer_by_the_day(
    store: UsageStore, since: str, unit: str, places: int
) -> None:
    facts = dashboard_facts(store, since=since)
    assert (facts["unit"], len(facts["times"])) == (unit, places)


@pytest.mark.parametrize("since", ["7d", None, datetime(2026, 11, 20, tzinfo=UTC)])
def test_the_facts_name_the_window_as_the_address_has_it(store: UsageStore, since: Any) -> None:
    shown = dashboard_facts(store, since=since)["since"]
    # a moment, in seconds, where there are no words for it
    assert shown == (since.timestamp() if isinstance(since, datetime) else since)


def test_an_empty_store_has_facts(store: UsageStore) -> None:
    for since in ("30d", None, "1h"):
        facts = dashboard_facts(store, since=since)
        assert (facts["total"], facts["apps"], facts["spend"]) == (None, [], [])
    assert metrics_of(store).startswith("# HELP lunos_calls_total ")


def test_many_apps_are_the_largest_and_the_others(store: UsageStore) -> None:
    store.add_many(call(f"app-{i}", 60, 0.01 * i) for i in range(60))
    facts = dashboard_facts(store, since="1h")
    assert [line["app"] for line in facts["spend"]] == [
        *(f"app-{i}" for i in range(59, 51, -1)),
        "52 others",
    ]
    assert sum(facts["spend"][-1]["cost"]) == pytest.approx(0.01 * sum(range(52)))
    assert (len(facts["apps"]), facts["more_apps"]) == (50, 10)


def test_what_is_nearest_to_its_budget_is_shown_first(store: UsageStore) -> None:
    store.add_many([call(app, 60, cost) for app, cost in [("a", 0.25), ("b", 0.75), ("c", 0.5)]])
    row = Budget(1, per="day", app="*").row(NOW)
    store.database.transact(lambda connection: connection.execute(SHOW, row))
    assert [bar["of"] for bar in dashboard_facts(store)["budgets"]] == ["app b", "app c", "app a"]


def test_of_very_many_budgets_the_first_are_shown(
    store: UsageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "_MOST_BUDGETS", 3)
    store.add_many([call(app, 60, 0.25) for app in "abcdef"])
    rows = [Budget(1, per="day", app=app).row(NOW) for app in "abcdef"]
    store.database.transact(lambda connection: connection.executemany(SHOW, rows))
    assert [bar["of"] for bar in dashboard_facts(store)["budgets"]] == ["app a", "app b", "app c"]


def test_budgets_of_ledgers_are_shown_with_what_is_spent(store: UsageStore) -> None:
    store.add_many(
        [
            call("a", 60, tags={"user": "u", "feature": "search"}),
            *(call("b", 60), call("b", 86_400 * 2, tags={"feature": "search"})),
        ]
    )
    budgets = [
        *(Budget(1, per="day", app="*"), Budget(2), Budget(3, user="u"), Budget(5, app="none")),
        Budget(4, tag=("feature", "search")),
    ]
    rows = [budget.row(NOW) for budget in [*budgets, Budget(20), Budget(2)]]  # the last of a kind
    store.database.transact(lambda connection: connection.executemany(SHOW, rows))
    bars = dashboard_facts(store)["budgets"]
    assert {(bar["of"], bar["limit"], bar["spent"]) for bar in bars} == {
        *(("app a", 1, 0.25), ("app b", 1, 0.25), ("all calls", 2, 0.75), ("user u", 3, 0.25)),
        *(("app none", 5, 0.0), ("feature search", 4, 0.5)),
    }
    (daily,) = {bar["end"] for bar in bars if bar["per"] == "day"}
    assert datetime.fromtimestamp(daily, UTC).isoformat() == "2027-01-16T00:00:00+00:00"
    assert 'lunos_budget_spent_usd{of="app a",per="day"} 0.25' in metrics_of(store).splitlines()


def test_the_page_needs_nothing_else_and_no_app_id_runs_in_it(
    store: UsageStore, tmp_path: Path
) -> None:
    store.add_many(call(app, 60) for app in HOSTILE)
    store.write_html(tmp_path / "usage.html")
    page = (tmp_path / "usage.html").read_text("utf-8")
    assert page.count("<script") == page.count("</script>") == 3
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    assert "default-src 'none'" in page
    assert not [char for char in page if not char.isprintable() and char != "\n"]
    match = re.search(r'id="facts">(.*?)</script>', page, re.DOTALL)
    assert match is not None
    facts = json.loads(match[1])
    assert not facts["live"]
    assert {row["value"] for row in facts["apps"]} == set(HOSTILE)
    assert "\\x1b[31m\\u202ered\\x00" in {row["app"] for row in facts["apps"]}


def test_metrics_are_lines_that_no_app_id_can_break(store: UsageStore) -> None:
    store.add_many(call(app, 60) for app in HOSTILE)
    lines = metrics_of(store).splitlines()
    pattern = re.compile(r'\w+\{(\w+="(?:[^"\\\n]|\\["\\n])*",?)*\} [0-9.e+-]+')
    for line in lines:
        assert line.startswith("# ") or pattern.fullmatch(line), line
    assert sum(line.startswith("lunos_calls_total{") for line in lines) == len(HOSTILE)
    tokens = [line for line in lines if line.startswith('lunos_tokens_total{app="__proto__')]
    assert [line.rpartition(" ")[2] for line in tokens] == ["10.0", "5.0"]
