"""The decisions of a client about a streamed answer: everything except I/O."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any, Generic, TypeVar

from lunos_core.errors import (
    LunosConnectionError,
    LunosError,
    LunosResponseError,
    LunosStreamInterruptedError,
)
from lunos_core.logs import log as _log
from lunos_core.logs import reason_of
from lunos_core.request import StreamReader, StreamRequest
from lunos_core.transport.call import Call
from lunos_core.transport.deadline import Deadline
from lunos_core.wire import json
from lunos_core.wire.sse import PlainPieces, SSEDecoder
from lunos_core.wire.text import BOM

T = TypeVar("T")
_OPTIONS = "stream_options"  # requests a stream's usage; some servers refuse it


class StreamCall(Call[StreamRequest[T]], Generic[T]):
    """A call whose answer arrives as a stream of events."""

    _reader: StreamReader[T] | None = None
    _decoder: SSEDecoder | PlainPieces
    _events: Iterator[bytes] = iter(())  # that have arrived and haven't been read
    _refusing: set[str | None]
    _asked_without = False

    def know_refusals(self, models: set[str | None]) -> None:
        """Share the client's set of models whose servers refuse `stream_options`."""
        self._refusing = models
        if self.request.model in models:
            self.request = without_stream_options(self.request) or self.request

    def open(self, status: int, headers: Mapping[str, str], body: bytes | None) -> Iterable[T]:
        """Start to read; `body` is the whole answer if the server didn't stream.

        Raises:
            LunosAPIError: the status isn't successful.
            LunosResponseError: the answer is an HTML page.
        """
        reply = self.accept(status, headers, body or b"")
        if self._asked_without:  # not before: an error may only have quoted the request
            self._refusing.add(self.request.model)
        self._reader = self.request.reader(reply)
        self._decoder = self.request.decoder()
        if body is None:
            return ()
        if "html" in headers.get("content-type", ""):
            raise reply.malformed("isn't a stream of events")
        if body.removeprefix(BOM).lstrip().startswith((b"data:", b":", b"event:")):
            chunks = self.feed(body)  # events with the wrong content type
            first = next(chunks, None)  # an error instead of it is raised here
            return () if first is None else chain((first,), chunks)
        chunk = self._reader.read(body)
        self.first_event()  # after read(): an error instead of a stream may be retried
        return () if chunk is None else (chunk,)

    def _accept_refusal(self, error: LunosError) -> bool:
        if self.delivered or not refuses_stream_options(error):
            return False
        request = without_stream_options(self.request)
        if request is None:
            return False
        _log.info("no stream_options for %s: %s", request.model, reason_of(error))
        self.request = request
        self._asked_without = True
        return True

    def listen(self) -> Deadline:
        """Start the clock for the next event: the stream may have been opened long ago."""
        idle = self._config.stream_idle_timeout
        self.deadline.stream(self._read_timeout() if idle is None else idle)
        return self.deadline

    def feed(self, data: bytes) -> Iterator[T]:
        """Yield the chunks that the next bytes complete.

        Raises:
            LunosError: an event is an error, or can't be read.
        """
        return self._read(self._decoder.feed(data))

    def end(self) -> Iterator[T]:
        """Yield the chunks that the end of the stream completes.

        Raises:
            LunosStreamInterruptedError: the answer isn't whole.
        """
        if self._reader is None:
            return
        # a truncated last event doesn't matter: the reader knows whether the answer is whole
        with contextlib.suppress(LunosResponseError):
            yield from self._read(self._decoder.close())
        last = self._reader.end()
        if last is not None:
            self._note_usage(getattr(last, "last", None))
            yield last

    def _read_timeout(self) -> float | None:
        timeout = self.timeout
        return timeout if isinstance(timeout, int | float) else timeout.read

    @property
    def whole(self) -> bool:
        """Whether the answer is complete, whatever happened to the connection afterwards."""
        return self._reader is not None and self._reader.whole

    def interrupted(self, error: LunosError) -> LunosError:
        """Return the error with the partial answer; a lost connection interrupts the stream."""
        if self.delivered and type(error) is LunosConnectionError:
            cause = error.__cause__
            error = LunosStreamInterruptedError(error.message, **error.facts())
            error.__cause__ = cause
        if self._reader is not None and error.partial is None:
            error.partial = self._reader.partial()
        return error

    def _read(self, events: list[bytes]) -> Iterator[T]:
        """Yield the chunks of the events before the first broken one, and raise its error."""
        reader = self._reader
        assert reader is not None, "open() comes before feed()"
        self._events = iter(events)
        for event in self._events:
            chunk = reader.read(event)
            if self._first_event is None:
                self.first_event()  # after read(): an error isn't the start of an answer
            if chunk is None:
                continue
            last = getattr(chunk, "last", None)
            if last is not None:
                self._note_usage(last)
            elif self._chunk_times is not None:
                self._chunk_times.append(time.monotonic())
            yield chunk
        if events:  # last: the consumer's own time doesn't count
            self.deadline.event(last=reader.done)

    def tell_observers(self, error: LunosError | None = None) -> None:
        """Tell the observers; a stream that was closed early has its usage so far."""
        if self.usage is None and self.observers and self._reader is not None:
            if error is None:
                with contextlib.suppress(LunosError):
                    for event in self._events:
                        self._reader.read(event)
            self._note_usage(self._reader.partial())
        super().tell_observers(error)


def is_streamed(status: int, headers: Mapping[str, str]) -> bool:
    """Return whether to read an answer as events: it is successful and not clearly JSON."""
    kind = headers.get("content-type", "")
    return 200 <= status < 300 and "json" not in kind and "html" not in kind


def refuses_stream_options(error: LunosError) -> bool:
    """Return whether a server refused a request because of its `stream_options`."""
    if error.status not in (400, 422):
        return False
    text = error.response.text if error.response is not None else ""
    said = f"{error.param} {error.code} {error.message} {text}".lower()
    words = said.replace("_", "").replace(" ", "")  # "Stream options", "streamOptions"
    return "streamoptions" in words or "includeusage" in words


def without_stream_options(request: StreamRequest[Any]) -> StreamRequest[Any] | None:
    """Return the request without `stream_options`, or `None` if it has none."""
    if _OPTIONS.encode() not in request.body:
        return None
    body = json.loads(request.body)
    if not isinstance(body, dict) or _OPTIONS not in body:
        return None
    del body[_OPTIONS]
    return replace(request, body=json.dumps(body))
