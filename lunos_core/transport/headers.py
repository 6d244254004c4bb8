"""The URL and the headers of a request."""

from __future__ import annotations

from lunos_core._version import __version__
from lunos_core.app_id import current_app_id
from lunos_core.config import Config
from lunos_core.request import Outgoing, StreamRequest


def request_url(config: Config, request: Outgoing) -> str:
    """Return the URL of a request."""
    url = (config.root_url if request.public else config.base_url) + request.path
    return f"{url}?{request.query}" if request.query else url


def resolve_app_id(config: Config, request: Outgoing) -> str | None:
    """Return the app id of a call: decided here alone, once, when the call begins.

    The call's own wins over the `app()` block around it, and that over the client's, which is its
    constructor's or else the environment's.
    """
    if request.app_id is not None:
        return request.app_id
    return current_app_id() or config.app_id


def request_headers(
    config: Config, request: Outgoing, *, key: str | None, app_id: str | None
) -> dict[str, str]:
    """Return the headers of a request; the user's win over ours, in any letter case."""
    ours = {"accept": "application/json", "user-agent": _USER_AGENT}
    if isinstance(request, StreamRequest):
        ours["accept"] = "text/event-stream"
    if request.content_type is not None and request.body:
        ours["content-type"] = request.content_type
    if key is not None:
        ours["authorization"] = f"Bearer {key}"
    given = {**config.default_headers, **request.headers}
    if app_id is not None:
        # the argument decides: a header of the same name does not hide it
        given = {name: value for name, value in given.items() if name.lower() != "x-app-id"}
        ours["x-app-id"] = app_id
    return {**ours, **{name.lower(): value for name, value in given.items()}}


_USER_AGENT = f"lunos-integrations/{__version__}"
