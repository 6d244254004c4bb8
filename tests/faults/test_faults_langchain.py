"""Every fault through LangChain's four ways to ask."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage

import langchain_lunos
from langchain_lunos import ChatLunos, LunosEmbeddings, LunosError
from tests.faults.fault_rows import CASES, IDS, TEXTS, VECTOR_FAULTS, Fault, check, place_of

pytestmark = [
    pytest.mark.socket,
    pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"]),
]


async def ask(model: ChatLunos, *, streamed: bool, is_async: bool) -> Any:
    try:
        if not streamed:
            return await model.ainvoke("Hello") if is_async else model.invoke("Hello")
        if is_async:
            return [chunk async for chunk in model.astream("Hello")]
        return list(model.stream("Hello"))
    finally:
        model.client.close()
        await model.async_client.close()


@pytest.mark.parametrize(("fault", "streamed"), CASES, ids=IDS)
async def test_a_fault_is_survived_or_reported(
    fault: Fault, streamed: bool, is_async: bool
) -> None:
    with place_of(fault, streamed=streamed) as (url, server):
        settings: Any = {"max_retries": 1, **fault.settings}
        model = ChatLunos(model="m", api_key="k", base_url=url, **settings)
        if fault.error is None:
            said = await ask(model, streamed=streamed, is_async=is_async)
            text = "".join(part.text for part in said) if streamed else said.text
            assert text == "Hello there"
            return
        with pytest.raises(LunosError) as caught:
            await ask(model, streamed=streamed, is_async=is_async)
        check(fault, caught.value, server, streamed=streamed, core=langchain_lunos)
        if streamed and fault.partial:
            assert isinstance(caught.value.partial, AIMessage)
            assert caught.value.partial.text == "Hello"


@pytest.mark.parametrize("fault", VECTOR_FAULTS, ids=lambda fault: fault.name)
async def test_vectors_that_make_no_sense_are_reported(fault: Fault, is_async: bool) -> None:
    with place_of(fault, streamed=False) as (url, server):
        model = LunosEmbeddings(
            model="m", api_key="k", base_url=url, max_retries=1, **fault.settings
        )
        with pytest.raises(LunosError) as caught:
            await model.aembed_documents(TEXTS) if is_async else model.embed_documents(TEXTS)
        model.client.close()
        await model.async_client.close()
        check(fault, caught.value, server, streamed=False, core=langchain_lunos)
