"""The README's examples run, and what it says about this package is true."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.documentation.markdown_blocks import (
    ROOT,
    Example,
    blocks_of,
    examples_of,
    matches,
    run_block,
)
from tests.documentation.named_tests import missing

__all__ = ["run_block"]

README = (ROOT / "README.md").read_text("utf-8")
EXAMPLES = examples_of(ROOT / "README.md")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LlamaIndex's own workflows
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_a_python_block_prints_what_stands_below_it(
    example: Example, run_block: Callable[[str], str]
) -> None:
    assert example.printed is not None
    printed = run_block(example.code)
    assert matches(example.printed, printed), printed
    assert len([line for line in example.code.splitlines() if line.strip()]) <= 12, "too long"


STARTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("start-*.md"))]


@pytest.mark.slow  # each makes a virtual environment
@pytest.mark.parametrize("page", STARTS, ids=lambda page: page.stem)
def test_the_first_block_installs_when_it_is_pasted_into_a_clone(
    page: Path, tmp_path: Path
) -> None:
    """Run it, but for pip's work: `make test-wheel` checks what it installs."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    install, gateway = blocks_of(page.read_text("utf-8"), "bash")[:2]
    record = 'pip() { echo "$VIRTUAL_ENV|$PWD|$*"; }\n'
    done = subprocess.run(
        ["bash", "-ec", record + install], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    environment, folder, arguments = done.stdout.strip().split("|")
    assert Path(environment) == Path(folder) / ".venv"
    extras = re.fullmatch(r"install \.\[([\w,-]+)\]", arguments)
    assert extras
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text("utf-8"))["project"]
    assert {*extras[1].split(",")} <= {*project["optional-dependencies"]}
    assert gateway.startswith("python -m lunos_local &\n")


def test_the_variables_that_are_exported_are_those_of_the_local_gateway() -> None:
    from lunos_local.__main__ import DEFAULT_PORT
    from lunos_local.gateway import DEFAULT_KEY

    service = f"LUNOS_API_KEY={DEFAULT_KEY} LUNOS_BASE_URL=http://127.0.0.1:{DEFAULT_PORT}/v1"
    for page in STARTS:
        assert f"export {service}\n" in page.read_text("utf-8")


def test_the_commands_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    shell = "\n".join(blocks_of(README, "bash"))
    for target in re.findall(r"^make (\w+)", shell, re.MULTILINE):
        assert f"\n{target}:" in makefile
    extras = {name for some in re.findall(r"\.\[([\w,-]+)\]", README) for name in some.split(",")}
    assert extras <= set(project["optional-dependencies"])
    assert {"langchain", "local", "cli", "whisper", "aiohttp"} <= extras


def test_the_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", README):
        assert (ROOT / target).exists(), target


def test_the_badges_agree_with_the_repository() -> None:
    """If not, draw them again: .venv/bin/python docs/tools/badges.py."""
    path = ROOT / "docs" / "tools" / "badges.py"
    spec = importlib.util.spec_from_file_location("badges", path)
    assert spec is not None
    assert spec.loader is not None
    badges = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(badges)
    for name, halves in badges.facts().items():
        file = badges.FOLDER / f"{name}.svg"
        assert file.read_text("utf-8") == badges.badge(*halves), name
        shown = re.search(rf"!\[([^\]]*)\]\(docs/badges/{name}\.svg\)", README)
        assert shown
        assert halves[1].replace("&lt;", "<") in shown[1].replace("MIT license", "license MIT")


def test_it_needs_only_the_packages_that_it_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert re.findall(r"^[\w-]+", "\n".join(project["dependencies"]), re.MULTILINE) == ["httpx"]
    assert "one dependency, `httpx`" in " ".join(README.split())
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert "-m mypy" in makefile


def test_every_row_of_the_comparison_names_a_test_of_ours(request: pytest.FixtureRequest) -> None:
    rows = [line for line in README.splitlines() if line.startswith("|")][2:]
    assert len(rows) >= 10
    tests = []
    for row in rows:
        (path, test) = re.findall(r'\]\((\S+\.py) "(tests/\S+::\w+)"\) \|$', row)[0]
        assert test.startswith(f"{path}::")
        tests.append(test)
        assert "| – |" not in row  # noqa: RUF001 - what was not measured says so in words
    assert not missing(tests, request.config)
