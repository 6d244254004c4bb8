"""Connections by exact values: how many are kept, how long, and what their reads wait for."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from lunos_core import LunosConfigError, LunosTimeoutError
from lunos_core.transport import deadline as limits
from lunos_core.transport import pool
from lunos_core.transport.deadline import Deadline, bounded, watch, watch_new_connection, within
from lunos_core.transport.exchange import Exchange
from lunos_core.transport.pool import ClientPool, GivenClient, Shards
from lunos_core.transport.retry import is_retried_status, retry_delay


def test_a_client_is_made_for_four_calls_and_kept_for_half_a_minute() -> None:
    assert (pool.WIDTH, pool.IDLE) == (4, 30.0)
    limits = pool._LIMITS
    assert limits.max_connections is None
    assert (limits.max_keepalive_connections, limits.keepalive_expiry) == (4, 30.0)
    given = httpx.Client()
    place = GivenClient(given)
    assert (place.http, place.headers, place.release()) == (given, None, None)  # type: ignore[func-returns-value]  # it does nothing


@pytest.mark.parametrize(("idle", "closed"), [(29.9, False), (30.0, True)])
def test_the_last_client_is_closed_when_it_was_idle_for_so_long(
    monkeypatch: pytest.MonkeyPatch, idle: float, closed: bool
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    shards = Shards(object, 2)
    places = [shards.acquire()[0] for _ in range(4)]
    assert [place.under_way for place in places] == [2] * 4
    last = places[3].http
    places[3].release()
    now[0] = 150.0
    assert shards.acquire()[1] is None, "a call is under way in it"
    places[2].release()
    places[2].release()
    places[0].release()
    now[0] += idle
    first, unneeded = shards.acquire()
    assert unneeded is (last if closed else None)
    assert first.http is places[0].http
    assert [*shards.drain()] == ([first.http] if closed else [last, first.http])


@pytest.mark.parametrize(
    ("failure", "environment", "text"),
    [
        (
            OSError("no such file"),
            {"SSL_CERT_FILE": "a", "SSL_CERT_DIR": "b"},
            "the certificates named by SSL_CERT_FILE and SSL_CERT_DIR can't be loaded: "
            "no such file",
        ),
        (
            OSError("bad"),
            {},
            "the certificates named by the system can't be loaded: bad",
        ),
        (
            ValueError("http://user:password@x"),
            {"HTTPS_PROXY": "x", "no_proxy": "y", "all_proxy": "z"},
            "the proxy that the environment names (HTTPS_PROXY, all_proxy) can't be used: its "
            "scheme or port isn't valid",
        ),
        (
            ImportError("socksio"),
            {"ALL_PROXY": "socks5://x"},
            "the proxy that the environment names (ALL_PROXY) can't be used: a SOCKS proxy needs "
            'a package: pip install "httpx[socks]"',
        ),
        (LunosConfigError("ours"), {}, "ours"),
    ],
)
def test_what_is_wrong_in_the_environment_is_named(
    monkeypatch: pytest.MonkeyPatch, failure: Exception, environment: Any, text: str
) -> None:
    for name in list(os.environ):
        if name.upper().endswith("_PROXY") or name.startswith("SSL_CERT"):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LunosConfigError) as refused, pool._environment_errors():
        raise failure
    assert refused.value.message == text


def test_the_clients_of_a_pool_are_made_once_in_a_process_and_again_after_a_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine = ClientPool()
    assert mine._begin() is mine._begin()  # of two threads the second takes the first one's
    first = mine.acquire()
    assert mine.acquire().http is first.http
    assert not {"accept", "user-agent"} & {*first.http.headers}
    assert "accept" not in (first.headers or {})
    monkeypatch.setattr(os, "getpid", lambda: -1)  # a fork
    second = mine.acquire()
    assert second.http is not first.http
    monkeypatch.undo()
    third = mine.acquire()
    assert third.http not in (first.http, second.http)
    mine.close()
    assert third.http.is_closed
    assert not first.http.is_closed, "of another process"
    assert mine.acquire().http is not third.http
    ClientPool().close()  # nothing was opened


class _Connection:
    """httpcore's connection as far as a read and a write of it go."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self.told.append(("read", max_bytes, timeout))
        return b"x"

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.told.append(("write", len(buffer), timeout))


