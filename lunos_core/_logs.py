"""The log of this project: quiet by default; bodies only where `LUNOS_LOG=debug` asks for them."""

from __future__ import annotations

import logging
import os

from lunos_core.errors import scrub

log = logging.getLogger("lunos_core")
log.addHandler(logging.NullHandler())  # without it Python prints warnings to stderr by itself


def log_body(what: str, body: bytes, secret: str | None) -> None:
    """Log a body at DEBUG, without the key; nothing unless `LUNOS_LOG=debug` is set."""
    # the level first: loggers remember their answer, the environment is decoded anew each time
    if log.isEnabledFor(logging.DEBUG) and os.environ.get("LUNOS_LOG", "").lower() == "debug":
        log.debug("%s: %s", what, scrub(body.decode("utf-8", "replace"), secret))
