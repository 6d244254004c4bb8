"""`lunos ask`, `chat`, `compare`, `embed`, `demo`; and what every command does alike."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lunos_cli.commands import lunos
from lunos_core import CallRecord, Usage, UsageLedger
from lunos_local import LocalGateway
from lunos_local.backends.scripted_images import draw

COMMANDS = (
    *("ask", "chat", "check", "compare", "dashboard", "demo", "embed", "local", "models"),
    "usage",
)
PRICED = re.compile(r"\d+ \+ \d+ tokens, 0\.0000\d\d USD")


def run(*arguments: str, input: str | None = None) -> Result:
    return CliRunner().invoke(lunos, arguments, input=input)


def test_an_answer_is_on_stdout_and_its_cost_on_stderr(service: LocalGateway) -> None:
    done = run("ask", "Hello", "there", "-s", "Be kind.", "-a", "billing")
    assert (done.exit_code, done.stdout) == (0, "Scripted answer to: Hello there\n")
    assert PRICED.search(done.stderr)
    request = service.requests()[-1]
    assert (request["app_id"], request["stream"]) == ("billing", True)
    assert request["body"]["messages"][0] == {"role": "system", "content": "Be kind."}


def test_stdin_files_and_images_are_sent_along(service: LocalGateway, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("from a file")
    (tmp_path / "b.pdf").write_bytes(b"%PDF-1.4 x")
    (tmp_path / "c.png").write_bytes(draw("x", 2, 2))
    done = run(
        "ask", "Look", "-f", str(tmp_path / "a.txt"), "-f", str(tmp_path / "b.pdf"),
        "-i", str(tmp_path / "c.png"), "-i", "https://x.test/d.png", input="from stdin",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    text, *parts = service.requests()[-1]["body"]["messages"][0]["content"]
    assert text["text"] == "Look\n\nfrom stdin\n\na.txt:\nfrom a file"
    assert [part["type"] for part in parts] == ["image_url", "image_url", "file"]


def test_a_schema_makes_json_inline_and_from_a_file(service: LocalGateway, tmp_path: Path) -> None:
    schema = '{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}'
    (tmp_path / "schema.json").write_text(schema)
    for given in (schema, str(tmp_path / "schema.json")):
        assert json.loads(run("ask", "take 7", "--schema", given).stdout) == {"n": 7}


def test_json_has_the_answer_its_usage_and_its_cost(service: LocalGateway) -> None:
    facts = json.loads(run("ask", "hi", "--json", "--max-tokens", "2").stdout)
    assert facts["finish_reason"] == "length"
    assert facts["usage"]["completion_tokens"] == 2
    assert facts["cost"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ask"], "nothing to ask"),
        (["ask", "x", "--schema", "{"], "isn't valid JSON"),
        (["ask", "x", "--schema", "[]"], "No such file"),
        (["ask", "x", "-i", __file__], "isn't an image"),
        (["ask", "x", "-i", "none.png"], "does not exist"),
        (["ask", "x", "-f", "none.txt"], "does not exist"),
        (["ask", "x", "-m", "openai/gpt4o"], "Did you mean 'openai/gpt-4o'"),
        (["ask", "x", "-m", "lunos/error-402"], "balance"),
        (["ask", "x", "-m", "lunos/html"], "a Lunos gateway?"),
        (["ask", "x", "-a", "a\nb"], "app_id"),
        (["embed", "none.txt"], "No such file"),
        (["embed", os.devnull], "no text to embed"),
        (["models", "--min-context", "x"], "not a valid integer"),
        (["usage", "none.json"], "does not exist"),
        (["nothing"], "No such command"),
        (["--nothing"], "No such option"),
        *(([name, "--nothing"], "--nothing") for name in COMMANDS if name != "local"),
    ],
)
def test_an_error_is_one_line_and_exit_code_1_or_2(
    service: LocalGateway, arguments: list[str], said: str
) -> None:
    done = run(*arguments)
    assert done.exit_code in (1, 2)
    (line,) = done.stderr.splitlines()
    assert said in line
    assert line.startswith("Error: ")
    assert "Traceback" not in done.output
    assert (" -h)" in line) == (done.exit_code == 2)


def test_a_wrong_option_of_the_gateway_is_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lunos_cli", "local", "--prot", "3"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == "lunos local: unrecognized arguments: --prot 3 (see lunos local -h)\n"
    assert done.returncode == 2


@pytest.mark.parametrize(
    "arguments", [("ask", "x"), ("chat",), ("compare", "x", "-m", "m"), ("embed", __file__)]
)
def test_a_missing_key_is_reported_before_anything_is_sent(
    service: LocalGateway, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.delenv("LUNOS_API_KEY")
    done = run(*arguments)
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: no key: set LUNOS_API_KEY")
    assert service.requests() == []


@pytest.mark.parametrize("width", [80, 100])
def test_no_commands_summary_is_cut_off(width: int) -> None:
    done = CliRunner().invoke(lunos, ["-h"], terminal_width=width)
    assert "..." not in done.output.partition("Commands:")[2]


def test_a_stream_that_breaks_keeps_what_had_come(service: LocalGateway) -> None:
    done = run("ask", "one two three", "-m", "lunos/cut-stream")
    assert done.exit_code == 1
    assert done.stdout.startswith("Scripted answer")
    assert len(done.stderr.splitlines()) == 1


def test_a_chat_remembers_and_adds_up_its_cost(service: LocalGateway) -> None:
    done = run("chat", input="My name is Ada.\nWhat is my name?\n/new\nWhat is my name?\n/quit\n")
    assert done.exit_code == 0, done.output
    assert "My name is Ada." in done.stdout
    assert [len(request["body"]["messages"]) for request in service.requests()] == [1, 3, 1]
    assert re.search(r"total: 0\.0000\d\d USD", done.stderr)
    failed = run("chat", "-m", "lunos/error-402", input="hi\n")
    assert (failed.exit_code, "balance" in failed.stderr) == (0, True)


def test_models_are_compared_side_by_side(service: LocalGateway) -> None:
    two = ("-m", "openai/gpt-4o", "-m", "lunos/error-402")
    done = run("compare", "hi", *two)
    assert done.exit_code == 0, done.output
    assert "== openai/gpt-4o\nScripted answer to: hi" in done.stdout
    assert "failed: Your balance" in done.stdout
    first, second = json.loads(run("compare", "hi", *two, "--json").stdout)
    assert first["USD"] > 0
    assert second["error"]
    assert run("compare", "hi", "-m", "lunos/error-402").exit_code == 1


def test_a_files_lines_are_embedded(service: LocalGateway, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("one\n\ntwo\n" * 200)
    target = tmp_path / "out.jsonl"
    done = run("embed", str(tmp_path / "lines.txt"), "-o", str(target))
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert [line["text"] for line in lines] == ["one", "two"] * 200
    assert {len(line["embedding"]) for line in lines} == {1536}
    assert "400 texts, 400 tokens, 0.000008 USD" in done.stderr


def test_the_demo_ends_in_right_answers_and_costs() -> None:
    done = run("demo")
    assert done.exit_code == 0, done.output
    for answer in ("X-App-ID", "A failed request is retried twice.", "LunosStreamInterruptedError"):
        assert answer in done.stdout
    for app in ("demo-core", "demo-langchain", "demo-llama-index", "total"):
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(app)]
        assert float(line.split()[-1]) > 0
    assert max(map(len, done.stdout.splitlines()[-6:])) <= 80
    own = run("demo", "What does the catalog list?")
    assert "The catalog lists every model with its price." in own.stdout
    assert run("demo", " ").stdout.count("\n[") == done.stdout.count("\n[")


def test_a_ledgers_table_fits_80_columns(tmp_path: Path) -> None:
    ledger = UsageLedger()
    for app in ("billing", "search"):
        for model in ("openai/gpt-4o-mini-2024-07-18", "anthropic/claude-sonnet-4"):
            usage = Usage(input_tokens=900, output_tokens=100, cost=0.25, cost_source="gateway")
            ledger.record(CallRecord(app, model, "/chat/completions", 1, 0.5, None, usage, None))
    ledger.write_json(tmp_path / "usage.json")
    done = run("usage", str(tmp_path / "usage.json"))
    assert done.stdout.splitlines() == [
        "app      calls  tokens  cost in USD",
        "billing      2   2,000     0.500000",
        "search       2   2,000     0.500000",
        "total        4   4,000     1.000000",
    ]
    assert (
        "anthropic/claude-sonnet-4" in run("usage", "--wide", str(tmp_path / "usage.json")).stdout
    )
    assert len(json.loads(run("usage", "--json", str(tmp_path / "usage.json")).stdout)) == 4


EVIL = "evil/\x1b[31m[/x]\x9b2J\u202e"


@pytest.fixture
def evil(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalGateway]:
    with LocalGateway(aliases={EVIL: "lunos/scripted"}) as running:
        monkeypatch.setenv("LUNOS_API_KEY", running.api_key)
        monkeypatch.setenv("LUNOS_BASE_URL", running.base_url)
        yield running


@pytest.mark.parametrize(
    "arguments",
    [
        ["models", "evil"],
        ["check", "-m", EVIL],
        ["ask", "say \x1b[2J\x9b1m\u202e[/x]", "-m", EVIL],
        ["ask", "hi", "-m", EVIL + "x"],
        ["compare", "say \x1b[2J", "-m", EVIL],
    ],
    ids=["models", "check", "ask", "error", "compare"],
)
def test_control_characters_are_shown_and_never_sent_to_the_terminal(
    evil: LocalGateway, arguments: list[str]
) -> None:
    output = run(*arguments).output
    assert not set(output) & set("\x1b\x9b\u202e")
    assert "[/x]" in output or "x1b" in output
    assert "\\x1b" in output


def test_models_are_one_line_each_and_faults_come_only_on_request(service: LocalGateway) -> None:
    lines = run("models").stdout.splitlines()
    assert lines[0].split()[:3] == ["model", "reads", "writes"]
    assert len(lines) == 1 + len([name for name in service.models if not faulty(name)])
    assert not [line for line in lines[1:] if faulty(line.split()[0])]
    assert len(run("models", "--faults").stdout.splitlines()) == 1 + len(service.models)
    small = run("models", "GPT", "mini", "--capability", "chat").stdout.splitlines()[1:]
    assert {line.split()[0] for line in small} == {
        "openai/gpt-4o-mini", "openai/gpt-4.1-mini", "openai/gpt-5-mini"
    }  # fmt: skip


def faulty(name: str) -> bool:
    own = ("lunos/scripted", "local/", "openai/", "anthropic/", "google/")
    return not name.startswith(own)


def test_help_completion_and_version(service: LocalGateway) -> None:
    listed = run("-h").output
    for name in COMMANDS:
        assert re.search(rf"^  {name} ", listed, re.MULTILINE)
        assert run(name, "-h").exit_code == 0
    environment = {
        **os.environ,
        "_LUNOS_COMPLETE": "bash_complete",
        "COMP_WORDS": "lunos mo",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "lunos_cli"], env=environment, capture_output=True, text=True
    )
    assert done.stdout == "plain,models\n"


def process(*arguments: str, **options: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "lunos_cli", *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, **options)


def test_a_reader_that_leaves_early_sees_no_traceback(service: LocalGateway) -> None:
    with process("models", "--faults", "--json", stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.read(1)
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(30) in (0, 1)


def test_an_interruption_is_one_word_and_130(service: LocalGateway) -> None:
    with process(
        "ask", "hi", "-m", "lunos/stall", stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.read(8) == b"Scripted"
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 130
        assert running.stderr.read().splitlines()[-1] == b"Interrupted."


def on_a_terminal(columns: int, *arguments: str, **environment: str) -> str:
    leader, follower = pty.openpty()
    with process(*arguments, stdout=follower) as running:
        os.close(follower)
        said = b""
        try:
            while data := os.read(leader, 65536):
                said += data
        except OSError:  # the other end is closed
            pass
        running.wait(30)
        assert running.stderr is not None
        running.stderr.read()
    os.close(leader)
    return said.decode()


@pytest.mark.parametrize("columns", [40, 80])
def test_a_narrow_terminal_folds_no_line(
    service: LocalGateway, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = on_a_terminal(columns, "models", "gpt-4o").splitlines()
    assert all("openai/gpt-4o" in line for line in lines[1:])
    assert max(map(len, lines)) <= max(columns, len("openai/gpt-4o-transcribe") + 10)


@pytest.mark.parametrize(("columns", "heads"), [(100, 1), (60, 2)])
def test_answers_stand_side_by_side_where_there_is_room(
    service: LocalGateway, monkeypatch: pytest.MonkeyPatch, columns: int, heads: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    said = on_a_terminal(
        columns, "compare", "a [b] c", "-m", "openai/gpt-4o", "-m", "lunos/error-402"
    )
    lines = [line.rstrip() for line in said.splitlines()]
    assert len([line for line in lines if "== " in line]) == heads
    assert any("Scripted answer to: a [b] c" in line for line in lines)
    assert "failed: Your balance is too low." in " ".join(said.split())
    if heads == 1:  # below each other the terminal itself folds lines
        assert max(map(len, lines)) <= columns


def test_no_color_is_respected(service: LocalGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[" in on_a_terminal(80, "compare", "hi", "-m", "openai/gpt-4o")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in on_a_terminal(80, "compare", "hi", "-m", "openai/gpt-4o")
