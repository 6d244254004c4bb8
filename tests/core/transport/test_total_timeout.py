"""`total_timeout` bounds every part of a call, whatever the server does."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lunos_core import (
    AsyncClient,
    Client,
    Config,
    LunosNotFoundError,
    LunosTimeoutError,
    chat_request,
    chat_stream_request,
)
from tests.core.wire_samples import HELLO

LONG = "x" * 20_000_000  # more than the buffers of both sides hold


def drip(connection: socket.socket, head: bytes) -> None:
    """Send a byte now and then: each read of the client is in time."""
    for i in range(len(head)):
        connection.sendall(head[i : i + 1])
        time.sleep(0.1)


def dripped_status_line(connection: socket.socket) -> None:
    connection.recv(65536)
    drip(connection, b"HTTP/1.1 200 " + b"O" * 1000)


def dripped_header(connection: socket.socket) -> None:
    connection.recv(65536)
    drip(connection, b"HTTP/1.1 200 OK\r\nx-slow: " + b"a" * 1000)


def endless_1xx(connection: socket.socket) -> None:
    connection.recv(65536)
    while True:
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n" * 20)
        time.sleep(0.01)


def slow_1xx(connection: socket.socket) -> None:
    connection.recv(65536)
    while True:
        connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")
        time.sleep(0.1)


def slow_upload(connection: socket.socket) -> None:
    for _ in range(40):
        connection.recv(4096)
        time.sleep(0.05)


def dripped_body(connection: socket.socket) -> None:
    connection.recv(65536)
    drip(connection, b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n" + b" " * 1000)


SERVERS = [
    dripped_status_line,
    dripped_header,
    endless_1xx,
    slow_1xx,
    slow_upload,
    dripped_body,
]


@contextmanager
def playing(play: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve each connection with `play`."""
    listener = socket.create_server(("127.0.0.1", 0))
    stopping = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                play(connection)
            except OSError:
                return  # the client has left

    def accept() -> None:
        while not stopping.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    stopping.set()
    listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    listener.close()


def question(play: Callable[[socket.socket], None]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": LONG}] if play is slow_upload else HELLO


@pytest.mark.filterwarnings("ignore:Sending a large body")  # aiohttp's, of bytes as such
async def test_total_timeout_bounds_every_part_of_a_call() -> None:
    async def call(client: str, streamed: bool, play: Callable[[socket.socket], None]) -> None:
        transport = "aiohttp" if client == "aiohttp" else "httpx"
        with playing(play) as url:
            config = Config(api_key="k", base_url=url, transport=transport, total_timeout=0.8)
            ask = whole_or_streamed(config, question(play), streamed=streamed, client=client)
            with pytest.raises(LunosTimeoutError, match=r"total_timeout=0\.8"):
                # not how fast it is: without the bound it would take 100 seconds, or for ever
                await asyncio.wait_for(ask, 20)
            if play is slow_upload and client == "aiohttp":
                await asyncio.sleep(3)  # it closes when the server has taken or refused the rest

    # at once: each takes the whole of its time
    ways = list(itertools.product(["sync", "httpx", "aiohttp"], [False, True], SERVERS))
    outcomes = await asyncio.gather(*itertools.starmap(call, ways), return_exceptions=True)
    failed = {
        (client, streamed, play.__name__): repr(outcome)
        for (client, streamed, play), outcome in zip(ways, outcomes, strict=True)
        if outcome is not None
    }
    assert failed == {}


async def whole_or_streamed(
    config: Config, messages: list[dict[str, Any]], *, streamed: bool, client: str
) -> None:
    """Ask with the sync client in a thread, or with the asynchronous one."""
    request = (chat_stream_request if streamed else chat_request)(messages, model="m")

    def sync() -> None:
        with Client(config) as http:
            if streamed:
                list(http.stream(request))
            else:
                http.send(request)

    if client == "sync":
        await asyncio.to_thread(sync)
        return
    async with AsyncClient(config) as http:
        if streamed:
            async for _ in await http.stream(request):
                pass
        else:
            await http.send(request)


def test_total_timeout_bounds_a_connection_that_was_kept_alive() -> None:
    def play(connection: socket.socket) -> None:
        time.sleep(0.1)  # head and body come apart
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 404 No\r\ncontent-length: 2\r\n\r\n{}")
        dripped_header(connection)

    request = chat_request(HELLO, model="m")
    with playing(play) as url, Client(Config(api_key="k", base_url=url, total_timeout=0.8)) as http:
        with pytest.raises(LunosNotFoundError):
            http.send(request)
        with pytest.raises(LunosTimeoutError, match=r"total_timeout=0\.8"):
            http.send(request)
