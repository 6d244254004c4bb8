"""The pytest plugin, as another project's tests use it, and faults on demand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lunos_local import LocalGateway
from tests.local.wire import Wire

TESTS = """
import pytest
from lunos_core import Lunos

def ask(model="openai/gpt-4o", **settings):
    with Lunos(**settings) as lunos:
        messages = [{"role": "user", "content": "Hello"}]
        return lunos.chat.completions.create(model=model, messages=messages).text

def test_needs_nothing():
    import sys
    assert "uvicorn" not in sys.modules

@pytest.mark.lunos_fault("429", times=2)
def test_retries(lunos_gateway, lunos_requests, assert_cost_below):
    assert ask() == "Scripted answer to: Hello"
    assert [request["status"] for request in lunos_requests()] == [429, 429, 200]
    assert_cost_below(0.01)

def test_is_clean_again(lunos_requests, monkeypatch):
    ask()
    assert [request["status"] for request in lunos_requests()] == [200]

@pytest.mark.lunos_fault("503", times=None, model="openai/gpt-4o")
class TestClass:
    def test_one_model_fails(self, lunos_gateway):
        assert ask("openai/gpt-4o-mini", max_retries=0)
        with pytest.raises(Exception, match="503"):
            ask(max_retries=0)

def test_costs_too_much(lunos_gateway, assert_cost_below):
    ask()
    assert_cost_below(0.000001)

@pytest.mark.lunos_fault("teapot")
def test_unknown_fault(lunos_gateway):
    pass
"""


@pytest.fixture
def output(tmp_path: Path) -> str:
    (tmp_path / "test_app.py").write_text(TESTS)
    options = ["-c", os.devnull, "--rootdir=.", "-p", "no:cacheprovider", "-q", "--strict-markers"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-p", "lunos_local.pytest_plugin"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return done.stdout


def test_another_projects_tests_use_the_fixtures_and_the_marker(output: str) -> None:
    assert "1 failed, 4 passed, 1 error" in output, output
    assert "1 requests cost 0.000060 USD, not less than 0.000001" in output
    assert "there is no fault 'teapot'; the faults are 400, 401" in output


def test_the_plugin_imports_no_web_server() -> None:
    code = "import sys, lunos_local.pytest_plugin; print({'starlette', 'uvicorn'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", ["500", "lunos/error-500", "error-500"])
def test_every_kind_of_call_meets_a_planned_fault(wire: Wire, name: str) -> None:
    image = {"model": "lunos/scripted-image", "prompt": "x"}
    speech = {"model": "lunos/scripted-speech", "input": "x"}
    form = {"model": "lunos/scripted-whisper"}
    wire.gateway.fail(name, times=6)
    statuses = [
        wire.chat().status_code,
        wire.complete().status_code,
        wire.embed().status_code,
        wire.http.post("/images/generations", json=image).status_code,
        wire.http.post("/audio/speech", json=speech).status_code,
        wire.http.post("/audio/transcriptions", data=form, files={"file": b"x"}).status_code,
        wire.chat().status_code,
    ]
    assert statuses == [500] * 6 + [200]


def test_clear_drops_planned_faults(gateway: LocalGateway, wire: Wire) -> None:
    gateway.fail("cut-stream", times=None)
    gateway.clear()
    assert wire.chat(stream=True).text.endswith("data: [DONE]\n\n")


def test_the_log_knows_tokens_and_cost_also_of_streams(wire: Wire) -> None:
    whole = wire.chat(model="openai/gpt-4o").json()["usage"]
    assert "usage" not in wire.chunks(model="openai/gpt-4o")[-1]
    wire.embed(model="openai/text-embedding-3-small")
    chat, stream, embedding = wire.gateway.requests()
    assert (chat["tokens"], chat["cost"]) == (whole["total_tokens"], whole["cost"])
    assert (stream["tokens"], stream["cost"]) == (chat["tokens"], chat["cost"])
    assert embedding["cost"] > 0


MISTAKES = """
import os
import pytest

@pytest.mark.lunos_fault("503", times=None)
def test_marker_alone():
    assert os.environ["LUNOS_BASE_URL"].startswith("http://127.0.0.1:")

@pytest.mark.lunos_fault(429)
def test_number(lunos_gateway):
    pass

@pytest.mark.lunos_fault("429", times=0)
def test_times_zero(lunos_gateway):
    pass

@pytest.mark.lunos_fault("429", times="two")
def test_times_text(lunos_gateway):
    pass

@pytest.mark.lunos_fault("429", tmes=2)
def test_typo(lunos_gateway):
    pass

@pytest.mark.parametrize("usd", ["0.01", None, True, float("nan"), 0, -1])
def test_amount(assert_cost_below, usd):
    assert_cost_below(usd)

@pytest.mark.lunos_cassette("../elsewhere")
def test_outside():
    pass

@pytest.mark.lunos_cassette(nme="x")
def test_cassette_typo():
    pass

@pytest.mark.lunos_cassette("")
def test_no_name():
    pass
"""


@pytest.mark.slow
def test_wrong_arguments_are_named_and_a_marker_alone_starts_the_gateway(tmp_path: Path) -> None:
    (tmp_path / "test_mistakes.py").write_text(MISTAKES)
    options = ["-c", os.devnull, "--rootdir=.", "-p", "no:cacheprovider", "-q", "--tb=short"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-p", "lunos_local.pytest_plugin"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "6 failed, 2 passed, 6 errors" in done.stdout, done.stdout
    for said in (
        "times must be 1 or more, or None for all requests, not 0",
        "not 'two'",
        "unexpected keyword argument 'tmes'",
        *(f"needs an amount in USD above 0, not {usd}" for usd in ("'0.01'", "None", "True")),
        *(f"needs an amount in USD above 0, not {usd}" for usd in ("nan", "0", "-1")),
        "'../elsewhere' can't be a file's name",
        "unexpected keyword argument 'nme'",
        "'' can't be a file's name",
    ):
        assert said in done.stdout
    assert not (tmp_path / "cassettes").exists()
