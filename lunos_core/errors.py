"""The tree of errors, and its mapping to the adapters' classes.

```
LunosError
├── LunosConfigError (ValueError)       no key, an unusable base URL: raised before any request
├── LunosBudgetError                    a ledger's budget is spent: raised before any request
├── LunosConnectionError                refused, dropped, DNS, TLS
│   └── LunosTimeoutError               connect, read, write or pool timeout
├── LunosResponseError                  a successful status with an invalid answer
│   └── LunosStreamInterruptedError     a stream stopped or was cut before its end (also a
│                                       LunosConnectionError); `partial` has what had arrived
└── LunosAPIError                       the server answered with an error
    ├── LunosBadRequestError            400, 422 and other 4xx
    │   └── LunosContextOverflowError   the prompt is longer than the model's window
    ├── LunosAuthenticationError        401: key missing or wrong
    ├── LunosPaymentError               402: no balance
    ├── LunosPermissionError            403
    ├── LunosNotFoundError              404: no such route or model
    ├── LunosConflictError              409
    ├── LunosRateLimitError             429; `retry_after` in seconds, if the server sent it
    └── LunosServerError                408, 425 and ≥ 500
```

Every class, also of the adapters, has the attributes of `ErrorFacts`: `status_code` (or
`status`), `body`, `headers`, `request`, `response`, `request_id`, `code`, `param`, `type`, `model`,
`app_id`, `attempts`, `retry_after` and `partial`. None of them contains the key.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ErrorRequest:
    """The request behind an error.

    Attributes:
        method: the HTTP method.
        url: without its query, which may contain secrets.
        headers: names in lower case; stars replace values that may be secrets.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """The response behind an error, as tracers read it (`status_code`, `text`, `json`)."""

    status_code: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    text: str = field(default="", repr=False)

    def json(self) -> Any:
        """Return the body as JSON.

        Raises:
            ValueError: the body isn't valid JSON.
        """
        try:
            return json.loads(self.text)
        except RecursionError:
            raise ValueError("nested too deeply to be read") from None


class ErrorFacts:
    """The known facts about a failed call.

    Attributes:
        status: the HTTP status, or `None` without a response.
        code: the server's error code.
        param: the request field that the server rejected.
        type: the server's error type.
        request_id: the server's id of the request (`x-request-id`).
        app_id: the app id of the call.
        model: the requested model.
        retry_after: the seconds to wait that the server sent, or `None`.
        attempts: requests sent, retries included.
        partial: what had arrived before the failure, or `None`: a `Completion` here, the
            framework's message in the adapters.
        request: the request's method, URL and headers, or `None` if none was made.
        response: the response's status, headers and text, or `None` without one.
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
    request: ErrorRequest | None = None
    response: ErrorResponse | None = None

    @property
    def status_code(self) -> int | None:
        """`status`, under OpenAI's name."""
        return self.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The response's headers, names in lower case; empty without a response."""
        return {} if self.response is None else self.response.headers

    @property
    def body(self) -> Any:
        """The response's body: parsed if it is JSON, else its text; `None` without a response."""
        if self.response is None:
            return None
        try:
            return self.response.json()
        except ValueError:
            return self.response.text


class LunosError(ErrorFacts, Exception):
    """The base class of all errors about a call.

    Attributes:
        message: what went wrong, without the other facts.
    """

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        for name, value in facts.items():
            if name not in _FACTS:
                raise TypeError(f"an error has no fact named {name!r}")
            setattr(self, name, value)

    def facts(self) -> dict[str, Any]:
        """Return the known facts, by name."""
        return {name: self.__dict__[name] for name in _FACTS if name in self.__dict__}

    def __str__(self) -> str:
        """The message, followed by the facts that identify the call."""
        facts = [
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
        return f"{self.message} ({', '.join(facts)})" if facts else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # by message and facts: worker processes send errors to their parent
        return _rebuild, (type(self), self.message, self.facts())


_FACTS = tuple(ErrorFacts.__annotations__)


def _rebuild(kind: type[LunosError], message: str, facts: dict[str, Any]) -> LunosError:
    return kind(message, **facts)


class LunosConfigError(LunosError, ValueError):
    """No key, or invalid settings."""


class LunosBudgetError(LunosError):
    """A budget or a limit of a `UsageLedger` has no room for the call: nothing was sent."""


class LunosConnectionError(LunosError):
    """No response: refused, dropped, DNS, TLS."""


class LunosTimeoutError(LunosConnectionError):
    """No response in time."""


class LunosResponseError(LunosError):
    """A successful status with an invalid answer."""


class LunosStreamInterruptedError(LunosResponseError, LunosConnectionError):
    """A stream ended before the answer did; `partial` has what had arrived."""


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
    """403: the key lacks the permission."""


class LunosNotFoundError(LunosAPIError):
    """404: no such route or model."""


class LunosConflictError(LunosAPIError):
    """409: the request conflicts with another one."""


class LunosRateLimitError(LunosAPIError):
    """429: too many requests; see `retry_after`."""


class LunosServerError(LunosAPIError):
    """The server failed (408, 425 or ≥ 500)."""


def unchanged(partial: Any) -> Any:
    """Return the partial answer unchanged: for clients without a framework, and picklable."""
    return partial


@dataclass(frozen=True, slots=True)
class ErrorMap:
    """How a client raises errors: as an adapter's classes, with its type for `partial`.

    Attributes:
        types: maps the core's classes to the adapter's subclasses.
        partial: turns a partial `Completion` into the framework's message.
        framework: the adapter's framework, for the records of calls.
    """

    types: Mapping[type[LunosError], type[LunosError]] = field(default_factory=dict)
    partial: Callable[[Any], Any] = unchanged
    framework: str | None = None

    def apply(self, error: LunosError) -> LunosError:
        """Return the error in the caller's class."""
        if error.partial is not None:
            error.partial = self.partial(error.partial)
        kind = self.types.get(type(error))
        if kind is None:
            return error
        mapped = kind(error.message, **error.facts())
        for note in getattr(error, "__notes__", ()):
            mapped.add_note(note)
        return mapped
