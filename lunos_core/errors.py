"""What can go wrong, as a tree, and the reading of the wire's error answers.

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
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lunos_core import _json
from lunos_core._retry import retry_after_seconds


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """The answer behind an error, in the form that tracers read (`status_code`, `text`, `json`)."""

    status_code: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    text: str = field(default="", repr=False)

    def json(self) -> Any:
        """The body as JSON; `ValueError` where it is none."""
        return _json.loads(self.text)


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


_BY_STATUS: dict[int, type[LunosAPIError]] = {
    401: LunosAuthenticationError,
    402: LunosPaymentError,
    403: LunosPermissionError,
    404: LunosNotFoundError,
    408: LunosServerError,
    409: LunosConflictError,
    425: LunosServerError,
    429: LunosRateLimitError,
}

# For errors that arrive with status 200 (in a body, or inside a stream) and a code in words.
_STATUS_BY_WORD = {
    "invalid_request_error": 400,
    "context_length_exceeded": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "insufficient_quota": 402,
    "insufficient_balance": 402,
    "permission_error": 403,
    "permission_denied": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "api_error": 500,
    "internal_error": 500,
    "internal_server_error": 500,
    "server_error": 500,
    "overloaded_error": 503,
}

# Wordings of the providers behind the gateway. Some of them send it as 429 or 500, so none of these
# may be the words of a rate limit ("maximum number of tokens per minute").
_OVERFLOW_WORDS = (
    "maximum context length",
    "context length exceeded",
    "context_length_exceeded",
    "context window",
    "exceeds the available context size",
    "exceed_context_size",
    "prompt is too long",
    "input is too long",
    "too many input tokens",
    "reduce the length of the messages",
)


def error_from_response(
    status: int, headers: Mapping[str, str], body: bytes, *, secret: str | None = None
) -> LunosAPIError:
    """Read an error answer, in any of the four shapes of the wire.

    `{"error": {"code", "message", "param", "type"}}`, `{"error": "text"}`, `{"message": "text"}`,
    or a body that is no JSON at all (a proxy's HTML page).

    Args:
        status: the HTTP status.
        headers: the answer's headers, names in lower case.
        body: the answer's body.
        secret: the key, taken out of every text should the server have echoed it.
    """
    text = scrub(body.decode("utf-8", "replace"), secret)
    headers = {name: scrub(value, secret) for name, value in headers.items()}
    try:
        value = _json.loads(text)
    except ValueError:
        value = None
    facts = _error_facts(value)
    message = facts.pop("message", None) or _plain_message(status, headers, text)
    return _api_error(
        message,
        status=status,
        facts=facts,
        request_id=headers.get("x-request-id"),
        retry_after=retry_after_seconds(headers),
        response=ErrorResponse(status, headers, text),
    )


def error_in_answer(
    value: Any, *, status: int = 200, secret: str | None = None
) -> LunosAPIError | None:
    """The error that an answer with a successful status holds, or `None`.

    Args:
        value: the parsed body, or one parsed event of a stream.
        status: the HTTP status that it came with; the error carries the status that its code
            stands for (429 for "rate_limit_exceeded"), and this one where the code says nothing.
        secret: the key, taken out of the message should the server have echoed it.
    """
    if not isinstance(value, dict) or not value.get("error"):
        return None
    facts = {name: scrub(text, secret) for name, text in _error_facts(value).items()}
    message = facts.pop("message", None) or "the server reported an error without a message"
    return _api_error(message, status=_status_of(facts) or status, facts=facts)


_STARS = "**********"


def scrub(text: str, secret: str | None) -> str:
    """`text` without the key, should a server or a proxy have echoed it."""
    if not secret:
        return text
    text = text.replace(secret, _STARS)
    if '"' in secret or "\\" in secret:  # JSON writes it in another way
        text = text.replace(json.dumps(secret)[1:-1], _STARS)
    return text


def _api_error(message: str, *, status: int, facts: dict[str, Any], **more: Any) -> LunosAPIError:
    kind = _BY_STATUS.get(status)
    if kind is None:
        kind = LunosServerError if status >= 500 else LunosBadRequestError
        if status < 400:
            kind = LunosAPIError
    words = f"{facts.get('code')} {message}".lower()
    if status in (400, 413, 422, 429, 500) and any(word in words for word in _OVERFLOW_WORDS):
        kind = LunosContextOverflowError
    known = {name: value for name, value in {**facts, **more}.items() if value is not None}
    return kind(message, status=status, **known)


def _error_facts(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    error = value.get("error")
    source = error if isinstance(error, dict) else value
    found = {
        name: str(source[name])
        for name in ("message", "code", "param", "type")
        if isinstance(source.get(name), str | int) and source[name] != ""
    }
    if isinstance(error, str):
        found["message"] = error
    return found


def _status_of(facts: Mapping[str, str]) -> int | None:
    code = facts.get("code", "")
    if code.isascii() and code.isdigit() and 400 <= int(code[:4]) <= 599:
        return int(code)
    return _STATUS_BY_WORD.get(code) or _STATUS_BY_WORD.get(facts.get("type", ""))


def _plain_message(status: int, headers: Mapping[str, str], text: str) -> str:
    kind = headers.get("content-type", "no content type").split(";")[0]
    start = " ".join(text.split())[:200]
    said = f"the server answered {status} with {kind}"
    return f"{said}: {start}" if start else f"{said} and an empty body"
