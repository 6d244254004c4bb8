"""Servers that refuse `stream_options`, which asks for the usage of a stream."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lunos_core.errors import LunosError
from lunos_core.request import StreamRequest
from lunos_core.wire import json

_FIELD = "stream_options"


def refuses_stream_options(error: LunosError) -> bool:
    """Return whether a server refused a request because of its `stream_options`."""
    if error.status not in (400, 422):
        return False
    text = error.response.text if error.response is not None else ""
    said = f"{error.param} {error.code} {error.message} {text}"
    return _FIELD in said or "include_usage" in said


def without_stream_options(request: StreamRequest[Any]) -> StreamRequest[Any] | None:
    """Return the request without `stream_options`, or `None` if it has none."""
    if _FIELD.encode() not in request.body:
        return None
    body = json.loads(request.body)
    if not isinstance(body, dict) or _FIELD not in body:
        return None
    del body[_FIELD]
    return replace(request, body=json.dumps(body))
