"""The loopback server: raw bytes on an asyncio protocol, faster than any client it measures.

The path says what comes: `/stream-2000/v1/chat/completions` is a stream of 2,000 chunks at once,
`/paced-250/…` one of 250 chunks, one every 2 ms, `/slow-50/…` an answer after 50 ms.
`/counts` gives what was counted and begins anew.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator

from benchmarks.bodies import paced, reply

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_END = b"\r\n\r\n"
_PACE = 0.002  # seconds between two chunks: what models send at their fastest


class Counts:
    """What the server saw since the last request for its counts."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests = 0
        self.sent = 0

    def take(self) -> bytes:
        """Return the counts as an HTTP response, and reset them."""
        body = json.dumps(vars(self)).encode()
        self.__init__()  # type: ignore[misc]  # the same object is known to every connection
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


class Connection(asyncio.Protocol):
    """One connection; requests arrive one after the other, in any pieces."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._counts.connections += 1

    def data_received(self, data: bytes) -> None:
        """Answer when a request is complete."""
        self._received = received = self._received + data if self._received else data
        end = received.find(_END)
        if end < 0:
            return
        length = _LENGTH.search(received, 0, end)
        if length is not None and len(received) < end + len(_END) + int(length[1]):
            return
        self._received = b""
        self._answer(received)

    def _answer(self, request: bytes) -> None:
        words = request[: request.index(b"\r\n")].split(b"/", 2)[1].decode()
        if words.startswith("counts"):
            self._transport.write(self._counts.take())
            return
        kind, _, number = words.partition("-")
        count = int(number or 0)
        if kind == "paced":
            self._send(iter(paced(count)), asyncio.get_running_loop().time())
            return
        body = reply(kind, count, b'"base64"' in request[-200:])
        self._counts.requests += 1
        self._counts.sent += len(body)
        if kind == "slow":
            asyncio.get_running_loop().call_later(count / 1000, self._transport.write, body)
        else:
            self._transport.write(body)

    def _send(self, pieces: Iterator[bytes], when: float) -> None:
        """Send the next piece, and the others at their times."""
        piece = next(pieces, None)
        if piece is not None:
            self._transport.write(piece)
            asyncio.get_running_loop().call_at(when, self._send, pieces, when + _PACE)


async def serve() -> None:
    """Serve on a free port, which is printed, until the process is ended."""
    counts = Counts()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(counts), "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
