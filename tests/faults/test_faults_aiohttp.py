"""Every fault through the async client over aiohttp: the same errors, tries and pieces."""

from __future__ import annotations

from typing import Any

import pytest

import lunos_core
from lunos_core import AsyncClient, Config, LunosError, chat_request, chat_stream_request
from tests.faults.fault_rows import CASES, CHOSEN, IDS, Fault, check, place_of

# the core over httpx meets the same faults in the quick tests
pytestmark = [pytest.mark.socket, pytest.mark.slow]

HELLO = [{"role": "user", "content": "Hello"}]
SEND, STREAM = chat_request(HELLO, model="m"), chat_stream_request(HELLO, model="m")


async def ask(url: str, streamed: bool, settings: Any) -> Any:
    config = Config(
        **{"api_key": "k", "base_url": url, "max_retries": 1, "transport": "aiohttp", **settings}
    )
    client = AsyncClient(config)
    try:
        if streamed:
            return [chunk async for chunk in await client.stream(STREAM)][-1].last
        return await client.send(SEND)
    finally:
        await client.close()


@pytest.mark.parametrize(("fault", "streamed"), CASES, ids=IDS)
async def test_a_fault_is_survived_or_reported(fault: Fault, streamed: bool) -> None:
    with place_of(fault, streamed=streamed) as (url, server):
        if fault.error is None:
            assert (await ask(url, streamed, fault.settings)).text == "Hello there"
            return
        with pytest.raises(LunosError) as caught:
            await ask(url, streamed, fault.settings)
        check(fault, caught.value, server, streamed=streamed, core=lunos_core)
        if streamed and fault.partial:
            assert caught.value.partial.text == "Hello"


@pytest.mark.parametrize(
    ("fault", "streamed"), [case for case in CASES if case[0].retried == CHOSEN]
)
async def test_a_timeout_is_tried_again_where_the_user_chose_so(
    fault: Fault, streamed: bool
) -> None:
    with place_of(fault, streamed=streamed) as (url, _):
        with pytest.raises(LunosError) as caught:
            await ask(url, streamed, {**fault.settings, "retry_on_timeout": True})
        assert caught.value.attempts == 2
