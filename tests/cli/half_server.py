"""A deployment that knows half of the routes, and answers in shapes of its own."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

KEY = "lns-sk-half-of-the-routes"
_MODELS = [
    {"id": "acme/talks", "capabilities": ["chat"], "outputModalities": ["text"]},
    {"id": "acme/embeds", "capabilities": ["text-embedding"]},
    {"id": "acme/draws", "outputModalities": ["image"]},
    {"id": "acme/paints", "capabilities": ["image-generation"]},
]
_MESSAGE = {"role": "assistant", "content": "Hello. " + KEY, "images": [{"url": "https://x.test"}]}


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        routes = {
            "/v1/models": _MODELS,
            "/v1/balance": {"success": False, "message": f"Bad {KEY}", "error": "FORBIDDEN"},
        }
        self._answer(routes.get(self.path))

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        body = json.loads(raw) if "json" in self.headers["content-type"] else {}
        self.server.asked.append(self.path)
        if self.path in self.server.missing:
            return self._answer(None)
        if self.path == "/v1/chat/completions":
            if body.get("tools"):
                error = {"message": "tools are not supported", "code": "unsupported_parameter"}
                return self._answer({"error": error}, 400)
            choice = {"index": 0, "message": _MESSAGE, "finish_reason": "stop"}
            return self._answer({"id": "1", "data": {"choices": [choice]}})
        if self.path == "/v1/embeddings":
            return self._answer({"data": [{"embedding": [0.5, 0.5]}], "usage": {"total_tokens": 1}})
        if self.path == "/v1/image/generations":
            return self._answer({"data": [{"url": "https://x.test/1.png"}], "cost": 0.02})
        return self._answer(None)

    def _answer(self, value: Any, status: int = 200) -> None:
        text = json.dumps(value).encode()
        kind = "application/json"
        if value is None:
            status, kind, text = 404, "text/html", f"Cannot {self.command} {self.path}".encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    missing: tuple[str, ...] = ()
    asked: list[str]


class HalfServer:
    """Runs on a free port while its block runs; `missing` are paths that it lacks, too."""

    def __init__(self, *missing: str) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.missing = missing
        self._server.asked = self.asked = []
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
