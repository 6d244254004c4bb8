"""A stand-in for LangSmith's endpoint: real clients of theirs send to it over loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from langsmith import Client

_INFO = {
    "version": "0.12",
    "batch_ingest_config": {
        "use_multipart_endpoint": True,
        "size_limit": 100,
        "size_limit_bytes": 20_000_000,
        "scale_up_nthreads_limit": 1,
        "scale_up_qsize_trigger": 1000,
    },
}


class LangSmithServer(ThreadingHTTPServer):
    """Keeps each body that it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[bytes] = []
        self.parts: dict[str, Any] = {}
        self.clients: list[Client] = []

    def client(self, **settings: Any) -> Client:
        """Make a client of LangSmith's that sends here.

        It is told what it would ask for: its thread may do so once the server has gone.
        """
        address = f"http://127.0.0.1:{self.server_port}"
        made = Client(api_url=address, api_key="ls-key", info=_INFO, **settings)
        self.clients.append(made)
        return made

    def keep(self, content_type: str, body: bytes) -> None:
        """Keep a multipart body and its parts, which are named `post.<id>.outputs` and so on."""
        self.bodies.append(body)
        head = f"Content-Type: {content_type}\r\n\r\n".encode()
        for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts():
            name = str(part.get_param("name", header="content-disposition"))
            self.parts[name] = json.loads(cast("bytes", part.get_payload(decode=True)))

    def fields(self, field: str) -> list[Any]:
        """Return one field of each run: "outputs", "extra" and so on."""
        return [value for name, value in self.parts.items() if name.endswith(f".{field}")]


class _Handler(BaseHTTPRequestHandler):
    server: LangSmithServer

    def do_GET(self) -> None:
        self._answer(200, json.dumps(_INFO).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.keep(self.headers["content-type"], body)
        self._answer(202, b"{}")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def langsmith_server() -> Iterator[LangSmithServer]:
    """Run the stand-in."""
    with LangSmithServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            for client in server.clients:
                client.cleanup()
            server.shutdown()
            thread.join()
