"""`LocalGateway`: the gateway on a real socket, in a thread of this process."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette

from lunos_local.app import create_app
from lunos_local.errors import CutConnectionError
from lunos_local.gateway import DEFAULT_KEY, Gateway
from lunos_local.protocol import MAX_HEAD, Protocol

HOST = "127.0.0.1"
_START_SECONDS = 10.0
_STOP_SECONDS = 5.0
_KEEP_ALIVE_SECONDS = 5
_MOST_CONNECTIONS = 2000


class _QuietAboutCuts(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, CutConnectionError | asyncio.CancelledError):
            return False
        # nor log responses that are cut off when the server stops
        return "graceful" not in record.getMessage()


def uvicorn_server(app: Starlette) -> uvicorn.Server:
    """Return a uvicorn server for `app`; in the main thread it handles the process's signals."""
    config = uvicorn.Config(
        app,
        http=Protocol,
        h11_max_incomplete_event_size=MAX_HEAD,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        limit_concurrency=_MOST_CONNECTIONS,
        proxy_headers=False,  # a false client address would open `/requests`
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        # recorded responses must have no time and no version
        date_header=False,
        server_header=False,
        # a stalled response never ends by itself
        timeout_graceful_shutdown=0,
    )
    logger = logging.getLogger("uvicorn.error")
    logger.setLevel(logging.WARNING)
    if not any(isinstance(old, _QuietAboutCuts) for old in logger.filters):
        logger.addFilter(_QuietAboutCuts())
    return uvicorn.Server(config)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes any free port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only if the protocol is given; with it, each response
    # waits 40 ms
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # a fixed port must be free again as soon as its gateway has stopped
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, OverflowError):
        listener.close()
        raise
    return listener


class LocalGateway:
    """A gateway on 127.0.0.1 that runs for the duration of the `with` block.

    Args:
        port: the port to listen on; 0 takes any free port.
        api_key: the key that requests must carry.
        real_models: also serve the real models whose packages are installed.
        gguf: also serve this model file, as `local/<file stem>`.
        catalog_shape: list the models in this one of Lunos's four shapes (1 to 4).
        image_path: "/images/generations", or "/image/generations", as on deployments that have
            only that path; by default both work.
        aliases: further names for the gateway's models, such as `{"acme/large": "lunos/scripted"}`.
            Well-known names such as `openai/gpt-4o` need no alias.
        strict: serve no well-known names, only the gateway's own ids and `aliases`.

    Example:
        >>> from lunos_local import LocalGateway
        >>> from lunos_core import Lunos
        >>> hello = [{"role": "user", "content": "Hello"}]
        >>> with LocalGateway() as local:
        ...     lunos = Lunos(api_key=local.api_key, base_url=local.base_url, app_id="my-app")
        ...     answer = lunos.chat.completions.create(model="lunos/scripted", messages=hello)
        ...     local.requests()[-1]["app_id"]
        'my-app'
    """

    def __init__(
        self,
        port: int = 0,
        api_key: str = DEFAULT_KEY,
        real_models: bool = False,
        gguf: str | Path | None = None,
        catalog_shape: int | None = None,
        image_path: str | None = None,
        aliases: Mapping[str, str] | None = None,
        strict: bool = False,
    ) -> None:
        self.api_key = api_key
        self._wanted_port = port
        self._options: dict[str, Any] = {
            "real_models": real_models,
            "gguf": gguf,
            "catalog_shape": catalog_shape,
            "image_path": image_path,
            "aliases": aliases,
            "strict": strict,
        }
        self._gateway: Gateway | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._port = 0

    def __enter__(self) -> LocalGateway:
        if self._thread is not None:
            raise RuntimeError("this gateway is already running")
        app = create_app(api_key=self.api_key, **self._options)
        self._gateway = app.state.gateway
        listener = listen(HOST, self._wanted_port)
        self._port = int(listener.getsockname()[1])
        self._server = uvicorn_server(app)
        self._thread = threading.Thread(
            target=self._server.run,
            kwargs={"sockets": [listener]},
            name="lunos-local-gateway",
            daemon=True,
        )
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                listener.close()
                raise RuntimeError("the local gateway did not start")
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(_STOP_SECONDS)
        if self._gateway is not None:
            self._gateway.models.close()
        self._thread = None

    @property
    def base_url(self) -> str:
        """The base URL for a client, with `/v1`."""
        return f"http://{HOST}:{self._port}/v1"

    @property
    def models(self) -> list[str]:
        """The ids of the models that the gateway serves."""
        return [model.id for model in self._running().models.catalog.models]

    @property
    def missing(self) -> list[str]:
        """One line for each optional part that isn't installed, with how to install it."""
        return list(self._running().models.missing)

    def requests(self) -> list[dict[str, Any]]:
        """Return the request log, oldest first; it can be read after the gateway has stopped."""
        return self._running().log.entries()

    def fail(self, name: str, *, times: int | None = 1, model: str | None = None) -> None:
        """Make the next requests to a model fail, until `clear`.

        Args:
            name: a status such as "429", or a fault such as "cut-stream", "stall" or "html".
            times: how many requests fail; None for all.
            model: only requests to this model fail.

        Raises:
            ValueError: there is no such fault.

        Example:
            >>> from lunos_local import LocalGateway
            >>> with LocalGateway() as gateway:
            ...     gateway.fail("429", times=2)  # the next two requests
        """
        self._running().plan_fault(name, times, model)

    def clear(self) -> None:
        """Clear the log, the planned faults and the models' memory."""
        self._running().forget()

    def _running(self) -> Gateway:
        if self._gateway is None:
            raise RuntimeError("the gateway has not been started; use it in a `with` block")
        return self._gateway
