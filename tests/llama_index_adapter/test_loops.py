"""What a mock hides: event loops, threads, worker processes, cut connections; on a real socket."""

from __future__ import annotations

import asyncio
import gc
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import llama_index.core
import pytest
from llama_index.core import Document, SummaryIndex, VectorStoreIndex
from llama_index.core.async_utils import asyncio_run
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter

from llama_index_lunos import Lunos, LunosEmbedding
from lunos_core import LunosError, LunosStreamInterruptedError
from lunos_core.transport import loop_cleanup

HELLO = [ChatMessage("Hello")]


def let_go(it: Any) -> None:
    """Close, and collect what dead loops hold: LlamaIndex's `asyncio_run` closes none of it."""
    it.close()
    vars(it._opened.clients).pop("asynchronous", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def llm(gateway: Any) -> Any:
    it = Lunos("lunos/scripted", api_key=gateway.api_key, base_url=gateway.base_url, max_retries=0)
    yield it
    let_go(it)


@pytest.fixture
def embedding(gateway: Any) -> Any:
    it = LunosEmbedding(
        "lunos/scripted-embedding",
        api_key=gateway.api_key,
        base_url=gateway.base_url,
        max_retries=0,
    )
    yield it
    let_go(it)


def test_a_loop_that_nobody_closes_ends_in_silence(
    llm: Lunos, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under nest_asyncio, say, what is open goes to the collector with no loop around it."""
    complaints: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)

    async def ask_without_hooks() -> None:
        sys.set_asyncgen_hooks(None, None)
        await llm.achat(HELLO)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(ask_without_hooks())
    for closer in loop_cleanup._open.pop(loop):
        closer.let_go()  # as at exit, when nothing is kept alive
    del closer
    let_go(llm)
    loop.close()
    assert [str(item.exc_value) for item in complaints if "ResourceWarning" not in str(item)] == []


def test_one_instance_works_from_one_event_loop_after_the_other(
    llm: Lunos, embedding: LunosEmbedding
) -> None:
    async def streamed() -> str:
        return "".join([entry.delta or "" async for entry in await llm.astream_chat(HELLO)])

    for _ in range(3):
        assert asyncio.run(llm.achat(HELLO)).message.content == "Scripted answer to: Hello"
        assert asyncio.run(streamed()) == "Scripted answer to: Hello"
        assert asyncio.run(embedding.aget_text_embedding_batch(["a", "b"]))


# LlamaIndex closes its loops without what is open in them: nothing can be awaited there any more
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_sync_apis_that_hop_loops_work_inside_a_running_loop(llm: Lunos) -> None:
    await llm.achat(HELLO)
    for _ in range(2):
        assert asyncio_run(llm.achat(HELLO)).message.content == "Scripted answer to: Hello"
    await llm.achat(HELLO)
    await llm.aclose()


def test_one_instance_works_from_many_threads(llm: Lunos) -> None:
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda n: llm.complete(f"number {n}").text, range(24)))
    assert texts == [f"Scripted answer to: number {n}" for n in range(24)]


async def test_many_calls_at_once(llm: Lunos) -> None:
    answers = await asyncio.gather(*(llm.acomplete(f"number {n}") for n in range(24)))
    assert [entry.text for entry in answers] == [
        f"Scripted answer to: number {n}" for n in range(24)
    ]
    await llm.aclose()


@pytest.mark.slow
def test_a_pipeline_with_worker_processes_works(
    gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a splitter is unpickled before LlamaIndex says where its own copy of the tokenizer lies
    cache = Path(llama_index.core.__file__).parent / "_static" / "tiktoken_cache"
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(cache))
    embedding = LunosEmbedding(
        "lunos/scripted-embedding",
        api_key=gateway.api_key,
        base_url=gateway.base_url,
        app_id="workers",
        dimensions=4,
    )
    pipeline = IngestionPipeline(
        transformations=[SentenceSplitter(chunk_size=32, chunk_overlap=0), embedding]
    )
    documents = [Document(text=f"Text number {n}. " * 10) for n in range(4)]
    nodes = pipeline.run(documents=documents, num_workers=2)
    assert len(nodes) >= 4
    assert {len(node.embedding) for node in nodes} == {4}
    assert gateway.requests()[-1]["app_id"] == "workers"


async def test_an_index_answers_with_its_sources(llm: Lunos, embedding: LunosEmbedding) -> None:
    index = VectorStoreIndex.from_documents(
        [Document(text="The sea is blue."), Document(text="Grass is green.")], embed_model=embedding
    )
    engine = index.as_query_engine(llm=llm, similarity_top_k=1, streaming=True)
    response = engine.query("What colour is the sea?")
    assert "".join(response.response_gen).startswith("Scripted answer to:")
    assert response.source_nodes
    answer = await index.as_query_engine(llm=llm).aquery("What colour is the sea?")
    assert str(answer)
    await llm.aclose()
    await embedding.aclose()


def test_a_tree_summary_hops_loops_and_works(llm: Lunos) -> None:
    index = SummaryIndex.from_documents([Document(text="The sea is blue.")])
    engine = index.as_query_engine(llm=llm, response_mode="tree_summarize")
    assert str(engine.query("What colour?")).startswith("Scripted answer")


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("model", ["lunos/cut-stream", "lunos/stopped-stream"])
async def test_a_stream_that_breaks_raises_with_its_half_answer(
    gateway: Any, model: str, is_async: bool
) -> None:
    llm = Lunos(model, api_key=gateway.api_key, base_url=gateway.base_url)
    seen: list[str] = []

    async def read() -> None:
        async for entry in await llm.astream_chat(HELLO):
            seen.append(entry.delta or "")  # noqa: PERF401 - what came before the break counts

    def read_sync() -> None:
        for entry in llm.stream_chat(HELLO):
            seen.append(entry.delta or "")  # noqa: PERF401

    with pytest.raises(LunosError) as caught:
        await read() if is_async else read_sync()
    if model == "lunos/stopped-stream":
        assert isinstance(caught.value, LunosStreamInterruptedError)
    assert isinstance(caught.value.partial, ChatMessage)
    assert caught.value.partial.content == "".join(seen) != ""
    llm.close()
    await llm.aclose()
