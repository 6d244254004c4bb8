"""Requests as values: what to send, and how to read what comes back.

A request carries its own parser, so that the clients need two verbs, `send` and `stream`, for every
endpoint, and a new endpoint is one new file of pure functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from lunos_core import _json
from lunos_core._multipart import FormFile, encode_form
from lunos_core.answers import Completion
from lunos_core.app import current_app_id
from lunos_core.config import Config, Timeout, check_app_id, check_headers, check_timeout
from lunos_core.errors import ErrorResponse, LunosResponseError, error_in_answer, scrub
from lunos_core.params import Check, check_params

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer with a successful status, and the facts of the call that parsers pass on.

    Attributes:
        status: the HTTP status.
        headers: names in lower case.
        body: the bytes, decompressed.
        attempts: requests made until this answer came.
        fallback: whether the fallback model was asked for it.
        secret: the key, to be kept out of every text; never shown.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    attempts: int = 1
    fallback: bool = False
    secret: str | None = field(default=None, repr=False)

    @property
    def request_id(self) -> str | None:
        """The server's id of the request."""
        found = self.headers.get("x-request-id")
        return None if found is None else scrub(found, self.secret)

    def json(self) -> dict[str, Any]:
        """The body as a JSON object, taken out of its envelope.

        Raises:
            LunosResponseError: it is no JSON object.
            LunosAPIError: it is an error, sent with a successful status.
        """
        value = self.value()
        if not isinstance(value, dict):
            raise self.nonsense("is no JSON object")
        return unwrap(value)

    def value(self) -> Any:
        """The body as any JSON value, as it came.

        Raises:
            LunosResponseError: it is no JSON.
            LunosAPIError: it is an error, sent with a successful status.
        """
        try:
            value = _json.loads(self.body)
        except ValueError:
            raise self.nonsense("is no JSON") from None
        error = error_in_answer(value, status=self.status, secret=self.secret)
        if error is not None:
            error.response = self.as_error_response()
            raise error
        return value

    def nonsense(self, why: str) -> LunosResponseError:
        """The error for an answer that makes no sense."""
        kind = self.headers.get("content-type", "no content type").split(";")[0]
        response = self.as_error_response()
        start = " ".join(response.text.split())[:200]
        return LunosResponseError(
            f"the server's answer ({kind}, {len(self.body)} bytes) {why}: {start!r}",
            status=self.status,
            response=response,
        )

    def as_error_response(self) -> ErrorResponse:
        """The answer in the form that errors carry."""
        text = scrub(self.body.decode("utf-8", "replace"), self.secret)
        headers = {name: scrub(value, self.secret) for name, value in self.headers.items()}
        return ErrorResponse(self.status, headers, text)


def unwrap(value: dict[str, Any]) -> dict[str, Any]:
    """Take an answer out of the envelope `{"id", …, "data": {"choices": […]}, "usage"}`."""
    inner = value.get("data")
    if isinstance(inner, dict) and "choices" not in value:
        return {**value, **inner}
    return value


