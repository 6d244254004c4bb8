"""`examples/quickstart.py` as a user runs it: its output, and how it fails."""

from __future__ import annotations

import importlib
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.documentation.example_runs import ROOT, without_key
from tests.documentation.markdown_blocks import dropped_connections

pytest.importorskip("langchain")

SCRIPTED = ("--model", "lunos/scripted", "--embedding-model", "lunos/scripted-embedding")
# right answers, in the words of examples/docs
ANSWERS = {
    "Which HTTP header carries the app id?": "X-App-ID",
    "How often is a failed request retried by default?": "up to two times",
    "What happens when a stream stops before its end?": "LunosStreamInterruptedError",
}


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the program in this process: importing LangChain again takes most of a run's time."""
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    quickstart = importlib.import_module("quickstart")

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with dropped_connections():
            status = quickstart.main(["--wide", *arguments])
        return subprocess.CompletedProcess(arguments, status, *capsys.readouterr())

    return run


def answers_of(output: str) -> dict[str, str]:
    return dict(re.findall(r"^Q: (.+)\nA: (.+)\n   sources: .+$", output, re.MULTILINE))


def table_of(output: str) -> dict[tuple[str, str], dict[str, int]]:
    """Return the rows of the table, by app id and model."""
    head, *rows = [line.split() for line in output[output.index("\napp_id") :].strip().splitlines()]
    return {
        (row[0], row[1]): {
            name: int(cell) for name, cell in zip(head, row, strict=True) if cell.isdigit()
        }
        for row in rows
        if len(row) == len(head) and row[0] != "total"  # nor the rule below the head
    }


