"""Server-sent events: the body of a streamed response."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable

from starlette.responses import StreamingResponse

from lunos_local.backends.base import Body
from lunos_local.errors import WireError

KEEP_ALIVE = b": LUNOS PROCESSING\n\n"
DONE = b"data: [DONE]\n\n"


def event(data: Body) -> bytes:
    """Encode one `data:` event."""
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"


async def events(chunks: AsyncIterator[Body]) -> AsyncIterator[bytes]:
    """Encode a whole stream: a keep-alive comment, the chunks, `[DONE]`.

    A `WireError` after the first chunk becomes an error event, as the status has been sent.
    """
    yield KEEP_ALIVE
    try:
        async for chunk in chunks:
            yield event(chunk)
    except WireError as error:
        yield event(error.to_wire())
    yield DONE


async def plain_events(bodies: Iterable[Body]) -> AsyncIterator[bytes]:
    """Encode events without a keep-alive comment and `[DONE]`, as in OpenAI's audio API."""
    for body in bodies:
        yield event(body)


def response(body: AsyncIterator[bytes]) -> StreamingResponse:
    """Return the HTTP response that streams `body`."""
    return StreamingResponse(
        body, media_type="text/event-stream", headers={"cache-control": "no-cache"}
    )
