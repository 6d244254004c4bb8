"""docs/examples.md is true: each example, run as a user runs it, prints what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lunos_local import LocalGateway
from tests.documentation.example_runs import ROOT, RunExample, run_example, without_key

__all__ = ["run_example"]

PAGE = (ROOT / "docs" / "examples.md").read_text("utf-8")
# a command, and below it what it prints
SHOWN = dict(
    re.findall(r"^```bash\npython (examples/\w+\.py)\n```\n\n```text\n(.*?)^```", PAGE, re.M | re.S)
)
# each has a test module of its own
OTHERS = {"chat_page.py", "bulk_embed.py", "bulk_daft.py", "quickstart.py", "catalog_shapes.py"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LlamaIndex's own workflows
@pytest.mark.parametrize("path", SHOWN)
def test_an_example_prints_what_its_page_shows(
    run_example: RunExample, monkeypatch: pytest.MonkeyPatch, gateway: LocalGateway, path: str
) -> None:
    """With a gateway that it starts, and then with one that the two variables name."""
    assert run_example(path) == (SHOWN[path], "")
    monkeypatch.setenv("LUNOS_API_KEY", gateway.api_key)
    monkeypatch.setenv("LUNOS_BASE_URL", gateway.base_url)
    assert run_example(path) == (SHOWN[path], "")


def test_every_example_is_tried() -> None:
    tried = {Path(path).name for path in SHOWN} | OTHERS
    here = {path.name for path in (ROOT / "examples").glob("[!_]*.py")}
    others = {name for name in here - tried if not name.startswith("llamaindex_")}
    assert not others  # tests/llama_index_adapter/test_examples.py tries the rest


def pytest_in(folder: Path) -> subprocess.CompletedProcess[str]:
    """What the cookbook's page runs: a project of its own, without our fixtures and settings."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q"],
        cwd=folder,
        env={**without_key(), "PYTEST_ADDOPTS": "-p no:cacheprovider"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
def test_the_tests_of_the_sample_app_pass() -> None:
    done = pytest_in(ROOT / "examples" / "offline_app")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^8 passed", done.stdout, re.M), done.stdout


@pytest.mark.slow
def test_the_tests_of_the_sample_app_notice_a_broken_app(tmp_path: Path) -> None:
    """They are tests that can fail: without the right app id, one of them does."""
    for name in ("triage.py", "test_triage.py", "pytest.ini"):
        code = (ROOT / "examples" / "offline_app" / name).read_text("utf-8")
        (tmp_path / name).write_text(code.replace("app_id=", "user="), "utf-8")
    done = pytest_in(tmp_path)
    assert done.returncode == 1
    assert "the_right_app_pays" in done.stdout
