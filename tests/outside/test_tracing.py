"""One call, one trace: what tracers record of each call, held with their real packages."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
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


def _with_a_cost(kind: str) -> Any:
    """A model of ours whose gateway reports 0.5 USD for each call."""
    if kind == "langchain":
        from tests.langchain_adapter.wire import both_kinds
        from tests.langchain_adapter.wire import chat as langchain_chat

        return langchain_chat(both_kinds("Hi"))
    from llama_index_lunos import Lunos
    from tests.langchain_adapter.wire import both_kinds

    client = httpx.Client(transport=httpx.MockTransport(both_kinds("Hi")))
    return Lunos("m", api_key="k", base_url="https://lunos.test", http_client=client)


@pytest.mark.package("openinference-instrumentation-langchain")
@pytest.mark.usefixtures("openinference_langchain")
def test_openinference_shows_the_cost_in_the_output_and_nowhere_else(spans: Any) -> None:
    """When this fails, it reads a cost from LangChain: docs/agent-frameworks.md says it doesn't."""
    model = _with_a_cost("langchain")
    model.invoke("Hello")
    list(model.stream("Hello"))
    calls = model_calls(spans())
    assert len(calls) == 2
    for call in calls:
        assert not [name for name in call.attributes if "cost" in name]
        assert '"cost": 0.5' in call.attributes["output.value"]


@pytest.mark.package("openinference-instrumentation-llama-index")
@pytest.mark.usefixtures("openinference_llama_index")
def test_openinference_reads_no_cost_from_llama_index(spans: Any) -> None:
    model = _with_a_cost("llama_index")
    assert model.complete("Hello").raw["usage"]["cost"] == 0.5
    (call,) = model_calls(spans())
    assert not [name for name in call.attributes if "cost" in name]


@pytest.mark.package("langfuse")
@pytest.mark.parametrize("place", ["usage_metadata", "token_usage", "llm_output"])
def test_langfuse_drops_a_cost_wherever_langchain_could_hold_one(place: str) -> None:
    """Its handler keeps integers only: when this fails, the cost has got a place."""
    handler = pytest.importorskip("langfuse.langchain.CallbackHandler")
    from langchain_core.messages import AIMessage
    from langchain_core.outputs import ChatGeneration, LLMResult

    counts: Any = {"input_tokens": 9, "output_tokens": 3, "total_tokens": 12}
    cost = {"total_cost": 0.5, "cost": 0.5}
    message = AIMessage("Hi", usage_metadata=counts | (cost if place == "usage_metadata" else {}))
    output: dict[str, Any] = {"token_usage": cost if place == "token_usage" else {}}
    result = LLMResult(
        generations=[[ChatGeneration(message=message)]],
        llm_output=output | (cost if place == "llm_output" else {}),
    )
    assert 0.5 not in handler._parse_usage(result).values()


@pytest.mark.package("langfuse")
def test_langfuse_gets_the_cost_from_the_cores_own_span(exporter: Any) -> None:
    """With `tracing=True` instead of Langfuse's callback: the name that its server reads."""
    from tests.langchain_adapter.wire import both_kinds
    from tests.langchain_adapter.wire import chat as langchain_chat

    exporter.clear()
    langchain_chat(both_kinds("Hi"), tracing=True).invoke("Hello")
    (span,) = exporter.get_finished_spans()
    assert span.attributes["gen_ai.usage.cost"] == 0.5


@pytest.mark.package("arize-phoenix-otel")
def test_phoenixs_recipe_sends_each_call_and_no_key(side: str, gateway: Any) -> None:
    """As docs/agent-frameworks.md has it, with a collector on this machine."""
    if side == "peer":
        pytest.skip("the recipe is the same")
    otel = pytest.importorskip("phoenix.otel")
    from openinference.instrumentation.langchain import LangChainInstrumentor
    from openinference.instrumentation.llama_index import LlamaIndexInstrumentor

    from langchain_lunos import ChatLunos
    from llama_index_lunos import Lunos

    settings = {"api_key": gateway.api_key, "base_url": gateway.base_url}
    with collector() as (address, bodies):
        provider = otel.register(
            project_name="website",
            endpoint=f"{address}/v1/traces",
            protocol="http/protobuf",
            set_global_tracer_provider=False,
            verbose=False,
        )
        LangChainInstrumentor().instrument(tracer_provider=provider)
        LlamaIndexInstrumentor().instrument(tracer_provider=provider)
        try:
            ChatLunos(model="lunos/scripted", **settings).invoke("Hello")
            Lunos("lunos/scripted", **settings).complete("Hello")
            provider.force_flush()
        finally:
            LangChainInstrumentor().uninstrument()
            LlamaIndexInstrumentor().uninstrument()
    sent = b"".join(bodies)
    assert sent.count(b"llm.token_count.total") == 2
    assert b"website" in sent
    assert gateway.api_key.encode() not in sent


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """Run an OTLP endpoint on this machine; yield its address and the bodies that come."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            plain = gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body
            bodies.append(plain)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", bodies
        server.shutdown()
