"""A server for load tests: slow, or failing a tenth of the time, as the path says; and it counts.

`/NAME/fail-10/v1/embeddings`: the tenth, twentieth, … request with a body that is new fails by
turns with 503, 429 or a dropped connection; the same body again is answered. `/NAME/unlucky-10/…`:
one in ten of all requests fails, retries too, by dice with a seed. `/NAME/slow-50/…`: the answer
takes 50 ms. `/NAME/together-500/…`: it comes when 500 requests are waiting for theirs.
`/NAME/stall-0/…`: it never comes. `GET /NAME` gives the counts of that name.

`python -m benchmarks.load_server` prints its port. A process of its own: five hundred connections
have two ends, and a process may have few files.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from typing import Any

CHAT = b'{"choices":[{"index":0,"message":{"content":"Hello there"},"finish_reason":"stop"}]}'
TEXT = b'{"choices":[{"index":0,"text":"Hello there","finish_reason":"stop"}]}'
EVENTS = (
    b'data: {"choices":[{"index":0,"delta":{"content":"Hello there"}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)
STREAM = b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n%s" % (
    len(EVENTS),
    EVENTS,
)
FAILURES = (503, 429, 0)


class Counts:
    """The requests under one name."""

    def __init__(self) -> None:
        self.requests = 0
        self.failed = 0
        self.now = 0
        self.most_at_once = 0
        self.connections = 0
        self.bodies: set[bytes] = set()
        self.dice = random.Random(6)
        self.together = asyncio.Event()

    def fails(self, kind: str, number: int, body: bytes) -> bool:
        """Return whether this request fails."""
        if kind == "unlucky":
            return self.dice.random() < 1 / number
        if kind != "fail" or body in self.bodies:
            return False
        self.bodies.add(body)
        return len(self.bodies) % number == 0

    def shown(self) -> bytes:
        """Return the counts as JSON."""
        names = ("requests", "failed", "now", "most_at_once", "connections")
        return json.dumps({name: getattr(self, name) for name in names}).encode()


async def serve_connection(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counted: dict[str, Counts]
) -> None:
    """Answer the requests of one connection, one after the other."""
    seen: set[str] = set()
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            method, path, _ = head.split(b"\r\n")[0].decode().split(" ")
            _, name, *rest = path.split("/")
            counts = counted[name]
            if method == "GET":
                writer.write(http(200, counts.shown()))
                continue
            length = next(
                int(line.partition(b":")[2])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            )
            body = await reader.readexactly(length)
            counts.connections += name not in seen
            seen.add(name)
            counts.requests += 1
            counts.now += 1
            counts.most_at_once = max(counts.most_at_once, counts.now)
            try:
                kind, _, number = rest[0].partition("-")
                if kind == "slow":
                    await asyncio.sleep(int(number) / 1000)
                if kind == "together":
                    if counts.now == int(number):
                        counts.together.set()
                    await counts.together.wait()
                if kind == "stall":
                    await reader.read()  # until the client leaves
                    return
                if counts.fails(kind, int(number or 0), body):
                    status = FAILURES[counts.failed % len(FAILURES)]
                    counts.failed += 1
                    if not status:
                        writer.transport.abort()
                        return
                    writer.write(http(status, b'{"error":"later"}', b"retry-after-ms: 1\r\n"))
                else:
                    writer.write(good_answer(path, body))
            finally:
                counts.now -= 1
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


def http(status: int, body: bytes, headers: bytes = b"") -> bytes:
    """Return a complete HTTP response."""
    head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\n%s" % (status, headers)
    return head + b"content-length: %d\r\n\r\n%s" % (len(body), body)


def good_answer(path: str, body: bytes) -> bytes:
    """A good answer; the vector of the text "7" is `[7.0, 1.0]`."""
    if b'"stream":true' in body:
        return STREAM
    if not path.endswith("/embeddings"):
        return http(200, CHAT if "/chat/" in path else TEXT)
    texts: list[Any] = json.loads(body)["input"]
    data = [{"index": at, "embedding": [float(text), 1.0]} for at, text in enumerate(texts)]
    return http(200, json.dumps({"data": data[::-1]}).encode())  # out of order, as servers may


async def main() -> None:
    """Serve on a free port until the process is ended."""
    counted: dict[str, Counts] = defaultdict(Counts)
    server = await asyncio.start_server(
        lambda reader, writer: serve_connection(reader, writer, counted),
        "127.0.0.1",
        0,
        backlog=1024,
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
