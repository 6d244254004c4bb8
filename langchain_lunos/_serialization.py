"""Adds our classes to the table from which `langchain_core.load.load` revives objects.

`load(…, allowed_objects="all", valid_namespaces=["langchain_lunos"])` revives the classes that
LangChain's table lists, and LangChain has no function to add one. An entry alone allows nothing:
the caller must still name our namespace.
"""

from __future__ import annotations

import sys

from langchain_core.load.mapping import SERIALIZABLE_MAPPING
from langchain_core.load.serializable import Serializable


def make_loadable(kind: type[Serializable]) -> None:
    """Add a class to LangChain's table and to the copies that `load` made of it."""
    path = tuple(kind.lc_id())
    SERIALIZABLE_MAPPING[path] = path
    loader = sys.modules.get("langchain_core.load.load")
    copies = getattr(loader, "ALL_SERIALIZABLE_MAPPINGS", None)
    if isinstance(copies, dict):
        copies[path] = path
    cached = getattr(loader, "_default_class_paths_cache", None)
    if isinstance(cached, dict) and "all" in cached:
        cached["all"].add(path)
