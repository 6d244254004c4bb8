"""A usage store as a page on this machine, and its metrics for Prometheus.

It uses the gateway's server and checks; the core makes its contents.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from lunos_core import LunosConfigError, UsageStore
from lunos_core.accounting.dashboard.facts import dashboard_facts
from lunos_core.accounting.dashboard.metrics import CONTENT_TYPE, metrics_of
from lunos_core.accounting.dashboard.page import page_of
from lunos_local.door import is_local_page
from lunos_local.server import HOST, listen, uvicorn_server

_HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


class _Door:
    """Refuses requests that don't come from this machine."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if not is_local_page(scope, Headers(scope=scope)):
            text = "the dashboard is only for this machine\n"
            app = PlainTextResponse(text, 403, _HEADERS)
        await app(scope, receive, send)


def dashboard_app(store: UsageStore) -> Starlette:
    """Return the dashboard as an ASGI application, which another one can mount."""

    def facts(request: Request) -> dict[str, Any]:
        query = request.query_params
        since = query.get("since") or "30d"
        chosen = {name: query.get(name) or None for name in ("app", "model")}
        asked = None if since == "all" else since
        return {**dashboard_facts(store, since=asked, **chosen), "live": True}

    def route(path: str, make: Callable[[Request], Response]) -> Route:
        async def answer(request: Request) -> Response:
            try:
                response = await run_in_threadpool(make, request)
            except LunosConfigError as error:  # also a ValueError
                response = PlainTextResponse(f"{error.message}\n", 503)
            except ValueError as error:
                response = PlainTextResponse(f"{error}\n", 400)
            response.headers.update(_HEADERS)
            return response

        return Route(path, answer)

    return Starlette(
        routes=[
            route("/", lambda request: HTMLResponse(page_of(facts(request)))),
            route("/data", lambda request: JSONResponse(facts(request))),
            route("/metrics", lambda _: Response(metrics_of(store), media_type=CONTENT_TYPE)),
        ],
        middleware=[Middleware(_Door)],
    )


def serve_dashboard(store: UsageStore, port: int) -> None:
    """Serve the dashboard until Ctrl-C; the first line printed is its URL.

    Raises:
        OSError: the port can't be used.
    """
    listener = listen(HOST, port)
    print(f"http://{HOST}:{listener.getsockname()[1]}/", flush=True)
    uvicorn_server(dashboard_app(store)).run(sockets=[listener])
