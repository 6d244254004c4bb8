"""What was made fast gives what the plain way gives."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import httpx
import pytest

from lunos_core import Client, Config, chat_request, chat_stream_request, models_request
from lunos_core.errors import ErrorMap
from lunos_core.transport.call import SendCall
from lunos_core.transport.pool import AsyncClients, new_http
from lunos_core.transport.shards import IDLE, WIDTH, Shards
from lunos_core.wire.sse import SSEDecoder
from tests.core.wire_samples import HELLO

REQUESTS = [
    chat_request(HELLO, model="m"),
    chat_request(HELLO, model="m", app_id="a", timeout=3),
    chat_request(HELLO, model="m", extra_headers={"X-Mine": "1", "accept": "text/plain"}),
    chat_stream_request(HELLO, model="m", timeout=httpx.Timeout(1, read=2)),
    models_request(),
]


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("request_", REQUESTS)
def test_a_request_of_prebuilt_parts_is_the_one_that_httpx_builds(request_: Any, own: bool) -> None:
    config = Config(api_key="k", app_id="b", default_headers={"x-every": "2"})
    client = Client(config, http_client=None if own else httpx.Client())
    http = httpx.Client(headers={"x-client": "3", "accept": "image/png"}, cookies={"c": "4"})
    if own:
        http = new_http(httpx.Client)
    call: Any = SendCall(config, request_, ErrorMap(), ())
    timeout = call.timeout
    if isinstance(timeout, int | float):
        timeout = httpx.Timeout(timeout, pool=None)
    plain = http.build_request(
        request_.method, call.url, content=request_.body, headers=call.headers, timeout=timeout
    )
    for _ in range(2):  # the second is made of what the first one kept
        built = client._prepared.request(http, call)
        assert (built.method, built.url, built.content) == (plain.method, plain.url, plain.content)
        assert built.headers == plain.headers
        assert built.extensions == plain.extensions
    http.close()


def test_one_whole_event_is_read_as_in_pieces() -> None:
    for event in (
        b"data: a\n\n",
        b"data:  a\n\n",
        b"data: \n\n",
        b"data: a\r\n\n",
        b"data: a: b\n\n",
    ):
        whole, pieces = SSEDecoder(), SSEDecoder()
        for _ in range(2):
            found = [data for at in range(len(event)) for data in pieces.feed(event[at : at + 1])]
            assert whole.feed(event) == found


def test_places_are_taken_from_the_first_client_with_room_and_given_back() -> None:
    made: list[object] = []

    def make() -> object:
        made.append(object())
        return made[-1]

    shards = Shards(make)
    taken = [shards.take()[0] for _ in range(WIDTH + 1)]
    assert [shard.http for shard in taken] == [made[0]] * WIDTH + [made[1]]
    taken[0].give_back()
    assert shards.take()[0].http is made[0]
    assert list(shards.drain()) == made[::-1]
    assert shards.take()[0].http is made[2]


def test_a_client_that_only_a_rush_needed_is_handed_out_to_be_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    shards = Shards(object)
    for place in [shards.take()[0] for _ in range(2 * WIDTH + 1)]:
        place.give_back()

    now += IDLE - 1
    first, unneeded = shards.take()
    assert unneeded is None

    now += 2
    unneeded = [shards.take()[1] for _ in range(WIDTH - 1)]
    assert [one is not None for one in unneeded] == [True, True, False]
    assert list(shards.drain()) == [first.http], "a client with calls under way is never closed"


def test_many_threads_get_no_more_clients_than_they_need() -> None:
    shards = Shards(object)
    together = threading.Barrier(WIDTH)

    def some() -> None:
        together.wait()
        for _ in range(200):
            shards.take()[0].give_back()

    threads = [threading.Thread(target=some) for _ in range(WIDTH)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(shards.drain())) == 1


def test_a_place_may_be_given_back_while_another_is_taken() -> None:
    """A garbage collection inside may close a forgotten stream, in the same thread."""
    shards: Shards[object]
    places: list[Any] = []

    def make() -> object:
        for place in places:
            place.give_back()  # with a plain lock this would wait for ever
        places.clear()
        return object()

    shards = Shards(make)
    places += [shards.take()[0] for _ in range(WIDTH)]
    taken, _ = shards.take()
    assert taken.under_way == 1


async def test_a_call_that_is_cancelled_while_an_idle_client_closes_leaks_no_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clients = AsyncClients("httpx")
    places = [await clients.take() for _ in range(WIDTH + 1)]
    for place in places:
        place.give_back()
    (own,) = clients._loops.values()
    first, last = own.shards._shards
    last.idle_since -= 2 * IDLE

    async def never(self: httpx.AsyncClient) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(httpx.AsyncClient, "aclose", never)
        with pytest.raises(asyncio.CancelledError):
            await clients.take()
    assert first.under_way == 0
    await clients.close()
