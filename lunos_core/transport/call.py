"""The decisions of a client between a request and its result: everything except I/O.

`Client` and `AsyncClient` do the I/O; they differ only in `await`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Generic, TypeVar

from lunos_core.accounting.environment import USAGE_DB, with_recorder
from lunos_core.accounting.observers import (
    NO_TAGS,
    CallRecord,
    CallStart,
    Observer,
    active_observers,
    delay_of,
    is_new_failure,
    opening,
)
from lunos_core.accounting.pricing import Prices, price_answer
from lunos_core.accounting.usage import Usage
from lunos_core.app_id import current_app_id, current_tags
from lunos_core.config import Config, Secret, Timeout
from lunos_core.errors import (
    ErrorMap,
    LunosAPIError,
    LunosAuthenticationError,
    LunosBudgetError,
    LunosError,
    LunosNotFoundError,
    LunosPaymentError,
    LunosResponseError,
    LunosTimeoutError,
)
from lunos_core.logs import log as _log
from lunos_core.logs import log_body, reason_of
from lunos_core.request import Reply, Request, StreamRequest
from lunos_core.transport.deadline import Deadline
from lunos_core.transport.retry import is_retried_status, retry_delay
from lunos_core.transport.telemetry import metric_observers, span_observers
from lunos_core.wire.error_bodies import error_from_response
from lunos_core.wire.scrub import add_facts, scrub_body

_FAILED = "an observer failed, and no call is affected; the same again is logged as DEBUG: %r"

T = TypeVar("T")
Q = TypeVar("Q", bound="Request[Any] | StreamRequest[Any]")


class Call(Generic[Q]):
    """The state of one call while it runs."""

    _chunk_times: list[float] | None = None  # of a stream, if metrics are recorded
    _answer: Any = None

    def __init__(
        self,
        config: Config,
        request: Q,
        errors: ErrorMap,
        observers: Sequence[Observer],
        prices: Prices | None = None,
        *,
        key: Secret | None = None,
    ) -> None:
        # a missing key raises here, before anything is sent; async clients have already awaited it
        self._key = None if request.public else key.reveal() if key else config.key
        # a public request has no key, but its answer may repeat the key of an earlier one
        self._secret = self._key or config.known_key
        self.request: Q = request
        # read now: a stream may be consumed outside the `app()` block in which it was opened. The
        # call's own wins over that block's, then the client's, of its constructor or environment
        own = request.app_id
        self._app_id = own if own is not None else current_app_id() or config.app_id
        self._config = config
        self._errors = errors
        self.observers = active_observers(observers)
        if USAGE_DB in os.environ:
            self.observers = with_recorder(self.observers)
        if config.tracing is not False:
            measured = metric_observers(request, config)
            self._chunk_times = [] if measured else None
            self.observers += span_observers(request, config) + measured
        self._prices = prices
        self._tags = current_tags() if self.observers else NO_TAGS
        self._metadata = request.metadata or NO_TAGS
        self._started = time.monotonic()
        self._first_event: float | None = None
        self._failed = 0
        self._retries_left = config.max_retries
        self.deadline = Deadline(config.total_timeout, config.max_response_bytes)
        self._primary_error: LunosError | None = None
        self._is_over = False
        self.usage: Usage | None = None
        self._served: str | None = None
        self._request_id: str | None = None

    def wants_prices(self, priced: set[str]) -> bool:
        """Return whether a ledger needs prices that haven't been loaded; `priced` are known."""
        model = self.request.model
        if model is None or model in priced:
            return False
        if self._prices is not None and self._prices(model) is not None:
            priced.add(model)
            return False
        return any(getattr(observer, "wants_prices", False) for observer in self.observers)

    def admission(self, prices: Prices | None) -> Iterator[float]:
        """Yield seconds to wait until budgets and limits allow the call.

        Args:
            prices: the catalog's prices, as far as they are known.

        Raises:
            LunosBudgetError: a budget or limit refuses the call.
        """
        self._prices = prices
        request, config = self.request, self._config
        start = CallStart(
            self._app_id,
            request.model,
            request.path,
            request.user,
            self._tags,
            self._metadata,
            self._errors.framework,
            len(request.body),
            request.max_tokens,
            prices,
            config.total_timeout,
        )
        try:
            self.observers = yield from opening(self.observers, start)
        except LunosBudgetError as error:
            self._is_over = True
            raise self._errors.apply(error) from None
        self._started = time.monotonic()
        if self.deadline.limited:
            self.deadline = Deadline(config.total_timeout, config.max_response_bytes)

    @property
    def url(self) -> str:
        """The URL of the request."""
        return self.request.url(self._config)

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the request."""
        return self.request.all_headers(self._config, key=self._key, app_id=self._app_id)

    @property
    def timeout(self) -> Timeout:
        """The timeouts of the next attempt."""
        own = self.request.timeout
        return self._config.checked_timeout if own is None else own

    @property
    def retry_on_timeout(self) -> bool:
        """Whether to retry after a timeout, although the server may still be working."""
        return self._config.retry_on_timeout

    @property
    def delivered(self) -> bool:
        """Whether part of the answer has arrived, after which nothing is retried."""
        return self._first_event is not None

    def accept(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        """Return the reply if its status is successful.

        Raises:
            LunosAPIError: it isn't.
        """
        if _log.isEnabledFor(logging.DEBUG):
            log_body(f"sent to {self.request.path}", self.request.body, self._secret)
            log_body(f"answer {status}", body, self._secret)
        if not 200 <= status < 300:
            raise error_from_response(status, headers, body, secret=self._secret)
        if self.request.method == "GET":  # what the service says is printed and stored
            body = scrub_body(body, self._secret)
        return Reply(
            status,
            headers,
            body,
            attempts=self._failed + 1,
            fallback=self._primary_error is not None,
            secret=self._secret,
        )

    def first_event(self) -> None:
        """Note that the answer has begun."""
        if self._first_event is None:
            self._first_event = time.monotonic()

    def failed(
        self, error: LunosError, *, retry: bool, status: int | None, headers: Mapping[str, str]
    ) -> float:
        """Decide what to do after a failure.

        Args:
            error: the failure.
            retry: whether a failure of this kind, without an HTTP status, may be retried.
            status: the answer's status, if an answer had begun.
            headers: the answer's headers.

        Returns:
            The seconds to wait before the next request, which may be for the fallback model.

        Raises:
            LunosError: the failure is final.
        """
        self._failed += 1
        error.attempts = self._failed
        error.model = self.request.model
        error.app_id = self._app_id
        self._add_facts(error, status, headers)
        if self._accept_refusal(error):
            return 0.0
        if isinstance(error, LunosAPIError):
            retry = error.status is not None and is_retried_status(error.status)
        absent = self.request.absent
        no_route = absent is not None and _is_missing_route(error, status)
        if absent is not None and no_route:
            if self._ask_elsewhere(error):
                return 0.0
            error, retry = _no_such_route(error, absent), False
        if retry and self._retries_left and not self.delivered:
            delay = retry_delay(
                attempt=self._failed, retry_after=error.retry_after, jitter=random.random()
            )
            delay = delay_of(self.observers, error, delay)
            if self.deadline.allows(delay):
                self._retries_left -= 1
                _log.info(
                    "attempt %d failed, next in %.2f s: %s", self._failed, delay, reason_of(error)
                )
                return delay
            error.add_note(
                f"total_timeout={self._config.total_timeout:g} leaves no time for the next attempt"
            )
        may_help = not self.delivered and not no_route and _is_of_the_model(error)
        if self.request.fallback is not None and may_help and self.deadline.allows(0):
            _log.info(
                "model %s failed, asking its fallback: %s", self.request.model, reason_of(error)
            )
            self._primary_error = error
            self._retries_left = 0  # the fallback model is tried once, without retries
            self.request = self._located(self.request.fallback())  # type: ignore[arg-type]  # same kind
            return 0.0
        if self._primary_error is not None:
            error.add_note(f"asked as fallback_model, after: {self._primary_error}")
        if self.usage is None and error.partial is not None:
            self._note_usage(error.partial)  # a useless answer was paid for anyway
        mapped = self._errors.apply(error)
        self.tell_observers(mapped)
        raise mapped from error.__cause__

    def _accept_refusal(self, error: LunosError) -> bool:
        """Change the request so that the server may accept it, and return whether it changed."""
        return False

    def _ask_elsewhere(self, error: LunosError) -> bool:
        return False

    def _located(self, request: Q) -> Q:
        return request

    def _add_facts(self, error: LunosError, status: int | None, headers: Mapping[str, str]) -> None:
        # not in `failed`: error trackers show the variables of functions that raise
        add_facts(
            error,
            method=self.request.method,
            url=self.url,
            sent=self.headers,
            status=status,
            received=headers,
            secret=self._secret,
        )

    def _note_usage(self, answer: Any) -> None:
        """Keep the usage of a whole answer, with a price if it has no cost."""
        self._answer = answer
        self._served = getattr(answer, "model", None)
        self._request_id = getattr(answer, "request_id", None)
        if getattr(answer, "usage", None) is not None:
            if self._prices is not None:
                fallback = self._primary_error is None and self.request.fallback is not None
                price_answer(answer, self.request.model, fallback=fallback, prices=self._prices)
            self.usage = answer.usage

    def abandon(self) -> None:
        """Tell observers that the call was cancelled, so that they release its reservations."""
        for observer in self.observers:
            abandon = getattr(observer, "abandon", None)
            if abandon is not None:
                with contextlib.suppress(Exception):  # a cancelled call stays cancelled
                    abandon()

    def tell_observers(self, error: LunosError | None = None) -> None:
        """Tell the observers once that the call is over."""
        if self._is_over or not self.observers:
            return
        self._is_over = True
        record = CallRecord(  # positional: by name takes twice as long
            self._app_id,
            self.request.model,
            self.request.path,
            self._failed if error is not None else self._failed + 1,
            time.monotonic() - self._started,
            None if self._first_event is None else self._first_event - self._started,
            self.usage,
            error,
            self.request.user,
            self._tags,
            self._metadata,
            self._served,
            self._request_id if error is None else error.request_id,
            self._errors.framework,
            None,
            getattr(self._answer, "id", None),
            getattr(self._answer, "finish_reasons", ()),
            tuple(b - a for a, b in pairwise(self._chunk_times)) if self._chunk_times else (),
        )
        for observer in self.observers:
            try:
                observer(record)
            except Exception as failure:
                # the answer is paid for: no observer's failure may replace it
                level = logging.ERROR if is_new_failure(observer, failure) else logging.DEBUG
                _log.log(level, _FAILED, observer, exc_info=True)


class SendCall(Call["Request[T]"], Generic[T]):
    """A call whose answer arrives as a whole."""

    _paths: dict[str, str]
    _home = ""

    def know_paths(self, paths: dict[str, str]) -> None:
        """Share the client's table of missing paths and the paths that answered instead."""
        self._paths, self._home = paths, self.request.path
        if paths:
            self.request = self._located(self.request)

    def finish(self, status: int, headers: Mapping[str, str], body: bytes) -> T:
        """Parse the answer and return the result.

        Raises:
            LunosError: the answer is an error, or makes no sense.
        """
        result = self.request.parse(self.accept(status, headers, body))
        if self.request.path != self._home:
            self._paths[self._home] = self.request.path
        elif self._paths:
            self._paths.pop(self._home, None)
        self._note_usage(result)
        self.tell_observers()
        return result

    def _ask_elsewhere(self, error: LunosError) -> bool:
        other = self.request.elsewhere
        if other is None:
            return False
        _log.info("no route %s, asking the other: %s", self.request.path, reason_of(error))
        self.request = replace(self.request, path=other, elsewhere=None)
        return True

    def _located(self, request: Request[T]) -> Request[T]:
        path = self._paths.get(request.path)
        return request if path is None else replace(request, path=path, elsewhere=request.path)


def _is_of_the_model(error: LunosError) -> bool:
    if isinstance(error, LunosAuthenticationError | LunosPaymentError):
        return False
    return isinstance(error, LunosAPIError | LunosResponseError | LunosTimeoutError)


def _is_missing_route(error: LunosError, status: int | None) -> bool:
    if status != 404:
        return status == 501
    said = f"{error.code} {error.param} {error.type} {error.message}".lower()
    name = (error.model or "model").lower().rpartition("/")[2]
    # as a whole word: every text contains a name of one or two letters
    return "model" not in said and not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", said)


def _no_such_route(error: LunosError, absent: str) -> LunosError:
    clear = LunosNotFoundError(f"{absent}: {error.message}", **error.facts())
    clear.__cause__ = error.__cause__
    return clear
