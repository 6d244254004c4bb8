"""The app id of LangChain's config, and where it stands in the order of precedence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables import RunnableParallel as Parallel

from lunos_core import UsageLedger, UsageStore, app
from tests.langchain_adapter.wire import WAYS, Wire, ask, both_kinds, chat, embeddings, llm, reply

TEXT = {"choices": [{"text": "Hi", "index": 0, "finish_reason": "stop"}]}


def _ids(wire: Wire) -> list[str | None]:
    return [request.headers.get("x-app-id") for request in wire.requests]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", ["metadata", "configurable"])
async def test_the_config_names_the_application_of_a_call(way: str, place: str) -> None:
    wire = both_kinds()
    config: Any = {place: {"app_id": "config"}}
    await ask(chat(wire, app_id="made"), way, "Hello", config=config)
    assert _ids(wire) == ["config"]
    assert config == {place: {"app_id": "config"}}


@pytest.mark.parametrize("way", WAYS)
async def test_one_order_call_bound_config_block_constructor_environment(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUNOS_APP_ID", "environment")
    wire = both_kinds()
    config: Any = {"metadata": {"app_id": "config"}}
    made, unmade = chat(wire, app_id="constructor"), chat(wire)
    bound = made.bind(app_id="bound")
    with app("block"):
        if way in ("v3", "av3"):  # a binding's own arguments and the call's are merged before
            await ask(made, way, "Hello", config=config, app_id="call")
            await ask(made, way, "Hello", config=config, app_id="bound")
        else:
            await ask(bound, way, "Hello", config=config, app_id="call")
            await ask(bound, way, "Hello", config=config)
        await ask(made, way, "Hello", config=config)
        await ask(made, way)
    await ask(made, way)
    await ask(unmade, way)
    assert _ids(wire) == ["call", "bound", "config", "block", "constructor", "environment"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_call_in_a_function_has_the_app_id_of_the_config_around_it(way: str) -> None:
    wire = both_kinds()
    model = chat(wire, app_id="made")

    async def work(text: str) -> None:
        await ask(model, way, text)

    await RunnableLambda(work).ainvoke("Hello", {"configurable": {"app_id": "config"}})
    assert _ids(wire) == ["config"]


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_chains_config_reaches_every_model_and_retriever_in_it(is_async: bool) -> None:
    chats, vectors = both_kinds(), Wire(reply({"data": [{"index": 0, "embedding": [1.0]}]}))
    model, store = chat(chats), embeddings(vectors)

    async def find(text: str) -> list[float]:
        return await store.aembed_query(text)

    chain = Parallel(
        answer=RunnableLambda(lambda text: text) | model,
        result=RunnableLambda(store.embed_query, afunc=find),
    )
    config: Any = {"metadata": {"app_id": "chain"}}
    if is_async:
        await chain.ainvoke("Hello", config)
    else:
        chain.invoke("Hello", config)
    assert _ids(chats) == _ids(vectors) == ["chain"]


@pytest.mark.parametrize("is_async", [False, True])
async def test_each_input_of_a_batch_has_the_app_id_of_its_config(is_async: bool) -> None:
    chats, texts = both_kinds(), Wire(reply(TEXT))
    configs: Any = [{"metadata": {"app_id": name}} for name in ("one", "two")]
    for model, wire in ((chat(chats), chats), (llm(texts), texts)):
        if is_async:
            await model.abatch(["a", "b"], configs)
        else:
            model.batch(["a", "b"], configs)
        assert sorted(_ids(wire)) == ["one", "two"]


@pytest.mark.parametrize("is_async", [False, True])
async def test_text_completions_for_one_application_stay_one_request(is_async: bool) -> None:
    two = {"choices": [{"text": "Hi", "index": i, "finish_reason": "stop"} for i in range(2)]}
    for app_id in (None, "one"):
        wire = Wire(reply(two))
        configs: Any = [{"metadata": {} if app_id is None else {"app_id": app_id}}] * 2
        model = llm(wire)
        if is_async:
            await model.abatch(["a", "b"], configs)
        else:
            model.batch(["a", "b"], configs)
        assert _ids(wire) == [app_id]


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
async def test_a_text_completion_reads_the_config_too(way: str) -> None:
    wire = Wire(reply(TEXT))
    model, config = llm(wire), {"configurable": {"app_id": "config"}}
    if way == "invoke":
        model.invoke("Hello", config)
    elif way == "ainvoke":
        await model.ainvoke("Hello", config)
    elif way == "stream":
        list(model.stream("Hello", config))
    else:
        _ = [piece async for piece in model.astream("Hello", config)]
    assert _ids(wire) == ["config"]


async def test_metadata_of_another_kind_is_left_alone() -> None:
    wire = both_kinds()
    await ask(chat(wire, app_id="made"), "invoke", "Hello", config={"metadata": {"app_id": 7}})
    assert _ids(wire) == ["made"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_store_keeps_the_metadata_that_its_tag_keys_name(way: str, tmp_path: Path) -> None:
    wire = both_kinds()
    config: Any = {"metadata": {"team": "red", "secret": "s"}}
    with UsageStore(tmp_path / "usage.db", tag_keys=("team",)) as store, UsageLedger(store=store):
        await ask(chat(wire), way, "Hello", config=config)
        rows = store.summary(by=("tag:team", "tag:secret"))
    assert [(row["tag:team"], row["tag:secret"], row["calls"]) for row in rows] == [
        ("red", None, 1)
    ]
    assert "red" not in wire.requests[0].content.decode()


@pytest.mark.parametrize("way", WAYS)
async def test_a_store_keeps_the_models_own_metadata_too(way: str, tmp_path: Path) -> None:
    model = chat(both_kinds(), metadata={"team": "red"})
    with UsageStore(tmp_path / "usage.db", tag_keys=("team",)) as store, UsageLedger(store=store):
        await ask(model, way)
        await ask(model, way, config={"metadata": {"team": "blue"}})
        rows = store.summary(by=("tag:team",))
    assert [(row["tag:team"], row["calls"]) for row in rows] == [("red", 2)]


async def test_a_store_keeps_the_metadata_of_texts_and_of_calls_in_a_chain(tmp_path: Path) -> None:
    vectors = embeddings(Wire(reply({"data": [{"embedding": [1.0]}]})))
    config: Any = {"metadata": {"team": "red"}}
    with UsageStore(tmp_path / "usage.db", tag_keys=("team",)) as store, UsageLedger(store=store):
        llm(Wire(reply(TEXT))).invoke("Hello", config=config)
        await llm(Wire(reply(TEXT))).ainvoke("Hello", config=config)
        RunnableLambda(vectors.embed_query).invoke("Hello", config=config)
        chain = RunnableLambda(str) | chat(both_kinds())
        list(chain.stream("Hello", config=config))
        rows = store.summary(by=("tag:team",))
    assert [(row["tag:team"], row["calls"]) for row in rows] == [("red", 4)]


async def test_two_streams_at_once_keep_their_own_metadata(tmp_path: Path) -> None:
    model = chat(both_kinds())
    with UsageStore(tmp_path / "usage.db", tag_keys=("team",)) as store, UsageLedger(store=store):
        teams: list[Any] = [{"metadata": {"team": team}} for team in ("red", "blue")]
        streams = [model.stream("Hello", config=config) for config in teams]
        plain = model.stream("Hello")
        for stream in [*streams, plain]:
            next(stream)
        for stream in [*streams, plain]:
            list(stream)
        rows = store.summary(by=("tag:team",))
    assert {row["tag:team"]: row["calls"] for row in rows} == {"red": 1, "blue": 1, None: 1}
