"""Lunos without a framework: the two clients and their resources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lunos_core.lazy import lazy_names

if TYPE_CHECKING:
    from lunos_core.sdk.clients import AsyncLunos as AsyncLunos
    from lunos_core.sdk.clients import Lunos as Lunos

_HOMES = {"clients": ("AsyncLunos", "Lunos")}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOMES)
