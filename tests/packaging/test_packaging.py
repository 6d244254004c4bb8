"""What the wheel contains and requires, and what happens if a framework is missing."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = (
    *("lunos_core", "langchain_lunos", "llama_index_lunos", "lunos_local", "lunos_cli"),
    "lunos_bulk",
)
SHIMS = ("llama_index/llms/lunos", "llama_index/embeddings/lunos")
FRAMEWORKS = {"langchain": "langchain-core", "llama-index": "llama-index-core"}


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("dist")
    # no isolation: that would ask the network for the build backend, which the dev extra has
    done = run("-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT))
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    assert path.name.endswith("-py3-none-any.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return Parser().parsestr(wheel.read(name).decode())


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    roots = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert roots == {*PACKAGES, "llama_index"}
    for package in (*PACKAGES, *SHIMS):
        assert f"{package}/py.typed" in names
        on_disk = {path.relative_to(ROOT).as_posix() for path in (ROOT / package).rglob("*.*")}
        assert {name for name in on_disk if "__pycache__" not in name} <= names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    for unwanted in ("tests/", "cassettes/", "examples/", "__pycache__", ".venv"):
        assert not [name for name in names if unwanted in name]


def test_contributing_gives_a_reason_for_each_dependency_and_names_no_other() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    asked = [*project["dependencies"], *(item for extra in extras for item in extra)]
    names = {re.split(r"[\[<>=; ]", item)[0] for item in asked} - {project["name"]}
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    table = page.partition("## Why each dependency is there")[2].partition("\n\n`make fuzz`")[0]
    rows = [line.split("|") for line in table.splitlines()[4:] if line.startswith("|")]
    reasoned = {name for row in rows for name in re.findall(r"`([^`/]+)`", row[2])}
    plugins = {name for name in names if name.startswith("pytest-")}  # "and its plugins"
    assert reasoned == names - plugins
    assert all(row[3].strip() for row in rows)


def test_the_namespace_of_llama_index_stays_a_namespace(wheel: zipfile.ZipFile) -> None:
    """A file `__init__.py` in it would hide LlamaIndex's own packages."""
    names = set(wheel.namelist())
    for folder in ("llama_index", "llama_index/llms", "llama_index/embeddings"):
        assert f"{folder}/__init__.py" not in names


def requirements(metadata: Message, extra: str | None) -> set[str]:
    """Return the names that an extra requires; for `None`, those of the base."""
    result = set()
    for line in metadata.get_all("Requires-Dist", []):
        asked = re.search(r"extra == ['\"]([\w-]+)['\"]", line)
        if (asked[1] if asked else None) == extra:
            match = re.match(r"[\w.-]+", line)
            assert match
            result.add(match[0].lower())
    return result


def test_the_base_asks_for_httpx_alone(metadata: Message) -> None:
    assert metadata["Name"] == "lunos-integrations"
    assert requirements(metadata, None) == {"httpx"}
    assert set(metadata.get_all("Provides-Extra", [])) == {
        *FRAMEWORKS,
        "local",
        "whisper",
        "bulk",
        "aiohttp",
        "cli",
        "dashboard",
        "demo",
        "testing",
        "examples",
        "test",
        "dev",
        "docs",
    }


@pytest.mark.parametrize("extra", FRAMEWORKS)
def test_an_extra_asks_for_its_own_framework_alone(metadata: Message, extra: str) -> None:
    assert requirements(metadata, extra) == {FRAMEWORKS[extra]}


def test_the_local_extra_asks_for_no_framework(metadata: Message) -> None:
    asked = requirements(metadata, "local")
    assert not asked & {*FRAMEWORKS.values(), "langchain", "llama-index", "torch"}


def test_no_committed_file_names_a_host_or_a_folder_of_one_machine() -> None:
    """The files that say what is installed hold names and versions only."""
    for name in ("pyproject.toml", "constraints.txt", "Makefile", ".ci/run"):
        text = (ROOT / name).read_text("utf-8")
        assert not re.search(r"https?://|file:|--(extra-)?index-url|find-links", text), name
        assert not re.search(r"(?<![\w.)])/(tmp|home|root|work|Users|opt)/", text), name


def test_the_constraints_are_versions_only() -> None:
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        assert re.fullmatch(r"#.*|[a-z0-9._-]+==[\w.+!]+( ; .+)?", line), line


BLOCK = """
import sys
class Without:
    def __init__(self, finder): self._finder = finder
    def __getattr__(self, name): return getattr(self._finder, name)
    def find_spec(self, name, *more):
        if name.split('.')[0] not in {blocked!r}:
            return self._finder.find_spec(name, *more)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""
LANGCHAIN = ("langchain_core", "langchain", "langgraph", "langsmith")
LLAMA_INDEX = ("llama_index",)


def run_without(blocked: tuple[str, ...], code: str) -> subprocess.CompletedProcess[str]:
    return run("-W", "error", "-c", BLOCK.format(blocked=blocked) + code)


@pytest.mark.slow
def test_langchain_works_without_llama_index() -> None:
    code = "from langchain_lunos import ChatLunos, LunosEmbeddings, LunosLLM; print(ChatLunos)"
    done = run_without(LLAMA_INDEX, code)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_llama_index_works_without_langchain() -> None:
    code = "from llama_index_lunos import Lunos, LunosEmbedding; print(Lunos)"
    done = run_without(LANGCHAIN, code)
    assert done.returncode == 0, done.stderr


def test_the_core_works_without_both() -> None:
    code = "import lunos_core; [getattr(lunos_core, name) for name in lunos_core.__all__]"
    done = run_without(LANGCHAIN + LLAMA_INDEX, code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("package", "name", "blocked", "extra"),
    [
        ("langchain_lunos", "ChatLunos", LANGCHAIN, "langchain"),
        ("llama_index_lunos", "Lunos", LLAMA_INDEX, "llama-index"),
        ("lunos_local", "LocalGateway", ("starlette", "uvicorn"), "local"),
    ],
)
def test_a_missing_part_names_the_extra_to_install(
    package: str, name: str, blocked: tuple[str, ...], extra: str
) -> None:
    done = run_without(blocked, f"from {package} import {name}")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert f'pip install "lunos-integrations[{extra}]"' in last
