"""Every fault through LlamaIndex' four ways to ask."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage

import lunos_core
from llama_index_lunos import Lunos, LunosEmbedding
from lunos_core import LunosError
from tests.faults.fault_rows import CASES, IDS, TEXTS, VECTOR_FAULTS, Fault, check, place_of

pytestmark = [
    pytest.mark.socket,
    pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"]),
]

HELLO = [ChatMessage("Hello")]


async def ask(model: Lunos, *, streamed: bool, is_async: bool) -> Any:
    try:
        if not streamed:
            return await model.achat(HELLO) if is_async else model.chat(HELLO)
        if is_async:
            return [item async for item in await model.astream_chat(HELLO)][-1]
        return list(model.stream_chat(HELLO))[-1]
    finally:
        model.close()
        await model.aclose()


@pytest.mark.parametrize(("fault", "streamed"), CASES, ids=IDS)
async def test_a_fault_is_survived_or_reported(
    fault: Fault, streamed: bool, is_async: bool
) -> None:
    with place_of(fault, streamed=streamed) as (url, server):
        settings: Any = {"max_retries": 1, **fault.settings}
        model = Lunos("m", api_key="k", api_base=url, **settings)
        if fault.error is None:
            said = await ask(model, streamed=streamed, is_async=is_async)
            assert said.message.content == "Hello there"
            return
        with pytest.raises(LunosError) as caught:
            await ask(model, streamed=streamed, is_async=is_async)
        check(fault, caught.value, server, streamed=streamed, core=lunos_core)
        if streamed and fault.partial:
            assert isinstance(caught.value.partial, ChatMessage)
            assert caught.value.partial.content == "Hello"


@pytest.mark.parametrize("fault", VECTOR_FAULTS, ids=lambda fault: fault.name)
async def test_vectors_that_make_no_sense_are_reported(fault: Fault, is_async: bool) -> None:
    with place_of(fault, streamed=False) as (url, server):
        model = LunosEmbedding("m", api_key="k", api_base=url, max_retries=1, **fault.settings)

        async def embed() -> None:
            if is_async:
                await model.aget_text_embedding_batch(TEXTS)
            else:
                model.get_text_embedding_batch(TEXTS)

        with pytest.raises(LunosError) as caught:
            await embed()
        model.close()
        await model.aclose()
        check(fault, caught.value, server, streamed=False, core=lunos_core)
