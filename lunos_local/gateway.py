"""The endpoints: each checks its request, finds the model and answers with it."""

from __future__ import annotations

import asyncio
import importlib.resources
import json
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from lunos_local import sse
from lunos_local.backends.base import Body, include_usage
from lunos_local.backends.hashed_embeddings import EmbeddingResponse
from lunos_local.backends.scripted_images import Files
from lunos_local.backends.transcription import events_of, read_recording, to_response
from lunos_local.catalog import Model
from lunos_local.checks import json_text
from lunos_local.checks.bodies import (
    check_chat,
    check_completion,
    check_embedding,
    check_image,
    check_speech,
    check_video,
)
from lunos_local.door import BODY, TAKEN, has_key
from lunos_local.errors import WireError
from lunos_local.faults import Fault, FaultState, Kind, find_fault
from lunos_local.log import RequestLog, note, note_form
from lunos_local.models import Models

DEFAULT_KEY = "lunos-local"
SHAPES = (1, 2, 3, 4)
MODEL_HEADER = "x-lunos-local-model"

_CHECKS = {
    "chat": check_chat,
    "completion": check_completion,
    "embedding": check_embedding,
    "image": check_image,
    "speech": check_speech,
    "video": check_video,
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


@dataclass
class _PlannedFault:
    fault: Fault
    times: int | None
    model: str | None


class Gateway:
    """The endpoints, with their models and their log."""

    def __init__(self, models: Models, api_key: str, catalog_shape: int | None = None) -> None:
        if catalog_shape is not None and catalog_shape not in SHAPES:
            raise ValueError(f"catalog_shape must be one of {SHAPES}, not {catalog_shape!r}")
        self.models = models
        self._key = api_key
        self.log = RequestLog(api_key)
        self._shape = catalog_shape
        self._files = Files()
        self._faults = FaultState()
        self._planned: list[_PlannedFault] = []
        self._planning = threading.Lock()
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = (
            WeakKeyDictionary()
        )

    def forget(self) -> None:
        """Clear the log, the planned faults and the models' memory."""
        self.log.clear()
        self.models.forget()
        self._faults.forget()
        with self._planning:
            self._planned.clear()

    def plan_fault(self, name: str, times: int | None, model: str | None) -> None:
        """Let the next requests fail; `find_fault` knows the names."""
        if times is not None and (type(times) is not int or times < 1):
            raise ValueError(f"times must be 1 or more, or None for all requests, not {times!r}")
        planned = _PlannedFault(find_fault(str(name)), times, model)
        with self._planning:
            self._planned.append(planned)

    def _fault_of(self, model: Model) -> Fault | None:
        with self._planning:
            for planned in self._planned:
                if planned.times != 0 and planned.model in (None, model.id, model.own_id):
                    if planned.times is not None:
                        planned.times -= 1
                    return planned.fault
        return model.fault

    async def page(self, request: Request) -> Response:
        """GET /: a page for people, with the models and the requests."""
        page = importlib.resources.files("lunos_local").joinpath("page.html").read_text("utf-8")
        facts = {
            "base_url": f"{_own_address(request)}/v1",
            "key": self._key if self._key == DEFAULT_KEY else "",  # a user's own key isn't shown
            "models": [model.to_page() for model in self.models.catalog.models],
        }
        # in a script element, only `<` could end the element
        page = page.replace("{{facts}}", json.dumps(facts).replace("<", "\\u003c"))
        headers = {
            "content-security-policy": "default-src 'self' 'unsafe-inline'; img-src data:; "
            "frame-ancestors 'none'; form-action 'none'; base-uri 'none'",
            "x-content-type-options": "nosniff",
        }
        return HTMLResponse(page, headers=headers)

    async def public_models(self, request: Request) -> Response:
        """GET /public/models: in the reference's shape without a key.

        The vendor's client sends its key and reads a bare array, as newer deployments send it.
        """
        shape = self._shape_of(request, 2 if has_key(request.headers, self._key) else 1)
        return JSONResponse(self.models.catalog.to_shape(shape))

    async def list_models(self, request: Request) -> Response:
        """GET /v1/models."""
        query = request.query_params
        shape = self._shape_of(request, 3)
        filters = query.get("input", ""), query.get("output", "")
        return JSONResponse(self.models.catalog.to_shape(shape, *filters))

    async def model(self, request: Request) -> Response:
        """GET /v1/models/{id}: OpenAI's clients call it `models.retrieve`."""
        model = self.models.catalog.find(request.path_params["id"])
        return _named(model, JSONResponse({**model.to_wire(), **model.to_minimum()}))

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
        bodies = request.query_params.get("bodies") != "0"
        return JSONResponse({"requests": self.log.entries() if bodies else self.log.facts()})

    async def chat(self, request: Request) -> Response:
        """POST /v1/chat/completions."""
        model, body = await self._open(request, "chat")
        backend = model.images.chat if model.images else model.chat
        if backend is None:
            raise _wrong_endpoint(model, "chat completions")
        model.check_chat(body)
        if fault := self._fault_of(model):
            return await self._failed(fault, "chat", body, request)
        if body.get("stream"):
            return await _streamed(request, model, body, backend.chat_chunks(_counted(body)))
        return _answered(request, model, await backend.chat(body))

    async def completion(self, request: Request) -> Response:
        """POST /v1/completions."""
        model, body = await self._open(request, "completion")
        if model.chat is None:
            raise _wrong_endpoint(model, "completions")
        if fault := self._fault_of(model):
            return await self._failed(fault, "completion", body, request)
        if body.get("stream"):
            chunks = model.chat.completion_chunks(_counted(body))
            return await _streamed(request, model, body, chunks)
        return _answered(request, model, await model.chat.complete(body))

    async def embedding(self, request: Request) -> Response:
        """POST /v1/embeddings."""
        model, body = await self._open(request, "embedding")
        if model.embedding is None:
            raise _wrong_endpoint(model, "embeddings")
        if fault := self._fault_of(model):
            return await self._failed(fault, "embedding", body, request)
        if model.dimensions and not body.get("dimensions"):
            body = {**body, "dimensions": model.dimensions}
        # one at a time: vectors take twice the memory of their text
        async with self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            answer = model.billed(await model.embedding.embed(body))
            response = await asyncio.to_thread(EmbeddingResponse, answer)
        _note_usage(request, answer)
        request.scope[TAKEN].take(len(response.body))
        return _named(model, response)

    async def _failed(self, fault: Fault, kind: Kind, body: Body, request: Request) -> Response:
        return await fault(self._faults.call(kind, body, request))

    async def image(self, request: Request) -> Response:
        """POST /v1/images/generations, or the singular path instead."""
        model, body = await self._open(request, "image")
        if model.images is None:
            raise _wrong_endpoint(model, "image generation")
        if fault := self._fault_of(model):
            return await self._failed(fault, "chat", _as_chat(model, body["prompt"]), request)
        answer = await model.images.draw(body, self._files, f"{_own_address(request)}/files/")
        answer["cost"] = round(model.unit_price * len(answer["data"]), 10)
        return _answered(request, model, answer)

    async def file(self, request: Request) -> Response:
        """GET /files/{name}: an image generated as a URL. It needs no key, like a signed link."""
        data = self._files.get(request.path_params["name"])
        if data is None:
            raise HTTPException(404)
        is_image = request.path_params["name"].endswith(".png")
        return Response(data, media_type="image/png" if is_image else "video/x-yuv4mpeg")

    async def speech(self, request: Request) -> Response:
        """POST /v1/audio/speech, or /v1/audio/generations as in Lunos's own clients."""
        model, body = await self._open(request, "speech")
        if model.speech is None:
            raise _wrong_endpoint(model, "speech")
        if fault := self._fault_of(model):
            return await self._failed(fault, "chat", _as_chat(model, body["input"]), request)
        data, media_type = await model.speech.speak(body)
        note(request.scope, cost=round(model.unit_price * len(body["input"]) / 1000, 10))
        return _named(model, Response(data, media_type=media_type))

    async def video(self, request: Request) -> Response:
        """POST /v1/video/generations: known only from the vendor's client."""
        model, body = await self._open(request, "video")
        if model.video is None:
            raise _wrong_endpoint(model, "video generation")
        if fault := self._fault_of(model):
            return await self._failed(fault, "chat", _as_chat(model, body["prompt"]), request)
        job = model.video.begin(body, self._files, f"{_own_address(request)}/files/")
        return _named(model, JSONResponse(job))

    async def video_job(self, request: Request) -> Response:
        """GET /v1/video/generations/{id}."""
        backends = [model.video for model in self.models.catalog.models if model.video]
        jobs = (backend.look(request.path_params["id"]) for backend in backends)
        job = next((job for job in jobs if job is not None), None)
        if job is None:
            raise WireError("There is no such job.", status=404, code="not_found")
        return JSONResponse(job)

    async def transcription(self, request: Request) -> Response:
        """POST /v1/audio/transcriptions."""
        recording, logged = await read_recording(request)
        note_form(request.scope, logged)
        model = self.models.catalog.find(recording.model)
        if model.transcription is None:
            raise _wrong_endpoint(model, "transcription")
        if fault := self._fault_of(model):
            return await self._failed(fault, "chat", _as_chat(model, recording.filename), request)
        recording = replace(recording, model=model.own_id)
        heard = await model.transcription.hear(recording)
        note(request.scope, cost=heard.cost(model.unit_price))
        if logged.get("stream") == "true":
            return _named(model, sse.response(sse.plain_events(events_of(heard))))
        return _named(model, to_response(recording, heard, model.unit_price))

    async def balance(self, request: Request) -> Response:
        """GET /v1/balance."""
        return JSONResponse({"success": True, "message": "Balance retrieved", "data": _BALANCE})

    async def account(self, request: Request) -> Response:
        """GET /v1/account: known only from the vendor's client, so the shape is a guess."""
        return JSONResponse({"id": "local", "email": _BALANCE["email"]})

    async def usage(self, request: Request) -> Response:
        """GET /v1/usage: known only from the vendor's client, so the shape is a guess."""
        entries = [entry for entry in self.log.facts() if entry["model"]]
        return JSONResponse(
            {
                "total_requests": len(entries),
                "total_tokens": sum(entry["tokens"] or 0 for entry in entries),
                "total_cost": round(sum(entry["cost"] or 0 for entry in entries), 10),
            }
        )

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
    """Return the gateway's own address; the Host header is only the client's claim."""
    host, port = request.scope.get("server") or ("127.0.0.1", None)
    name = f"[{host}]" if ":" in host else host
    return f"{request.scope['scheme']}://{name}" + (f":{port}" if port else "")


def _as_chat(model: Model, text: str) -> Body:
    """Return a chat request for a fault that breaks an answer."""
    return {"model": model.own_id, "messages": [{"role": "user", "content": text}]}


def _wrong_endpoint(model: Model, what: str) -> WireError:
    return WireError(
        f"The model '{model.id}' does not support {what}, only {', '.join(model.capabilities)}.",
        param="model",
        code="unsupported_endpoint",
    )


def _named(model: Model, response: Response) -> Response:
    if model.served_by:
        response.headers[MODEL_HEADER] = model.served_by
    return response


def _note_usage(request: Request, answer: Body) -> None:
    usage: dict[str, Any] = answer.get("usage") or {}
    cost = usage.get("cost", answer.get("cost"))
    note(request.scope, tokens=usage.get("total_tokens"), cost=cost)


def _answered(request: Request, model: Model, answer: Body) -> Response:
    _note_usage(request, model.billed(answer))
    return _named(model, JSONResponse(answer))


def _counted(body: Body) -> Body:
    return {**body, "stream_options": {**(body.get("stream_options") or {}), "include_usage": True}}


async def _streamed(
    request: Request, model: Model, body: Body, chunks: AsyncIterator[Body]
) -> Response:
    first = await anext(chunks, None)

    async def all_chunks() -> AsyncIterator[Body]:
        if first is not None:
            yield model.billed(first)
        async for chunk in chunks:
            if chunk.get("usage"):
                _note_usage(request, model.billed(chunk))
                if not include_usage(body):
                    continue
            yield chunk

    return _named(model, sse.response(sse.events(all_chunks())))
