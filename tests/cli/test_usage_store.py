"""`lunos usage DB`: questions to a store, from the command line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from lunos_cli.commands import lunos
from lunos_core import CallRecord, Usage, UsageStore


@pytest.fixture
def path(tmp_path: Path) -> str:
    spent = Usage(9, 3, 12, cost=0.1)
    with UsageStore(tmp_path / "usage.db") as store:
        store.add_many(
            CallRecord(app, "m", "/c", 1, 1.0, None, spent, None) for app in ("=1+1", "b", "b")
        )
    return str(tmp_path / "usage.db")


def run(*arguments: str) -> str:
    result = CliRunner().invoke(lunos, ["usage", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_store_is_shown_as_table_json_and_csv(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table = run(path).splitlines()
    assert [line.split()[0] for line in table] == [
        "app",
        "b",
        "=1+1",
        "total",
    ]
    rows = json.loads(run(path, "--by", "app,day", "--since", "7d", "--json"))
    assert [(row["app"], row["calls"], row["cost"]) for row in rows] == [
        ("b", 2, 0.2),
        ("=1+1", 1, 0.1),
    ]
    assert len(json.loads(run(path, "--by", "app", "--top", "1", "--json"))) == 1
    assert json.loads(run(path, "--app", "b", "--json"))[0]["calls"] == 2
    head, first, second = csv.reader(io.StringIO(run(path, "--csv")))
    assert (head[0], first[0], second[0]) == ("app", "b", "'=1+1")
    monkeypatch.setenv("LUNOS_USAGE_DB", path)
    assert json.loads(run("--json"))


@pytest.mark.parametrize(
    "arguments", [("--by", "colour"), ("--since", "soon"), ("--top", "0"), ("--until", "x")]
)
def test_a_question_that_makes_no_sense_is_one_line(path: str, arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(lunos, ["usage", path, *arguments])
    assert result.exit_code != 0
    assert "Traceback" not in result.output


def test_two_forms_at_once_and_a_picture_without_a_name_are_refused(
    path: str, tmp_path: Path
) -> None:
    both = CliRunner().invoke(lunos, ["usage", path, "--csv", "--json"])
    assert (both.exit_code, "--json or --csv, not both" in both.stderr) == (2, True)
    (tmp_path / "usage.json").write_text('{"rows": [], "history": {}}')
    unnamed = CliRunner().invoke(lunos, ["usage", str(tmp_path / "usage.json"), "--plot", ""])
    assert (unnamed.exit_code, "--plot is empty" in unnamed.stderr) == (2, True)


def test_options_of_a_store_need_one(tmp_path: Path) -> None:
    file = tmp_path / "usage.json"
    file.write_text('{"rows": [], "history": {}}')
    result = CliRunner().invoke(lunos, ["usage", str(file), "--by", "app"])
    assert result.exit_code == 1
    assert "--by needs a usage store" in result.output
