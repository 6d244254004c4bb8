"""The model catalog: fetching, caching and searching it, and checking requests against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lunos_core.lazy import lazy_names

if TYPE_CHECKING:
    from lunos_core.catalog.catalog import AsyncCatalog as AsyncCatalog
    from lunos_core.catalog.catalog import Catalog as Catalog

_HOMES = {"catalog": ("AsyncCatalog", "Catalog")}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOMES)