def test_reads_and_writes_wait_for_what_is_left_of_their_call() -> None:
    now = [100.0]
    deadline = Deadline(10, 1000, clock=lambda: now[0])
    connection: Any = _Connection()
    watch_new_connection("connection.other.complete", {"return_value": connection})
    assert "was_read" not in vars(connection)
    watch_new_connection("connection.connect_tcp.complete", {"return_value": connection})
    assert connection.was_read
    watched = connection.read
    watch(connection)
    assert connection.read is watched, "watched once"

    assert connection.read(5, 3.0) == b"x"
    connection.write(b"a" * 40_000, 3.0)
    assert not connection.was_read
    with within(deadline):
        now[0] = 108.0
        connection.write(b"a" * 40_000, 3.0)
        connection.write(b"", 3.0)
        with within(Deadline(None, 1000)):
            connection.write(b"a" * 40_000, 3.0)
        assert connection.read(5, 3.0) == b"x"
        assert connection.was_read
        now[0] = 110.0
        with pytest.raises(LunosTimeoutError):
            connection.read(5, 3.0)
    connection.read(5, 7.0)
    assert connection.told == [
        *(("read", 5, 3.0), ("write", 40_000, 3.0)),
        *(("write", 16_384, 2.0), ("write", 16_384, 2.0), ("write", 7232, 2.0)),
        *(("write", 40_000, 3.0), ("read", 5, 2.0), ("read", 5, 7.0)),
    ]


def test_other_objects_than_connections_are_left_alone() -> None:
    for other in (object(), SimpleNamespace()):
        watch(other)
        assert not hasattr(other, "was_read")


def test_the_pieces_of_a_body_are_read_within_their_deadline_alone() -> None:
    deadline, outer = Deadline(10, 1000), Deadline(20, 1000)
    active: list[Deadline | None] = []

    def pieces() -> Iterator[bytes]:
        for piece in (b"a", b"", b"b"):
            active.append(limits._active.deadline)
            yield piece

    with within(outer):
        came = []
        for piece in bounded(pieces(), deadline):
            came.append(piece)
            active.append(limits._active.deadline)
    assert came == [b"a", b"", b"b"]
    assert active == [deadline, outer] * 3
    assert limits._active.deadline is None


@pytest.mark.parametrize(
    ("attempt", "retry_after", "jitter", "delay"),
    [
        *((attempt, None, 1.0, delay) for attempt, delay in ((1, 0.5), (2, 1), (4, 4), (5, 8))),
        *((attempt, None, 0.5, 4.0) for attempt in (6, 11, 12, 5000)),
        *((1, wish, 1.0, wish) for wish in (0.0, 60.0)),
        *((1, wish, 1.0, 0.5) for wish in (60.1, -1.0)),
    ],
)
def test_a_retry_waits_for_its_backoff_or_the_servers_wish(
    attempt: int, retry_after: float | None, jitter: float, delay: float
) -> None:
    assert retry_delay(attempt=attempt, retry_after=retry_after, jitter=jitter) == delay


def test_these_statuses_are_retried() -> None:
    retried = [status for status in range(600) if is_retried_status(status)]
    assert retried == [408, 409, 425, 429, *range(500, 600)]


async def test_an_attempt_on_an_open_connection_ends_when_it_is_closed() -> None:
    released: list[bool] = []

    async def acquire() -> Any:
        return SimpleNamespace(release=lambda: released.append(True))

    async def send(*_: Any) -> httpx.Response:
        return await asyncio.Event().wait()  # type: ignore[return-value]  # it never comes

    attempt = Exchange(acquire, send, Deadline(None, 1))
    await asyncio.sleep(0)
    await attempt.close()
    assert released == [True]
