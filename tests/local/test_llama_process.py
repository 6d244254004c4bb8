"""The gateway's process with real weights in it: killed, its port taken, its memory used up."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from lunos_local.backends import llama

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (llama.is_installed() and llama.packaged_weights()), reason="needs the weights package"
    ),
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]
KEY = "sk-llama-51b0e7c2"
MB = 1 << 20
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture
def start(port: int) -> Iterator[Start]:
    """Start `python -m lunos_local`, and wait until it answers or ends."""
    started: list[subprocess.Popen[str]] = []

    def run(memory: int | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "lunos_local", "--port", str(port)]
        if memory is not None:
            command = ["prlimit", f"--as={memory}", *command]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "LUNOS_API_KEY": KEY},
        )
        started.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            if "faults:" in line or "cannot listen" in line:
                break
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def ask(port: int, model: str = "local/smollm2-135m") -> httpx.Response:
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "Say hi"}]}
    return httpx.post(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        headers={"authorization": f"Bearer {KEY}"},
        json={**body, "max_tokens": 5},
        timeout=120,
    )


def children(pid: int) -> str:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return file.read()


def test_a_killed_gateway_leaves_no_process_and_no_port_behind(start: Start, port: int) -> None:
    first = start()
    assert ask(port).status_code == 200
    assert not children(first.pid), "llama.cpp runs in the gateway's own process"
    first.send_signal(signal.SIGKILL)
    first.wait()
    with pytest.raises(httpx.ConnectError):
        ask(port)
    start()
    assert ask(port).status_code == 200


def test_an_end_that_is_asked_for_is_quick_though_the_model_is_loaded(
    start: Start, port: int
) -> None:
    process = start()
    assert ask(port).status_code == 200
    begun = time.monotonic()
    process.terminate()
    process.wait(60)
    assert time.monotonic() - begun < 60


def test_a_port_in_use_is_reported_in_one_line(start: Start, port: int) -> None:
    start()
    second = start()
    assert second.wait(30) == 1
    assert ask(port, "lunos/scripted").status_code == 200


@pytest.mark.parametrize("memory", [440, 500, 560])
def test_without_memory_the_model_is_refused_and_the_gateway_lives(
    start: Start, port: int, memory: int
) -> None:
    """llama.cpp aborted the process, and with it all other models."""
    process = start(memory * MB)
    for _ in range(2):
        answer = ask(port)
        assert answer.status_code == 503
        error = answer.json()["error"]
        assert error["code"] == "model_unavailable"
        assert "MB" in error["message"]
    assert ask(port, "lunos/scripted").status_code == 200
    assert process.poll() is None
