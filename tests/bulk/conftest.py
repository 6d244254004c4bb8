"""A gateway whose answers depend on the texts, and corpora for it."""

from __future__ import annotations

import base64
import json
import struct
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from lunos_cli.commands import lunos

Reply = tuple[int, dict[str, Any], dict[str, str]]


def vectors(body: dict[str, Any]) -> Reply:
    """Vectors of four numbers, the first of which is the text's length."""
    data = [
        {
            "index": i,
            "embedding": base64.b64encode(struct.pack("<4f", len(text), 1, 2, 3)).decode(),
        }
        for i, text in enumerate(body["input"])
    ]
    tokens = len(data)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens, "cost": tokens / 1000}
    return 200, {"data": data, "model": body["model"], "usage": usage}, {}


def says(text: str) -> Reply:
    """A chat answer."""
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": text},
    }
    usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10, "cost": 0.01}
    return 200, {"model": "m", "choices": [choice], "usage": usage}, {}


def no(status: int, message: str = "No", **headers: str) -> Reply:
    return status, {"error": {"message": message}}, headers


class Service:
    """Answers each request with what `answer` makes of its body; keeps what was asked."""

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, Any]], Reply] = vectors
        self.seconds = 0.0
        self.bodies: list[dict[str, Any]] = []
        self.answered: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.prices: list[dict[str, Any]] = []
        self._open, self._changed = 0, threading.Condition()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.reply(200, {"data": service.prices}, {})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                service.bodies.append(body)
                service.times.append(time.monotonic())
                time.sleep(service.seconds)
                status, value, headers = service.answer(body)
                if status == 200:
                    service.answered.append(body)
                self.reply(status, value, headers)

            def reply(self, status: int, value: dict[str, Any], headers: dict[str, str]) -> None:
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                for name, header in headers.items():
                    self.send_header(name.replace("_", "-"), header)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None: ...

        class Server(ThreadingHTTPServer):
            request_queue_size = 128

            def process_request(self, request: Any, client_address: Any) -> None:
                with service._changed:
                    service._open += 1
                super().process_request(request, client_address)

            def shutdown_request(self, request: Any) -> None:
                super().shutdown_request(request)
                with service._changed:
                    service._open -= 1
                    service._changed.notify_all()

            def handle_error(self, *_: object) -> None: ...  # a killed client

        self._server = Server(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    def texts(self, *, paid: bool = True) -> Counter[str]:
        """How often each text was embedded."""
        return Counter(
            text for body in (self.answered if paid else self.bodies) for text in body["input"]
        )

    def wait_until_left(self) -> None:
        """Wait until all that was sent has been answered, and every client has left."""
        with urllib.request.urlopen(self.base_url):  # connections are accepted in their order
            pass
        with self._changed:
            assert self._changed.wait_for(lambda: not self._open, timeout=60), "a client stays"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    running = Service()
    monkeypatch.setenv("LUNOS_API_KEY", "sk-bulk-4f9a1c")
    monkeypatch.setenv("LUNOS_BASE_URL", running.base_url)
    yield running
    running.close()


def run(*arguments: object) -> Result:
    return CliRunner().invoke(lunos, ["bulk", *map(str, arguments)])


def corpus(path: Path, texts: list[Any]) -> Path:
    lines = [json.dumps({"id": i, "text": text}) for i, text in enumerate(texts)]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def rows_in(folder: Path) -> list[dict[str, Any]]:
    return [
        row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()
    ]
