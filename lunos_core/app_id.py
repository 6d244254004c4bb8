"""App id and tags for a block of code: `with lunos_core.app("billing"): …`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

from lunos_core.arguments import check_app_id

_current: ContextVar[str | None] = ContextVar("lunos_app_id", default=None)
_tags: ContextVar[Mapping[str, str]] = ContextVar("lunos_tags", default=MappingProxyType({}))


def current_app_id() -> str | None:
    """Return the app id of the innermost `app()` block around the caller, or `None`.

    Example:
        >>> import lunos_core
        >>> print(lunos_core.current_app_id())
        None
    """
    return _current.get()


@contextmanager
def app(app_id: str) -> Iterator[str]:
    """Set the application (`X-App-ID`) for all calls inside the block.

    Order of precedence: the `app_id` of the call or of `bind`, the framework's config (or
    `instrument_tags`), the innermost block, the constructor, `LUNOS_APP_ID`. A stream belongs to
    the block in which it was opened.

    The block covers tasks that start inside it, and threads that run in a copy of its context, as
    with `asyncio.to_thread` and both frameworks' executors. It doesn't cover a bare
    `threading.Thread` or `ThreadPoolExecutor.submit`: start those with
    `contextvars.copy_context().run`. `app` also decorates plain functions; in an `async def`, use
    the `with` block.

    Args:
        app_id: printable ASCII, without line breaks.

    Raises:
        ValueError: the app id is empty, or cannot travel in an HTTP header.
        TypeError: it isn't a `str`.

    Example:
        >>> import lunos_core
        >>> with lunos_core.app("billing"):
        ...     lunos_core.current_app_id()
        'billing'
    """
    checked = check_app_id(app_id)
    if checked is None:
        raise TypeError("app_id must be a str, not None")
    token = _current.set(checked)
    try:
        yield checked
    finally:
        _current.reset(token)


def current_tags() -> Mapping[str, str]:
    """Return the tags of the `tags()` blocks around the caller.

    Example:
        >>> import lunos_core
        >>> dict(lunos_core.current_tags())
        {}
    """
    return _tags.get()


@contextmanager
def tags(**names: str) -> Iterator[Mapping[str, str]]:
    """Tag every call inside the block, for ledgers, stores and budgets; tags are never sent.

    Inner blocks add to outer ones. The tag `user` overrides the `user` of the request. A block
    covers the same tasks and threads as one of `app()`.

    Args:
        names: the tags, as keywords.

    Raises:
        TypeError: a tag isn't a `str`.

    Example:
        >>> import lunos_core
        >>> with lunos_core.tags(user="u1"), lunos_core.tags(feature="search") as current:
        ...     dict(current)
        {'user': 'u1', 'feature': 'search'}
    """
    for name, value in names.items():
        if not isinstance(value, str):
            raise TypeError(f"the tag {name} must be a str, not {type(value).__name__}")
    merged = MappingProxyType({**_tags.get(), **names})
    token = _tags.set(merged)
    try:
        yield merged
    finally:
        _tags.reset(token)
