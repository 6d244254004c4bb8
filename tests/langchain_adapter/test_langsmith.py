"""LangSmith's own client and LangChain's tracer, sending to a server that keeps what it gets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import langsmith
import pytest
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers import LangChainTracer

from langchain_lunos import langsmith_costs
from langchain_lunos._app_id import traced
from tests.langchain_adapter.langsmith_server import LangSmithServer, langsmith_server
from tests.langchain_adapter.wire import (
    KEY,
    WAYS,
    Wire,
    answer,
    ask,
    both_kinds,
    chat,
    llm,
    reply,
    stream,
)

TEXT_USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12, "cost": 0.5}


@pytest.fixture
def server() -> Iterator[LangSmithServer]:
    with langsmith_server() as running:
        yield running


OURS = {"process_buffered_run_ops": langsmith_costs, "run_ops_buffer_size": 1}
"""Settings of LangSmith's client with our function; a plain client needs none."""
CLIENTS: Any = pytest.mark.parametrize("settings", [{}, OURS], ids=["plain", "with our function"])


async def flush(tracer: LangChainTracer) -> None:
    for _ in range(500):  # an async v3 stream tells its callbacks after its output is there
        if not tracer.run_map:
            break
        await asyncio.sleep(0.01)
    tracer.client.flush(timeout=20)


def usages(server: LangSmithServer) -> list[Any]:
    """What LangSmith reads the usage and cost of each run from."""
    metadata = [extra.get("metadata", {}) for extra in server.fields("extra")]
    return [each["usage_metadata"] for each in metadata if "usage_metadata" in each]


@CLIENTS
@pytest.mark.parametrize("way", WAYS)
async def test_a_chats_cost_arrives_where_langsmith_reads_it(
    server: LangSmithServer, way: str, settings: Any
) -> None:
    tracer = LangChainTracer(client=server.client(**settings))
    counter = UsageMetadataCallbackHandler()
    said = await ask(chat(both_kinds("Hi")), way, config={"callbacks": [tracer, counter]})
    await flush(tracer)
    assert "total_cost" not in said.usage_metadata, "LangChain couldn't add it up"
    assert counter.usage_metadata == {"served": said.usage_metadata}
    (usage,) = usages(server)
    assert usage["total_cost"] == 0.5
    assert usage["input_tokens"] == 9
    assert usage["total_tokens"] == 12


