"""The gateway as an ASGI application: its routes and its middleware."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lunos_local.door import Door
from lunos_local.errors import WireError
from lunos_local.gateway import DEFAULT_KEY, Gateway
from lunos_local.log import LogMiddleware
from lunos_local.models import load_models

# the first is the reference's; the vendor's own clients call the second
IMAGE_PATHS = ("/images/generations", "/image/generations")


async def _answer_wire_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, WireError)
    return error.response()


async def _answer_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.url.path}"
    codes = {404: "not_found", 405: "method_not_allowed"}
    wire = WireError(
        f"{error.detail}: {where}", status=error.status_code, code=codes.get(error.status_code)
    )
    return wire.response(dict(error.headers or {}))


def create_app(
    *,
    api_key: str = DEFAULT_KEY,
    real_models: bool = False,
    gguf: str | Path | None = None,
    catalog_shape: int | None = None,
    image_path: str | None = None,
    aliases: Mapping[str, str] | None = None,
    strict: bool = False,
    hosts: Collection[str] = (),
) -> Starlette:
    """Return the gateway as an ASGI application; `app.state.gateway` has its state.

    Args:
        api_key: the key that requests must carry as `Authorization: Bearer KEY`.
        real_models: also serve the real models whose packages are installed.
        gguf: also serve this model file, as `local/<file stem>`.
        catalog_shape: list the models in this one of Lunos's four shapes (1 to 4); by default
            `/public/models` has the reference's (1) and `/v1/models` the newer one (3).
        image_path: "/images/generations", or "/image/generations", as on deployments that have
            only that path; by default both work.
        aliases: further names for the gateway's models, such as `{"acme/large": "lunos/scripted"}`.
            Well-known names such as `openai/gpt-4o` need no alias.
        strict: serve no well-known names, only the gateway's own ids and `aliases`.
        hosts: names that a request's Host header may have beside addresses and `localhost`, such
            as a container's name.

    Returns:
        The application, for any ASGI server or for `httpx.ASGITransport`.

    Raises:
        OSError: the model file can't be read.
        ValueError: `image_path` or `catalog_shape` isn't one of the above, or an alias names a
            model that the gateway doesn't have.

    Example:
        >>> import asyncio, httpx
        >>> from lunos_core import AsyncLunos
        >>> from lunos_local import create_app
        >>> http = httpx.AsyncClient(transport=httpx.ASGITransport(create_app(api_key="mine")))
        >>> lunos = AsyncLunos("mine", base_url="http://localhost", http_client=http)
        >>> asyncio.run(lunos.models.get("lunos/scripted")).name
        'scripted'
    """
    if image_path not in (None, *IMAGE_PATHS):
        raise ValueError(f"image_path must be one of {IMAGE_PATHS}, not {image_path!r}")
    models = load_models(
        real_models=real_models,
        gguf=Path(gguf) if gguf else None,
        aliases=aliases,
        strict=strict,
    )
    gateway = Gateway(models, api_key, catalog_shape)
    handlers: dict[Any, Any] = {
        WireError: _answer_wire_error,
        HTTPException: _answer_http_error,
    }
    routes = [
        Route("/", gateway.page),
        Route("/public/models", gateway.public_models),
        Route("/files/{name}", gateway.file),
        Route("/requests", gateway.requests, methods=["GET", "DELETE"]),
        Route("/v1/models", gateway.list_models),
        Route("/v1/models/{id:path}", gateway.model),
        Route("/v1/chat/completions", gateway.chat, methods=["POST"]),
        Route("/v1/completions", gateway.completion, methods=["POST"]),
        Route("/v1/embeddings", gateway.embedding, methods=["POST"]),
        *(
            Route(f"/v1{path}", gateway.image, methods=["POST"])
            for path in ([image_path] if image_path else IMAGE_PATHS)
        ),
        Route("/v1/audio/transcriptions", gateway.transcription, methods=["POST"]),
        Route("/v1/audio/speech", gateway.speech, methods=["POST"]),
        Route("/v1/audio/generations", gateway.speech, methods=["POST"]),
        Route("/v1/video/generations", gateway.video, methods=["POST"]),
        Route("/v1/video/generations/{id}", gateway.video_job),
        Route("/v1/balance", gateway.balance),
        Route("/v1/account", gateway.account),
        Route("/v1/usage", gateway.usage),
    ]
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(LogMiddleware, log=gateway.log),
            Middleware(
                Door,
                key=api_key,
                paths=[route.path for route in routes if route.path.startswith("/v1/")],
                hosts=hosts,
            ),
        ],
        exception_handlers=handlers,
    )
    app.router.redirect_slashes = False  # a redirect would repeat the Host header
    app.state.gateway = gateway
    return app
