"""`make demo` and `make ask` at a terminal: interrupted, and with mistakes."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.documentation.example_runs import ROOT, without_key

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")

# a Python that would complain of Ctrl-C with a traceback, wherever it is met
SLEEPER = "#!/bin/sh\nexec {} -c \"print('started', flush=True); import time; time.sleep(60)\"\n"
STAMPS = {
    "while it asks": (".made", ".demo"),
    "while packages are installed": (".made",),
}


@pytest.fixture
def environment(tmp_path: Path) -> Callable[..., Path]:
    def create(*stamps: str) -> Path:
        python = tmp_path / "venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(SLEEPER.format(sys.executable), "utf-8")
        python.chmod(0o755)
        for name in stamps:
            (tmp_path / "venv" / name).touch()
        return tmp_path / "venv"

    return create


def interrupted_at(mark: bytes, *command: str) -> tuple[str, int]:
    """Type Ctrl-C when a terminal shows a mark; return what it shows, and the exit status."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(ROOT)
        os.execvpe(command[0], command, without_key())
    shown, typed, end = b"", False, time.monotonic() + 60
    while True:
        if not select.select([terminal], [], [], max(0, end - time.monotonic()))[0]:
            os.killpg(child, signal.SIGKILL)
            pytest.fail(f"nothing ended within a minute: {shown!r}")
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # Linux's way to say that nobody has the terminal open
            break
        if not piece:
            break
        shown += piece
        if not typed and mark in shown:
            os.write(terminal, b"\x03")
            typed = True
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    return shown.decode().replace("\r\n", "\n"), os.waitstatus_to_exitcode(status)


@pytest.mark.parametrize("stamps", STAMPS.values(), ids=STAMPS)
def test_ctrl_c_is_one_word_and_no_traceback(
    stamps: tuple[str, ...], environment: Callable[..., Path]
) -> None:
    venv = environment(*stamps)
    mark = b"started" if ".demo" in stamps else b"about a minute"
    shown, status = interrupted_at(mark, "make", "demo", f"VENV={venv}")
    assert shown.endswith("\nInterrupted.\n"), shown
    assert "Traceback" not in shown
    assert "***" not in shown
    assert status == -signal.SIGINT  # a shell calls this 130
    assert (venv / ".demo").exists() == (".demo" in stamps)  # half an installation isn't one


def test_an_interrupted_process_group_prints_the_same(environment: Callable[..., Path]) -> None:
    with subprocess.Popen(
        ["make", "demo", f"VENV={environment('.made', '.demo')}"],
        cwd=ROOT,
        env=without_key(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as make:
        assert make.stdout is not None
        assert make.stdout.readline() == "started\n"
        os.killpg(make.pid, signal.SIGINT)
        _, complained = make.communicate(timeout=30)
    assert complained.strip() == "Interrupted."
    assert make.returncode == -signal.SIGINT


def test_a_question_is_asked_for_before_anything_is_installed(tmp_path: Path) -> None:
    done = subprocess.run(
        ["make", "ask", f"VENV={tmp_path / 'venv'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert 'ask something: make ask Q="' in line
    assert not (tmp_path / "venv").exists()
