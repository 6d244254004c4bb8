"""Observers of calls: one hook in the clients, none in the adapters."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from lunos_core.accounting.pricing import Prices
from lunos_core.accounting.usage import Usage
from lunos_core.errors import LunosBudgetError, LunosError
from lunos_core.forks import reset_after_fork
from lunos_core.logs import log as _log

NO_TAGS: Mapping[str, Any] = MappingProxyType({})


class CallRecord(NamedTuple):
    """One finished call: answered, failed, or closed early.

    Attributes:
        app_id: its app id, or `None`.
        model: the requested model; `None` if there was none (the catalog).
        endpoint: the path, such as "/chat/completions".
        attempts: requests made.
        seconds: from the call's start to its end.
        first_token_seconds: to the first event of a stream, or `None`.
        usage: the server's usage, or `None` if it sent none (a stream closed early).
        error: the failure, or `None`; a `LunosBudgetError` with 0 attempts means a refused call.
        user: the request's own `user`, or `None`.
        tags: the tags of the enclosing `tags()` blocks.
        metadata: the metadata of the framework's call; a store keeps its `tag_keys`.
        served: the server's name of the model that answered.
        request_id: the server's id of the request.
        framework: "langchain", "llama_index", or `None`.
        time: the Unix time of its end, if it isn't now.
        response_id: the provider's id of the answer.
        finish_reasons: those of the answer's choices, in their order.
        chunk_seconds: between the chunks of a stream, if metrics are recorded.
    """

    app_id: str | None
    model: str | None
    endpoint: str
    attempts: int
    seconds: float
    first_token_seconds: float | None
    usage: Usage | None
    error: LunosError | None
    user: str | None = None
    tags: Mapping[str, str] = NO_TAGS
    metadata: Mapping[str, Any] = NO_TAGS
    served: str | None = None
    request_id: str | None = None
    framework: str | None = None
    time: float | None = None
    response_id: str | None = None
    finish_reasons: tuple[str, ...] = ()
    chunk_seconds: tuple[float, ...] = ()


Observer = Callable[[CallRecord], None]
"""Called with each finished call. It may also have these methods:

- `before_call(app_id=…, model=…)`: a call is about to start; a `LunosBudgetError` refuses it.
- `open_call(start: CallStart)`, instead: a generator that yields seconds to wait, and returns the
  observer of this call.
- `call_refused(call: CallRecord)`: this observer or another one refused a call.
- `attempt_failed(error: LunosError, delay: float)`: an attempt is retried in `delay` seconds; it
  returns how long to wait.
- `abandon()`, of the observer of one call: the call was cancelled.
"""
Observers = tuple[Observer, ...]


class CallStart(NamedTuple):
    """A call that is about to start.

    Attributes:
        app_id: its app id, or `None`.
        model: the requested model; `None` if there is none (the catalog).
        endpoint: the path, such as "/chat/completions".
        user: the request's own `user`, or `None`.
        tags: the tags of the enclosing `tags()` blocks.
        metadata: the metadata of the framework's call.
        framework: "langchain", "llama_index", or `None`.
        input_bytes: the length of the request body.
        max_tokens: the request's limit on the answer, or `None`.
        prices: the catalog's prices, or `None`.
        total_timeout: seconds after which the call ends in any case, or `None`.
    """

    app_id: str | None
    model: str | None
    endpoint: str
    user: str | None = None
    tags: Mapping[str, str] = NO_TAGS
    metadata: Mapping[str, Any] = NO_TAGS
    framework: str | None = None
    input_bytes: int = 0
    max_tokens: int | None = None
    prices: Prices | None = None
    total_timeout: float | None = None

    def refused(self, error: LunosError) -> CallRecord:
        """Return the record of a call that wasn't sent."""
        return CallRecord(
            *(self.app_id, self.model, self.endpoint, 0, 0.0, None, None, error),
            *(self.user, self.tags, self.metadata, None, None, self.framework),
        )


class _Everywhere:
    def __init__(self) -> None:
        self.observers: tuple[Observer, ...] = ()
        self.reset_after_fork()
        reset_after_fork(self)

    def reset_after_fork(self) -> None:
        """Start with a new lock, which no thread of the parent holds."""
        self.lock = threading.Lock()


_here: ContextVar[tuple[Observer, ...]] = ContextVar("lunos_observers", default=())
_everywhere = _Everywhere()


def active_observers(own: Iterable[Observer] = ()) -> tuple[Observer, ...]:
    """Return the observers of a client, the process and the context, each once."""
    observers = (*own, *_everywhere.observers, *_here.get())
    return observers if len(observers) < 2 else tuple(dict.fromkeys(observers))


def delay_of(observers: Iterable[Observer], error: LunosError, delay: float) -> float:
    """Tell observers about a retried attempt, and return the longest of their delays."""
    for observer in observers:
        attempt_failed = getattr(observer, "attempt_failed", None)
        if attempt_failed is not None:
            try:
                delay = max(delay, attempt_failed(error, delay))
            except Exception:  # a call continues whatever happens to its observers
                _log.exception("an observer failed; the retry of the call is not affected")
    return delay


def opening(observers: Iterable[Observer], start: CallStart) -> Generator[float, None, Observers]:
    """Ask the observers in turn to allow a call; yield seconds to wait.

    Returns:
        The observers of the call's end.

    Raises:
        LunosBudgetError: one of them refuses the call.
    """
    opened: list[Observer] = []
    try:
        for observer in observers:
            open_call = getattr(observer, "open_call", None)
            if open_call is not None:
                opened.append((yield from open_call(start)))
                continue
            before_call = getattr(observer, "before_call", None)
            if before_call is not None:
                before_call(app_id=start.app_id, model=start.model)
            opened.append(observer)
    except LunosBudgetError as error:
        record = start.refused(error)  # the same object for all: a store records it once
        for observer in observers:
            refused = getattr(observer, "call_refused", None)
            if refused is not None and start.model is not None:
                refused(record)
        raise
    return tuple(opened)


_failures: WeakKeyDictionary[Any, set[type[Exception]]] = WeakKeyDictionary()


def is_new_failure(observer: Observer, failure: Exception) -> bool:
    """Return whether an observer fails in this way for the first time.

    With a full disk every record fails, and a million tracebacks in the log would help nobody.
    """
    # a method's object or a function's code, as methods and functions may be new for each call
    key = getattr(observer, "__self__", getattr(observer, "__code__", observer))
    try:
        kinds = _failures.setdefault(key, set())
    except TypeError:  # it can't be remembered
        return True
    new = type(failure) not in kinds
    kinds.add(type(failure))
    return new


def begin_here(observer: Observer) -> None:
    """Observe the calls of this context, and of tasks that start in it."""
    _here.set((*_here.get(), observer))


def end_here(observer: Observer) -> None:
    """Stop observing, after `begin_here`."""
    # the last equal one, not a token: a generator may be closed in another context
    observers = list(_here.get())
    if observer in observers:
        del observers[len(observers) - 1 - observers[::-1].index(observer)]
    _here.set(tuple(observers))


def begin_everywhere(observer: Observer) -> None:
    """Observe the calls of the whole process, in any thread."""
    with _everywhere.lock:
        _everywhere.observers = tuple(dict.fromkeys((*_everywhere.observers, observer)))


def end_everywhere(observer: Observer) -> None:
    """Stop observing, after `begin_everywhere`."""
    with _everywhere.lock:
        _everywhere.observers = tuple(
            item for item in _everywhere.observers if item is not observer
        )
