"""Add to LangChain's own tables: the provider "lunos" to its factories, our classes to `load`'s."""

from __future__ import annotations

import sys

from langchain_core.load.mapping import SERIALIZABLE_MAPPING


def register() -> None:
    """Make `init_chat_model("lunos:openai/gpt-4o")` and `init_embeddings("lunos:…")` work.

    LangChain's factories look providers up in tables and have no function to add one, so this
    writes into the tables. Call it yourself: nothing is registered on import.

    Raises:
        ImportError: `langchain` is not installed.
        RuntimeError: this version of LangChain has its tables elsewhere.

    Example:
        >>> import langchain_lunos
        >>> langchain_lunos.register()
        >>> from langchain.chat_models import init_chat_model
        >>> llm = init_chat_model("lunos:lunos/scripted")
        >>> type(llm).__name__
        'ChatLunos'
    """
    try:
        from langchain.chat_models import base as chat_models
        from langchain.embeddings import base as embeddings
    except ImportError:
        raise ImportError("register() needs LangChain's factories: pip install langchain") from None
    for module, name in ((chat_models, "ChatLunos"), (embeddings, "LunosEmbeddings")):
        table = getattr(module, "_BUILTIN_PROVIDERS", None)
        if not isinstance(table, dict):
            raise RuntimeError(
                f"{module.__name__} has no table of providers: this version of LangChain is "
                f"unknown; use {name} itself"
            )
        example = table.get("openai")
        entry = ("langchain_lunos", name)
        # newer tables have a third entry, the function that makes the object
        table["lunos"] = entry if example is None else (*entry, *example[2:])


def make_loadable(module: str, name: str) -> None:
    """Add a class of ours to LangChain's table and to the copies that `load` made of it.

    `load(…, allowed_objects="all", valid_namespaces=["langchain_lunos"])` revives only classes in
    that table. An entry alone allows nothing: the caller must still name our namespace.
    """
    path = ("langchain_lunos", module, name)
    SERIALIZABLE_MAPPING[path] = path
    loader = sys.modules.get("langchain_core.load.load")
    copies = getattr(loader, "ALL_SERIALIZABLE_MAPPINGS", None)
    if isinstance(copies, dict):
        copies[path] = path
    cached = getattr(loader, "_default_class_paths_cache", None)
    if isinstance(cached, dict) and "all" in cached:
        cached["all"].add(path)
