"""One instance in many threads, loops, forks, workers and copies, seen from the server."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from tests.core.raw_server import STALL, Got, Step, chunk, sse_head
from tests.core.wire_samples import delta, lines
from tests.safety.answering_server import AnsweringServer
from tests.safety.models import KINDS, Kind, close, every_kind, every_stream, opened


@pytest.fixture
def server() -> Iterator[AnsweringServer]:
    with AnsweringServer() as running:
        yield running


def made(kind: Kind, server: AnsweringServer, **settings: Any) -> Any:
    return kind.make(api_key="k", base_url=server.url, max_retries=0, **settings)


@every_kind
def test_64_threads_share_an_instance(kind: Kind, server: AnsweringServer) -> None:
    model = made(kind, server)
    together = threading.Barrier(64)

    def call(_: int) -> list[Any]:
        together.wait()
        return [kind.ask(model) for _ in range(3)]

    with ThreadPoolExecutor(64) as threads:
        answers = list(threads.map(call, range(64)))
    assert answers == [[kind.answer] * 3] * 64
    assert len(server.requests) == 192
    assert server.connections <= 64
    model.client.close()
    assert server.all_closed()


@every_kind
def test_three_event_loops_one_after_the_other_share_an_instance(
    kind: Kind, server: AnsweringServer
) -> None:
    model = made(kind, server)

    async def call() -> list[Any]:
        return [await kind.aask(model) for _ in range(2)]

    for _ in range(3):
        assert asyncio.run(call()) == [kind.answer] * 2
        assert server.all_closed()  # with its loop
    assert server.connections == 3


@every_kind
def test_two_event_loops_at_once_share_an_instance(kind: Kind, server: AnsweringServer) -> None:
    model = made(kind, server)
    together = threading.Barrier(2)

    async def call() -> list[Any]:
        first = await kind.aask(model)
        await asyncio.to_thread(together.wait)  # both loops have a connection open
        return [first, *await asyncio.gather(*(kind.aask(model) for _ in range(5)))]

    with ThreadPoolExecutor(2) as threads:
        futures = [threads.submit(asyncio.run, call()) for _ in range(2)]
        assert [item.result() for item in futures] == [[kind.answer] * 6] * 2
    assert server.all_closed()


FORK = """
    import asyncio, os, sys
    sys.path[:0] = {paths!r}
    from lunos_core import app
    from tests.safety.models import KINDS, close

    models = {{
        name: kind.make(api_key="k", base_url={url!r}, max_retries=0)
        for name, kind in KINDS.items()
    }}

    async def ask(who):
        for name, model in models.items():
            with app(f"{{name}} in the {{who}}"):
                await ask_one(KINDS[name], model)

    async def ask_one(kind, model):
        assert kind.ask(model) == kind.answer
        assert await kind.aask(model) == kind.answer
        assert await kind.aask(model) == kind.answer

    async def main():
        await ask("parent")
        child = os.fork()
        if child == 0:
            asyncio.events._set_running_loop(None)
            try:
                asyncio.run(ask("child"))
            except BaseException as error:
                print(repr(error), file=sys.stderr)
                os._exit(1)
            os._exit(7)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        await ask("parent")
        for model in models.values():
            await close(model)
        return os.waitstatus_to_exitcode(status)

    sys.exit(asyncio.run(main()))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_after_a_fork_the_child_has_connections_of_its_own_and_the_parent_keeps_its(
    server: AnsweringServer,
) -> None:
    code = FORK.format(paths=[str(Path(__file__).parents[2])], url=server.url)
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert (done.returncode, done.stderr) == (7, "")
    for name in KINDS:
        parent = server.connections_of(f"{name} in the parent")
        child = server.connections_of(f"{name} in the child")
        assert not parent & child
        assert (len(parent), len(child)) == (2, 2)  # one for the sync client, one for the loop
    assert len(server.requests) == 9 * len(KINDS)


def _in_a_worker(name: str, pickled: bytes) -> tuple[int, Any, Any]:
    model = pickle.loads(pickled)
    kind = KINDS[name]

    async def call() -> Any:
        answer = await kind.aask(model)
        await close(model)
        return answer

    return os.getpid(), kind.ask(model), asyncio.run(call())


@pytest.mark.slow
def test_a_spawned_worker_gets_instances_that_work(server: AnsweringServer) -> None:
    models = {name: made(kind, server) for name, kind in KINDS.items()}
    for name, kind in KINDS.items():
        assert kind.ask(models[name]) == kind.answer  # so that connections are open
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as workers:
        for name, kind in KINDS.items():
            job = workers.submit(_in_a_worker, name, pickle.dumps(models[name]))
            pid, *answers = job.result(timeout=240)
            assert pid != os.getpid()
            assert answers == [kind.answer] * 2
    for model in models.values():
        model.client.close()
    assert server.all_closed()


@every_kind
async def test_a_deep_copy_works_and_has_connections_of_its_own(
    kind: Kind, server: AnsweringServer
) -> None:
    model = made(kind, server, app_id="first")
    assert (kind.ask(model), await kind.aask(model)) == (kind.answer, kind.answer)
    copied = copy.deepcopy(model)
    copied.app_id = "second"
    assert (kind.ask(copied), await kind.aask(copied)) == (kind.answer, kind.answer)
    assert (kind.ask(model), await kind.aask(model)) == (kind.answer, kind.answer)
    assert not server.connections_of("first") & server.connections_of("second")
    assert len(server.connections_of("first")) == 2
    await close(model)
    await close(copied)
    assert server.all_closed()


class Stalls(AnsweringServer):
    """Never answers; a stream stalls after its first event."""

    def _answer(self, got: Got) -> list[Step]:
        begun = sse_head() + chunk(lines([delta("Hello")]))
        return [begun, STALL] if b'"stream":true' in got.body else [STALL]


@every_kind
async def test_a_cancelled_task_gives_its_connection_back(kind: Kind) -> None:
    with Stalls() as server:
        model = made(kind, server)
        tasks = [asyncio.create_task(kind.aask(model)) for _ in range(3)]
        await asyncio.to_thread(server.wait_for_request, 3)
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(item) for item in outcomes] == [asyncio.CancelledError] * 3
        assert await asyncio.to_thread(server.all_closed)
        await close(model)


TEXT_STALLS = sse_head() + chunk(
    lines([{"choices": [{"index": 0, "text": "Hello", "finish_reason": None}]}])
)


class StallsInText(Stalls):
    """The same for text completion."""

    def _answer(self, got: Got) -> list[Step]:
        return [TEXT_STALLS, STALL] if "/chat/" not in got.line else super()._answer(got)


@every_stream
def test_a_closed_generator_gives_its_connection_back(kind: Kind) -> None:
    assert kind.stream is not None
    with StallsInText() as server:
        model = made(kind, server)
        stream = kind.stream(model)
        next(stream)
        assert server.connections == 1
        stream.close()
        assert server.all_closed()


@every_stream
@pytest.mark.parametrize("how", ["closed", "cancelled"])
async def test_an_async_generator_that_is_left_gives_its_connection_back(
    kind: Kind, how: str
) -> None:
    ask: Callable[[Any], Any] | None = kind.astream
    assert ask is not None
    with StallsInText() as server:
        model = made(kind, server)
        stream = await opened(ask(model))
        await anext(stream)
        if how == "closed":
            await stream.aclose()
        else:
            waiting = asyncio.create_task(anext(stream))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        assert await asyncio.to_thread(server.all_closed)
        await close(model)
