"""What can go wrong, as a tree, and how errors leave the clients.

```
LunosError
├── LunosConfigError (ValueError)       no key, an unusable base URL: raised before any request
├── LunosBudgetError                    a ledger's budget is spent: raised before any request
├── LunosConnectionError                refused, dropped, DNS, TLS
│   └── LunosTimeoutError               connect, read, write or pool timeout
├── LunosResponseError                  a successful status with an answer that makes no sense
│   └── LunosStreamInterruptedError     a stream that stopped or was cut before its end (also a
│                                       LunosConnectionError); `partial` has what had come
└── LunosAPIError                       the server said no
    ├── LunosBadRequestError            400, 422 and other 4xx
    │   └── LunosContextOverflowError   the prompt is longer than the model's window
    ├── LunosAuthenticationError        401: key missing or wrong
    ├── LunosPaymentError               402: no balance
    ├── LunosPermissionError            403
    ├── LunosNotFoundError              404: no such route or model
    ├── LunosConflictError              409
    ├── LunosRateLimitError             429; `retry_after` in seconds where the server said it
    └── LunosServerError                408, 425 and ≥ 500
```
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """The answer behind an error, in the form that tracers read (`status_code`, `text`, `json`)."""

    status_code: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    text: str = field(default="", repr=False)

    def json(self) -> Any:
        """The body as JSON; `ValueError` where it is none."""
        try:
            return json.loads(self.text)
        except RecursionError:
            raise ValueError("nested too deep to be read") from None


class LunosError(Exception):
    """Everything that this project raises about a call.

    Attributes:
        message: what went wrong, without the facts below.
        status: HTTP status, or `None` where no answer came.
        code: the server's error code.
        param: the request field that the server complained about.
        type: the server's error type.
        request_id: the server's id of the request (`x-request-id`).
        app_id: the app id that the call carried.
        model: the model that was asked.
        retry_after: seconds that the server asked to wait, or `None`.
        attempts: requests made, retries included.
        partial: what had arrived before the failure, or `None`: a `Completion` here, the
            framework's own message in the adapters.
        response: the answer's status, headers and text, or `None`.
    """

    status: int | None = None
    code: str | None = None
    param: str | None = None
    type: str | None = None
    request_id: str | None = None
    app_id: str | None = None
    model: str | None = None
    retry_after: float | None = None
    attempts: int = 0
    partial: Any = None
    response: ErrorResponse | None = None

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        for name, value in facts.items():
            if name not in _FACTS:
                raise TypeError(f"an error carries no fact named {name!r}")
            setattr(self, name, value)

    def facts(self) -> dict[str, Any]:
        """The facts that are known, by name."""
        return {name: self.__dict__[name] for name in _FACTS if name in self.__dict__}

    def __str__(self) -> str:
        """The message, and after it what helps to find the call again."""
        said = [
            f"{label} {value}"
            for label, value in (
                ("status", self.status),
                ("code", self.code),
                ("param", self.param),
                ("model", self.model),
                ("app id", self.app_id),
                ("request id", self.request_id),
                ("attempts", self.attempts if self.attempts > 1 else None),
            )
            if value is not None
        ]
        return f"{self.message} ({', '.join(said)})" if said else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by message and facts: worker processes send errors home."""
        return _rebuild, (type(self), self.message, self.facts())


_FACTS = tuple(name for name in LunosError.__annotations__)


def _rebuild(kind: type[LunosError], message: str, facts: dict[str, Any]) -> LunosError:
    return kind(message, **facts)


class LunosConfigError(LunosError, ValueError):
    """No key, or settings that no request could be made with."""


class LunosBudgetError(LunosError):
    """The budget of a `UsageLedger` is spent: nothing was sent."""


class LunosConnectionError(LunosError):
    """No answer came: refused, dropped, DNS, TLS."""


class LunosTimeoutError(LunosConnectionError):
    """No answer came in time."""


class LunosResponseError(LunosError):
    """A successful status, but an answer that makes no sense."""


class LunosStreamInterruptedError(LunosResponseError, LunosConnectionError):
    """A stream ended, politely or not, before the answer did; `partial` holds what had come."""


class LunosAPIError(LunosError):
    """The server answered with an error."""


class LunosBadRequestError(LunosAPIError):
    """The server refused the request (400, 422 and other 4xx)."""


class LunosContextOverflowError(LunosBadRequestError):
    """The prompt is longer than the model's window."""


class LunosAuthenticationError(LunosAPIError):
    """401: the key is missing or wrong."""


class LunosPaymentError(LunosAPIError):
    """402: the account has no balance left."""


class LunosPermissionError(LunosAPIError):
    """403: this key may not do that."""


class LunosNotFoundError(LunosAPIError):
    """404: no such route or model."""


class LunosConflictError(LunosAPIError):
    """409: the request met another one."""


class LunosRateLimitError(LunosAPIError):
    """429: too many requests; see `retry_after`."""


class LunosServerError(LunosAPIError):
    """The server failed (408, 425 or ≥ 500)."""


def as_it_is(completion: Any) -> Any:
    """The partial answer of a caller without a framework; a name, so that it can be pickled."""
    return completion


@dataclass(frozen=True, slots=True)
class ErrorMap:
    """How errors leave the clients: an adapter's own classes, and its own type for `partial`.

    Attributes:
        types: the core's class to a class of the adapter that is derived from it.
        partial: turns a partial `Completion` into the framework's message.
    """

    types: Mapping[type[LunosError], type[LunosError]] = field(default_factory=dict)
    partial: Callable[[Any], Any] = as_it_is

    def apply(self, error: LunosError) -> LunosError:
        """The error as the caller sees it."""
        if error.partial is not None:
            error.partial = self.partial(error.partial)
        kind = self.types.get(type(error))
        if kind is None:
            return error
        mapped = kind(error.message, **error.facts())
        for note in getattr(error, "__notes__", ()):
            mapped.add_note(note)
        return mapped
