"""`lunos dashboard`: a usage store as a page on this machine, and metrics for Prometheus."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lunos_core import LunosConfigError, UsageStore
from lunos_core.accounting.dashboard.facts import dashboard_facts
from lunos_core.accounting.dashboard.metrics import CONTENT_TYPE, metrics_of
from lunos_core.accounting.dashboard.page import page_of
from lunos_core.accounting.questions import is_store
from lunos_core.lazy import is_installed

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request

HOST = "127.0.0.1"
PORT = 8485
_HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), envvar="LUNOS_USAGE_DB")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True)
def dashboard(file: Path, port: int) -> None:
    """Show what the apps cost, in the browser.

    FILE is a usage store (LUNOS_USAGE_DB). The page is for this machine alone; /metrics is for
    Prometheus. Port 0 takes a free one.
    """
    if not (is_installed("starlette") and is_installed("uvicorn")):
        raise click.ClickException(
            'the dashboard needs starlette: pip install "lunos-integrations[dashboard]"'
        )
    if not file.exists():
        raise click.ClickException(f"{file} doesn't exist: UsageStore or LUNOS_USAGE_DB makes it")
    if not is_store(file):
        raise click.ClickException(f"{file} isn't a usage store")
    with UsageStore(file) as store:
        serve(store, port)


def serve(store: UsageStore, port: int) -> None:
    """Serve the dashboard until Ctrl-C; the first line printed is its URL.

    Raises:
        ClickException: the port can't be had.
    """
    import uvicorn  # of the extra

    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(100)  # who reads the URL may ask at once
    except OSError as error:
        listener.close()
        raise click.ClickException(
            f"port {port}: {error.strerror}; --port 0 takes a free one"
        ) from None
    click.echo(f"http://{HOST}:{listener.getsockname()[1]}/")
    config = uvicorn.Config(
        dashboard_app(store),
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        lifespan="off",
        proxy_headers=False,
        limit_concurrency=100,
        timeout_graceful_shutdown=0,
    )
    uvicorn.Server(config).run(sockets=[listener])


def dashboard_app(store: UsageStore) -> Starlette:
    """Return the dashboard as an ASGI application, to mount in another one, say."""
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.middleware import Middleware
    from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
    from starlette.routing import Route

    from lunos_local.door import is_local_page

    class Door:
        """Refuses what doesn't come from this machine, as the local gateway's door does."""

        def __init__(self, app: Any) -> None:
            self._app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            from starlette.datastructures import Headers

            if is_local_page(scope, Headers(scope=scope)):
                await self._app(scope, receive, send)
                return
            text = "the dashboard is for this machine alone\n"
            await PlainTextResponse(text, 403, _HEADERS)(scope, receive, send)

    def facts(request: Request) -> dict[str, Any]:
        query = request.query_params
        since = query.get("since") or "30d"
        asked = None if since == "all" else since
        chosen = {name: query.get(name) or None for name in ("app", "model")}
        return {**dashboard_facts(store, since=asked, **chosen), "live": True}

    async def answer(request: Request, make: Any) -> Response:
        try:
            response: Response = await run_in_threadpool(make, request)
        except LunosConfigError as error:  # a ValueError, too
            return PlainTextResponse(f"{error.message}\n", 503, _HEADERS)
        except ValueError as error:
            return PlainTextResponse(f"{error}\n", 400, _HEADERS)
        return response

    async def page(request: Request) -> Response:
        return await answer(request, lambda r: HTMLResponse(page_of(facts(r)), headers=_HEADERS))

    async def data(request: Request) -> Response:
        return await answer(request, lambda r: JSONResponse(facts(r), headers=_HEADERS))

    async def metrics(request: Request) -> Response:
        headers = {**_HEADERS, "content-type": CONTENT_TYPE}
        return await answer(request, lambda _: Response(metrics_of(store), headers=headers))

    routes = [Route("/", page), Route("/data", data), Route("/metrics", metrics)]
    return Starlette(routes=routes, middleware=[Middleware(Door)])
