"""A loopback server that plays scripted bytes: for what a mock hides."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

CLOSE = "close"  # hang up politely
RESET = "reset"  # hang up with a TCP reset
STALL = "stall"  # send nothing more until the server stops or the client leaves

Step = bytes | str


@dataclass(frozen=True)
class Got:
    """One request as it came over the wire."""

    line: str
    headers: dict[str, str]
    body: bytes
    connection: int


class RawServer:
    """Answers the requests in their order, each with a list of steps; the last one repeats.

    Attributes:
        requests: what came.
        connections: how many were accepted.
    """

    def __init__(self, *answers: bytes | list[Step]) -> None:
        self._answers = [[item] if isinstance(item, bytes) else item for item in answers]
        self.requests: list[Got] = []
        self.connections = 0
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        with self._changed:
            for connection in self._open:
                with contextlib.suppress(OSError):  # the client has reset it
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def open_connections(self) -> int:
        """Return how many connections are open."""
        with self._changed:
            return len(self._open)

    def all_closed(self) -> bool:
        """Wait until no connection is open; `False` where one stays open."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, timeout=5)

    def wait_for_request(self, count: int = 1) -> None:
        with self._changed:
            self._changed.wait_for(lambda: len(self.requests) >= count, timeout=5)

    def _spawn(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._changed:
                self.connections += 1
                self._open.add(connection)
                number = self.connections
            self._spawn(self._serve, connection, number)

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            for got in _requests(connection, number):
                with self._changed:
                    self.requests.append(got)
                    steps = self._answer(got)
                    self._changed.notify_all()
                if not self._play(connection, steps):
                    return
        except OSError:
            pass  # the client left
        finally:
            with self._changed:
                self._open.discard(connection)
                connection.close()
                self._changed.notify_all()

    def _answer(self, got: Got) -> list[Step]:
        """What to play for the request that came last."""
        return self._answers[min(len(self.requests), len(self._answers)) - 1]

    def _play(self, connection: socket.socket, steps: list[Step]) -> bool:
        for step in steps:
            if isinstance(step, bytes):
                connection.sendall(step)
            elif step == STALL:
                while not self._stopping.is_set() and connection.recv(65536):
                    pass
                return False
            else:
                if step == RESET:
                    linger = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                return False
        return True


def _requests(connection: socket.socket, number: int) -> Iterator[Got]:
    data = b""
    while True:
        while b"\r\n\r\n" not in data:
            more = connection.recv(65536)
            if not more:
                return
            data += more
        head, _, data = data.partition(b"\r\n\r\n")
        line, *rest = head.decode().split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (h.partition(":") for h in rest)
        }
        length = int(headers.get("content-length", "0"))
        while len(data) < length:
            more = connection.recv(65536)
            if not more:
                return
            data += more
        yield Got(line, headers, data[:length], number)
        data = data[length:]


def http(
    status: int = 200, body: bytes = b"", kind: str = "application/json", **more: str
) -> bytes:
    """A whole answer; further headers by name, with `_` for `-`."""
    return head(status, content_type=kind, content_length=str(len(body)), **more) + body


def head(status: int = 200, **headers: str) -> bytes:
    named = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"HTTP/1.1 {status} Whatever", *named, "", ""]).encode()


def sse_head(**more: str) -> bytes:
    """The start of a stream in HTTP chunks."""
    return head(content_type="text/event-stream", transfer_encoding="chunked", **more)


def chunk(data: bytes) -> bytes:
    """One HTTP chunk; an empty one is the end of the body."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"
