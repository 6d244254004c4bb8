"""The common part of the tool specs: a connection, parameters, and a folder for results."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, ClassVar

from llama_index.core.tools.tool_spec.base import BaseToolSpec

from llama_index_lunos._settings import HTTP_CLIENTS, Connection, run_options
from lunos_core.adapters import check_names


class LunosToolSpec(BaseToolSpec):
    """A tool spec that asks one model."""

    _names: ClassVar[Collection[str]] = ()
    """The wire's parameters, which can be given by name."""

    def __init__(
        self,
        model: str,
        *,
        folder: str | os.PathLike[str] | None = None,
        params: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        own = {*self._names, "extra_body", "extra_headers", "extra_query"}
        connection = {*Connection.model_fields, "base_url", *HTTP_CLIENTS}
        check_names(type(self), settings, own | connection)
        named = {name: settings.pop(name) for name in own & settings.keys()}
        self.model = model
        self.folder = None if folder is None else Path(folder)
        self.params = {**(params or {}), **named}
        self._connection = Connection(**settings)
        self._request("x")  # a wrong parameter raises now, not in an agent's run

    def close(self) -> None:
        """Close the sync connections."""
        self._connection.close()

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        await self._connection.aclose()

    def _request(self, prompt: str) -> Any:
        raise NotImplementedError

    def _options(self) -> dict[str, Any]:
        return {**self.params, **run_options(self.params.get("app_id"))}
