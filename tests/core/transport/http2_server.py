"""A server that speaks HTTP/2 and nothing else."""

from __future__ import annotations

import socketserver
import ssl
from typing import Any

from tests.core.transport.tls_server import tls_context


class Http2Server(socketserver.ThreadingTCPServer):
    """Answers each request over TLS: with events where it asks for a stream, else whole.

    Attributes:
        keys: the `authorization` of each request.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, answer: bytes, events: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Http2)
        self.answer, self.events = answer, events
        self.keys: list[str] = []
        self.tls = tls_context("good")
        self.tls.set_alpn_protocols(["h2"])

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that end."""


class _Http2(socketserver.BaseRequestHandler):
    server: Http2Server

    def handle(self) -> None:
        import h2.config
        import h2.connection
        import h2.events

        server = self.server
        with server.tls.wrap_socket(self.request, server_side=True) as connection:
            assert connection.selected_alpn_protocol() == "h2", "the client speaks HTTP/2"
            config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
            http2 = h2.connection.H2Connection(config)
            http2.initiate_connection()
            connection.sendall(http2.data_to_send())
            bodies: dict[int, bytes] = {}
            while part := _received(connection):
                for event in http2.receive_data(part):
                    if isinstance(event, h2.events.RequestReceived):
                        server.keys.append(dict(event.headers)["authorization"])
                        bodies[event.stream_id] = b""
                    elif isinstance(event, h2.events.DataReceived):
                        bodies[event.stream_id] += event.data
                    elif isinstance(event, h2.events.StreamEnded):
                        streams = b'"stream":true' in bodies[event.stream_id]
                        kind = "text/event-stream" if streams else "application/json"
                        http2.send_headers(
                            event.stream_id, [(":status", "200"), ("content-type", kind)]
                        )
                        body = server.events if streams else server.answer
                        http2.send_data(event.stream_id, body, end_stream=True)
                connection.sendall(http2.data_to_send())


def _received(connection: ssl.SSLSocket) -> bytes:
    try:
        return connection.recv(65536)
    except OSError:
        return b""
