"""Every fault through both clients of the core, streamed and not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import lunos_core
from lunos_core import LunosError, chat_request, chat_stream_request, embedding_request
from tests.faults.fault_rows import CASES, CHOSEN, IDS, TEXTS, VECTOR_FAULTS, Fault, check, place_of

if TYPE_CHECKING:
    from tests.conftest import Both

pytestmark = pytest.mark.socket

HELLO = [{"role": "user", "content": "Hello"}]
SEND, STREAM = chat_request(HELLO, model="m"), chat_stream_request(HELLO, model="m")


async def ask(both: Both, url: str, streamed: bool, settings: Any) -> Any:
    client = both.client(base_url=url, **{"max_retries": 1, **settings})
    try:
        if streamed:
            return (await both.chunks(client, STREAM))[-1].last
        return await both(client.send(SEND))
    finally:
        await both(client.close())


@pytest.mark.parametrize(("fault", "streamed"), CASES, ids=IDS)
async def test_a_fault_is_survived_or_reported(both: Both, fault: Fault, streamed: bool) -> None:
    with place_of(fault, streamed=streamed) as (url, server):
        if fault.error is None:
            assert (await ask(both, url, streamed, fault.settings)).text == "Hello there"
            return
        with pytest.raises(LunosError) as caught:
            await ask(both, url, streamed, fault.settings)
        check(fault, caught.value, server, streamed=streamed, core=lunos_core)
        if streamed and fault.partial:
            assert caught.value.partial.text == "Hello"


@pytest.mark.parametrize(
    ("fault", "streamed"), [case for case in CASES if case[0].retried == CHOSEN]
)
async def test_a_timeout_is_tried_again_where_the_user_chose_so(
    both: Both, fault: Fault, streamed: bool
) -> None:
    with place_of(fault, streamed=streamed) as (url, _):
        with pytest.raises(LunosError) as caught:
            await ask(both, url, streamed, {**fault.settings, "retry_on_timeout": True})
        assert caught.value.attempts == 2


@pytest.mark.parametrize("fault", VECTOR_FAULTS, ids=lambda fault: fault.name)
async def test_vectors_that_make_no_sense_are_reported(both: Both, fault: Fault) -> None:
    with place_of(fault, streamed=False) as (url, server):
        client = both.client(base_url=url, max_retries=1)
        with pytest.raises(LunosError) as caught:
            await both(client.send(embedding_request(TEXTS, model="m", **fault.settings)))
        await both(client.close())
        check(fault, caught.value, server, streamed=False, core=lunos_core)
