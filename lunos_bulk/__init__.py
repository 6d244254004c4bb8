"""Bulk work: millions of texts through one key, resumable, at one pace, within a budget.

`embed` and `complete` add a column to a Ray dataset; `lunos bulk` works from files to files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lunos_core.lazy import lazy_names

if TYPE_CHECKING:
    from lunos_bulk.job import Job as Job
    from lunos_bulk.ray_data import complete as complete
    from lunos_bulk.ray_data import embed as embed

HOMES = {"job": ("Job",), "ray_data": ("complete", "embed")}
__getattr__, __dir__, __all__ = lazy_names(__name__, HOMES)
