"""Many calls through one client: memory and sockets before and after. `python benchmarks/soak.py`.

The server is the scripted one of the tests' own making, in this process' thread: what is measured
is what the calls leave behind, not how fast they are.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from lunos_core import AsyncClient, Client, Config, chat_request

ANSWER = json.dumps(
    {"choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}]}
).encode()
REQUEST = chat_request([{"role": "user", "content": "Hello"}], model="m")


class Handler(BaseHTTPRequestHandler):
    """Answers each request the same."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """One answer."""
        self.rfile.read(int(self.headers["content-length"]))
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(ANSWER)}\r\n\r\n".encode()
        self.wfile.write(head + ANSWER)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def standing() -> tuple[float, int]:
    """Memory in MB, open file descriptors (Linux)."""
    gc.collect()
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(os.listdir("/proc/self/fd"))


async def asynchronous(config: Config, calls: int) -> None:
    """As many calls, 20 at a time."""
    client = AsyncClient(config)
    for _ in range(calls // 20):
        await asyncio.gather(*(client.send(REQUEST) for _ in range(20)))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000, help="through each client")
    calls = parser.parse_args().calls
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = Config(api_key="k", base_url=f"http://127.0.0.1:{server.server_port}")
    for count in (500, calls):  # the first round fills the caches
        with Client(config) as client:
            for _ in range(count):
                client.send(REQUEST)
        asyncio.run(asynchronous(config, count))
        memory, files = standing()
        print(f"after {count} calls through each client: {memory:.1f} MB, {files} open files")


if __name__ == "__main__":
    main()
