"""The log of this project: quiet by default, with bodies only if `LUNOS_LOG=debug` is set."""

from __future__ import annotations

import logging
import os

from lunos_core.errors import LunosAPIError, LunosConnectionError, LunosError
from lunos_core.wire.scrub import scrub
from lunos_core.wire.text import decode


def quiet_logger(package: str) -> logging.Logger:
    """Return the logger of a package, silent until the application configures logging."""
    logger = logging.getLogger(package)
    if not logger.handlers:
        # without a handler, Python prints warnings to stderr
        logger.addHandler(logging.NullHandler())
    return logger


log = quiet_logger("lunos_core")


def reason_of(error: LunosError) -> str:
    """Return why a call failed, for a log line, without the server's text: it may quote a body."""
    kind = type(error).__name__
    ours = error.response is None and not isinstance(error, LunosAPIError)
    if ours or isinstance(error, LunosConnectionError):
        return f"{kind}: {error.message}"
    facts = {"status": error.status, "code": error.code, "request id": error.request_id}
    known = ", ".join(f"{name} {value}" for name, value in facts.items() if value is not None)
    return f"{kind} ({known})" if known else kind


def log_body(what: str, body: bytes, secret: str | None) -> None:
    """Log a body at DEBUG, without the key, if `LUNOS_LOG=debug` is set."""
    # the level first: loggers cache it, while the environment is decoded each time
    if log.isEnabledFor(logging.DEBUG) and os.environ.get("LUNOS_LOG", "").lower() == "debug":
        log.debug("%s: %s", what, scrub(decode(body), secret))
