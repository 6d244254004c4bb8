"""The clients that are measured, one entry each, about five lines.

An entry says where the class is, what to make it with, and which framework it belongs to
(`frameworks.py` knows how a framework's models are called). A client whose package is missing from
the interpreter that runs it is left out, with a line that says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from benchmarks.bodies import MODEL

URL = object()
"""Placeholder for the server's base URL in the settings."""

BATCH = 2048
_KEY = "sk-bench"
_OPENAI = {"model": MODEL, "api_key": _KEY, "base_url": URL}
_LLAMA = {"model": MODEL, "api_key": _KEY, "api_base": URL}


@dataclass(frozen=True)
class Peer:
    """One client.

    Attributes:
        name: as the tables call it.
        framework: "httpx", "langchain" or "llama_index".
        chat: module and class of the chat model.
        settings: what it is made with.
        embeddings: module and class of the embedding model; "" for none.
        embedding_settings: what that is made with.
        ours: whether it is this project's.
        around: a context manager, module and name, that is entered around every call.
    """

    name: str
    framework: str
    chat: str
    settings: dict[str, Any] = field(default_factory=dict)
    embeddings: str = ""
    embedding_settings: dict[str, Any] = field(default_factory=dict)
    ours: bool = False
    around: str = ""


PEERS = [
    Peer(
        "httpx", "httpx", "benchmarks.plain:Plain", {"url": URL},
        "benchmarks.plain:PlainEmbeddings", {"url": URL},
    ),
    Peer("lean httpx", "httpx", "benchmarks.plain:Lean", {"url": URL}),
    Peer("floor LC", "langchain", "benchmarks.floor_langchain:Floor", {"url": URL}),
    Peer("floor LI", "llama_index", "benchmarks.floor_llama_index:Floor", {"url": URL}),
    Peer("floor LC+lean", "langchain", "benchmarks.floor_langchain:OnLean", {"url": URL}),
    Peer("floor LI+lean", "llama_index", "benchmarks.floor_llama_index:OnLean", {"url": URL}),
    Peer(
        "ChatLunos", "langchain", "langchain_lunos:ChatLunos", _OPENAI,
        "langchain_lunos:LunosEmbeddings", {**_OPENAI, "chunk_size": BATCH}, ours=True,
    ),
    Peer(
        "Lunos", "llama_index", "llama_index_lunos:Lunos", _LLAMA,
        "llama_index_lunos:LunosEmbedding", {**_LLAMA, "embed_batch_size": BATCH}, ours=True,
    ),
    Peer(
        "ChatLunos+ledger", "langchain", "langchain_lunos:ChatLunos", _OPENAI,
        ours=True, around="lunos_core:UsageLedger",
    ),
    Peer(
        "ChatLunos+aiohttp", "langchain", "langchain_lunos:ChatLunos",
        {**_OPENAI, "transport": "aiohttp"}, ours=True,
    ),
    Peer(
        "Lunos+aiohttp", "llama_index", "llama_index_lunos:Lunos",
        {**_LLAMA, "transport": "aiohttp"}, ours=True,
    ),
    Peer(
        "ChatOpenAI", "langchain", "langchain_openai:ChatOpenAI", _OPENAI,
        "langchain_openai:OpenAIEmbeddings",
        {**_OPENAI, "chunk_size": BATCH, "check_embedding_ctx_length": False},
    ),
    Peer(
        "ChatMistralAI", "langchain", "langchain_mistralai:ChatMistralAI",
        {"model": MODEL, "api_key": _KEY, "endpoint": URL},
    ),
    Peer("ChatOpenRouter", "langchain", "langchain_openrouter:ChatOpenRouter", _OPENAI),
    Peer(
        "OpenAILike", "llama_index", "llama_index.llms.openai_like:OpenAILike",
        {**_LLAMA, "is_chat_model": True},
        "llama_index.embeddings.openai:OpenAIEmbedding",
        {"model_name": MODEL, "api_key": _KEY, "api_base": URL, "embed_batch_size": BATCH},
    ),
]  # fmt: skip

BY_NAME = {peer.name: peer for peer in PEERS}

# the import of each framework's base class, which every adapter of it pays as well
BASE_IMPORTS = {
    "langchain": "from langchain_core.language_models import BaseChatModel",
    "llama_index": "import llama_index.core.llms",
    "httpx": "pass",
}


def import_statement(place: str) -> str:
    """`from module import Class` for "module:Class"."""
    module, _, name = place.partition(":")
    return f"from {module} import {name}"
