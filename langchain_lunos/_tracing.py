"""What tracers are told about a call: provider, model, and the application it is made for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.callbacks import BaseCallbackManager

from lunos_core.arguments import check_app_id


def ls_params(found: Any, *, app_id: str | None, model: str) -> Any:
    """LangSmith's parameters, with ours: `app_id` becomes run metadata of that name."""
    ours = {"ls_provider": "lunos", "ls_model_name": model}
    if app_id is not None:
        ours["app_id"] = app_id
    return {**found, **ours}


def with_tag(tags: list[str] | None, app_id: str | None) -> list[str] | None:
    """The run's tags, with the app id among them."""
    if app_id is None:
        return tags
    return [*(tags or []), f"app_id:{check_app_id(app_id)}"]


def with_tags(tags: Any, app_id: str | None, *, callbacks: Any, prompts: int) -> Any:
    """`with_tag` for LLMs, whose batches have a list of tags for each prompt."""
    first = callbacks[0] if isinstance(callbacks, list) and callbacks else ""
    if app_id is None or not (first is None or isinstance(first, list | BaseCallbackManager)):
        return with_tag(tags, app_id)
    return [with_tag(one, app_id) for one in tags or [None] * prompts]


def config_with_tag(config: Any, app_id: str | None) -> Any:
    """A run's config, with the app id among its tags; the given one is left as it is."""
    if app_id is None:
        return config
    found: Mapping[str, Any] = config or {}
    return {**found, "tags": with_tag(found.get("tags"), app_id)}
