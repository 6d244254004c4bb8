"""The log of this project: quiet by default; bodies only where `LUNOS_LOG=debug` asks for them."""

from __future__ import annotations

import logging
import os

from lunos_core.errors import LunosAPIError, LunosError
from lunos_core.wire.error_bodies import scrub


def quiet_logger(package: str) -> logging.Logger:
    """The one logger of a package; nothing comes out until the application wants it."""
    logger = logging.getLogger(package)
    if not logger.handlers:
        # without one Python prints warnings to stderr by itself
        logger.addHandler(logging.NullHandler())
    return logger


log = quiet_logger("lunos_core")


def reason_of(error: LunosError) -> str:
    """Why a call failed, for a log line: the server's own words may quote a body, so without."""
    kind = type(error).__name__
    if error.response is None and not isinstance(error, LunosAPIError):
        return f"{kind}: {error.message}"
    facts = {"status": error.status, "code": error.code, "request id": error.request_id}
    said = ", ".join(f"{name} {value}" for name, value in facts.items() if value is not None)
    return f"{kind} ({said})" if said else kind


def log_body(what: str, body: bytes, secret: str | None) -> None:
    """Log a body at DEBUG, without the key; nothing unless `LUNOS_LOG=debug` is set."""
    # the level first: loggers remember their answer, the environment is decoded anew each time
    if log.isEnabledFor(logging.DEBUG) and os.environ.get("LUNOS_LOG", "").lower() == "debug":
        log.debug("%s: %s", what, scrub(body.decode("utf-8", "replace"), secret))
