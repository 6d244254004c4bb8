"""Models that fail on demand. The package's docstring has the table of their names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

import anyio
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse

from lunos_local import sse
from lunos_local.backends import conversation
from lunos_local.backends.answer import Choice
from lunos_local.backends.base import Body, include_usage
from lunos_local.backends.hashed_embeddings import EmbeddingResponse, HashedEmbeddings
from lunos_local.backends.scripted import Scripted
from lunos_local.errors import CutConnectionError, WireError

Kind = Literal["chat", "completion", "embedding"]

_CHUNKS_BEFORE_FAULT = 3
_HTML = "<html><head><title>{0}</title></head><body><h1>{0}</h1><hr>nginx</body></html>"
_SLOW_SECONDS = 1.0


@dataclass(frozen=True)
class Call:
    """A checked request to a failing model."""

    kind: Kind
    body: Body
    request: Request
    scripted: Scripted
    seen: set[str]

    @property
    def stream(self) -> bool:
        """Whether the client asked for a stream."""
        return self.kind != "embedding" and bool(self.body.get("stream"))

    async def good(self) -> Body:
        """Return the answer of a working model."""
        if self.kind == "embedding":
            return await HashedEmbeddings().embed(self.body)
        if self.kind == "chat":
            return self.scripted.chat(self.body).to_chat()
        return self.scripted.complete(self.body).to_completion()

    def chunks(self) -> list[Body]:
        """Return the chunks of a working model."""
        usage = include_usage(self.body)
        if self.kind == "chat":
            return list(self.scripted.chat(self.body).chat_chunks(include_usage=usage))
        return list(self.scripted.complete(self.body).completion_chunks(include_usage=usage))

    async def good_response(self) -> Response:
        """Return the HTTP response of a working model."""
        if self.stream:
            return sse.response(sse.events(_async(self.chunks())))
        return self.response(await self.good())

    def response(self, body: Body) -> Response:
        """Return the HTTP response with a whole answer."""
        return EmbeddingResponse(body) if self.kind == "embedding" else JSONResponse(body)

    async def until_client_leaves(self) -> None:
        """Wait until the client closes the connection."""
        while (await self.request.receive())["type"] != "http.disconnect":
            pass


Fault = Callable[[Call], Awaitable[Response]]


async def _async(chunks: list[Body]) -> AsyncIterator[Body]:
    for chunk in chunks:
        yield chunk


_STATUSES: dict[int, tuple[str, str, str]] = {
    # status: (code, type, message)
    400: ("invalid_request", "invalid_request_error", "The request is not valid."),
    402: ("insufficient_balance", "billing_error", "Your balance is too low."),
    404: ("model_not_found", "invalid_request_error", "The model does not exist."),
    408: ("request_timeout", "timeout_error", "The request took too long."),
    409: ("conflict", "invalid_request_error", "The request conflicts with another one."),
    422: ("unprocessable_entity", "invalid_request_error", "The request has no useful meaning."),
    429: ("rate_limit_exceeded", "rate_limit_error", "Too many requests. Try again later."),
    500: ("server_error", "api_error", "The server failed."),
    503: ("service_unavailable", "api_error", "The service is overloaded."),
}
# the other error shapes that Lunos sends, one status each
_BARE: dict[int, Body] = {
    401: {"error": "Invalid secret key"},
    403: {"message": "Your key may not use this model."},
}


def _error(status: int) -> Response:
    if status in _BARE:
        return JSONResponse(_BARE[status], status_code=status)
    if status == 502:
        return HTMLResponse(_HTML.format("502 Bad Gateway"), status_code=502)
    code, family, message = _STATUSES[status]
    error = WireError(message, status=status, code=code, type=family)
    return error.response({"retry-after": "1"} if status == 429 else None)


def _always(status: int) -> Fault:
    async def fault(call: Call) -> Response:
        return _error(status)

    return fault


def _at_first(status: int) -> Fault:
    async def fault(call: Call) -> Response:
        name = conversation.fingerprint([call.kind, call.body])
        if name in call.seen:
            return await call.good_response()
        call.seen.add(name)
        return _error(status)

    return fault


def _first_events(call: Call) -> list[bytes]:
    return [sse.KEEP_ALIVE, *map(sse.event, call.chunks()[:_CHUNKS_BEFORE_FAULT])]


async def _cut_stream(call: Call) -> Response:
    async def stream() -> AsyncIterator[bytes]:
        for event in _first_events(call):
            yield event
        raise CutConnectionError

    async def half() -> AsyncIterator[bytes]:
        yield whole[: len(whole) // 2]
        raise CutConnectionError

    if call.stream:
        return sse.response(stream())
    whole = bytes(call.response(await call.good()).body)
    headers = {"content-length": str(len(whole))}
    return StreamingResponse(half(), media_type="application/json", headers=headers)


def _finished(chunk: Body) -> bool:
    return not chunk["choices"] or chunk["choices"][0]["finish_reason"] is not None


async def _stopped_stream(call: Call) -> Response:
    async def stream() -> AsyncIterator[bytes]:
        yield sse.KEEP_ALIVE
        for chunk in call.chunks():
            if not _finished(chunk):
                yield sse.event(chunk)

    if call.stream:
        return sse.response(stream())
    body = await call.good()
    for choice in body.get("choices", ()):
        choice["finish_reason"] = None
    return call.response(body)


async def _no_done(call: Call) -> Response:
    async def stream() -> AsyncIterator[bytes]:
        for chunk in call.chunks():
            yield sse.event(chunk)

    return sse.response(stream()) if call.stream else await call.good_response()


async def _error_in_stream(call: Call) -> Response:
    error = WireError("The provider failed.", status=502, code="provider_error", type="api_error")

    async def stream() -> AsyncIterator[bytes]:
        for event in (*_first_events(call), sse.event(error.to_wire())):
            yield event

    return sse.response(stream()) if call.stream else error.response()


async def _stall(call: Call) -> Response:
    async def stream() -> AsyncIterator[bytes]:
        for event in _first_events(call):
            yield event
        await anyio.sleep_forever()

    if call.stream:
        return sse.response(stream())
    await call.until_client_leaves()
    return Response(status_code=499)


async def _slow(call: Call) -> Response:
    await asyncio.sleep(_SLOW_SECONDS)
    return await call.good_response()


async def _html(call: Call) -> Response:
    return HTMLResponse(_HTML.format("Welcome"))


async def _empty(call: Call) -> Response:
    return Response(b"", media_type="application/json")


async def _garbage(call: Call) -> Response:
    malformed: Body = {"choices": "no", "data": 7, "usage": "plenty"}
    if call.stream:
        return sse.response(sse.events(_async([malformed])))
    return JSONResponse(malformed)


async def _error_in_200(call: Call) -> Response:
    error = WireError("The provider failed.", code="provider_error", type="api_error")
    if call.stream:
        return sse.response(sse.events(_async([error.to_wire()])))
    return JSONResponse(error.to_wire())


async def _short_embeddings(call: Call) -> Response:
    body = await call.good()
    if call.kind == "embedding":
        # vectors are in reverse order, so this drops the last text's
        body["data"] = body["data"][1:]
    return call.response(body)


async def _context_overflow(call: Call) -> Response:
    raise WireError(
        "This model's maximum context length is 8 tokens. Your request has more.",
        param="messages" if call.kind == "chat" else None,
        code="context_length_exceeded",
    )


def _ending(change: Callable[[Choice], None]) -> Fault:
    async def fault(call: Call) -> Response:
        if call.kind == "embedding":
            return await call.good_response()
        chat = call.kind == "chat"
        answer = call.scripted.chat(call.body) if chat else call.scripted.complete(call.body)
        for choice in answer.choices:
            choice.tool_calls = []
            change(choice)
        if call.stream:
            usage = include_usage(call.body)
            make = answer.chat_chunks if chat else answer.completion_chunks
            return sse.response(sse.events(_async(list(make(include_usage=usage)))))
        return JSONResponse(answer.to_chat() if chat else answer.to_completion())

    return fault


def _refuse(choice: Choice) -> None:
    choice.text = None
    choice.refusal = "I cannot help with that."


def _filter(choice: Choice) -> None:
    choice.text = "This answer was"
    choice.finish_reason = "content_filter"


FAULTS: dict[str, tuple[str, Fault]] = {
    # name: (the catalog's description, the fault)
    **{
        f"error-{status}": (f"answers every request with status {status}", _always(status))
        for status in sorted([*_STATUSES, *_BARE, 502])
    },
    "flaky-429": ("429 on the first request with a given body, then answers", _at_first(429)),
    "flaky-500": ("500 on the first request with a given body, then answers", _at_first(500)),
    "cut-stream": ("drops the connection in the middle of the answer", _cut_stream),
    "stopped-stream": ("ends with no finish_reason and no [DONE]", _stopped_stream),
    "no-done": ("ends its stream with no [DONE], which is valid", _no_done),
    "error-in-stream": ("sends an error event after a few chunks", _error_in_stream),
    "stall": ("sends a few chunks, then nothing until the client leaves", _stall),
    "slow": ("waits a second before it answers", _slow),
    "html": ("answers 200 with an HTML page", _html),
    "empty": ("answers 200 with an empty body", _empty),
    "garbage": ("answers 200 with JSON of the wrong shape", _garbage),
    "error-in-200": ("answers 200 with an error object", _error_in_200),
    "short-embeddings": ("leaves out one vector", _short_embeddings),
    "refusal": ("refuses: `refusal` instead of content", _ending(_refuse)),
    "content-filter": ("is stopped by a content filter", _ending(_filter)),
    "context-overflow": ("400 with code context_length_exceeded", _context_overflow),
}


def find_fault(name: str) -> Fault:
    """Return a fault by its name: a status such as "429", or a name such as "cut-stream".

    Raises:
        ValueError: there is no such fault.
    """
    short = name.removeprefix("lunos/")
    short = f"error-{short}" if short.isdigit() else short
    if short not in FAULTS:
        names = ", ".join(name.removeprefix("error-") for name in FAULTS)
        raise ValueError(f"there is no fault {name!r}; the faults are {names}")
    return FAULTS[short][1]


class FaultState:
    """The memory of failing models between requests."""

    def __init__(self) -> None:
        self.scripted = Scripted()
        self.seen: set[str] = set()

    def forget(self) -> None:
        """Let every flaky model fail again."""
        self.scripted.forget()
        self.seen.clear()

    def call(self, kind: Kind, body: dict[str, Any], request: Request) -> Call:
        """Return the call that a fault answers."""
        return Call(kind, body, request, self.scripted, self.seen)
