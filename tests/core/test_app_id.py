"""`with lunos_core.app("billing")`: whose call it is, in one order of precedence."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import lunos_core
from lunos_core import (
    AsyncLunos,
    CallRecord,
    Lunos,
    LunosError,
    chat_request,
    chat_stream_request,
    current_app_id,
)
from tests.core.wire_samples import HELLO, Wire, delta, raw, reply, stored, stream

if TYPE_CHECKING:
    from tests.conftest import Both

PLAIN = chat_request(HELLO, model="m")


def sent_ids(wire: Wire) -> list[str | None]:
    return [request.headers.get("x-app-id") for request in wire.requests]


async def test_the_order_is_call_block_constructor_environment(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUNOS_APP_ID", "environment")
    wire = Wire(reply(stored("chat")))
    kind = AsyncLunos if both.is_async else Lunos

    def lunos(**settings: Any) -> Any:
        return kind("k", http_client=both.http_client(wire), **settings)

    async def ask(client: Any, **params: Any) -> None:
        await both(client.chat.completions.create(model="m", messages=HELLO, **params))

    await ask(lunos())
    await ask(lunos(app_id="constructor"))
    with lunos_core.app("block"):
        await ask(lunos())
        await ask(lunos(app_id="constructor"))
        await ask(lunos(app_id="constructor"), app_id="call")
    await ask(lunos(app_id="constructor"))
    assert sent_ids(wire) == [
        "environment",
        "constructor",
        "block",
        "block",
        "call",
        "constructor",
    ]


def test_the_inner_block_wins_and_the_outer_comes_back() -> None:
    assert current_app_id() is None
    with lunos_core.app("outer"), lunos_core.app("inner") as name:
        assert (name, current_app_id()) == ("inner", "inner")
    with lunos_core.app("outer"):
        with pytest.raises(KeyError), lunos_core.app("inner"):
            raise KeyError
        assert current_app_id() == "outer"
    assert current_app_id() is None


@pytest.mark.parametrize("app_id", ["", " ", "a\nb", "ä", "a\tb"])
def test_an_app_id_that_cannot_travel_is_refused_at_the_blocks_entry(app_id: str) -> None:
    with pytest.raises(ValueError, match="app_id"), lunos_core.app(app_id):
        raise AssertionError
    assert current_app_id() is None


@pytest.mark.parametrize("app_id", [None, 7, b"billing"])
def test_an_app_id_of_another_type_is_refused(app_id: Any) -> None:
    with pytest.raises(TypeError, match="app_id"), lunos_core.app(app_id):
        raise AssertionError


async def test_tasks_at_the_same_time_keep_their_own_block(both: Both) -> None:
    wire = Wire(reply(stored("chat")))
    client = both.client(wire)
    open_blocks = asyncio.Barrier(3)

    async def work(name: str) -> None:
        with lunos_core.app(name):
            await open_blocks.wait()
            request = chat_request(HELLO, model=name)
            await (
                client.send(request) if both.is_async else asyncio.to_thread(client.send, request)
            )

    await asyncio.gather(*(work(name) for name in "abc"))
    asked = {
        body["model"]: app_id for body, app_id in zip(wire.bodies, sent_ids(wire), strict=True)
    }
    assert asked == {"a": "a", "b": "b", "c": "c"}


def test_a_thread_in_a_copy_of_the_context_is_in_the_block_and_a_bare_one_is_not() -> None:
    result: list[str | None] = []

    def note() -> None:
        result.append(current_app_id())

    with lunos_core.app("billing"), ThreadPoolExecutor(1) as pool:
        pool.submit(contextvars.copy_context().run, note).result()
        thread = threading.Thread(target=contextvars.Context().run, args=(note,))
        thread.start()
        thread.join()
    assert result == ["billing", None]


async def test_a_stream_belongs_to_the_block_that_it_was_opened_in(both: Both) -> None:
    wire = Wire(stream([delta("a", "stop"), "[DONE]"]))
    records: list[CallRecord] = []
    client = both.client(wire, app_id="client", observers=[records.append])
    with lunos_core.app("block"):
        opened = await both(client.stream(chat_stream_request(HELLO, model="m")))
    with lunos_core.app("other"):
        assert [chunk async for chunk in both.each(opened)]
    assert sent_ids(wire) == ["block"]
    assert [record.app_id for record in records] == ["block"]


async def test_retries_errors_and_records_name_the_block(both: Both) -> None:
    wire = Wire(raw(b"", 500, retry_after="0"))
    records: list[CallRecord] = []
    client = both.client(wire, observers=[records.append], max_retries=1)
    with lunos_core.app("block"), pytest.raises(LunosError) as caught:
        await both(client.send(PLAIN))
    assert sent_ids(wire) == ["block", "block"]
    assert (caught.value.app_id, records[0].app_id) == ("block", "block")


async def test_the_block_wins_over_a_header_of_that_name(both: Both) -> None:
    wire = Wire(reply(stored("chat")))
    with lunos_core.app("block"):
        await both(both.client(wire, default_headers={"X-App-ID": "header"}).send(PLAIN))
    assert sent_ids(wire) == ["block"]
