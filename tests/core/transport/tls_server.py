"""HTTPS servers and proxies on this machine, for what only a real handshake shows."""

from __future__ import annotations

import base64
import contextlib
import json
import select
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import trustme

from tests.core.wire_samples import stored

CA = trustme.CA()
ANSWER = json.dumps(stored("chat")).encode()


class Server(ThreadingHTTPServer):
    """Answers each POST with a chat; quiet where a handshake fails."""

    daemon_threads = True

    def __init__(self, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, 0), _Chat)
        self.seen: list[tuple[str, dict[str, str]]] = []
        if tls is not None:
            self.socket = tls.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of handshakes that were refused."""


class _Chat(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.server.seen.append((self.path, {n.lower(): v for n, v in self.headers.items()}))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def running(server: socketserver.BaseServer) -> Iterator[Any]:
    """Run a server in a thread."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def tls_context(kind: str) -> ssl.SSLContext:
    """Return the side of a server whose certificate is good, untrusted, expired or another's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority = trustme.CA() if kind == "untrusted" else CA
    host = "elsewhere.test" if kind == "wrong host" else "127.0.0.1"
    yesterday = datetime.now(UTC) - timedelta(days=1)
    until = yesterday if kind == "expired" else None
    authority.issue_cert(host, not_after=until).configure_cert(context)
    return context


class Proxy(socketserver.ThreadingTCPServer):
    """An HTTP proxy that asks for a name and password, for CONNECT and for plain requests."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, password: str) -> None:
        super().__init__(("127.0.0.1", 0), _Tunnel)
        self.token = base64.b64encode(f"user:{password}".encode()).decode()
        self.refused = self.passed = 0

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Tunnel(socketserver.StreamRequestHandler):
    server: Proxy

    def handle(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            part = self.request.recv(65536)
            if not part:
                return
            head += part
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
        if f"basic {self.server.token}".lower() not in head.decode("latin-1").lower():
            self.server.refused += 1
            self.request.sendall(
                b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                b'proxy-authenticate: Basic realm="p"\r\ncontent-length: 0\r\n\r\n'
            )
            return
        self.server.passed += 1
        address = target if method == "CONNECT" else target.split("/")[2]
        host, port = address.rsplit(":", 1)
        with socket.create_connection((host, int(port))) as upstream:
            if method == "CONNECT":
                self.request.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            else:
                upstream.sendall(head)
            with contextlib.suppress(OSError):
                _pass_on(self.request, upstream)


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    while True:
        for readable in select.select([one, other], [], [], 5)[0] or [None]:
            part = readable.recv(65536) if readable else b""
            if not part:
                return
            (other if readable is one else one).sendall(part)
