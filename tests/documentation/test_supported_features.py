"""The page of supported features is true: the test makes each call of its table."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.documentation.markdown_blocks import ROOT, dropped_connections

PAGE = (ROOT / "docs" / "supported-features.md").read_text("utf-8")

Call = Callable[[dict[str, Any]], Awaitable[Any]]
HELLO = [{"role": "user", "content": "Hello"}]


def _calls() -> dict[str, dict[str, Call]]:
    """Return the call that each "yes" of the table stands for."""
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
    ways = PAGE.partition("\n## ")[0]
    lines = [line.strip("| ") for line in ways.splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


@pytest.mark.slow
async def test_every_call_of_the_table_works_and_no_other_is_claimed(gateway: Any) -> None:
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


def test_each_feature_that_is_claimed_names_its_test() -> None:
    """That pytest collects them is in test_docs."""
    features = PAGE.partition("\n## ")[2]
    rows = [line for line in features.splitlines() if line.startswith("|")][2:]
    assert len(rows) >= 10
    for row in rows:
        for cell in row.strip("| ").split(" | ")[1:]:
            claimed = re.fullmatch(r'\[yes\]\(\.\./(\S+\.py) "(\S+?)::test_\w+"\)', cell)
            assert ("yes" in cell) == (claimed is not None), cell
            assert claimed is None or claimed[1] == claimed[2]
