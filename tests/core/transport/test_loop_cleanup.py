"""Loops that end, forks, copies, closed clients: nothing stays open, nothing hangs."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import json
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import weakref
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from lunos_core import (
    AsyncClient,
    AsyncLunos,
    Client,
    Config,
    LunosConfigError,
    chat_request,
    chat_stream_request,
)
from lunos_core.transport import loop_cleanup as loop_ends
from tests.core.raw_server import STALL, RawServer, chunk, http, sse_head
from tests.core.wire_samples import HELLO, delta, lines, stored

if TYPE_CHECKING:
    from tests.conftest import Both

CHAT = json.dumps(stored("chat")).encode()
SEND = chat_request(HELLO, model="m")
STREAM = chat_stream_request(HELLO, model="m")


def test_a_client_that_dies_with_its_coroutine_leaves_nothing_open() -> None:
    with RawServer(http(body=CHAT)) as server:

        async def main() -> str:
            client = AsyncClient(Config(api_key="k", base_url=server.url))
            return (await client.send(SEND)).text

        assert asyncio.run(main()) == "Hello there"
        assert server.all_closed()
    assert not [loop for loop in loop_ends._open if loop.is_closed()]


def test_python_in_development_mode_has_nothing_to_say_about_it() -> None:
    with RawServer(http(body=CHAT)) as server:
        code = f"""
            import asyncio
            from lunos_core import AsyncLunos

            async def main():
                lunos = AsyncLunos("k", base_url={server.url!r})
                messages = [{{"role": "user", "content": "Hello"}}]
                await lunos.chat.completions.create(model="m", messages=messages)

            for _ in range(2):
                asyncio.run(main())
        """
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-c", textwrap.dedent(code)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        # asyncio's debug mode also tells how long the first call's imports took: no fault
        said = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
        assert (done.returncode, said) == (0, [])


async def test_a_client_that_dies_while_its_loop_goes_on_is_closed() -> None:
    with RawServer(http(body=CHAT)) as server:
        client = AsyncClient(Config(api_key="k", base_url=server.url))
        await client.send(SEND)
        assert loop_ends._open[asyncio.get_running_loop()]
        del client
        gc.collect()
        assert await asyncio.to_thread(server.all_closed)
        assert asyncio.get_running_loop() not in loop_ends._open


def test_an_owner_that_dies_as_its_loop_ends_is_closed_once_and_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    closed = []

    async def close() -> None:
        await asyncio.sleep(2 * loop_ends._GRACE)
        closed.append(1)

    async def main() -> None:
        client = AsyncClient(Config(api_key="k"))
        loop_ends.LoopCleanup(close, client)

    asyncio.run(main())
    gc.collect()  # a task that nobody asked for its error speaks when it is collected
    assert (closed, caplog.messages) == ([1], [])


class _Loop:
    """An event loop as far as a finalizer asks one."""

    def __init__(self, *, closed: bool = False, ends: bool = False) -> None:
        self.is_closed, self.ends = (lambda: closed), ends
        self.asked: list[Any] = []

    def call_later(self) -> None: ...

    def call_soon_threadsafe(self, *call: Any) -> None:
        if self.ends:
            raise RuntimeError("Event loop is closed")
        self.asked.append(call)


@pytest.mark.parametrize(
    ("loop", "pid", "asked", "kept"),
    [
        (_Loop(), 0, 1, True),
        (_Loop(), -1, 0, True),  # a fork: the parent's loop
        (_Loop(), 1, 0, True),
        (_Loop(closed=True), 0, 0, False),
        (_Loop(ends=True), 0, 0, True),
    ],
)
def test_the_end_of_an_owner_reaches_its_loop_in_its_process(
    monkeypatch: pytest.MonkeyPatch, loop: Any, pid: int, asked: int, kept: bool
) -> None:
    closer: Any = SimpleNamespace(begin_closing=lambda: None)
    monkeypatch.setattr(loop_ends, "_open", {loop: [closer]})
    loop_ends._owner_is_gone(closer, loop, os.getpid() + pid)
    assert loop.asked == [(loop.call_later, 0.1, closer.begin_closing)] * asked
    assert (loop in loop_ends._open) is kept


def test_a_fork_leaves_the_parents_loops_alive_and_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_ends, "_of_the_parent", [])
    monkeypatch.setattr(loop_ends, "_open", {1: {2}})
    loop_ends._after_fork()
    loop_ends._after_fork()
    assert (loop_ends._of_the_parent, loop_ends._open) == ([{1: {2}}], {})


async def test_one_of_two_that_are_open_stays_when_the_other_is_closed() -> None:
    closed = list[str]()

    async def close(name: str) -> None:
        closed.append(name)

    class Owner: ...

    first, second = Owner(), Owner()
    cleanups = [
        loop_ends.LoopCleanup(functools.partial(close, name), owner)
        for name, owner in (("a", first), ("b", second))
    ]
    loop = asyncio.get_running_loop()
    await cleanups[0].close()
    assert closed[0] == "a"
    assert set(closed) == {"a"}
    assert loop_ends._open[loop] == {cleanups[1]}
    assert [cleanup._finalizer.alive for cleanup in cleanups] == [False, True]
    assert not cleanups[1]._finalizer.atexit
    cleanups[0].begin_closing()  # its loop's end is at it already
    assert cleanups[0]._closing is None
    await cleanups[1].close()
    assert loop not in loop_ends._open


def test_a_loop_of_another_kind_is_named_with_what_to_do() -> None:
    with pytest.raises(LunosConfigError) as refused:
        loop_ends.running_loop()
    assert refused.value.message == (
        "no asyncio event loop runs here: the async methods work in asyncio's loops only, not in "
        "trio's; there, call the sync ones in a thread (trio.to_thread.run_sync)"
    )


async def test_a_client_closed_by_hand_is_not_remembered() -> None:
    with RawServer(http(body=CHAT)) as server:
        client = AsyncClient(Config(api_key="k", base_url=server.url))
        await client.send(SEND)
        await client.close()
        assert server.all_closed()
        assert asyncio.get_running_loop() not in loop_ends._open


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_client_that_outlives_many_loops_keeps_none_of_them(by_hand: bool) -> None:
    kept: list[weakref.ref[Any]] = []
    with RawServer(http(body=CHAT)) as server:
        client = AsyncClient(Config(api_key="k", base_url=server.url))

        async def call() -> None:
            await client.send(SEND)
            kept.append(weakref.ref(asyncio.get_running_loop()))
            if by_hand:
                await client.close()

        for _ in range(4):
            if by_hand:
                loop = asyncio.new_event_loop()
                loop.run_until_complete(call())
                loop.close()
                del loop
            else:
                asyncio.run(call())
        gc.collect()
        # the last one may live until the next begins
        assert [item() for item in kept[:3]] == [None] * 3
        assert server.all_closed()
        assert asyncio.run(client.send(SEND)).text == "Hello there"  # the client is still of use


def test_64_threads_share_a_client() -> None:
    with RawServer(http(body=CHAT)) as server, ThreadPoolExecutor(64) as threads:
        client = Client(Config(api_key="k", base_url=server.url))
        texts = list(threads.map(lambda _: client.send(SEND).text, range(256)))
        assert texts == ["Hello there"] * 256
        assert server.connections <= 64
        client.close()
        assert server.all_closed()


def test_two_loops_at_once_share_a_client() -> None:
    with RawServer(http(body=CHAT)) as server:
        client = AsyncClient(Config(api_key="k", base_url=server.url))
        together = threading.Barrier(2)

        async def call() -> list[str]:
            together.wait()
            return [(await client.send(SEND)).text for _ in range(5)]

        with ThreadPoolExecutor(2) as threads:
            runs = [threads.submit(asyncio.run, call()) for _ in range(2)]
            assert [run.result() for run in runs] == [["Hello there"] * 5] * 2
        assert server.all_closed()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_waits_for_a_first_use_and_opens_connections_of_its_own() -> None:
    with RawServer(http(body=CHAT)) as server:
        code = f"""
            import asyncio, os, sys, threading, time, warnings
            from lunos_core import AsyncClient, Client, Config, chat_request
            from lunos_core.forks import first_use

            # Python 3.12 warns of a fork beside a thread: that is what is tried here
            warnings.simplefilter("ignore", DeprecationWarning)

            config = Config(api_key="k", base_url={server.url!r})
            request = chat_request([{{"role": "user", "content": "Hello"}}], model="m")
            sync, awaited = Client(config), AsyncClient(config)
            held, over = threading.Event(), threading.Event()

            def hold():
                with first_use:
                    held.set()
                    time.sleep(0.3)
                    over.set()

            async def main():
                await awaited.send(request)
                threading.Thread(target=hold).start()
                held.wait()
                child = os.fork()
                assert over.is_set()
                if child:
                    _, status = await asyncio.to_thread(os.waitpid, child, 0)
                    await awaited.send(request)
                    sync.send(request)
                    return os.waitstatus_to_exitcode(status)
                asyncio.events._set_running_loop(None)
                try:
                    sync.send(request)
                    asyncio.run(twice())
                except BaseException:
                    os._exit(1)
                os._exit(7)

            async def twice():
                await awaited.send(request)
                await awaited.send(request)

            sync.send(request)
            code = asyncio.run(main())
            sync.close()
            sys.exit(code)
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (7, "")
        by_connection: dict[int, int] = {}
        for got in server.requests:
            by_connection[got.connection] = by_connection.get(got.connection, 0) + 1
        # the parent's two, used before the fork and after it; and the child's own two
        assert sorted(by_connection.values()) == [1, 2, 2, 2]


