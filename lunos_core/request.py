"""Requests as values: what to send, and how to read the answer.

A request carries its own parser: the clients need two verbs, `send` and `stream`, for all
endpoints, and a new endpoint is one new file of pure functions.
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
    """One answer with a successful status, and what parsers need to know of the call.

    Attributes:
        status: the HTTP status.
        headers: names in lower case.
        body: the bytes, decompressed.
        attempts: requests sent until this answer came.
        fallback: whether the fallback model was asked for it.
        secret: the key, to be kept out of every text.
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
        """Return the body as a JSON object, taken out of its envelope.

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
        """Return the error for an answer that makes no sense."""
        kind = self.headers.get("content-type", "no content type").split(";")[0]
        response = self.as_error_response()
        start = " ".join(response.text.split())[:200]
        return LunosResponseError(
            f"the server's answer ({kind}, {len(self.body)} bytes) {why}: {start!r}",
            status=self.status,
            response=response,
        )

    def as_error_response(self) -> ErrorResponse:
        """Return the answer in the form that errors carry, without the key."""
        return error_response(self.status, self.headers, self.body, secret=self.secret)


def _has_results(value: Any) -> bool:
    """Return whether an answer holds results and names no error, as most do.

    They win over anything else that it says: see `error_in_answer`.
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
    """Reads the events of one stream; every stream gets a new reader."""

    @property
    def done(self) -> bool:
        """Whether the server has said that nothing more follows."""
        ...

    @property
    def whole(self) -> bool:
        """Whether the answer is complete: what follows may be lost without harm."""
        ...

    def read(self, event: bytes) -> T_co | None:
        """Read one event's data; `None` where there is nothing to show."""

    def end(self) -> T_co | None:
        """Read the end of the bytes: the last chunk, if `[DONE]` hasn't given it yet.

        Raises:
            LunosStreamInterruptedError: the answer isn't complete.
        """

    def partial(self) -> Any:
        """What has come so far, as the endpoint's answer; `None` for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """What all requests have in common.

    Attributes:
        path: below the base URL, with a leading slash.
        body: the bytes to send; a retry sends them again.
        method: the HTTP method.
        content_type: of the body.
        model: the model asked for, for errors and the ledger.
        app_id: the application that this call is made for; the client's when `None`.
        headers: more headers for this call.
        timeout: for this call; the client's when `None`.
        public: outside `/v1`, and without the key.
        query: what follows the path's `?`, encoded.
        absent: what the error says if the deployment lacks this route
            (501, or a 404 that does not speak of the model).
        user: who it is for, as the body says: for ledgers and budgets.
        max_tokens: of the answer, as the body says: the same.
        metadata: of the framework's run; a usage store keeps what its `tag_keys` name.
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
        """Return the headers to send; the user's win over ours, in any letter case."""
        ours = {"accept": self._accept, "user-agent": _USER_AGENT}
        if self.content_type is not None and self.body:
            ours["content-type"] = self.content_type
        if key is not None:
            ours["authorization"] = f"Bearer {key}"
        given = {**config.default_headers, **self.headers}
        if app_id is not None:
            # the argument decides: a header of the same name does not hide it
            given = {name: value for name, value in given.items() if name.lower() != "x-app-id"}
            ours["x-app-id"] = app_id
        return {**ours, **{name.lower(): value for name, value in given.items()}}


_USER_AGENT = f"lunos-integrations/{__version__}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Outgoing, Generic[T]):
    """A question with one answer.

    Attributes:
        parse: reads the answer.
        fallback: makes the request for the fallback model, if the user named one.
        elsewhere: the endpoint's other path, asked where this one is missing and `absent` says
            that it may be. A client keeps in mind which of the two answered.
    """

    parse: Callable[[Reply], T]
    fallback: Callable[[], Request[T]] | None = None
    elsewhere: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRequest(Outgoing, Generic[T]):
    """A question whose answer comes in pieces.

    Attributes:
        reader: makes the reader of one stream, from the reply (without its body).
        fallback: makes the request for the fallback model, if the user named one.
        decoder: makes what cuts the bytes into the events that the reader reads.
    """

    reader: Callable[[Reply], StreamReader[T]]
    fallback: Callable[[], StreamRequest[T]] | None = None

    _accept: ClassVar[str] = "text/event-stream"
    decoder: Callable[[], SSEDecoder | PlainPieces] = SSEDecoder
