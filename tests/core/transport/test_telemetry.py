"""One client span for each call, by the GenAI conventions; nothing without OpenTelemetry."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from lunos_core import (
    Lunos,
    LunosConfigError,
    LunosError,
    LunosServerError,
    chat_request,
    chat_stream_request,
    models_request,
)
from tests.core.wire_samples import HELLO, Wire, delta, reply, stored, stream

if TYPE_CHECKING:
    from lunos_local import LocalGateway
    from tests.conftest import Both


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    return exporter


async def test_a_call_is_one_client_span_with_its_app_id(both: Both, spans: Any) -> None:
    failing = reply({"error": {"message": "No"}}, 500, retry_after="0")
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "cost": 0.1}
    parts = stream([delta("Hi", "stop"), {"choices": [], "usage": usage}, "[DONE]"])
    wire = Wire(failing, reply(stored("chat")), parts, reply([{"id": "m"}]), failing)
    client = both.client(wire, app_id="billing", max_retries=1)
    await both(client.send(chat_request(HELLO, model="m")))
    await both.chunks(client, chat_stream_request(HELLO, model="m"))
    await both(client.send(models_request()))
    with pytest.raises(LunosServerError):
        await both(client.send(chat_request(HELLO, model="m")))
    whole, streamed, failed = spans.get_finished_spans()
    assert [span.name for span in (whole, streamed, failed)] == ["chat m"] * 3
    assert {span.kind.name for span in (whole, streamed, failed)} == {"CLIENT"}
    assert whole.attributes["lunos.attempts"] == 2
    times = {"lunos.first_token_seconds": 0, "gen_ai.response.time_to_first_chunk": 0}
    assert dict(streamed.attributes) | times == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "lunos",
        "gen_ai.request.model": "m",
        "gen_ai.request.stream": True,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.id": "gen-1",
        "gen_ai.response.model": "m",
        "gen_ai.response.time_to_first_chunk": 0,
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 3,
        "server.address": "lunos.test",
        "lunos.app_id": "billing",
        "lunos.attempts": 1,
        "gen_ai.usage.cost": 0.1,
        "lunos.cost": 0.1,
        "lunos.cost_source": "gateway",
        "lunos.first_token_seconds": 0,
    }
    assert streamed.end_time > streamed.start_time
    assert failed.attributes["error.type"] == "500"
    assert failed.status.description == "No"


async def test_a_span_has_the_parent_that_was_there_when_the_call_began(
    both: Both, spans: Any
) -> None:
    from opentelemetry import trace

    client = both.client(Wire(stream([delta("Hi", "stop"), "[DONE]"])))
    with trace.get_tracer("test").start_as_current_span("parent"):
        opened = await both(client.stream(chat_stream_request(HELLO, model="m")))
    assert [chunk async for chunk in both.each(opened)]
    parent, child = spans.get_finished_spans()
    assert child.parent.span_id == parent.context.span_id


ADAPTERS: dict[str, dict[str, Callable[[Any], Any]]] = {
    "ChatLunos": {
        "whole": lambda model: model.invoke("Hi"),
        "streamed": lambda model: list(model.stream("Hi")),
        "async": lambda model: model.ainvoke("Hi"),
        "async streamed": lambda model: _drain(model.astream("Hi")),
    },
    "Lunos": {
        "whole": lambda llm: llm.complete("Hi"),
        "streamed": lambda llm: list(llm.stream_complete("Hi")),
        "async": lambda llm: llm.acomplete("Hi"),
        "async streamed": lambda llm: _drain_awaited(llm.astream_complete("Hi")),
    },
}


async def _drain(chunks: AsyncIterator[Any]) -> None:
    async for _ in chunks:
        pass


async def _drain_awaited(chunks: Awaitable[AsyncIterator[Any]]) -> None:
    await _drain(await chunks)


def _adapter(name: str, gateway: LocalGateway, **settings: Any) -> Any:
    settings |= {"api_key": gateway.api_key, "base_url": gateway.base_url}
    if name == "ChatLunos":
        package = pytest.importorskip("langchain_lunos")
    else:
        package = pytest.importorskip("llama_index_lunos")
    return getattr(package, name)(model="lunos/scripted", **settings)


@pytest.mark.parametrize("how", ["whole", "streamed", "async", "async streamed"])
@pytest.mark.parametrize("name", list(ADAPTERS))
async def test_the_adapters_make_no_span_unless_asked(
    name: str, how: str, spans: Any, gateway: LocalGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    from opentelemetry import trace

    async def call(**settings: Any) -> Any:
        spans.clear()
        with trace.get_tracer("framework").start_as_current_span("framework") as parent:
            result = ADAPTERS[name][how](_adapter(name, gateway, **settings))
            if inspect.isawaitable(result):
                await result
        made = [span for span in spans.get_finished_spans() if span.name != "framework"]
        assert all(span.parent.span_id == parent.context.span_id for span in made)
        return [span.name for span in made]

    assert await call() == []
    assert await call(tracing=True) == ["chat lunos/scripted"]
    monkeypatch.setenv("LUNOS_TRACING", "on")
    assert await call() == ["chat lunos/scripted"]
    assert await call(tracing=False) == []


def test_an_embedding_of_an_adapter_makes_no_span_unless_asked(
    spans: Any, gateway: LocalGateway
) -> None:
    package = pytest.importorskip("langchain_lunos")
    settings = {"api_key": gateway.api_key, "base_url": gateway.base_url}
    package.LunosEmbeddings(model="lunos/scripted-embedding", **settings).embed_query("Hi")
    assert spans.get_finished_spans() == ()
    package.LunosEmbeddings(model="lunos/scripted-embedding", tracing=True, **settings).embed_query(
        "Hi"
    )
    assert [span.name for span in spans.get_finished_spans()] == [
        "embeddings lunos/scripted-embedding"
    ]


def test_lunos_makes_spans_unless_disabled(
    spans: Any, gateway: LocalGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(**settings: Any) -> int:
        spans.clear()
        with Lunos(gateway.api_key, base_url=gateway.base_url, **settings) as lunos:
            lunos.chat.completions.create(model="lunos/scripted", messages=HELLO)
        return len(spans.get_finished_spans())

    assert ask() == 1
    assert ask(tracing=False) == 0
    monkeypatch.setenv("LUNOS_TRACING", "0")
    assert ask() == 0
    assert ask(tracing=True) == 1
    monkeypatch.setenv("LUNOS_TRACING", "sometimes")
    with pytest.raises(LunosConfigError, match="LUNOS_TRACING must be one of"):
        ask()


def test_where_no_one_has_set_a_provider_no_span_is_made() -> None:
    code = (
        "from opentelemetry import trace\n"
        "from lunos_core.transport.telemetry import span_observers\n"
        "from lunos_core import Config, chat_request\n"
        "asked = chat_request([{'role': 'user', 'content': 'Hi'}], model='m')\n"
        "assert span_observers(asked, Config(api_key='k')) == ()\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "trace.set_tracer_provider(TracerProvider())\n"
        "assert len(span_observers(asked, Config(api_key='k'))) == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_nothing_of_opentelemetry_is_imported_for_it() -> None:
    code = (
        "import sys\n"
        "from lunos_core.transport.telemetry import span_observers\n"
        "from lunos_core import Config, chat_request\n"
        "asked = chat_request([{'role': 'user', 'content': 'Hi'}], model='m')\n"
        "assert span_observers(asked, Config(api_key='k')) == ()\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


async def test_no_span_holds_the_key(both: Both, spans: Any) -> None:
    """Also where the server echoes it, and the error's message is the span's."""
    key = "sk-span-51b0e7c2"
    echo = reply({"error": {"message": f"bad key {key} sent"}}, 401)
    client = both.client(Wire(reply(stored("chat")), echo), api_key=key, app_id="billing")
    await both(client.send(chat_request(HELLO, model="m")))
    with pytest.raises(LunosError):
        await both(client.send(chat_request(HELLO, model="m")))
    sent = "".join(span.to_json() for span in spans.get_finished_spans())
    assert "bad key" in sent
    assert key not in sent