@pytest.mark.parametrize("way", WAYS)
async def test_the_cost_arrives_where_the_environment_asks_for_traces(
    server: LangSmithServer, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(langsmith.run_trees, "_CLIENT", server.client())
    with langsmith.tracing_context(enabled=True):
        await ask(chat(both_kinds("Hi")), way)
    for _ in range(500):  # an async v3 stream tells its callbacks after its output
        langsmith.run_trees.get_cached_client().flush(timeout=20)
        if usages(server):
            break
        await asyncio.sleep(0.01)
    assert [usage["total_cost"] for usage in usages(server)] == [0.5]


@pytest.mark.parametrize("way", WAYS[:4])
async def test_the_cost_arrives_from_inside_of_a_chain_once(
    server: LangSmithServer, way: str
) -> None:
    tracer = LangChainTracer(client=server.client())
    chain = RunnableLambda(str) | chat(both_kinds("Hi"), tags=["a"]) | RunnableLambda(lambda m: m)
    config = {"callbacks": [tracer], "metadata": {"app_id": "website"}, "run_name": "mine"}
    await ask(chain, way, config=config)
    await flush(tracer)
    assert [usage["total_cost"] for usage in usages(server)] == [0.5]
    extras = server.fields("extra")
    assert all(extra["metadata"]["app_id"] == "website" for extra in extras)


def test_a_tracer_of_the_users_own_class_stays(server: LangSmithServer) -> None:
    class Tracer(LangChainTracer):
        """Adds nothing."""

    tracer = Tracer(client=server.client())
    before = [tracer]
    manager = traced(before)
    assert before == [tracer]
    assert [type(handler) for handler in manager.handlers] == [Tracer]
    assert traced(None) is None
    assert traced([]) == []


@CLIENTS
@pytest.mark.parametrize("way", WAYS[:4])
async def test_a_text_models_cost_arrives_too(
    server: LangSmithServer, way: str, settings: Any
) -> None:
    tracer = LangChainTracer(client=server.client(**settings))
    choice = {"index": 0, "text": "Hi", "finish_reason": "stop"}
    whole = reply({"id": "c", "model": "served", "choices": [choice], "usage": TEXT_USAGE})
    pieces = stream(
        [
            {"id": "c", "model": "served", "choices": [choice]},
            {"id": "c", "model": "served", "choices": [], "usage": TEXT_USAGE},
            "[DONE]",
        ]
    )
    model = llm(Wire(pieces if "stream" in way else whole))
    config: Any = {"callbacks": [tracer]}
    if way == "invoke":
        model.invoke("Hello", config)
    elif way == "ainvoke":
        await model.ainvoke("Hello", config)
    elif way == "stream":
        list(model.stream("Hello", config))
    else:
        assert [chunk async for chunk in model.astream("Hello", config)]
    await flush(tracer)
    (usage,) = usages(server)
    assert usage == {
        "input_tokens": 9,
        "output_tokens": 3,
        "total_tokens": 12,
        "total_cost": 0.5,
    }


@CLIENTS
async def test_the_cost_of_several_prompts_is_reported_once(
    server: LangSmithServer, settings: Any
) -> None:
    tracer = LangChainTracer(client=server.client(**settings))
    choices = [{"index": i, "text": "Hi", "finish_reason": "stop"} for i in range(2)]
    body = {"id": "c", "model": "served", "choices": choices, "usage": TEXT_USAGE}
    model = llm(Wire(reply(body)))
    result = model.generate(["a", "b"], callbacks=[tracer])
    assert result.llm_output is not None
    assert result.llm_output["total_cost"] == 0.5
    await model.agenerate(["a", "b"], callbacks=[tracer])
    await flush(tracer)
    assert [usage["total_cost"] for usage in usages(server)] == [0.5, 0.5]


@CLIENTS
async def test_several_choices_and_a_batch_are_counted_once(
    server: LangSmithServer, settings: Any
) -> None:
    tracer = LangChainTracer(client=server.client(**settings))
    body = answer()
    body["choices"] = [{**body["choices"][0], "index": i} for i in range(2)]
    model = chat(Wire(reply(body)), n=2)
    model.batch(["a", "b"], config={"callbacks": [tracer]})
    await flush(tracer)
    assert [usage["total_cost"] for usage in usages(server)] == [0.5, 0.5]


def test_other_runs_are_left_alone() -> None:
    """A chain's run, another provider's, and shapes that nobody expects."""
    foreign = {"generations": [[{"message": {"kwargs": {"response_metadata": {"cost": 1.0}}}}]]}
    runs: list[dict[str, Any]] = [
        {"outputs": {"output": "x"}, "extra": {"metadata": {"a": 1}}},
        {"outputs": foreign},
        {"outputs": None, "error": "no"},
        {"outputs": {"generations": [[{"text": "x"}]], "llm_output": None}},
        {},
    ]
    before = [dict(run) for run in runs]
    assert list(langsmith_costs(runs)) == before


def test_a_cost_in_the_message_itself_would_break_langchains_counter() -> None:
    """Why there is a tracer of ours: what LangSmith reads, LangChain can't add up."""
    usage: Any = {"input_tokens": 9, "output_tokens": 3, "total_tokens": 12, "total_cost": 0.5}
    said = AIMessage("Hi", usage_metadata=usage, response_metadata={"model_name": "served"})
    counter = UsageMetadataCallbackHandler()
    result = LLMResult(generations=[[ChatGeneration(message=said)]])
    counter.on_llm_end(result)
    with pytest.raises(ValueError, match="Only dict and int values"):
        counter.on_llm_end(result)


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_that_is_sent_to_langsmith_holds_the_key(
    server: LangSmithServer, way: str
) -> None:
    """Also where the server echoes it in its error, and LangSmith gets that."""
    tracer = LangChainTracer(client=server.client())
    config = {"callbacks": [tracer], "tags": ["a"], "metadata": {"app_id": "website"}}
    await ask(chat(both_kinds("Hi")), way, config=config)
    echo = reply({"error": {"message": f"bad key {KEY} sent"}}, status=401)
    with pytest.raises(Exception, match="bad key"):
        await ask(chat(Wire(echo)), way, config=config)
    await flush(tracer)
    sent = b"".join(server.bodies)
    assert b"bad key" in sent
    assert b"Hello" in sent
    assert KEY.encode() not in sent