@pytest.fixture(scope="module")
def first_run() -> subprocess.CompletedProcess[str]:
    """Run it as a user does, once for all the tests that read its output."""
    return subprocess.run(
        [sys.executable, "examples/quickstart.py", "--wide"],
        cwd=ROOT,
        env=without_key(),
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_without_a_key_it_names_the_local_gateway(
    first_run: subprocess.CompletedProcess[str],
) -> None:
    assert first_run.returncode == 0, first_run.stderr
    assert first_run.stderr == ""
    first, *lines = first_run.stdout.splitlines()
    assert "No LUNOS_API_KEY" in first
    assert "local gateway" in first
    assert [line.split()[0] for line in lines[:3]] == ["embeddings", "answers", "agent"]
    assert all(re.search(r" (local|lunos)/[\w-]+ +\S+", line) for line in lines[:3])


def test_its_three_answers_are_right(first_run: subprocess.CompletedProcess[str]) -> None:
    answers = answers_of(first_run.stdout)
    assert answers.keys() == ANSWERS.keys()
    for question, words in ANSWERS.items():
        assert words in answers[question]
        assert len(answers[question]) < 300  # an answer, not the whole passage


def test_it_embeds_more_than_twenty_passages(first_run: subprocess.CompletedProcess[str]) -> None:
    result = re.search(r"^(\d+) passages", first_run.stdout, re.MULTILINE)
    assert result
    assert int(result[1]) > 20


def test_its_agent_calls_the_tool(first_run: subprocess.CompletedProcess[str]) -> None:
    agent = first_run.stdout[first_run.stdout.index("\nAgent: ") :]
    assert "calls multiply({'a': 128, 'b': 46})\n  the tool: 5888\n" in agent
    assert re.search(r"the model: .*5888", agent)


def test_it_ends_with_what_each_app_used(first_run: subprocess.CompletedProcess[str]) -> None:
    table = table_of(first_run.stdout)
    assert {app for app, _ in table} == {"quickstart-embed", "quickstart-rag", "quickstart-agent"}
    for row in table.values():
        assert row["calls"] > 0
        assert row["input"] > 0
    by_app = {app: row for (app, _), row in table.items()}
    assert by_app["quickstart-rag"]["calls"] == 3
    assert by_app["quickstart-rag"]["output"] > 0
    assert by_app["quickstart-agent"]["calls"] >= 2


def test_it_answers_my_own_question_only(run: Run) -> None:
    question = "Which port does the local gateway listen on?"
    done = run(question, *SCRIPTED[2:])
    assert done.returncode == 0, done.stderr
    answers = answers_of(done.stdout)
    assert answers.keys() == {question}
    assert "8484" in answers[question]
    assert "Agent:" not in done.stdout
    assert {app for app, _ in table_of(done.stdout)} == {"quickstart-embed", "quickstart-rag"}


def test_a_model_with_a_price_has_its_cost_in_the_table_and_the_plot(
    tmp_path: Path, run: Run
) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "usage.png"
    priced = ("--model", "lunos/scripted-priced", *SCRIPTED[2:])
    done = run("What is an app id?", *priced, "--plot", str(picture))
    assert done.returncode == 0, done.stderr
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("quickstart-rag")]
    assert any(re.fullmatch(r"0\.00[0-9]*[1-9][0-9]*", cell) for cell in row.split()), row
    assert done.stdout.endswith(f"drawn: {picture}\n")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_with_a_key_it_uses_that_service(gateway: Any, run: Run) -> None:
    gateway.clear()
    done = run(*SCRIPTED, LUNOS_API_KEY=gateway.api_key, LUNOS_BASE_URL=gateway.base_url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"Using {gateway.base_url} with LUNOS_API_KEY."
    assert "local gateway" not in done.stdout.splitlines()[0]
    asked = [request for request in gateway.requests() if request["model"]]  # no catalog
    seen = {(request["app_id"], request["model"]) for request in asked}
    assert seen == set(table_of(done.stdout))


@pytest.mark.slow
def test_its_table_fits_80_columns_and_its_costs_are_not_zero() -> None:
    done = subprocess.run(
        [sys.executable, "examples/quickstart.py", "What is an app id?"],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    head, *rows = done.stdout.splitlines()[-4:]
    assert head.split() == ["app", "calls", "tokens", "cost", "in", "USD"]
    assert [row.split()[0] for row in rows] == ["quickstart-embed", "quickstart-rag", "total"]
    assert all(float(row.split()[-1]) > 0 and len(row) <= 80 for row in rows)


def failure_of(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("quickstart: ")
    return line


def test_a_wrong_key_is_one_line(gateway: Any, run: Run) -> None:
    done = run(*SCRIPTED, LUNOS_API_KEY="wrong-key", LUNOS_BASE_URL=gateway.base_url)
    line = failure_of(done)
    assert "status 401" in line
    assert "wrong-key" not in done.stdout + done.stderr


@pytest.mark.slow
def test_a_dead_gateway_is_one_line(run: Run) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}/v1"
    line = failure_of(run(*SCRIPTED, LUNOS_API_KEY="any", LUNOS_BASE_URL=url))
    assert "connection failed" in line
    assert url in line


@pytest.mark.parametrize("option", ["--model", "--embedding-model"])
def test_a_wrong_model_is_one_line(gateway: Any, option: str, run: Run) -> None:
    service = {"LUNOS_API_KEY": gateway.api_key, "LUNOS_BASE_URL": gateway.base_url}
    line = failure_of(run(*SCRIPTED, option, "nobody/has-this", **service))
    assert "nobody/has-this" in line
    assert "status 404" in line


def test_a_wrong_model_of_the_local_gateway_is_one_line(run: Run) -> None:
    assert "status 404" in failure_of(run("--model", "nobody/has-this", *SCRIPTED[2:]))


@pytest.mark.parametrize("url", ["not a url", "http://127.0.0.1:9/v1"])
def test_a_base_url_that_cannot_work_is_one_line(url: str, run: Run) -> None:
    assert "base_url" in (line := failure_of(run(LUNOS_BASE_URL=url))) or "LUNOS_API_KEY" in line
