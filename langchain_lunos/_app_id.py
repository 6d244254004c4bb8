"""The app id that LangChain's config carries: `configurable`, else `metadata`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.runnables.config import ensure_config, var_child_runnable_config

from lunos_core.app_id import current_app_id


def config_app_id(config: Any = None) -> str | None:
    """The app id of a config, or of the one around the caller: chains hand theirs down."""
    if config is None and var_child_runnable_config.get() is None:
        return None  # outside a chain: asked several times for each call, so the quick way
    # metadata of a run holds other people's things: only text counts
    found: Mapping[str, Any] = ensure_config(config)
    for place in ("configurable", "metadata"):
        app_id = (found.get(place) or {}).get("app_id")
        if isinstance(app_id, str) and app_id:
            return app_id
    return None


def with_config_app_id(kwargs: Mapping[str, Any], config: Any = None) -> dict[str, Any]:
    """A call's arguments, with the config's app id where they name none."""
    if kwargs.get("app_id") is not None:
        return dict(kwargs)
    app_id = config_app_id(config)
    return dict(kwargs) if app_id is None else {**kwargs, "app_id": app_id}


def app_id_of_call(kwargs: Mapping[str, Any], own: str | None) -> str | None:
    """The application of one call.

    The call's or bound, then the config's, then the `app()` block's, then the constructor's, which
    may be from the environment.
    """
    given: str | None = kwargs.get("app_id")
    if given is not None:
        return given
    return config_app_id() or current_app_id() or own
