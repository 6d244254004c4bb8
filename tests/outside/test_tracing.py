"""One call, one trace: what tracers record of each call, held with their real packages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.filterwarnings("default")
trace = pytest.importorskip("opentelemetry.trace")


@pytest.fixture(scope="module")
def exporter() -> Any:
    """A provider for the whole process, as Langfuse and Phoenix set one."""
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    memory = InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    trace.set_tracer_provider(provider)
    return memory


@pytest.fixture
def spans(exporter: Any) -> Iterator[Any]:
    """The spans of one test."""
    exporter.clear()
    yield exporter.get_finished_spans
    exporter.clear()


@pytest.fixture
def openinference_langchain() -> Iterator[None]:
    """OpenInference's callbacks in every LangChain call."""
    package = pytest.importorskip("openinference.instrumentation.langchain")
    instrumentor = package.LangChainInstrumentor()
    instrumentor.instrument()
    yield
    instrumentor.uninstrument()


@pytest.fixture
def openinference_llama_index() -> Iterator[None]:
    """OpenInference's handler in every LlamaIndex call."""
    package = pytest.importorskip("openinference.instrumentation.llama_index")
    instrumentor = package.LlamaIndexInstrumentor()
    instrumentor.instrument()
    yield
    instrumentor.uninstrument()


def model_calls(spans: list[Any]) -> list[Any]:
    """The spans that a tracer counts as calls of a model."""
    return [
        span
        for span in spans
        if span.attributes.get("openinference.span.kind") == "LLM"
        or span.attributes.get("gen_ai.operation.name") == "chat"
    ]


@pytest.mark.package("openinference-instrumentation-langchain")
@pytest.mark.usefixtures("openinference_langchain")
async def test_each_call_of_an_agent_is_one_model_span(chat: Callable[[], Any], spans: Any) -> None:
    from langchain.agents import create_agent

    def weather(city: str) -> str:
        """Tell the weather of a city."""
        return f"Sunny in {city}"

    agent = create_agent(chat(), [weather])
    await agent.ainvoke({"messages": [{"role": "user", "content": "Weather in Oslo?"}]})
    calls = model_calls(spans())
    assert len(calls) == 2
    assert all(call.attributes["llm.token_count.prompt"] > 0 for call in calls)
    assert {call.context.trace_id for call in calls} == {
        span.context.trace_id for span in spans()
    }, "the agent is one trace"


@pytest.mark.package("openinference-instrumentation-langchain")
@pytest.mark.usefixtures("openinference_langchain")
async def test_a_call_and_a_stream_are_one_span_each(chat: Callable[[], Any], spans: Any) -> None:
    model = chat()
    model.invoke("Hello")
    await model.ainvoke("Hello")
    list(model.stream("Hello"))
    calls = model_calls(spans())
    assert len(spans()) == len(calls) == 3
    for call in calls:
        assert call.attributes["llm.model_name"] == "lunos/scripted"
        assert call.attributes["llm.token_count.prompt"] > 0


@pytest.mark.package("openinference-instrumentation-llama-index")
@pytest.mark.usefixtures("openinference_llama_index")
async def test_a_chat_of_llama_index_is_one_model_span(
    llm: Callable[[], Any], side: str, spans: Any
) -> None:
    from llama_index.core.llms import ChatMessage

    hello = [ChatMessage(role="user", content="Hello")]
    model = llm()
    model.chat(hello)
    await model.achat(hello)
    list(model.stream_chat(hello))
    calls = model_calls(spans())
    if side == "ours":  # OpenAILike is two layers, and each has spans of its own
        assert len(spans()) == len(calls) == 3
        assert all(call.attributes["llm.token_count.prompt"] > 0 for call in calls)
    else:
        assert calls


@pytest.mark.package("openinference-instrumentation-llama-index")
@pytest.mark.usefixtures("openinference_llama_index")
async def test_an_agent_of_llama_index_is_one_trace(
    llm: Callable[[], Any], side: str, spans: Any
) -> None:
    from llama_index.core.agent.workflow import FunctionAgent

    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    await FunctionAgent(tools=[add], llm=llm()).run("Please add a=3 and b=4")
    calls = model_calls(spans())
    if side == "ours":
        assert len(calls) == 2
        assert len({span.context.trace_id for span in spans()}) == 1, "the agent is one trace"
        assert all(call.attributes["llm.token_count.completion"] > 0 for call in calls)
    else:
        assert calls


@pytest.mark.package("langfuse")
def test_a_call_is_one_generation_in_langfuse(chat: Callable[[], Any], spans: Any) -> None:
    langfuse = pytest.importorskip("langfuse")
    from langfuse.langchain import CallbackHandler

    client = langfuse.Langfuse(
        public_key="pk-lf-test",
        secret_key="sk-lf-test",
        base_url="http://127.0.0.1:9",  # nobody listens: what would be sent is in the exporter
        tracer_provider=trace.get_tracer_provider(),
    )
    try:
        chat().invoke("Hello", config={"callbacks": [CallbackHandler()]})
        kinds = [span.attributes.get("langfuse.observation.type") for span in spans()]
        assert kinds == ["generation"]
    finally:
        client.shutdown()