class StreamReader(Protocol[T_co]):
    """Reads the events of one stream; made anew for every stream."""

    @property
    def done(self) -> bool:
        """Whether the server has said that nothing follows."""
        ...

    @property
    def whole(self) -> bool:
        """Whether the answer has come to its end: what follows may be lost without harm."""
        ...

    def read(self, event: bytes) -> T_co | None:
        """Read one event's data; `None` where there is nothing to show."""

    def end(self) -> T_co | None:
        """Read the end of the bytes: the last chunk, if `[DONE]` has not given it yet.

        Raises:
            LunosStreamInterruptedError: the answer has not come to its end.
        """

    def partial(self) -> Completion | None:
        """What has come so far; `None` for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """What every request says.

    Attributes:
        path: below the base URL, with a leading slash.
        body: the bytes to send, kept so that a retry can send them again.
        method: the HTTP method.
        content_type: of the body.
        model: the model asked for, for errors and the ledger.
        app_id: the application this one call is made for; the client's when `None`.
        headers: more headers for this one call.
        timeout: for this one call; the client's when `None`.
        public: outside `/v1`, and without the key.
        query: what follows the path's `?`, encoded.
        absent: for a route that not every deployment has: what the error says when it is missing
            (501, or a 404 that does not speak of the model).
    """

    path: str
    body: bytes = b""
    method: str = "POST"
    content_type: str | None = "application/json"
    model: str | None = None
    app_id: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: Timeout | None = None
    public: bool = False
    query: str = ""
    absent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Outgoing, Generic[T]):
    """One question, one answer.

    Attributes:
        parse: reads the answer.
        fallback: makes the request for the fallback model, where the user named one.
        elsewhere: makes the same request for the other path of an endpoint that has two; asked for
            where this path is missing and `absent` says that it may be.
    """

    parse: Callable[[Reply], T]
    fallback: Callable[[], Request[T]] | None = None
    elsewhere: Callable[[], Request[T]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRequest(Outgoing, Generic[T]):
    """One question, an answer in pieces.

    Attributes:
        reader: makes the reader for one stream; it is given the reply's facts (no body).
        fallback: makes the request for the fallback model, where the user named one.
    """

    reader: Callable[[Reply], StreamReader[T]]
    fallback: Callable[[], StreamRequest[T]] | None = None


_CALL_OPTIONS = ("app_id", "extra_headers", "extra_body", "timeout")


def json_call(
    path: str,
    fields: Mapping[str, Any],
    params: Mapping[str, Any],
    checks: Mapping[str, Check],
) -> dict[str, Any]:
    """The common part of a JSON request: checked, and as bytes.

    Args:
        path: the endpoint's path.
        fields: what the endpoint cannot do without; `model` among them.
        params: the wire's parameters, and the options of this one call under the names that they
            have in OpenAI's client: `app_id`, `extra_headers`, `extra_body` (fields that this
            package does not know, put into the body as they are) and `timeout`.
        checks: what each parameter may be.

    Raises:
        TypeError: a parameter of the wrong type; the text names it.
        ValueError: a parameter out of range, an app id or header that cannot travel.
    """
    body, facts = _checked(fields, params, checks)
    return {**facts, "path": path, "body": _json.dumps(body)}


def form_call(
    path: str,
    fields: Mapping[str, Any],
    params: Mapping[str, Any],
    checks: Mapping[str, Check],
    file: FormFile,
) -> dict[str, Any]:
    """The common part of a request that carries a file: `json_call`, as a multipart form.

    Args:
        path: the endpoint's path.
        fields: what the endpoint cannot do without; `model` among them.
        params: as `json_call` has them.
        checks: what each parameter may be.
        file: sent as the form's `file`, after the other fields.

    Raises:
        TypeError: a parameter of the wrong type, or one that no form can carry.
        ValueError: a parameter out of range, an app id or header that cannot travel.
    """
    form, facts = _checked(fields, params, checks)
    body, content_type = encode_form(form, file)
    return {**facts, "path": path, "body": body, "content_type": content_type}


# they would go into the body, the key among them
_OF_THE_CLIENT = frozenset(
    {
        "api_key",
        "base_url",
        "api_base",
        "max_retries",
        "default_headers",
        "total_timeout",
        "stream_idle_timeout",
        "retry_on_timeout",
        "max_response_bytes",
        "transport",
        "http_client",
        "http_async_client",
        "async_http_client",
    }
)


def _checked(
    fields: Mapping[str, Any], params: Mapping[str, Any], checks: Mapping[str, Check]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The body's fields, and the other facts of a request."""
    model = fields["model"]
    if not isinstance(model, str):
        raise TypeError(f"model must be a str, not {type(model).__name__}")
    if not model.strip():
        raise ValueError("model is empty: name one, such as 'openai/gpt-4'")
    for name in _OF_THE_CLIENT & params.keys():
        raise TypeError(f"{name!r} is no argument of a single call: give it to the constructor")
    body = {**fields, **check_params(params, checks)}
    app_id, headers, extra, timeout = [body.pop(option, None) for option in _CALL_OPTIONS]
    if extra is not None:
        if not isinstance(extra, Mapping):
            raise TypeError(f"extra_body must be a mapping, not {type(extra).__name__}")
        body.update(extra)
    return body, {
        "model": body["model"],
        "app_id": check_app_id(app_id),
        "headers": {} if headers is None else check_headers(headers),
        "timeout": timeout if timeout is None else check_timeout(timeout),
    }


R_co = TypeVar("R_co", bound=Outgoing, covariant=True)


class MakesRequest(Protocol[R_co]):
    """A `*_request` function of an endpoint."""

    def __call__(self, content: Any, /, *, model: str, **params: Any) -> R_co:
        """Build the request."""
        ...


def fallback_of(
    make: MakesRequest[R_co], content: Any, params: Mapping[str, Any]
) -> Callable[[], R_co] | None:
    """What makes the same request for `fallback_model`; `None` where the user named none."""
    model = params.get("fallback_model")
    if model is None:
        return None
    others = {name: value for name, value in params.items() if name != "fallback_model"}
    return lambda: make(content, model=model, **others)


def request_url(config: Config, request: Outgoing) -> str:
    """The URL that a request goes to."""
    url = (config.root_url if request.public else config.base_url) + request.path
    return f"{url}?{request.query}" if request.query else url


def resolve_app_id(config: Config, request: Outgoing) -> str | None:
    """The app id of a call. Decided here and nowhere else, once, when the call begins.

    The call's own wins over the `app()` block around it, and that over the client's, which is its
    constructor's or else the environment's.
    """
    if request.app_id is not None:
        return request.app_id
    return current_app_id() or config.app_id


def request_headers(
    config: Config, request: Outgoing, *, key: str | None, app_id: str | None
) -> dict[str, str]:
    """The headers of a request; names that the user gives win over ours, in any letter case."""
    ours = {"accept": "application/json", "user-agent": _USER_AGENT}
    if isinstance(request, StreamRequest):
        ours["accept"] = "text/event-stream"
    if request.content_type is not None and request.body:
        ours["content-type"] = request.content_type
    if key is not None:
        ours["authorization"] = f"Bearer {key}"
    given = {**config.default_headers, **request.headers}
    if app_id is not None:
        # the argument is the one place for it: a header of the same name does not hide it
        given = {name: value for name, value in given.items() if name.lower() != "x-app-id"}
        ours["x-app-id"] = app_id
    return {**ours, **{name.lower(): value for name, value in given.items()}}


def _version() -> str:
    from lunos_core import __version__

    return __version__


_USER_AGENT = f"lunos-integrations/{_version()}"
