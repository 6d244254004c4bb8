"""What a person at a terminal meets when something is wrong, missing, closed or interrupted."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lunos_cli.ask import kept
from lunos_cli.commands import lunos
from lunos_core import CallRecord, Usage, UsageLedger, UsageStore
from lunos_local import LocalGateway
from tests.cli.half_server import HalfServer

COMMAND = (sys.executable, "-m", "lunos_cli")


def run(*arguments: str, input: str | None = None) -> Result:
    return CliRunner().invoke(lunos, arguments, input=input)


def in_a_shell(command: str) -> subprocess.CompletedProcess[str]:
    line = command.replace("lunos", " ".join(COMMAND), 1)
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60)


class Terminal:
    """A command on a terminal of its own: both its streams, and its keyboard."""

    def __init__(self, *arguments: str, columns: int = 80) -> None:
        self._leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        environment = {name: text for name, text in os.environ.items() if name != "COLUMNS"}
        self._process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=follower, stdout=follower, stderr=follower, env=environment,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(follower)
        self.said = ""

    def wait_for(self, text: str, times: int = 1) -> None:
        """Read until the text has come."""
        while self.said.count(text) < times and self._read():
            pass
        assert self.said.count(text) >= times

    def wait_for_prompt(self, text: str, times: int = 1) -> None:
        """Wait until the text has come, and nothing more is done."""
        self.wait_for(text, times)
        self.wait_until_asleep()

    def wait_until_asleep(self) -> None:
        """Wait until it waits for something: until then Python may miss a signal."""
        state, asleep = Path(f"/proc/{self._process.pid}/stat"), 0
        while asleep < 5 and self._process.poll() is None:
            is_asleep = not state.exists() or ") S" in state.read_text()  # not all systems tell
            asleep = asleep + 1 if is_asleep else 0
            time.sleep(0.02)

    @property
    def is_running(self) -> bool:
        """Whether it hasn't ended."""
        return self._process.poll() is None

    def type(self, keys: str) -> None:
        """Type on the keyboard."""
        os.write(self._leader, keys.encode())

    def end(self) -> int:
        """Read to the end; return the exit code."""
        while self._read():
            pass
        os.close(self._leader)
        return self._process.wait(30)

    def _read(self) -> bool:
        if not select.select([self._leader], [], [], 60)[0]:
            self._process.kill()  # a command that hangs must not hang the tests
            return False
        try:
            data = os.read(self._leader, 65536)
        except OSError:  # the other end is closed
            return False
        self.said += data.decode()
        return bool(data)


def test_ctrl_c_ends_a_comparison_that_waits_for_an_answer(service: LocalGateway) -> None:
    terminal = Terminal("compare", "hi", "-m", "lunos/stall", "-m", "openai/gpt-4o")
    while len(service.requests()) < 2:
        assert terminal.is_running
        time.sleep(0.01)
    terminal.wait_until_asleep()
    terminal.type("\x03")
    assert terminal.end() == 130
    assert terminal.said.splitlines()[-1] == "Interrupted."


def test_ctrl_c_stops_an_answer_and_the_chat_goes_on(service: LocalGateway) -> None:
    terminal = Terminal("chat", "-m", "lunos/stall")
    terminal.wait_for("> ")
    terminal.type("hi\n")
    terminal.wait_for_prompt("Scripted")
    terminal.type("\x03")
    terminal.wait_for("stopped")
    terminal.type("/quit\n")
    assert terminal.end() == 0
    assert "total: 0.000000 USD" in terminal.said


def test_ctrl_c_at_the_prompt_ends_the_chat_and_prints_its_cost(service: LocalGateway) -> None:
    terminal = Terminal("chat")
    terminal.wait_for("> ")
    terminal.type("hi\n")
    terminal.wait_for_prompt("> ", 2)
    terminal.type("\x03")
    assert terminal.end() == 130
    assert "total: 0.00000" in terminal.said


def test_ctrl_c_at_a_question_ends_the_check_and_sends_nothing(service: LocalGateway) -> None:
    terminal = Terminal("check", "--deep")
    terminal.wait_for_prompt("[y/N]")
    terminal.type("\x03")
    assert terminal.end() == 130
    assert terminal.said.splitlines()[-1] == "Interrupted."
    assert not [entry for entry in service.requests() if entry["body"]]


@pytest.mark.parametrize("columns", [40, 80])
def test_embedding_a_file_counts_its_rows_on_a_terminal(
    service: LocalGateway, tmp_path: Path, columns: int
) -> None:
    (tmp_path / "lines.txt").write_text("a\n" * 600)
    terminal = Terminal(
        *("embed", str(tmp_path / "lines.txt"), "-o", str(tmp_path / "out")), columns=columns
    )
    assert terminal.end() == 0
    for rows in ("256/600", "512/600", "600/600"):
        assert rows in terminal.said
    lines = re.split("[\r\n]+", re.sub(r"\x1b\[\?25.", "", terminal.said))
    assert max(len(line.rstrip()) for line in lines if "/600" in line) <= columns
    assert len((tmp_path / "out").read_text().splitlines()) == 600


