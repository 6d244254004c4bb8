"""Requests as values: the bytes to send, and the parser of the answer.

So the clients need two verbs, `send` and `stream`, for all endpoints, and a new endpoint is one new
file of pure functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from lunos_core._version import __version__
from lunos_core.config import Config, Timeout
from lunos_core.errors import ErrorResponse, LunosResponseError
from lunos_core.wire import json
from lunos_core.wire.error_bodies import error_in_answer, error_response
from lunos_core.wire.scrub import scrub
from lunos_core.wire.sse import PlainPieces, SSEDecoder

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer with a successful status, and the facts about the call that parsers need.

    Attributes:
        status: the HTTP status.
        headers: names in lower case.
        body: the bytes, decompressed.
        attempts: requests sent for this answer, retries included.
        fallback: whether the fallback model answered.
        secret: the key, to be removed from every text.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)  # a server may repeat the key
    body: bytes = field(repr=False)
    attempts: int = 1
    fallback: bool = False
    secret: str | None = field(default=None, repr=False)

    @property
    def request_id(self) -> str | None:
        """The server's id of the request."""
        request_id = self.headers.get("x-request-id")
        return None if request_id is None else scrub(request_id, self.secret)

    def json(self) -> dict[str, Any]:
        """Return the body as a JSON object, without its envelope.

        Raises:
            LunosResponseError: it isn't a JSON object.
            LunosAPIError: it is an error, sent with a successful status.
        """
        value = self.value()
        if not isinstance(value, dict):
            raise self.malformed("isn't a JSON object")
        return unwrap(value)

    def value(self) -> Any:
        """Return the body as any JSON value, unchanged.

        Raises:
            LunosResponseError: it isn't valid JSON.
            LunosAPIError: it is an error, sent with a successful status.
        """
        try:
            value = json.loads(self.body)
        except ValueError:
            raise self.malformed("isn't valid JSON") from None
        if not _has_results(value):
            error = error_in_answer(value, status=self.status, secret=self.secret)
            if error is not None:
                error.response = self.as_error_response()
                raise error
        return value

    def malformed(self, why: str) -> LunosResponseError:
        """Return the error for an invalid answer."""
        kind = self.headers.get("content-type", "no content type").split(";")[0]
        response = self.as_error_response()
        start = " ".join(response.text.split())[:200]
        return LunosResponseError(
            f"the server's answer ({kind}, {len(self.body)} bytes) {why}: {start!r}",
            status=self.status,
            response=response,
        )

    def as_error_response(self) -> ErrorResponse:
        """Return the answer as the `response` of an error, without the key."""
        return error_response(self.status, self.headers, self.body, secret=self.secret)


def _has_results(value: Any) -> bool:
    """Return whether an answer contains results and no `error`, as most do.

    Its other fields then don't count as an error: see `error_in_answer`.
    """
    if not isinstance(value, dict) or value.get("error"):
        return False
    data = value.get("data")
    return bool(value.get("choices")) if data is None else isinstance(data, list) and bool(data)


def unwrap(value: dict[str, Any]) -> dict[str, Any]:
    """Take an answer out of the envelope `{"id", …, "data": {"choices": […]}, "usage"}`."""
    inner = value.get("data")
    if isinstance(inner, dict) and "choices" not in value:
        return {**value, **inner}
    return value


class StreamReader(Protocol[T_co]):
    """Reads the events of one stream; each stream gets a new reader."""

    @property
    def done(self) -> bool:
        """Whether the server has announced the end."""
        ...

    @property
    def whole(self) -> bool:
        """Whether the answer is complete, so that losing the rest does no harm."""
        ...

    def read(self, event: bytes) -> T_co | None:
        """Read one event's data; `None` if it contains nothing to show."""

    def end(self) -> T_co | None:
        """Read the end of the bytes: the last chunk, if `[DONE]` hasn't given it yet.

        Raises:
            LunosStreamInterruptedError: the answer isn't complete.
        """

    def partial(self) -> Any:
        """What has arrived so far, as the endpoint's answer, or `None`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """The common part of all requests.

    Attributes:
        path: below the base URL, with a leading slash.
        body: the bytes to send; a retry sends them again.
        method: the HTTP method.
        content_type: of the body.
        model: the requested model, for errors and ledgers.
        app_id: the application that makes this call; the client's if `None`.
        headers: extra headers for this call.
        timeout: for this call; the client's if `None`.
        public: outside `/v1`, and without the key.
        query: the encoded query, without the `?`.
        absent: the error's message if the deployment lacks this route
            (501, or a 404 that doesn't mention the model).
        user: the body's `user`, for ledgers and budgets.
        max_tokens: the body's limit of output tokens, for ledgers and budgets.
        metadata: of the framework's run; a usage store keeps the keys in its `tag_keys`.
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
    user: str | None = None
    max_tokens: int | None = None
    metadata: Mapping[str, Any] | None = field(default=None, repr=False)

    _accept: ClassVar[str] = "application/json"

    def url(self, config: Config) -> str:
        """Return the URL of the request."""
        url = (config.root_url if self.public else config.base_url) + self.path
        return f"{url}?{self.query}" if self.query else url

    def all_headers(self, config: Config, *, key: str | None, app_id: str | None) -> dict[str, str]:
        """Return the headers to send; the user's override ours, in any letter case."""
        ours = {"accept": self._accept, "user-agent": _USER_AGENT}
        if self.content_type is not None and self.body:
            ours["content-type"] = self.content_type
        if key is not None:
            ours["authorization"] = f"Bearer {key}"
        given = {**config.default_headers, **self.headers}
        if app_id is not None:
            # the argument overrides a header of the same name
            given = {name: value for name, value in given.items() if name.lower() != "x-app-id"}
            ours["x-app-id"] = app_id
        return {**ours, **{name.lower(): value for name, value in given.items()}}


_USER_AGENT = f"lunos-integrations/{__version__}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Outgoing, Generic[T]):
    """A request with one answer.

    Attributes:
        parse: reads the answer.
        fallback: makes the request for the fallback model, if there is one.
        elsewhere: the endpoint's other path, used if this one is missing and `absent` is set.
            A client remembers which of the two answered.
    """

    parse: Callable[[Reply], T]
    fallback: Callable[[], Request[T]] | None = None
    elsewhere: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRequest(Outgoing, Generic[T]):
    """A request whose answer is streamed.

    Attributes:
        reader: makes the reader of one stream, from the reply (without its body).
        fallback: makes the request for the fallback model, if there is one.
        decoder: makes the object that splits the bytes into events.
    """

    reader: Callable[[Reply], StreamReader[T]]
    fallback: Callable[[], StreamRequest[T]] | None = None

    _accept: ClassVar[str] = "text/event-stream"
    decoder: Callable[[], SSEDecoder | PlainPieces] = SSEDecoder
