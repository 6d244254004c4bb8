"""Servers that refuse `stream_options`, by which the usage of a stream is asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lunos_core.errors import LunosError
from lunos_core.request import StreamRequest
from lunos_core.wire import json

_FIELD = "stream_options"


def refuses_stream_options(error: LunosError) -> bool:
    """Whether a server refused a request for its `stream_options`, or for what is in it."""
    if error.status not in (400, 422):
        return False
    text = error.response.text if error.response is not None else ""
    said = f"{error.param} {error.code} {error.message} {text}"
    return _FIELD in said or "include_usage" in said


def without_stream_options(request: StreamRequest[Any]) -> StreamRequest[Any] | None:
    """Return the request without `stream_options`; `None` where it has none."""
    if _FIELD.encode() not in request.body:
        return None
    body = json.loads(request.body)
    if not isinstance(body, dict) or _FIELD not in body:
        return None
    del body[_FIELD]
    return replace(request, body=json.dumps(body))