def test_no_bar_is_drawn_into_a_pipe(service: LocalGateway, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("a\n")
    done = in_a_shell(f"lunos embed {tmp_path}/lines.txt -o {tmp_path}/out")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (0, "", 1)


@pytest.mark.parametrize("target", ["no/folder/out", "."])
def test_an_unwritable_file_is_reported_before_a_request_is_paid(
    service: LocalGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lines.txt").write_text("a\n")
    done = run("embed", "lines.txt", "-o", target)
    assert done.exit_code in (1, 2)
    assert len(done.stderr.splitlines()) == 1
    assert service.requests() == []


def test_a_failed_embedding_keeps_the_old_file_and_what_was_paid(
    service: LocalGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "lines.txt", tmp_path / "out"
    source.write_text("a\n" * 300)
    target.write_text("old")
    assert run("embed", str(source), "-o", str(target), "-m", "lunos/error-402").exit_code == 1
    assert target.read_text() == "old"

    def runs_out(*_: object) -> None:
        service.fail("402", times=None)

    monkeypatch.setattr("lunos_cli.output.cost_of", runs_out)
    done = run("embed", str(source), "-o", str(target))
    assert done.exit_code == 1
    assert "; 256 of 300 texts are done" in done.stderr
    assert len(target.read_text().splitlines()) == 256


def test_a_text_in_another_encoding_is_named(service: LocalGateway, tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    assert "latin.txt isn't text in UTF-8" in run("embed", str(tmp_path / "latin.txt")).stderr
    assert "latin.txt is neither" in run("ask", "hi", "-f", str(tmp_path / "latin.txt")).stderr


@pytest.mark.parametrize(
    "command",
    ["lunos models >&-", "lunos ask hi <&-", "lunos ask hi >/dev/full </dev/null"]
    + [pytest.param(command, marks=pytest.mark.slow)
       for command in ("lunos chat <&-", "lunos embed - <&-", "lunos check --deep <&-",
                       "lunos models >/dev/full")],
)  # fmt: skip
def test_a_stream_that_is_closed_or_full_sees_no_traceback(
    service: LocalGateway, command: str
) -> None:
    done = in_a_shell(command)
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 1)


def test_a_temperature_of_zero_is_sent(service: LocalGateway) -> None:
    assert run("ask", "hi", "--temperature", "0").exit_code == 0
    assert service.requests()[-1]["body"]["temperature"] == 0


@pytest.mark.parametrize(
    ("model", "told"),
    [("lunos/refusal", "refused: I cannot"), ("lunos/content-filter", "by a content filter")],
)
def test_the_reason_for_a_missing_or_short_answer_is_shown(
    service: LocalGateway, model: str, told: str
) -> None:
    assert told in run("ask", "hi", "-m", model).stderr


def test_an_image_that_was_paid_iskept_in_a_file_and_in_json(
    service: LocalGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    done = run("ask", "a cat", "-m", "openai/dall-e-3")
    (file,) = tmp_path.iterdir()
    assert f"image: {file}" in done.stderr
    assert file.suffix == ".png"
    assert file.read_bytes().startswith(b"\x89PNG")
    (image,) = json.loads(run("ask", "a cat", "-m", "openai/dall-e-3", "--json").stdout)["images"]
    assert image.startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://x.test/a.png?" + "q" * 80, "https://x.test/a.png?" + "q" * 80),
        ("data:image/png;base64,%%%" + "A" * 80, "data:image/png;base64,%%%" + "A" * 35 + "…"),
    ],
)
def test_an_image_elsewhere_is_shown_by_its_whole_address(url: str, shown: str) -> None:
    assert kept(url) == shown


def test_a_refusal_is_an_answer_to_compare_and_in_json(service: LocalGateway) -> None:
    done = run("compare", "hi", "-m", "lunos/refusal")
    assert (done.exit_code, "refused: I cannot help with that." in done.stdout) == (0, True)
    assert '"refusal": "I cannot help' in run("ask", "hi", "-m", "lunos/refusal", "--json").stdout


def test_an_answer_that_breaks_off_isnt_called_a_missing_gateway(service: LocalGateway) -> None:
    error = run("ask", "hi", "-m", "lunos/stopped-stream").stderr
    assert error.startswith("Error: the stream ended in the middle of the answer")


def test_a_group_without_a_command_shows_its_help(service: LocalGateway) -> None:
    for words in ((), ("bulk",)):
        output = run(*words).output
        assert output.startswith("Usage: lunos")
        assert "Error" not in output


def test_a_commands_name_with_a_typo_is_corrected() -> None:
    assert "Did you mean 'models'?" in run("modelss").stderr


def test_the_report_of_a_deployment_fits_80_columns_when_nothing_is_paid() -> None:
    with HalfServer() as server:
        environment = {"LUNOS_BASE_URL": server.base_url, "LUNOS_API_KEY": ""}
        report = CliRunner().invoke(lunos, ["check", "--deep"], env=environment).stdout
    assert "were not all tried" in report
    assert max(map(len, report.splitlines())) <= 80


def test_a_missing_requirement_of_a_plot_is_reported_before_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = UsageLedger()
    ledger.record(CallRecord("a", "m", "/chat/completions", 1, 0.5, None, Usage(cost=1.0), None))
    ledger.write_json(tmp_path / "usage.json")
    monkeypatch.setattr("lunos_cli.output.is_installed", lambda name: name != "matplotlib")
    done = run("usage", str(tmp_path / "usage.json"), "--plot", str(tmp_path / "usage.png"))
    assert (done.exit_code, done.stdout) == (1, "")
    assert "pip install matplotlib" in done.stderr


def test_a_plot_of_a_store_is_refused_and_not_forgotten(tmp_path: Path) -> None:
    UsageStore(tmp_path / "usage.db").close()
    done = run("usage", str(tmp_path / "usage.db"), "--plot", str(tmp_path / "usage.png"))
    assert (done.exit_code, "lunos dashboard" in done.stderr) == (2, True)


def test_completion_imports_no_http_client() -> None:
    code = (
        "import sys\n"
        "from lunos_cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    print('httpx' in sys.modules)\n"
    )
    asked = {"_LUNOS_COMPLETE": "bash_complete", "COMP_WORDS": "lunos mo", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, timeout=60, env={**os.environ, **asked},
    )  # fmt: skip
    assert done.stdout == "plain,models\nFalse\n"
