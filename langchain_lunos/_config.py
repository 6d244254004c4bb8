"""What a call takes from LangChain's config. It imports no chat models: embeddings need none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.runnables.config import ensure_config, var_child_runnable_config


def config_app_id(config: Any = None) -> str | None:
    """Return the app id of a config (`configurable`, else `metadata`), or of the current one."""
    if config is None and var_child_runnable_config.get() is None:
        return None
    values: Mapping[str, Any] = ensure_config(config)
    for place in ("configurable", "metadata"):
        # others put values there too: only text counts
        app_id = (values.get(place) or {}).get("app_id")
        if isinstance(app_id, str) and app_id:
            return app_id
    return None


def config_metadata(config: Any = None, own: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the metadata of a config, or of the current one; the model's own wins."""
    if config is None and var_child_runnable_config.get() is None:
        return dict(own or {})
    return {**(ensure_config(config).get("metadata") or {}), **(own or {})}
