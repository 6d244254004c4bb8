"""One client span for each call, by the GenAI conventions; nothing without OpenTelemetry."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from lunos_core import LunosServerError, chat_request, chat_stream_request, models_request
from tests.core.wire_samples import HELLO, Wire, delta, reply, stored, stream

if TYPE_CHECKING:
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
    assert [one.name for one in (whole, streamed, failed)] == ["chat m"] * 3
    assert {one.kind.name for one in (whole, streamed, failed)} == {"CLIENT"}
    assert whole.attributes["lunos.attempts"] == 2
    assert dict(streamed.attributes) | {"lunos.first_token_seconds": 0} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "lunos",
        "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 3,
        "server.address": "lunos.test",
        "lunos.app_id": "billing",
        "lunos.attempts": 1,
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
