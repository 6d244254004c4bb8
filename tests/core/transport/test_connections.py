"""Connections over a real socket: reused, given back, one per loop, shared by threads."""

from __future__ import annotations

import asyncio
import gc
import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from lunos_core import AsyncClient, Client, Config, chat_request, chat_stream_request
from tests.core.raw_server import STALL, RawServer, chunk, http, sse_head
from tests.core.wire_samples import HELLO, Wire, delta, lines, reply, stored

if TYPE_CHECKING:
    from tests.conftest import Both

CHAT = json.dumps(stored("chat")).encode()
SEND = chat_request(HELLO, model="m")
STREAM = chat_stream_request(HELLO, model="m")
HELLO_EVENT = lines([delta("Hello")])
WHOLE_STREAM = sse_head() + chunk(lines([delta("Hello", "stop"), "[DONE]"])) + chunk(b"")


def config(server: RawServer) -> Config:
    return Config(api_key="k", base_url=server.url)


async def test_calls_after_each_other_share_a_connection(both: Both) -> None:
    failing = http(429, b"{}", retry_after="0")
    with RawServer(http(body=CHAT), failing, WHOLE_STREAM, failing, http(body=CHAT)) as server:
        client = both.client(base_url=server.url)
        await both(client.send(SEND))
        await both.chunks(client, STREAM)
        await both(client.send(SEND))
        assert (len(server.requests), server.connections) == (5, 1)


async def test_a_stream_that_is_left_early_gives_its_connection_back(both: Both) -> None:
    with RawServer([sse_head(), chunk(HELLO_EVENT), STALL]) as server:
        client = both.client(base_url=server.url)
        stream = await both(client.stream(STREAM))
        async for piece in both.each(stream):
            assert piece.text == "Hello"
            break
        await both(stream.close())
        assert server.all_closed()
        await both(stream.close())  # once more does no harm
        assert [chunk async for chunk in both.each(stream)] == []


async def test_leaving_the_block_of_a_stream_gives_its_connection_back(both: Both) -> None:
    with RawServer([sse_head(), chunk(HELLO_EVENT), STALL]) as server:
        client = both.client(base_url=server.url)
        if both.is_async:
            async with await client.stream(STREAM) as stream:
                assert (await anext(stream)).text == "Hello"
        else:
            with client.stream(STREAM) as stream:
                assert next(stream).text == "Hello"
        assert server.all_closed()


async def test_a_closed_client_leaves_nothing_open_and_opens_again_when_used(both: Both) -> None:
    with RawServer(http(body=CHAT)) as server:
        client = both.client(base_url=server.url)
        for _ in range(2):
            await both(client.send(SEND))
            await both(client.close())
            assert server.all_closed()
        assert server.connections == 2


async def test_a_client_of_the_users_own_is_used_as_it_is_and_left_open(both: Both) -> None:
    wire = Wire(reply(stored("chat")))
    own = both.http_client(wire)
    own.headers["x-mine"] = "1"
    kind = AsyncClient if both.is_async else Client
    client = kind(Config(api_key="k"), http_client=own)
    await both(client.send(SEND))
    await both(client.close())
    assert not own.is_closed
    assert wire.sent.headers["x-mine"] == "1"


def test_one_client_works_in_one_event_loop_after_another_and_leaks_nothing() -> None:
    with RawServer(http(body=CHAT)) as server:
        client = AsyncClient(config(server))

        async def call() -> str:
            return (await client.send(SEND)).text

        for _ in range(3):
            assert asyncio.run(call()) == "Hello there"
            # never closed by hand: asyncio.run shuts the loop down, and the connections with it
            assert server.all_closed()
        gc.collect()
        assert server.connections == 3
        assert len(client._clients._loops) <= 1  # at most the last loop's, until the next one comes


def test_one_client_works_in_several_event_loops_at_once() -> None:
    with RawServer(http(body=CHAT)) as server:
        client = AsyncClient(config(server))

        async def call() -> list[str]:
            answers = await asyncio.gather(*(client.send(SEND) for _ in range(3)))
            return [answer.text for answer in answers]

        with ThreadPoolExecutor(4) as threads:
            futures = [threads.submit(asyncio.run, call()) for _ in range(4)]
            assert [future.result() for future in futures] == [["Hello there"] * 3] * 4
        assert server.all_closed()


def test_a_loop_closed_by_hand_is_forgotten_with_the_next_one() -> None:
    client = AsyncClient(Config(api_key="k"))

    async def open_client() -> None:
        await client._clients.acquire()

    for _ in range(3):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(open_client())
        loop.close()
    assert len(client._clients._loops) <= 1


async def test_a_cancelled_call_gives_its_connection_back() -> None:
    with RawServer([STALL]) as server:
        client = AsyncClient(config(server))
        task = asyncio.create_task(client.send(SEND))
        await asyncio.to_thread(server.wait_for_request)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert server.all_closed()
        await client.close()


def test_threads_share_one_client_and_closing_it_closes_all_their_connections() -> None:
    count = 8
    with RawServer(http(body=CHAT)) as server, ThreadPoolExecutor(count) as threads:
        client = Client(config(server))
        together = threading.Barrier(count)

        def call() -> str:
            together.wait()
            return client.send(SEND).text

        futures = [threads.submit(call) for _ in range(count)]
        assert [future.result() for future in futures] == ["Hello there"] * count
        client.close()
        assert server.all_closed()


def test_threads_that_start_at_once_make_one_client_between_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Any] = []
    count = 4
    pause = threading.Event()

    class Slow(httpx.Client):
        def __init__(self, **settings: Any) -> None:
            pause.wait(0.05)  # every other thread gets its chance
            super().__init__(**settings)
            made.append(self)

    monkeypatch.setattr(httpx, "Client", Slow)
    client = Client(Config(api_key="k"))
    with ThreadPoolExecutor(count) as threads:
        futures = [threads.submit(client._clients.acquire) for _ in range(count)]
        result = [future.result().http for future in futures]
    assert len(made) == 1
    assert set(result) == set(made)
    client.close()


async def test_a_pickled_client_works_where_it_is_unpickled(both: Both) -> None:
    with RawServer(http(body=CHAT)) as server:
        client = both.client(base_url=server.url, app_id="app")
        await both(client.send(SEND))
        again = both.closing(pickle.loads(pickle.dumps(client)))
        assert again.config == client.config
        assert (await both(again.send(SEND))).text == "Hello there"
        assert [got.headers["x-app-id"] for got in server.requests] == ["app", "app"]
        assert server.requests[1].headers["authorization"] == "Bearer sk-test-4f9a1c"


@pytest.mark.parametrize("total_timeout", [None, 20.0])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_second_answer_to_one_request_is_not_taken_for_that_to_the_next(
    both: Both, streamed: bool, total_timeout: float | None
) -> None:
    stale = http(body=CHAT.replace(b"Hello", b"Stale"))
    with RawServer(http(body=CHAT) + stale, http(body=CHAT)) as server:
        client = both.client(base_url=server.url, max_retries=1, total_timeout=total_timeout)
        for _ in range(3):
            if streamed:
                texts = [piece.text for piece in await both.chunks(client, STREAM)]
                assert "".join(texts) == "Hello there"
            else:
                assert (await both(client.send(SEND))).text == "Hello there"
        assert (len(server.requests), server.connections) == (4, 2)
