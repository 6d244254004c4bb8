"""Read the wire's error answers as typed errors.

Source of the format: the Lunos API reference, OpenAI's error object, the vendor's own readers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from lunos_core.errors import (
    ErrorResponse,
    LunosAPIError,
    LunosAuthenticationError,
    LunosBadRequestError,
    LunosConflictError,
    LunosContextOverflowError,
    LunosNotFoundError,
    LunosPaymentError,
    LunosPermissionError,
    LunosRateLimitError,
    LunosServerError,
)
from lunos_core.wire import json
from lunos_core.wire.scrub import scrub, scrub_value
from lunos_core.wire.text import decode, flag_of

PROXY_REMEDY = (
    "the proxy asks for a name and password: put them into the variable that names it (HTTPS_PROXY,"
    " HTTP_PROXY or ALL_PROXY), as in http://user:password@host:port"
)

_BY_STATUS: dict[int, type[LunosAPIError]] = {
    401: LunosAuthenticationError,
    407: LunosAuthenticationError,
    402: LunosPaymentError,
    403: LunosPermissionError,
    404: LunosNotFoundError,
    408: LunosServerError,
    409: LunosConflictError,
    425: LunosServerError,
    429: LunosRateLimitError,
}

# For errors that arrive with status 200 (in a body, or inside a stream) and a code that is a word:
# HTTP's own ("UNAUTHORIZED") and the providers'.
_STATUS_BY_WORD = {
    # with the names that Python 3.13 has replaced, and those that older ones lack
    **{name.lower(): int(s) for name, s in HTTPStatus.__members__.items() if s >= 400},
    "content_too_large": 413,
    "uri_too_long": 414,
    "range_not_satisfiable": 416,
    "unprocessable_content": 422,
    "invalid_request": 400,
    "invalid_request_error": 400,
    "validation_error": 422,
    "context_length_exceeded": 400,
    "authentication_error": 401,
    "unauthenticated": 401,
    "invalid_api_key": 401,
    "invalid_secret_key": 401,
    "secret_key_expired": 401,
    "token_expired": 401,
    "insufficient_quota": 402,
    "insufficient_balance": 402,
    "insufficient_credit": 402,
    "insufficient_credits": 402,
    "insufficient_funds": 402,
    "permission_error": 403,
    "permission_denied": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "rate_limit": 429,
    "rate_limited": 429,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "api_error": 500,
    "internal_error": 500,
    "server_error": 500,
    "overloaded": 503,
    "overloaded_error": 503,
}

# the reference's envelope has {"status": "success"} for an answer
_FAILED = ("error", "fail", "failed", "failure")

# {"success": false, "message": …, "error": "UNAUTHORIZED"}: `error` is the code
_BARE_CODE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*")
_STATUS_CODE = re.compile(r"[45][0-9]{2}")


# Phrases of the providers behind the gateway. Some send them with a 429 or 500, so none of these
# may be a phrase about a rate limit ("maximum number of tokens per minute").
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
    """Read an error answer, in any of the wire's shapes.

    `{"error": {"code", "message", "param", "type"}}`, `{"error": "text"}`, `{"message": "text"}`,
    `{"success": false, "message": "text", "error": "CODE"}`, or a body that isn't JSON at all (a
    proxy's HTML page).

    Args:
        status: the HTTP status.
        headers: the answer's headers, names in lower case.
        body: the answer's body.
        secret: the key, removed from every text in case the server echoed it.
    """
    response = error_response(status, headers, body, secret=secret)
    try:
        value = json.loads(response.text)
    except ValueError:
        value = None
    value = _unwrapped(value)
    facts = _error_facts(value)
    message = facts.pop("message", None) or _plain_message(response)
    if status == 407:
        message = f"{message}; {PROXY_REMEDY}"
    if isinstance(value, dict) and ("success" in value or value.get("status") in _FAILED):
        status = _status_of(facts) or status
    return _api_error(
        message,
        status=status,
        facts=facts,
        request_id=response.headers.get("x-request-id"),
        retry_after=retry_after_seconds(headers),
        response=response,
    )


def error_in_answer(
    value: Any, *, status: int = 200, secret: str | None = None
) -> LunosAPIError | None:
    """Return the error inside an answer with a successful status, or `None`.

    Args:
        value: the parsed body, or one parsed event of a stream.
        status: the HTTP status of the answer. The error gets the status of its code (429 for
            "rate_limit_exceeded"), or this one if the code is unknown.
        secret: the key, removed from the message in case the server echoed it.
    """
    value = _unwrapped(value)
    if not isinstance(value, dict) or not (value.get("error") or _says_failed(value)):
        return None
    value = scrub_value(value, secret)
    facts = _error_facts(value)
    message = facts.pop("message", None) or "the server reported an error without a message"
    response = ErrorResponse(status, {}, json.dumps(value).decode())
    return _api_error(message, status=_status_of(facts) or status, facts=facts, response=response)


def error_response(
    status: int, headers: Mapping[str, str], body: bytes, *, secret: str | None = None
) -> ErrorResponse:
    """Return an answer in the form that errors have, without the key."""
    return ErrorResponse(status, scrub_value(dict(headers), secret), scrub(decode(body), secret))


def _unwrapped(value: Any) -> Any:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    data = value.get("data") if isinstance(value, dict) else None
    if isinstance(data, dict) and data.get("error") and not data.get("choices"):
        return data
    return value


def _says_failed(value: Mapping[str, Any]) -> bool:
    """Return whether an answer without an error object says that it failed.

    Results win: a flag mustn't discard an answer that was paid for.
    """
    data = value.get("data")
    if value.get("choices") or (isinstance(data, dict) and data.get("choices")):
        return False
    if (isinstance(data, list) and data) or (data and not value.get("message")):
        return False
    is_failure = value.get("status") in _FAILED or value.get("object") == "error"
    if is_failure and isinstance(value.get("message"), str):
        return True
    return flag_of(value.get("success")) is False


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
    facts = {
        name: str(source[name])
        for name in ("message", "code", "param", "type")
        if isinstance(source.get(name), str | int) and source[name] != ""
    }
    if message := _joined(source.get("message")):
        facts["message"] = message
    if isinstance(error, str) and error:
        is_code = bool(_BARE_CODE.fullmatch(error))
        if is_code:
            facts.setdefault("code", error)
        if "message" not in facts:
            facts["message"] = error
        elif not is_code:
            facts.setdefault("type", error)
    numbers = (source.get(name) for name in ("statusCode", "status_code", "status"))
    status = next((n for n in numbers if isinstance(n, int) and 400 <= n <= 599), None)
    if status is not None and _status_of(facts) is None:
        facts.setdefault("code", str(status))
    return facts


def _joined(message: Any) -> str:
    if isinstance(message, dict):
        message = [message.get(name) for name in ("message", "text")]
    texts = message if isinstance(message, list) else ()
    return "; ".join(text for text in texts if isinstance(text, str) and text)


def _status_of(facts: Mapping[str, str]) -> int | None:
    code = facts.get("code", "")
    if _STATUS_CODE.fullmatch(code):
        return int(code)
    for word in (code, facts.get("type", "")):
        status = _STATUS_BY_WORD.get(word.lower().replace(" ", "_").replace("-", "_"))
        if status is not None:
            return status
    return None


def _plain_message(response: ErrorResponse) -> str:
    kind = response.headers.get("content-type", "no content type").split(";")[0]
    start = " ".join(response.text.split())[:200]
    text = f"the server answered {response.status_code} with {kind}"
    return f"{text}: {start}" if start else f"{text} and an empty body"


def retry_after_seconds(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Read `retry-after-ms` (milliseconds) or `Retry-After` (seconds or an HTTP date).

    Args:
        headers: the answer's headers, names in lower case.
        now: the time with which a date is compared; by default the answer's own `Date`, as this
            machine's clock may be wrong by more than the wait.

    Returns:
        Seconds, never negative, or `None` if there is no readable value.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or value is None:
        return seconds
    when = _read_date(value)
    if when is None:
        return None
    now = now or _read_date(headers.get("date")) or datetime.now(UTC)
    return max(0.0, (when - now).total_seconds())


def _read_date(value: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(value or "")
    except (ValueError, OverflowError):
        return None
    # "-0000" is UTC, by RFC 5322
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