def _in_a_worker(pickled: bytes) -> tuple[int, str]:
    return os.getpid(), pickle.loads(pickled).send(SEND).text


@pytest.mark.slow
def test_a_worker_process_gets_a_client_that_works() -> None:
    with RawServer(http(body=CHAT)) as server:
        client = Client(Config(api_key="k", base_url=server.url))
        client.send(SEND)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as workers:
            pid, text = workers.submit(_in_a_worker, pickle.dumps(client)).result()
        assert (pid != os.getpid(), text) == (True, "Hello there")
        client.close()


async def test_a_deep_copy_works_and_has_connections_of_its_own(both: Both) -> None:
    with RawServer(http(body=CHAT)) as server:
        client = both.client(base_url=server.url)
        await both(client.send(SEND))
        copied = both.closing(copy.deepcopy(client))
        assert (await both(copied.send(SEND))).text == "Hello there"
        assert (await both(client.send(SEND))).text == "Hello there"
        assert server.connections == 2


@pytest.mark.parametrize("request_", [SEND, STREAM])
async def test_a_closed_client_of_the_user_gives_a_clear_error(both: Both, request_: Any) -> None:
    own: Any = httpx.AsyncClient() if both.is_async else httpx.Client()
    await both(own.aclose() if both.is_async else own.close())
    kind: Any = AsyncClient if both.is_async else Client
    client = kind(Config(api_key="k"), http_client=own)
    with pytest.raises(LunosConfigError, match="is closed"):
        await (both.chunks(client, STREAM) if request_ is STREAM else both(client.send(SEND)))


async def test_a_cancelled_stream_gives_its_connection_back() -> None:
    event = chunk(lines([delta("Hello")]))
    with RawServer([sse_head(), event, STALL]) as server:
        client = AsyncClient(Config(api_key="k", base_url=server.url))
        begun = asyncio.Event()

        async def read() -> None:
            async for _ in await client.stream(STREAM):
                begun.set()

        task = asyncio.create_task(read())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.all_closed)
        await client.close()


async def test_a_plain_client_that_is_dropped_mid_stream_leaves_nothing_open() -> None:
    event = chunk(lines([delta("Hello")]))
    with RawServer([sse_head(), event, STALL]) as server:
        lunos = AsyncLunos("k", base_url=server.url)
        chunks = await lunos.chat.completions.create(model="m", messages=HELLO, stream=True)
        async for _ in chunks:
            break
        del chunks, lunos
        gc.collect()
        assert await asyncio.to_thread(server.all_closed)
