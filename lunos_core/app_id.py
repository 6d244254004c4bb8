"""The app id of the surrounding code: `with lunos_core.app("billing"): …`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_current: ContextVar[str | None] = ContextVar("lunos_app_id", default=None)


def current_app_id() -> str | None:
    """The app id of the innermost `app()` block around the caller, or `None`.

    Example:
        >>> import lunos_core
        >>> print(lunos_core.current_app_id())
        None
    """
    return _current.get()


@contextmanager
def app(app_id: str) -> Iterator[str]:
    """Make every call inside the block for this application (`X-App-ID`).

    One order of precedence: the call's own `app_id` or what was bound, then the framework's config
    (or `instrument_tags`), then the innermost block, then the client's constructor, then
    `LUNOS_APP_ID`. A stream belongs to the block that it was opened in.

    The block holds for the tasks that begin inside it, and for threads that run in a copy of its
    context: `asyncio.to_thread` and both frameworks' executors see to that. A bare
    `threading.Thread` or `ThreadPoolExecutor.submit` does not: start it with
    `contextvars.copy_context().run`. As a decorator it serves plain functions; inside an `async
    def`, write the `with` block.

    Args:
        app_id: printable ASCII, without line breaks.

    Raises:
        ValueError: the app id is empty, or cannot travel in an HTTP header.
        TypeError: it is no `str`.

    Example:
        >>> import lunos_core
        >>> with lunos_core.app("billing"):
        ...     lunos_core.current_app_id()
        'billing'
    """
    # here, not above: `import lunos_core` loads this module and should load little else
    from lunos_core.config import check_app_id

    checked = check_app_id(app_id)
    if checked is None:
        raise TypeError("app_id must be a str, not None")
    token = _current.set(checked)
    try:
        yield checked
    finally:
        _current.reset(token)
