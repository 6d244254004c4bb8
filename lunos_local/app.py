"""The gateway as an ASGI application: its routes, the key check, and the choice of model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lunos_local import sse
from lunos_local.backends.base import Body
from lunos_local.backends.scripted_images import Files
from lunos_local.backends.transcription import read_recording, to_response
from lunos_local.catalog import Model
from lunos_local.checks import json_text
from lunos_local.checks.bodies import check_chat, check_completion, check_embedding, check_image
from lunos_local.door import BODY, TAKEN, Door
from lunos_local.errors import WireError
from lunos_local.faults import FaultState
from lunos_local.log import LogMiddleware, RequestLog, note, note_form
from lunos_local.models import Models, load_models

DEFAULT_KEY = "lunos-local"
SHAPES = (1, 2, 3, 4)
# the reference has the first; the vendor's own clients call the second
IMAGE_PATHS = ("/images/generations", "/image/generations")
MODEL_HEADER = "x-lunos-local-model"

_CHECKS = {
    "chat": check_chat,
    "completion": check_completion,
    "embedding": check_embedding,
    "image": check_image,
}
_BALANCE = {
    "balance": 10.0,
    "email": "local@lunos.invalid",
    "alertBalance": 1.0,
    "enableAlert": False,
    "isAlertEnabled": False,
    "isBalanceLow": False,
    "updatedAt": "2023-11-14T22:13:20.000Z",
}


class Gateway:
    """The endpoints, with their models and their log."""

    def __init__(self, models: Models, api_key: str, catalog_shape: int | None = None) -> None:
        """Serve `models` to clients with `api_key`; list them in `catalog_shape`, if given."""
        if catalog_shape is not None and catalog_shape not in SHAPES:
            raise ValueError(f"catalog_shape must be one of {SHAPES}, not {catalog_shape!r}")
        self.models = models
        self.log = RequestLog(api_key)
        self._shape = catalog_shape
        self._files = Files()
        self._faults = FaultState()
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = (
            WeakKeyDictionary()
        )

    def forget(self) -> None:
        """Clear the log and what the models remember."""
        self.log.clear()
        self.models.forget()
        self._faults.forget()

    def _one_at_a_time(self) -> asyncio.Lock:
        return self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())

    async def public_models(self, request: Request) -> Response:
        """GET /public/models."""
        return JSONResponse(self.models.catalog.to_shape(self._shape_of(request, 1)))

    async def list_models(self, request: Request) -> Response:
        """GET /v1/models."""
        query = request.query_params
        shape = self._shape_of(request, 3)
        filters = query.get("input", ""), query.get("output", "")
        return JSONResponse(self.models.catalog.to_shape(shape, *filters))

    def _shape_of(self, request: Request, default: int) -> int:
        shape = request.query_params.get("shape")
        if shape is None:
            return self._shape or default
        if shape not in map(str, SHAPES):
            raise WireError(f"'shape' must be one of {SHAPES}.", param="shape")
        return int(shape)

    async def requests(self, request: Request) -> Response:
        """GET and DELETE /requests: with the key, or from a program on this machine."""
        if request.method == "DELETE":
            self.forget()
        return JSONResponse({"requests": self.log.entries()})

    async def chat(self, request: Request) -> Response:
        """POST /v1/chat/completions."""
        model, body = await self._open(request, "chat")
        if model.chat is None:
            raise _wrong_endpoint(model, "chat completions")
        model.check_chat(body)
        if model.fault:
            return await model.fault(self._faults.call("chat", body, request))
        if body.get("stream"):
            return await _streamed(model, model.chat.chat_chunks(body))
        return _answered(model, model.billed(await model.chat.chat(body)))

    async def completion(self, request: Request) -> Response:
        """POST /v1/completions."""
        model, body = await self._open(request, "completion")
        if model.chat is None:
            raise _wrong_endpoint(model, "completions")
        if model.fault:
            return await model.fault(self._faults.call("completion", body, request))
        if body.get("stream"):
            return await _streamed(model, model.chat.completion_chunks(body))
        return _answered(model, model.billed(await model.chat.complete(body)))

    async def embedding(self, request: Request) -> Response:
        """POST /v1/embeddings."""
        model, body = await self._open(request, "embedding")
        if model.embedding is None:
            raise _wrong_endpoint(model, "embeddings")
        if model.fault:
            return await model.fault(self._faults.call("embedding", body, request))
        if model.dimensions and not body.get("dimensions"):
            body = {**body, "dimensions": model.dimensions}
        async with self._one_at_a_time():  # vectors take ten times their text while they are made
            response = _answered(model, model.billed(await model.embedding.embed(body)))
        request.scope[TAKEN].take(len(response.body))
        return response

    async def image(self, request: Request) -> Response:
        """POST /v1/images/generations, or the singular path instead."""
        model, body = await self._open(request, "image")
        if model.images is None:
            raise _wrong_endpoint(model, "image generation")
        answer = await model.images.draw(body, self._files, f"{_own_address(request)}/files/")
        answer["cost"] = round(model.unit_price * len(answer["data"]), 10)
        return _answered(model, answer)

    async def file(self, request: Request) -> Response:
        """GET /files/{name}: an image generated as a URL. No key, as with a signed link."""
        data = self._files.get(request.path_params["name"])
        if data is None:
            raise HTTPException(404)
        return Response(data, media_type="image/png")

    async def transcription(self, request: Request) -> Response:
        """POST /v1/audio/transcriptions."""
        recording, logged = await read_recording(request)
        note_form(request.scope, logged)
        model = self.models.catalog.find(recording.model)
        if model.transcription is None:
            raise _wrong_endpoint(model, "transcription")
        recording = replace(recording, model=model.own_id)
        heard = await model.transcription.hear(recording)
        return _named(model, to_response(recording, heard, model.unit_price))

    async def balance(self, request: Request) -> Response:
        """GET /v1/balance."""
        return JSONResponse({"success": True, "message": "Balance retrieved", "data": _BALANCE})

    async def _open(self, request: Request, kind: str) -> tuple[Model, Body]:
        raw = request.scope[BODY]
        self.log.keep_body(request.scope, raw)
        given = json_text.parse(raw)
        if isinstance(given, dict):
            note(request.scope, model=given.get("model"), stream=bool(given.get("stream")))
        body = _CHECKS[kind](given)
        model = self.models.catalog.find(body["model"])
        return model, {**body, "model": model.own_id}


def _own_address(request: Request) -> str:
    """Return the gateway's own address; the Host header is the client's claim."""
    host, port = request.scope.get("server") or ("127.0.0.1", None)
    name = f"[{host}]" if ":" in host else host
    return f"{request.scope['scheme']}://{name}" + (f":{port}" if port else "")


def _wrong_endpoint(model: Model, what: str) -> WireError:
    return WireError(
        f"The model '{model.id}' does not support {what}, only {', '.join(model.capabilities)}.",
        param="model",
        code="unsupported_endpoint",
    )


def _named(model: Model, response: Response) -> Response:
    """Name the model that answers for an alias in a header."""
    if model.served_by:
        response.headers[MODEL_HEADER] = model.served_by
    return response


def _answered(model: Model, answer: Body) -> Response:
    return _named(model, JSONResponse(answer))


async def _streamed(model: Model, chunks: AsyncIterator[Body]) -> Response:
    """Stream `chunks`; an error before the first chunk becomes an HTTP error."""
    first = await anext(chunks, None)

    async def all_chunks() -> AsyncIterator[Body]:
        if first is not None:
            yield model.billed(first)
        async for chunk in chunks:
            yield model.billed(chunk)

    return _named(model, sse.response(sse.events(all_chunks())))


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
    image_path: str = IMAGE_PATHS[0],
    aliases: Mapping[str, str] | None = None,
    strict: bool = False,
    hosts: Collection[str] = (),
) -> Starlette:
    """Return the gateway as an ASGI application; `app.state.gateway` holds its state.

    Args:
        api_key: the key that requests must carry as `Authorization: Bearer KEY`.
        real_models: also serve the real models whose packages are installed.
        gguf: also serve this model file, as `local/<file stem>`.
        catalog_shape: list the models in this one of Lunos's four shapes (1 to 4); by default
            `/public/models` has the reference's (1) and `/v1/models` the newer one (3).
        image_path: where images are generated, "/images/generations" or "/image/generations"; the
            other path is a 404, as on deployments that have only one of them.
        aliases: further names for the gateway's models, such as `{"acme/large": "lunos/scripted"}`.
            Well-known names such as `openai/gpt-4o` need no alias: `lunos_local.aliases`.
        strict: serve no well-known names, only the gateway's own ids and `aliases`.
        hosts: names that a request's Host header may have beside addresses and `localhost`, such
            as a container's name; any other name is refused, as it may have been rebound.

    Returns:
        The application, for any ASGI server or for `httpx.ASGITransport`.

    Raises:
        OSError: the model file can't be read.
        ValueError: `image_path` or `catalog_shape` isn't one of the above, or an alias names a
            model that the gateway doesn't have.

    Example:
        >>> import asyncio
        >>> import httpx
        >>> from lunos_core import AsyncLunos
        >>> async def ask():
        ...     transport = httpx.ASGITransport(app=create_app(api_key="mine"))
        ...     async with httpx.AsyncClient(transport=transport) as http:
        ...         lunos = AsyncLunos("mine", base_url="http://localhost", http_client=http)
        ...         answer = await lunos.embeddings.create(
        ...             model="lunos/scripted-embedding", input="cats"
        ...         )
        ...         return len(answer.vectors)
        >>> asyncio.run(ask())
        1
    """
    if image_path not in IMAGE_PATHS:
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
        Route("/public/models", gateway.public_models, methods=["GET"]),
        Route("/files/{name}", gateway.file, methods=["GET"]),
        Route("/requests", gateway.requests, methods=["GET", "DELETE"]),
        Route("/v1/models", gateway.list_models, methods=["GET"]),
        Route("/v1/chat/completions", gateway.chat, methods=["POST"]),
        Route("/v1/completions", gateway.completion, methods=["POST"]),
        Route("/v1/embeddings", gateway.embedding, methods=["POST"]),
        Route(f"/v1{image_path}", gateway.image, methods=["POST"]),
        Route("/v1/audio/transcriptions", gateway.transcription, methods=["POST"]),
        Route("/v1/balance", gateway.balance, methods=["GET"]),
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
