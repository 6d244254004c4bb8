"""The log of this adapter; what happens to requests is in the log of `lunos_core`."""

from __future__ import annotations

from lunos_core.logs import quiet_logger

log = quiet_logger("langchain_lunos")
